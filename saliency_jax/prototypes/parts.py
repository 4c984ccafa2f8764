"""Do prototypes mean parts of objects? Consistency over images and stability under noise."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from saliency_jax.checks import (
    check_batch,
    check_finite_number,
    check_image,
    check_number,
    check_one_key,
    check_targets,
)
from saliency_jax.prototypes.batches import batch_places
from saliency_jax.prototypes.checks import check_count, check_variables
from saliency_jax.prototypes.distances import similarity
from saliency_jax.prototypes.network import ProtoPNet, prototype_classes
from saliency_jax.prototypes.upsampling import upsampled
from saliency_jax.tracing import compiled
from saliency_jax.typing import Images, Params, PRNGKey


class Parts(NamedTuple):
    """Where the parts of the objects are: a point for each part of each image."""

    rows: Float[np.ndarray, "n part"]
    """In pixels from the top."""
    columns: Float[np.ndarray, "n part"]
    visible: Bool[np.ndarray, "n part"]
    """Whether the part can be seen; the point of one that cannot says nothing."""


Hits = Bool[np.ndarray, "n prototype part"]
"""Whether a visible part lies in the region that a prototype is compared with."""


class Score(NamedTuple):
    """A score of the prototypes, in [0, 1]: its mean over those that it could be measured for."""

    value: float
    prototypes: Float[np.ndarray, " prototype"]
    """Of each; NaN where its class has no image."""


def part_hits(
    model: ProtoPNet, variables: Params, images: Images, parts: Parts, *, half_size: int = 36, batch_size: int = 16
) -> Hits:
    """Which parts lie in the square around the place where an image resembles each prototype most.

    The place is the largest value of the similarity map, enlarged to the image; the square reaches `half_size` pixels
    from it, to the image's borders at most.

    Args:
        model: the network.
        variables: its variables.
        images: `[n, height, width, channel]`.
        parts: where their parts are.
        half_size: half the side of the square, in pixels: 36 for images of 224.
        batch_size: images at a time.

    Raises:
        ValueError: half_size is under 1, or parts are not of these images.
        TypeError: images are not floating point, half_size is no integer, or parts are no Parts.

    Source: Huang et al. (2023), section 3.2: 72 x 72 pixels.
    """
    check_batch(images)
    check_variables(model, variables)
    check_count(half_size, "half_size", " pixel")
    if not isinstance(parts, Parts):
        raise TypeError(f"parts must be Parts, got {type(parts).__name__}")
    if len(parts.visible) != len(images):
        raise ValueError(f"parts must be of the {len(images)} images, got {len(parts.visible)}")
    batches = jnp.asarray(batch_places(len(images), batch_size))
    found = np.asarray(_peaks(model, variables, jnp.asarray(images), batches))
    places = found.reshape(-1, len(prototype_classes(model)), 2)[: len(images)]
    # The square holds its top and left edge and both others, as the authors' program counts.
    near = [
        np.abs(points[:, None] - places[:, :, axis, None]) <= half_size
        for axis, points in enumerate((parts.rows, parts.columns))
    ]
    return near[0] & near[1] & parts.visible[:, None]


def _largest_place(maps: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    flat = jnp.argmax(upsampled(maps, shape).reshape(-1))
    return jnp.stack([flat // shape[1], flat % shape[1]])


def _peaks_of(
    model: ProtoPNet, variables: Params, images: jax.Array, batches: jax.Array
) -> Int[jax.Array, "batch image prototype 2"]:
    def peaks(places: jax.Array) -> jax.Array:
        distances = model.apply(variables, images[places], method="compare").distance_maps
        maps = similarity(distances, model.similarity, model.distance).transpose(0, 3, 1, 2)
        flat = maps.reshape(-1, *maps.shape[2:])
        found = jax.lax.map(lambda one: _largest_place(one, images.shape[1:3]), flat, batch_size=64)
        return found.reshape(*maps.shape[:2], 2)

    return jax.lax.map(peaks, batches)


_peaks = compiled(_peaks_of, static_argnames="model")


def consistency(
    model: ProtoPNet,
    hits: Hits,
    visible: Bool[np.ndarray, "n part"],
    labels: Shaped[np.ndarray, " n"],
    *,
    threshold: float = 0.8,
) -> Score:
    """The share of prototypes that lie on the same part in at least `threshold` of the images of their class.

    Args:
        model: the network.
        hits: what `part_hits` gave.
        visible: whether each part can be seen.
        labels: the classes of the images.
        threshold: in (0, 1].

    Raises:
        ValueError: hits, visible and labels do not fit each other, or threshold is not in (0, 1].
        TypeError: one of them is of another kind.

    Source: Huang et al. (2023), equations 4 to 6.
    """
    _check_hits(model, hits, labels, "hits")
    if getattr(visible, "dtype", None) != np.dtype(bool) or visible.shape != hits.shape[::2]:
        raise ValueError(f"visible must be boolean for each image and part {hits.shape[::2]}, got {_kind(visible)}")
    check_number(threshold, "threshold")
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be in (0, 1], got {threshold}")
    scores = np.full(hits.shape[1], np.nan)
    for j, c in enumerate(prototype_classes(model)):
        own = np.asarray(labels) == c
        if own.any():
            shares = hits[own, j].sum(axis=0) / np.maximum(visible[own].sum(axis=0), 1)
            scores[j] = float(shares.max() >= threshold)
    return Score(float(np.nanmean(scores)), scores)


def stability(model: ProtoPNet, hits: Hits, perturbed: Hits, labels: Shaped[np.ndarray, " n"]) -> Score:
    """The share of images of their class in which prototypes lie on the same parts after the image was perturbed.

    Args:
        model: the network.
        hits: what `part_hits` gave for the images.
        perturbed: and for the same images with noise, as of `with_noise`.
        labels: the classes of the images.

    Raises:
        ValueError: hits, perturbed and labels do not fit each other.
        TypeError: one of them is of another kind.

    Source: Huang et al. (2023), equation 7.
    """
    _check_hits(model, hits, labels, "hits")
    if getattr(perturbed, "dtype", None) != np.dtype(bool) or perturbed.shape != hits.shape:
        raise ValueError(f"perturbed must have the shape of hits {hits.shape} and be boolean, got {_kind(perturbed)}")
    same = (hits == perturbed).all(axis=2)
    scores = np.full(hits.shape[1], np.nan)
    for j, c in enumerate(prototype_classes(model)):
        own = np.asarray(labels) == c
        if own.any():
            scores[j] = same[own, j].mean()
    return Score(float(np.nanmean(scores)), scores)


def _check_hits(model: ProtoPNet, hits: Hits, labels: Any, argument: str) -> None:
    """Raise unless hits are boolean, of the model's prototypes, with a class for each image."""
    if (
        getattr(hits, "dtype", None) != np.dtype(bool)
        or hits.ndim != 3
        or hits.shape[1] != len(prototype_classes(model))
    ):
        raise ValueError(
            f"{argument} must be boolean [n, {len(prototype_classes(model))} prototypes, part], got {_kind(hits)}"
        )
    check_targets(labels, batch=len(hits), classes=model.classes, argument="labels")


def _kind(value: Any) -> str:
    return f"{value.dtype} of shape {value.shape}" if hasattr(value, "dtype") else type(value).__name__


def with_noise(images: Images, key: PRNGKey, *, deviation: float = 0.2, limit: float = 0.25) -> jax.Array:
    """Images with normal noise, cut off at `limit`: small enough not to be noticed in images of unit deviation.

    Args:
        images: of any shape, floating point.
        key: draws the noise.
        deviation: of the noise, in units of the images.
        limit: the largest change of a value.

    Raises:
        ValueError: deviation or limit is negative or not finite, or images are not finite.
        TypeError: images are not floating point, or the key is none.

    Source: Huang et al. (2023), section 3.3; the limit from the authors' program.
    """
    check_image(images, "images")
    check_one_key(key)
    for name, value in {"deviation": deviation, "limit": limit}.items():
        check_finite_number(value, name)
        if value < 0:
            raise ValueError(f"{name} must not be negative, got {value}")
    images = jnp.asarray(images)
    noise = deviation * jax.random.normal(key, images.shape, images.dtype)
    return images + jnp.clip(noise, -limit, limit)
