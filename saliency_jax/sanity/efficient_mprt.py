"""The efficient model parameter randomization test: do maps become more complex when all weights are random?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.sharding import Mesh

from saliency_jax.batches import images_at_once
from saliency_jax.sanity.comparisons import of_explainers, of_models
from saliency_jax.sanity.complexity import BINS, histogram_entropy
from saliency_jax.sanity.parts import TRAINED, measure_models, strongly_typed
from saliency_jax.sanity.protocols import Protocol
from saliency_jax.sanity.random_models import RANDOM, fully_random, random_models
from saliency_jax.tracing.layers import Layer
from saliency_jax.typing import Apply, Explainer, Images, Init, Params


def efficient_mprt(
    apply: Apply,
    params: Params,
    init: Init,
    images: Images,
    targets: Any,
    explainers: Mapping[str, Explainer],
    *,
    key: Any,
    bins: int | str = BINS,
    seeds: int | Sequence[int] = 5,
    protocol: str | Protocol = "paper",
    layers: Sequence[Layer] | None = None,
    evaluation: tuple[Any, Any] | None = None,
    batch_size: int | None = None,
    mesh: Mesh | None = None,
) -> xr.Dataset:
    """The relative rise in complexity of every explainer's maps when all layers are randomized.

    rise[e, k, i] = (H(r) - H(m)) / H(m), m = explain_e(trained, image_i), r = explain_e(random model k, image_i), H the
    entropy of a histogram of the raw, signed values. No maps are compared pixel by pixel, and no layer is taken alone.

    Random models and noise are those of `parameter_randomization` for the same key.

    Cost: (1 + seeds) * images explanations for each explainer.

    Args:
        apply, params, init, images, targets, explainers, key: as in `parameter_randomization`.
        bins: of the histograms: their number, or the name of a rule; see `histogram_entropy`.
        seeds: how many random models, or their numbers.
        protocol, layers, evaluation, batch_size, mesh: as in `parameter_randomization`; a layer that is not in
            `layers` stays trained.

    Returns:
        A Dataset with
        `rise` (explainer, seed, image): NaN where the trained model's map has no entropy to begin with;
        `complexity` (explainer, model, seed, image), model being "trained" or "random", in nats;
        `flat_maps` (explainer, model, seed): how many maps have the entropy 0, as constant ones do;
        `nonfinite_maps` (explainer, model, seed): how many held a NaN or an infinity, and have a complexity of NaN;
        `accuracy`, `logit_low`, `logit_high`, `logit_spread` (model, seed), and `explained_class` (stage, seed, image)
        with the one stage "random".

    Raises:
        ValueError, TypeError: as `parameter_randomization` and `histogram_entropy`.

    Source: Hedstrom, Weber, Lapuschkin and Hoehne 2024, "Sanity checks revisited", section 3.2 (eMPRT).
    """
    sweep, _ = random_models(
        apply,
        params,
        init,
        images,
        targets,
        explainers,
        test="efficient_mprt",
        key=key,
        order="top_down",
        seeds=seeds,
        protocol=protocol,
        layers=layers,
        evaluation=evaluation,
        batch_size=batch_size,
        mesh=mesh,
    )
    sweep = fully_random(sweep)
    count = len(sweep.images)
    measure = jax.jit(
        lambda maps: jax.lax.map(partial(histogram_entropy, bins=bins), maps, batch_size=min(images_at_once(), count))
    )
    models = [measure_models(sweep, seed) for seed in sweep.seeds]
    parts = {}
    for name in explainers:
        explain = sweep.explain(name)
        trained = np.asarray(measure(explain(sweep.params, sweep.targets)))
        random = np.stack(
            [
                np.asarray(measure(explain(strongly_typed(sweep.randomized(seed, 0)), jnp.asarray(classes))))
                for seed, classes in zip(sweep.seeds, (m["explained_class"].to_numpy()[0] for m in models), strict=True)
            ]
        )
        parts[name] = _complexity(np.broadcast_to(trained, random.shape), random)
    found = of_explainers(parts, seeds=sweep.seeds, images=count, test="efficient_mprt", bins=bins)
    return found.merge(of_models(models, seeds=sweep.seeds, images=count), join="exact")


def _complexity(trained: np.ndarray, random: np.ndarray) -> xr.Dataset:
    """What is said of one explainer's entropies `[seed, image]`."""
    complexity = np.stack([trained, random]).astype(np.float32)
    known = complexity[0] > 0
    rise = np.where(known, (complexity[1] - complexity[0]) / np.where(known, complexity[0], 1), np.nan)
    return xr.Dataset(
        {
            "rise": (("seed", "image"), rise),
            "complexity": (("model", "seed", "image"), complexity),
            "flat_maps": (("model", "seed"), np.sum(complexity == 0, axis=-1, dtype=np.int32)),
            "nonfinite_maps": (("model", "seed"), np.sum(np.isnan(complexity), axis=-1, dtype=np.int32)),
        },
        coords={"model": [TRAINED, RANDOM]},
    )
