"""All tests side by side: for each explainer and test one figure between 0 and 1, and whether it passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr

from saliency_jax.sanity.summary import crossed_means, interval, mean_interval
from saliency_jax.sanity.verdicts import LEVEL, NO_DEPENDENCE, UNDECIDED, verdicts

PASSES, PARTLY, FAILS = "passes", "partly", "fails"
OUTCOMES = (PASSES, PARTLY, FAILS, UNDECIDED)
HALF = 0.5
"""An explainer that goes at least this far of the way, with the whole interval, passes; one that goes part of it does
so partly."""
UNCHANGED = 0.05
"""A map that goes no further than this of the way to another image's map has not changed to speak of."""


class Reading(NamedTuple):
    """One test of some explainers: `value` in [0, 1] up to noise, 1 where it is as it should be; all `[explainer]`."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    outcome: np.ndarray


def evidence(tests: Mapping[str, xr.Dataset], *, level: float = LEVEL) -> xr.Dataset:
    """Read the Datasets of several tests of the same explainers into one table.

    What a test's figure is, by the Dataset's attribute `test`:

    - parameter_randomization, smooth_mprt, masked_randomization, data_randomization, random_logit, task_dependence: the
      effect of `verdicts` at the last stage, and of the other task's model in the last of these: 0 where the map is
      unchanged and 1 where it is as another image's map. It passes if all of its interval is above 0.5, fails if no
      dependence is found or all of its interval is under 0.05, and passes partly between.
    - input_invariance: 1 - that effect; it passes if the map goes at most 0.05 of the way to another image's.
    - edge_similarity: 1 - (s - n) / (1 - n), s the similarity to the image's edges and n to another image's; it
      fails if more than half of the map's order is this image's edges.
    - cosine_convergence: 1 - mean |cos| of the maps of two random combinations of the logits.
    - efficient_mprt: the share of images whose map gains complexity when all layers are random.
    - roar: (accuracy under noise's ranking - accuracy under the explainer's) / (the former - the lowest of all
      explainers), at the middle fraction; it passes if the explainer removes more than noise by its whole interval.

    Args:
        tests: name of the test -> its Dataset, of one metric each: choose with `dataset.sel(metric=["spearman"])`.
        level: of the verdicts, in each test.

    Returns:
        A Dataset with `value`, `low`, `high`, `outcome` (explainer, test): NaN and "" where a test has not measured
        an explainer.

    Raises:
        ValueError: a Dataset is of no known test, or of more than one metric.
    """
    names: list[str] = []
    readings = {}
    for test, dataset in tests.items():
        kind = str(dataset.attrs.get("test", ""))
        if kind not in READERS:
            raise ValueError(f"tests must be Datasets of {sorted(READERS)}, got {kind!r} for {test!r}")
        if dataset.sizes.get("metric", 1) != 1:
            raise ValueError(f"tests must have one metric each, got {dataset.metric.values.tolist()} for {test!r}")
        readings[test] = dict(
            zip(map(str, dataset.explainer.values), zip(*READERS[kind](dataset, level), strict=True), strict=True)
        )
        names += [name for name in readings[test] if name not in names]
    empty = (np.nan, np.nan, np.nan, "")
    table = [[readings[test].get(name, empty) for test in tests] for name in names]
    dims = ("explainer", "test")
    variables = {
        field: (dims, np.array([[cell[k] for cell in row] for row in table])) for k, field in enumerate(Reading._fields)
    }
    return xr.Dataset(variables, coords={"explainer": names, "test": list(tests)}, attrs={"level": level})


def _dependence(dataset: xr.Dataset, level: float) -> Reading:
    last = verdicts(dataset, level=level).isel(stage=-1, metric=0)
    value, low, high = (last[name].to_numpy() for name in ("effect", "effect_low", "effect_high"))
    outcome = np.where(low >= HALF, PASSES, PARTLY)
    outcome = np.where((last.verdict == NO_DEPENDENCE) | (high <= UNCHANGED), FAILS, outcome)
    return Reading(value, low, high, np.where(last.verdict == UNDECIDED, UNDECIDED, outcome))


def _invariance(dataset: xr.Dataset, level: float) -> Reading:
    value, low, high, outcome = _dependence(dataset, level)
    # What fails where a map must change is what passes here.
    found = np.where(high <= UNCHANGED, PASSES, np.where(low > HALF, FAILS, PARTLY))
    return Reading(1 - value, 1 - high, 1 - low, np.where(outcome == UNDECIDED, UNDECIDED, found))


def _edges(dataset: xr.Dataset, level: float) -> Reading:
    scores = dataset.similarity.isel(metric=0, stage=0).transpose("explainer", "seed", "image").to_numpy()
    nulls = dataset["null"].isel(metric=0).sel(null_kind="other_image").transpose("explainer", "image").to_numpy()
    (s, s_all), (n, n_all) = crossed_means(scores), crossed_means(nulls[:, None])
    with np.errstate(invalid="ignore", divide="ignore"):
        value, values = 1 - (s - n) / (1 - n), 1 - (s_all - n_all) / (1 - n_all)
    return _halved(value, *interval(values))


def _convergence(dataset: xr.Dataset, level: float) -> Reading:
    mean = mean_interval(dataset.convergence.isel(layer=0))
    return _halved(*(1 - mean[name].to_numpy() for name in ("mean", "high", "low")))


def _complexity(dataset: xr.Dataset, level: float) -> Reading:
    gains = (dataset.rise > 0).where(np.isfinite(dataset.rise))
    mean = mean_interval(gains)
    return _halved(*(mean[name].to_numpy() for name in ("mean", "low", "high")))


def _roar(dataset: xr.Dataset, level: float) -> Reading:
    middle = dataset.accuracy.isel(fraction=dataset.sizes["fraction"] // 2).transpose("explainer", "seed")
    noise = middle.sel(explainer="noise").to_numpy()
    scale = noise.mean() - float(middle.mean("seed").min())
    gained = xr.zeros_like(middle) + (noise - middle.to_numpy()) / (scale or np.nan)
    mean = mean_interval(gained, dims=("seed",))
    value, low, high = (mean[name].to_numpy() for name in ("mean", "low", "high"))
    return Reading(value, low, high, np.where(low > 0, PASSES, np.where(np.isnan(value), UNDECIDED, FAILS)))


def _halved(value: np.ndarray, low: np.ndarray, high: np.ndarray) -> Reading:
    outcome = np.where(low >= HALF, PASSES, np.where(high < HALF, FAILS, PARTLY))
    return Reading(value, low, high, np.where(np.isnan(value), UNDECIDED, outcome))


READERS: dict[str, Callable[[xr.Dataset, float], Reading]] = {
    "parameter_randomization": _dependence,
    "smooth_mprt": _dependence,
    "masked_randomization": _dependence,
    "data_randomization": _dependence,
    "random_logit": _dependence,
    "task_dependence": lambda dataset, level: _dependence(dataset.sel(stage=["other_task"]), level),
    "input_invariance": _invariance,
    "edge_similarity": _edges,
    "cosine_convergence": _convergence,
    "efficient_mprt": _complexity,
    "roar": _roar,
}
