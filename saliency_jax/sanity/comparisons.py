"""Maps of one model in two situations, compared: what the tests without random weights have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from jax import Array
from jax.sharding import Mesh

from saliency_jax.checks import check_images
from saliency_jax.sanity.parts import Sweep, measure_null
from saliency_jax.sanity.protocols import PROTOCOLS, metrics_for
from saliency_jax.sanity.random_models import seed_numbers
from saliency_jax.sanity.sweep import checked_sweep
from saliency_jax.typing import Apply, Explainer, Images, Metric, Params

DIMENSIONS = ("null_kind", "explainer", "metric", "layer", "model", "stage", "seed", "image")


def one_model(
    apply: Apply,
    params: Params,
    images: Images,
    targets: Any,
    explainers: Mapping[str, Explainer],
    *,
    test: str,
    situation: str,
    key: Any,
    metrics: Mapping[str, Metric] | None,
    seeds: int | Sequence[int] = 1,
    batch_size: int | None,
    mesh: Mesh | None,
) -> Sweep:
    """A test in which no weight changes: one model, its arguments checked, and one stage, the other situation.

    Args:
        test: the name of the test that asks, for messages.
        situation: the name of the stage.
        apply, params, images, targets, explainers, key, metrics, seeds, batch_size, mesh: as in
            `parameter_randomization`; the metrics are those of the protocol "paper" where None.

    Raises:
        ValueError, TypeError: as `parameter_randomization`.
    """
    check_images(images)
    return checked_sweep(
        apply,
        params,
        images,
        targets,
        explainers,
        test=test,
        key=key,
        metrics=metrics_for(PROTOCOLS["paper"], *images.shape[1:3]) if metrics is None else metrics,
        stages=(situation,),
        seeds=seed_numbers(seeds),
        randomized=lambda seed, stage: params,
        explained_class="original",
        evaluation=None,
        kept_images=0,
        batch_size=batch_size,
        mesh=mesh,
    )


def compare_situations(sweep: Sweep, reference: Array, others: Sequence[Array]) -> xr.Dataset:
    """One explainer's maps compared with its maps in another situation.

    Args:
        sweep: a test with one stage, the other situation.
        reference: the explainer's maps of the sweep's targets, `[image, height, width, channel]`.
        others: its maps in the other situation, for each of the sweep's seeds.

    Returns:
        `similarity` (metric, stage, seed, image), `constant_maps` and `nonfinite_maps` (stage, seed), `null`
        (null_kind, metric, image), as in `parameter_randomization`.
    """
    found = [sweep.compare(reference, maps) for maps in others]
    similarity = np.stack([np.asarray(one.scores, np.float32) for one in found])
    compared = xr.Dataset(
        {
            "similarity": (("seed", "metric", "image"), similarity),
            "constant_maps": ("seed", np.asarray([one.constant for one in found], np.int32)),
            "nonfinite_maps": ("seed", np.asarray([one.nonfinite for one in found], np.int32)),
        },
        coords={"metric": list(sweep.metrics)},
    ).expand_dims("stage")
    compared = compared.assign_coords(stage=list(sweep.stages))
    return compared.merge(measure_null(sweep, lambda: reference), join="exact")


def of_explainers(
    parts: Mapping[str, xr.Dataset], *, seeds: Sequence[int], images: int, **attributes: Any
) -> xr.Dataset:
    """What was measured of each explainer, put together and its dimensions in their order."""
    whole = xr.concat(list(parts.values()), dim="explainer", join="exact")
    whole = whole.assign_coords(explainer=list(parts), seed=list(seeds), image=np.arange(images))
    return whole.transpose(*DIMENSIONS, ..., missing_dims="ignore").assign_attrs(**attributes)


def of_models(states: Sequence[xr.Dataset], *, seeds: Sequence[int], images: int) -> xr.Dataset:
    """What the models of all seeds say, as `measure_models` gives it for one, put together."""
    whole = xr.concat(list(states), dim="seed", join="exact")
    return whole.assign_coords(seed=list(seeds), image=np.arange(images)).transpose("model", "stage", "seed", "image")
