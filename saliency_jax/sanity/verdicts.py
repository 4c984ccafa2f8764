"""From similarities to a verdict: does an explainer depend on what was randomized, how much, and how sure is that?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from saliency_jax.sanity.summary import crossed_means, interval

LEVEL = 0.05
RESAMPLES = 1000
LEAST_FLIPS = 9_999
DEPENDS, NO_DEPENDENCE, UNDECIDED = "depends", "no dependence found", "undecided"


def verdicts(dataset: xr.Dataset, *, level: float = LEVEL) -> xr.Dataset:
    """Whether each explainer depends on what a randomization test randomized, with an effect and its interval.

    An explainer that ignores the model gives the same map of every model, and so the noise that it draws itself is the
    same for every model in these datasets. With r_i the similarity of an unchanged map of image i to the trained
    model's ("itself"; 1 for correlations), s_i that of the randomized models' maps (mean over seeds) and n_i that of
    another image's map,

        H0: r_i and s_i are exchangeable;  H1: E[r_i - s_i] > 0;  effect = mean(r - s) / mean(r - n).

    H0 is tested by a sign-flip permutation test over the images, whose error rate is exact for any distribution; all
    tests of the dataset are corrected together by Holm's method. The effect is 0 where nothing changes and 1 where the
    randomized model's map is as far from the trained one's as another image's map is; its interval resamples images
    and seeds.

    A model that gives all images the same logits, or logits that are not finite, says nothing about an explainer: its
    draws are left out and counted. So are maps on which a metric is not defined. Where too little is left for any
    outcome to be significant, or where more than half of the scores are missing, the verdict is "undecided": a dead
    model is never a passed test.

    Args:
        dataset: of `parameter_randomization` or `data_randomization`.
        level: the chance that any explainer that ignores the model is said to depend on it.

    Returns:
        A Dataset over (explainer, metric, stage) with
        `similarity`, `low`, `high`: the mean over images and seeds and its interval;
        `unchanged`, `unrelated`: the means of r and n;
        `effect`, `effect_low`, `effect_high`;
        `p_value`, `p_corrected`, `dependent` (p_corrected <= level), `decidable`;
        `as_unrelated`: whether the similarity is not above that of maps of different images, the threshold of Arun et
        al. 2021;
        `images`: how many images counted; `missing`: the share of scores that were not defined;
        over (stage,): `dead_models`: how many draws were left out;
        over (explainer,): `verdict`, "depends", "no dependence found" or "undecided", at the last stage, by any metric.

    Raises:
        ValueError: the dataset lacks a variable, or level is not inside (0, 1).

    Source: the thresholds of random pairs: Arun et al. 2021; Holm 1979; the crossed bootstrap: Owen 2007.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be inside (0, 1), got {level}")
    if lacking := [name for name in ("similarity", "null") if name not in dataset]:
        raise ValueError(f"dataset must be that of a randomization test, it lacks {lacking}: {list(dataset)}")
    alive = _alive(dataset)
    dims = ("explainer", "metric", "stage", "seed", "image")
    scores = dataset.similarity.transpose(*dims).where(alive).to_numpy().astype(np.float64)
    kinds = dataset["null"].transpose("null_kind", "explainer", "metric", "image").astype(np.float64)
    unchanged = kinds.sel(null_kind="itself").to_numpy()
    unrelated = kinds.sel(null_kind="other_image").to_numpy()
    # A metric that is not defined on the map itself says nothing of the image at any stage.
    unchanged, unrelated = (np.broadcast_to(x[:, :, None], scores[..., 0, :].shape) for x in (unchanged, unrelated))

    with np.errstate(invalid="ignore"):
        counted = np.isfinite(scores).sum(axis=-2)
        drop = unchanged - np.where(counted, np.nansum(scores, axis=-2), np.nan) / np.maximum(counted, 1)
    usable = np.isfinite(drop)
    tests = drop[..., 0].size
    p_value, smallest = sign_flip_p_values(drop, flips=max(LEAST_FLIPS, int(np.ceil(10 * tests / level))))
    missing = 1 - np.isfinite(scores).mean(axis=(-2, -1))
    decidable = (missing <= 0.5) & (smallest * tests <= level)
    corrected = holm(np.where(decidable, p_value, 1.0))
    dependent = decidable & (corrected <= level)

    mean, effect = _mean_and_effect(scores, unchanged, unrelated)
    stage = ("explainer", "metric", "stage")
    with np.errstate(invalid="ignore", divide="ignore"):
        itself, strangers = (np.where(usable, x, 0).sum(-1) / usable.sum(-1) for x in (unchanged, unrelated))
    last = np.where(dependent[..., -1].any(-1), DEPENDS, np.where(decidable[..., -1].any(-1), NO_DEPENDENCE, UNDECIDED))
    return xr.Dataset(
        {
            **{name: (stage, values) for name, values in zip(("similarity", "low", "high"), mean, strict=True)},
            "unchanged": (stage, itself),
            "unrelated": (stage, strangers),
            **{f"effect{end}": (stage, values) for end, values in zip(("", "_low", "_high"), effect, strict=True)},
            "p_value": (stage, p_value),
            "p_corrected": (stage, corrected),
            "dependent": (stage, dependent),
            "decidable": (stage, decidable),
            "as_unrelated": (stage, mean.low <= strangers),
            "images": (stage, usable.sum(-1)),
            "missing": (stage, missing),
            "dead_models": ("stage", (~alive).sum("seed").to_numpy()),
            "verdict": ("explainer", last),
        },
        coords={dim: dataset[dim].values for dim in stage},
        attrs={"level": level, "tests": tests, "correction": "Holm", "test": str(dataset.attrs.get("test", ""))},
    )


def sign_flip_p_values(differences: np.ndarray, *, flips: int) -> tuple[np.ndarray, np.ndarray]:
    """One-sided p-values of "these differences are symmetric about 0", and the smallest that there could be.

    p = (1 + #{flips: sum_i sign_i d_i >= sum_i d_i}) / (1 + flips), the signs drawn at random.

    Args:
        differences: `[..., image]`; NaN ones are left out.
        flips: how many random signs are drawn, the same for all tests.

    Returns:
        Two arrays `[...]`; without differences p is 1.
    """
    given = np.nan_to_num(differences, nan=0.0).reshape(-1, differences.shape[-1])
    observed = given.sum(axis=1)
    # Sums of the same numbers in another order are equal, not larger.
    slack = 1e-9 * np.abs(given).sum(axis=1)
    random = np.random.default_rng(0)
    reached = np.zeros(len(given), np.int64)
    for start in range(0, flips, 10_000):
        signs = random.choice(np.array([-1.0, 1.0]), size=(min(10_000, flips - start), given.shape[1]))
        reached += (signs @ given.T >= observed - slack).sum(axis=0)
    count = np.isfinite(differences).sum(axis=-1)
    smallest = np.maximum(1 / (1 + flips), 0.5 ** np.minimum(count, 1000))
    p = ((1 + reached) / (1 + flips)).reshape(count.shape)
    return np.maximum(p, smallest), smallest


def holm(p_values: np.ndarray) -> np.ndarray:
    """p-values corrected for how many there are: the chance of any false rejection stays under the level.

    p'_(k) = max_{j <= k} min(1, (m - j + 1) p_(j)), p_(1) <= ... <= p_(m).

    Source: Holm 1979.
    """
    flat = np.ravel(p_values)
    order = np.argsort(flat, kind="stable")
    factors = np.arange(flat.size, 0, -1)
    corrected = np.empty_like(flat)
    corrected[order] = np.minimum(np.maximum.accumulate(factors * flat[order]), 1)
    return corrected.reshape(np.shape(p_values))


def _alive(dataset: xr.Dataset) -> xr.DataArray:
    """(stage, seed): whether a model's logits are finite and differ between images."""
    if "logit_spread" not in dataset:
        return xr.ones_like(dataset.similarity.isel(explainer=0, metric=0, image=0, drop=True), dtype=bool)
    states = dataset[["logit_low", "logit_high", "logit_spread"]].sel(model=dataset.stage.values).rename(model="stage")
    finite = np.isfinite(states.logit_low) & np.isfinite(states.logit_high)
    return (finite & (states.logit_spread > 0)).transpose("stage", "seed")


def _mean_and_effect(scores: np.ndarray, unchanged: np.ndarray, unrelated: np.ndarray) -> tuple[_Estimate, _Estimate]:
    """The mean similarity and the effect over `[explainer, metric, stage]`; no effect where r is not above n."""
    means, resampled = crossed_means(scores, resamples=RESAMPLES)
    (r, r_all), (n, n_all) = (crossed_means(x[..., None, :], resamples=RESAMPLES) for x in (unchanged, unrelated))
    with np.errstate(invalid="ignore", divide="ignore"):
        effect, effects = (r - means) / (r - n), (r_all - resampled) / (r_all - n_all)
    effect, effects = np.where(r > n, effect, np.nan), np.where(r > n, effects, np.nan)
    return _Estimate(means, *interval(resampled)), _Estimate(effect, *interval(effects))


class _Estimate(NamedTuple):
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
