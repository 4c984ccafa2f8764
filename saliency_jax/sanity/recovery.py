"""How much of an image the maps of random networks show: similarity of map and image, nothing having been learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array, lax

from saliency_jax.batches import images_at_once
from saliency_jax.checks import check_images, check_key
from saliency_jax.explainers import deconvnet, gradient, guided_backprop
from saliency_jax.keys import named, numbered
from saliency_jax.sanity.measurement import comparison
from saliency_jax.sanity.nulls import UNRELATED, null_partners
from saliency_jax.sanity.random_networks_theory import (
    ARCHITECTURES,
    Architecture,
    expected_guided_backprop,
    random_network,
    random_weights,
)
from saliency_jax.scores import class_score
from saliency_jax.similarity import METRICS
from saliency_jax.tracing import compiled
from saliency_jax.typing import Explainer, Images, Metric

RECTIFIERS: Mapping[str, Explainer] = {
    "gradient": gradient,
    "guided_backprop": guided_backprop,
    "deconvnet": deconvnet,
}
"""The three ways back through a ReLU."""

_PIXELS = ("height", "width", "channel")


def recovery(
    images: Images,
    key: Any,
    *,
    filters: Sequence[int] = (4, 16, 64, 256, 1024),
    architectures: Mapping[str, Architecture] = ARCHITECTURES,
    explainers: Mapping[str, Explainer] = RECTIFIERS,
    metrics: Mapping[str, Metric] | None = None,
    seeds: int = 3,
    kept_images: int = 1,
) -> xr.Dataset:
    """How much of the image an explainer's map shows in a random network, as the number of filters grows.

    Args:
        images: `[batch, height, width, channel]`.
        key: a JAX key.
        filters: numbers of filters.
        architectures: networks by name.
        explainers: by name. The first logit is explained; all are alike in distribution.
        metrics: similarity of map and image by name; Pearson's correlation and the cosine where not given.
        seeds: how many random networks of each kind; each draws by its name, its filters and its seed alone.
        kept_images: of how many images the first seed's maps are kept.

    Returns:
        `similarity` (explainer, metric, network, filters, seed, image) of map and image; `null` (null_kind, explainer,
        metric, network, filters, seed, image) of map and another image, the image with its pixels shuffled, noise;
        `limit` (metric, network, image) of `expected_guided_backprop` and image, which is where guided
        backpropagation goes with more filters, NaN with pooling; `maps` (explainer, network, filters, kept_image,
        height, width, channel) and `images`.

    Raises:
        TypeError: the images are not floating point.
        ValueError: the images are no batch or not finite, key is None, seeds is under 1, kept_images is negative,
            filters are not different positive numbers, an architecture does not fit.

    Source: Nie, Zhang and Patel 2018, sections 3 and 4.

    Cost: explainers * seeds * images gradients of each network, whose size grows with the filters, and one program for
    each network and number of filters.
    """
    check_images(images)
    check_key(key, "recovery")
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1, got {seeds}")
    if kept_images < 0:
        raise ValueError(f"kept_images must not be negative, got {kept_images}")
    if not filters or len(set(filters)) != len(filters) or min(filters) < 1:
        raise ValueError(f"filters must be different positive numbers, got {tuple(filters)}")
    images = jnp.asarray(images)
    metrics = {name: METRICS[name] for name in ("pearson", "cosine")} if metrics is None else metrics
    compare = comparison(metrics)
    # Compiled whole: one by one their small operations take longer than they do.
    unrelated = jax.jit(null_partners)(images, named(key, "null"))
    references = jnp.stack([images, *(unrelated[kind] for kind in UNRELATED)])
    kept = min(kept_images, len(images))

    def measure(name: str, count: int) -> xr.Dataset:
        keys = numbered(named(key, f"{name} {count}"), seeds)
        maps = _network_maps(images, keys, filters=count, architecture=architectures[name], explainers=explainers)
        scores = _scores(compare, references, maps)
        dims = ("metric", "seed", "explainer", "image")
        return xr.Dataset(
            {
                "similarity": (dims, scores[0]),
                "null": (("null_kind", *dims), scores[1:]),
                "maps": (("explainer", "kept_image", *_PIXELS), np.asarray(maps[0, :, :kept])),
            }
        )

    networks = [
        xr.concat([measure(name, count) for count in filters], dim="filters", join="exact") for name in architectures
    ]
    whole = xr.concat(networks, dim="network", join="exact")
    limits = [_limit(images, architecture, compare) for architecture in architectures.values()]
    whole = whole.assign(
        limit=(("network", "metric", "image"), np.stack(limits)),
        images=(("kept_image", *_PIXELS), np.asarray(images[:kept])),
    ).assign_coords(
        null_kind=list(UNRELATED),
        explainer=list(explainers),
        metric=list(metrics),
        network=list(architectures),
        filters=list(filters),
        seed=np.arange(seeds),
        image=np.arange(len(images)),
    )
    order = ("null_kind", "explainer", "metric", "network", "filters", "seed", "image", "kept_image", *_PIXELS)
    return whole.transpose(*order).assign_attrs(test="recovery")


def _network_maps(
    images: Array, keys: Array, *, filters: int, architecture: Architecture, explainers: Mapping[str, Explainer]
) -> Array:
    """The maps of one random network for each key, `[seed, explainer, image, height, width, channel]`."""
    apply = partial(random_network, pool=architecture.pool)

    @compiled
    def all_maps(images: Array, keys: Array) -> Array:
        def of_seed(seed_key: Array) -> Array:
            shape, dtype = images.shape[1:], images.dtype
            params = random_weights(seed_key, shape, filters=filters, architecture=architecture, dtype=dtype)
            score = class_score(apply, params, 0)

            def of_image(item: tuple[Array, Array]) -> Array:
                return jnp.stack([explain(score, *item) for explain in explainers.values()])

            items = (images, numbered(named(seed_key, "explain"), len(images)))
            return lax.map(of_image, items, batch_size=min(images_at_once(), len(images)))

        return jnp.swapaxes(lax.map(of_seed, keys), 1, 2)

    return all_maps(images, keys)


def _scores(compare: Callable, references: Array, maps: Array) -> np.ndarray:
    """Each reference image against each map, `[reference, metric, seed, explainer, image]`."""

    def against(reference: Array) -> np.ndarray:
        repeated = jnp.broadcast_to(reference[None, None], maps.shape).reshape(-1, *reference.shape[1:])
        found = np.asarray(compare(repeated, maps.reshape(repeated.shape)).scores)
        return found.reshape(-1, *maps.shape[:3])

    return np.stack([against(reference) for reference in references])


def _limit(images: Array, architecture: Architecture, compare: Callable) -> np.ndarray:
    """Each metric of each image and the mean of its guided backpropagation, `[metric, image]`."""
    mean = partial(expected_guided_backprop, filters=1, kernel_size=architecture.kernel_size)
    found = np.asarray(compare(images, jax.jit(jax.vmap(mean))(images)).scores)
    return found if architecture.pool == 1 else np.full_like(found, np.nan)
