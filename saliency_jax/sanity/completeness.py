"""Do attributions still add up to the score when layers are random? The completeness gap along a cascade."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from jax.sharding import Mesh
from jaxtyping import ArrayLike

from saliency_jax.batches import images_at_once
from saliency_jax.explainers import completeness_gap
from saliency_jax.explainers.baseline import broadcast_baseline
from saliency_jax.sanity.comparisons import of_explainers
from saliency_jax.sanity.parts import TRAINED, measure_models, strongly_typed
from saliency_jax.sanity.protocols import Protocol
from saliency_jax.sanity.random_models import random_models
from saliency_jax.sanity.randomization import Order
from saliency_jax.scores import class_score
from saliency_jax.tracing import compiled
from saliency_jax.tracing.layers import Layer
from saliency_jax.typing import Apply, Explainer, Images, Init, Params


def completeness_along_cascade(
    apply: Apply,
    params: Params,
    init: Init,
    images: Images,
    targets: Any,
    explainers: Mapping[str, Explainer],
    *,
    key: Any,
    baseline: ArrayLike = 0.0,
    order: Order = "top_down",
    seeds: int | Sequence[int] = 5,
    protocol: str | Protocol = "paper",
    layers: Sequence[Layer] | None = None,
    evaluation: tuple[Any, Any] | None = None,
    batch_size: int | None = None,
    mesh: Mesh | None = None,
) -> xr.Dataset:
    """How far every explainer's maps are from summing to the score's change, at each stage of a randomization.

    gap[e, s, k, i] = sum(explain_e(stage s of seed k, image_i)) - change, change = f(image_i) - f(baseline), f being
    the score of the explained class by that stage's model. Of integrated gradients it is the error of the quadrature,
    which is small for the trained model and need not be for a random one.

    Random models and noise are those of `parameter_randomization` for the same key.

    Cost: (1 + stages * seeds) * images explanations for each explainer.

    Args:
        apply, params, init, images, targets, key: as in `parameter_randomization`.
        explainers: name -> explainer that promises to be complete, such as `integrated_gradients` with several rules
            and numbers of steps, each fixed by `functools.partial`.
        baseline: the x0 that they use, a number or one image, in the images' units.
        order, seeds, protocol, layers, evaluation, batch_size, mesh: as in `parameter_randomization`.

    Returns:
        A Dataset with
        `gap`, `score_change` (explainer, stage, seed, image), the first stage being "trained", in units of the score;
        `relative_gap`, gap / |score_change|: infinite, or NaN where the gap is 0 as well, if the score does not change;
        `accuracy`, `logit_low`, `logit_high`, `logit_spread` (model, seed).

    Raises:
        ValueError, TypeError: as `parameter_randomization`; the baseline does not fit the images.

    Source: Kokhlikyan et al. 2021, "Investigating sanity checks for saliency maps with image and text classification",
        whose infidelity grows down the cascade; completeness: Sundararajan, Taly and Yan 2017, proposition 1.
    """
    sweep, _ = random_models(
        apply,
        params,
        init,
        images,
        targets,
        explainers,
        test="completeness_along_cascade",
        key=key,
        order=order,
        seeds=seeds,
        protocol=protocol,
        layers=layers,
        evaluation=evaluation,
        batch_size=batch_size,
        mesh=mesh,
    )
    count = len(sweep.images)
    start = broadcast_baseline(baseline, sweep.images[0])

    @compiled
    def measure(params: Params, classes: Array, maps: Array) -> Array:
        def of_image(item: tuple[Array, Array, Array]) -> Array:
            image, target, attribution = item
            score = class_score(apply, params, target)
            gap = completeness_gap(score, image, attribution, baseline=start)
            return jnp.stack([gap, score(image) - score(start)])

        return jax.lax.map(of_image, (sweep.images, classes, maps), batch_size=min(images_at_once(), count))

    states = [measure_models(sweep, seed) for seed in sweep.seeds]
    parts = {}
    for name in explainers:
        explain = sweep.explain(name)

        def gaps(params: Params, classes: Any, explain: Any = explain) -> np.ndarray:
            return np.asarray(measure(params, jnp.asarray(classes), explain(params, jnp.asarray(classes))))

        trained = gaps(sweep.params, sweep.targets)
        found = [
            [trained]
            + [gaps(strongly_typed(sweep.randomized(seed, k)), classes) for k, classes in enumerate(explained)]
            for seed, explained in zip(sweep.seeds, (s["explained_class"].to_numpy() for s in states), strict=True)
        ]
        parts[name] = _gaps(np.asarray(found, np.float32), [TRAINED, *sweep.stages])
    measured = of_explainers(parts, seeds=sweep.seeds, images=count, test="completeness_along_cascade", order=order)
    models = xr.concat([s.drop_dims("stage") for s in states], dim="seed", join="exact")
    return measured.merge(models.assign_coords(seed=list(sweep.seeds)).transpose("model", "seed"), join="exact")


def _gaps(found: np.ndarray, stages: Sequence[str]) -> xr.Dataset:
    """One explainer's gaps and changes of the score, `[seed, stage, image, 2]`."""
    gap, change = found[..., 0], found[..., 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = gap / np.abs(change)
    dims = ("seed", "stage", "image")
    return xr.Dataset(
        {"gap": (dims, gap), "score_change": (dims, change), "relative_gap": (dims, relative)},
        coords={"stage": list(stages)},
    )
