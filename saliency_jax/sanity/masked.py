"""Similarity where it can be told apart: over the pixels alone at which the image differs from the baseline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from jax.sharding import Mesh
from jaxtyping import ArrayLike, Float

from saliency_jax.batches import images_at_once
from saliency_jax.explainers.baseline import broadcast_baseline
from saliency_jax.sanity.comparisons import of_explainers
from saliency_jax.sanity.fingerprint import digest
from saliency_jax.sanity.measurement import Comparison
from saliency_jax.sanity.parts import TRAINED
from saliency_jax.sanity.protocols import Protocol, find_protocol
from saliency_jax.sanity.random_models import random_models
from saliency_jax.sanity.randomization import Order
from saliency_jax.sanity.sweep import Progress, run
from saliency_jax.similarity import cosine
from saliency_jax.similarity.pairs import as_pair
from saliency_jax.similarity.ranks import doubled_centred_ranks, sort_key
from saliency_jax.tracing.layers import Layer
from saliency_jax.typing import Apply, Explainer, Images, Init, Params


def masked_spearman(
    a: Float[Array, ...],
    b: Float[Array, ...],
    image: Float[Array, ...],
    *,
    baseline: ArrayLike = 0.0,
    absolute: bool = False,
) -> Float[Array, ""]:
    """Spearman's rank correlation of two maps over the values where the image differs from the baseline.

    A blank pixel has no attribution by integrated gradients or gradient x input, whatever the model: among all pixels
    these ties at 0 alone make two maps of a digit similar.

    Args:
        a: a map, shaped like the image.
        b: the other map.
        image: the image that both explain.
        baseline: the x0 of the explanation, a number or an array shaped like the image.
        absolute: rank |a| and |b| instead, which forgets the signs.

    Returns:
        rho in [-1, 1], up to rounding, with average ranks on ties. NaN if fewer than two values differ from the
        baseline, or if a map is constant or holds a NaN among them.

    Raises:
        TypeError: a map is not an array of floats.
        ValueError: the shapes differ, or the baseline does not fit the image.

    Source: Sundararajan and Taly 2018, "A note about: local explanation methods for deep neural networks lack
        sensitivity to parameter values", section 3.
    """
    a, b = as_pair(a, b)
    image = jnp.asarray(image)
    if image.shape != a.shape:
        raise ValueError(f"image must be shaped like its maps {a.shape}, got {image.shape}")
    seen = (image != broadcast_baseline(baseline, image)).ravel()
    rho = cosine(_ranks_among(a, seen, absolute), _ranks_among(b, seen, absolute))
    broken = ((jnp.isnan(a) | jnp.isnan(b)).ravel() & seen).any()
    return jnp.where(broken, jnp.nan, rho)


def _ranks_among(x: Array, seen: Array, absolute: bool) -> Array:
    """Twice the centred average ranks among the values that are seen; 0 for all others."""
    keys = sort_key(x, absolute=absolute)
    # What is not seen comes last, above infinity: n - m values that count for nobody's rank.
    last = jnp.where(seen, keys, jnp.iinfo(keys.dtype).max)
    unseen = seen.size - jnp.sum(seen)
    return jnp.where(seen, doubled_centred_ranks(last) + unseen, 0).astype(x.dtype)


_METRICS: dict[str, Callable[..., Array]] = {
    "masked_spearman": masked_spearman,
    "masked_spearman_abs": partial(masked_spearman, absolute=True),
}


def masked_similarity(dataset: xr.Dataset, *, baseline: ArrayLike = 0.0) -> xr.Dataset:
    """The masked similarity of the maps that a randomization test has kept.

    With `kept_images` as large as the batch, all stages of the test's first seed can be judged anew without a device.

    Args:
        dataset: of `parameter_randomization` or `data_randomization`, with `maps` and the `images` they explain.
        baseline: a number or one image, in the images' units.

    Returns:
        A Dataset with `similarity` (explainer, metric, stage, seed, image) of the test's first seed and its kept
        images, the metrics being "masked_spearman" and "masked_spearman_abs"; `compared_values` (image): how many
        values of each image differ from the baseline.

    Raises:
        ValueError: the dataset keeps no maps, or the baseline does not fit its images.
    """
    if "maps" not in dataset or "images" not in dataset:
        raise ValueError("dataset must keep maps: run the test with kept_images of at least 1")
    images = jnp.asarray(dataset["images"].to_numpy())
    start = broadcast_baseline(baseline, images[0])
    compare = _comparison(images, start)
    stages = [str(name) for name in dataset["model"].values if name != TRAINED]
    parts = {}
    for name in dataset["explainer"].values:
        maps = dataset["maps"].sel(explainer=name)
        reference, *others = (jnp.asarray(maps.sel(model=model).to_numpy()) for model in (TRAINED, *stages))
        scores = np.asarray([compare(reference, other).scores for other in others], np.float32)[:, None]
        parts[str(name)] = xr.Dataset(
            {"similarity": (("stage", "seed", "metric", "image"), scores)},
            coords={"stage": stages, "metric": list(_METRICS)},
        )
    found = of_explainers(parts, seeds=[int(dataset["seed"][0])], images=len(images), **dataset.attrs)
    return found.assign(compared_values=("image", _compared_values(images, start)))


def masked_randomization(
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
    kept_images: int = 4,
    batch_size: int | None = None,
    mesh: Mesh | None = None,
    folder: Path | str | None = None,
    progress: Progress = lambda name, done, total: None,
) -> xr.Dataset:
    """`parameter_randomization` by rank correlations over the values where the image differs from the baseline.

    similarity[e, m, s, k, i] = masked_spearman(explain_e(trained, x_i), explain_e(stage s of seed k, x_i), x_i).

    Random models and noise are those of `parameter_randomization` for the same key. The metrics of that test see two
    maps and not the image that they explain, so that the masked ones have a test of their own.

    Cost: as `parameter_randomization`.

    Args:
        apply, params, init, images, targets, explainers, key: as in `parameter_randomization`.
        baseline: a number or one image, in the images' units; that of the explainers.
        order, seeds, protocol, layers, evaluation, kept_images, batch_size, mesh, folder, progress: as in
            `parameter_randomization`.

    Returns:
        The Dataset of `parameter_randomization`, its metrics being "masked_spearman" and "masked_spearman_abs", also in
        `null`; `compared_values` (image): how many values of each image differ from the baseline.

    Raises:
        ValueError, TypeError: as `parameter_randomization`; the baseline does not fit the images.

    Source: Sundararajan and Taly 2018.
    """
    sweep, configuration = random_models(
        apply,
        params,
        init,
        images,
        targets,
        explainers,
        test="masked_randomization",
        key=key,
        order=order,
        seeds=seeds,
        protocol=protocol,
        layers=layers,
        evaluation=evaluation,
        kept_images=kept_images,
        batch_size=batch_size,
        mesh=mesh,
    )
    start = broadcast_baseline(baseline, sweep.images[0])
    # What compares two batches of maps is a part of the sweep: this one knows the images that they explain.
    sweep = sweep._replace(metrics=_METRICS, compare=_comparison(sweep.images, start))
    found = run(sweep, configuration | {"baseline": digest(start)}, folder=folder, progress=progress)
    return found.assign(compared_values=("image", _compared_values(sweep.images, start))).assign_attrs(
        test="masked_randomization",
        protocol=find_protocol(protocol).name,
        order=order,
        explained_class=sweep.explained_class,
    )


def _comparison(images: Array, baseline: Array) -> Callable[[Array, Array], Comparison]:
    """All masked metrics of two batches of maps of these images, in one compiled program."""

    def compared(item: tuple[Array, Array, Array]) -> Array:
        return jnp.stack([metric(*item, baseline=baseline) for metric in _METRICS.values()])

    @jax.jit
    def compare(reference: Array, maps: Array) -> Comparison:
        pixels = maps.reshape(len(maps), -1)
        scores = jax.lax.map(compared, (reference, maps, images), batch_size=min(images_at_once(), len(images)))
        return Comparison(
            scores.T, jnp.sum(pixels.max(axis=1) == pixels.min(axis=1)), jnp.sum(~jnp.isfinite(pixels).all(axis=1))
        )

    return compare


def _compared_values(images: Array, baseline: Array) -> np.ndarray:
    seen = np.asarray(images != baseline[None])
    return np.count_nonzero(seen.reshape(len(seen), -1), axis=1)
