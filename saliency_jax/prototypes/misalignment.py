"""Does a prototype's similarity come from where its map says? Pixels elsewhere are changed to lower it."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from saliency_jax.checks import check_images, check_integer, check_number, check_targets
from saliency_jax.prototypes.batches import batch_places
from saliency_jax.prototypes.checks import check_percentile, check_variables
from saliency_jax.prototypes.distances import similarity
from saliency_jax.prototypes.network import Comparison, ProtoPNet, own_class, prototype_classes
from saliency_jax.prototypes.projection import Labels
from saliency_jax.prototypes.upsampling import high_activation_box, upsampled
from saliency_jax.tracing import canonical_convolutions, compiled
from saliency_jax.typing import Images, Params


class Misalignment(NamedTuple):
    """What changing pixels outside of a prototype's region did to it, image by image; 0 where it is aligned."""

    location: Float[np.ndarray, " n"]
    """PLC: 1 - IoU of the tenth of the pixels with the highest similarity, before and after."""
    activation: Float[np.ndarray, " n"]
    """PAC: by how much the similarity fell, as a fraction of what it was."""
    rank: Float[np.ndarray, " n"]
    """PRC: how many more prototypes of other classes came before it."""
    accuracy_before: float
    accuracy_after: float
    prototype: Int[np.ndarray, " n"]
    """The prototype of the image's class that it resembled most, which was attacked."""


def misalignment(
    model: ProtoPNet,
    variables: Params,
    images: Images,
    labels: Labels,
    *,
    radius: float = 0.1,
    step: float = 0.01,
    steps: int = 20,
    margin: int = 10,
    percentile: float = 95.0,
    batch_size: int = 16,
) -> Misalignment:
    """Attack the most similar prototype of each image's class through pixels outside of its high-activation box.

    Projected gradient descent on the similarity of the prototype: x <- x - step sign(d s_j / dx), within `radius` of
    the image in every value, and unchanged inside the box and `margin` pixels around it. A prototype that depends on
    what its map shows alone cannot be changed.

    Args:
        model: the network with its backbone: pixels have to be changed.
        variables: its variables.
        images: `[n, height, width, channel]`.
        labels: their classes.
        radius: the largest change of a value, in the units of the images; the paper's are of deviation 1.
        step: the change of a value in one step.
        steps: how many.
        margin: in pixels, around the box.
        percentile: of the box.
        batch_size: images at a time.

    Raises:
        ValueError: radius or step is not positive, steps is under 1, margin negative, a label no class or of a class
            without prototypes, percentile outside [0, 100], or images no batch of images.
        TypeError: an option or a label is of another kind.

    Source: Sacha et al. (2024), sections 4.1 and 4.2.

    Cost: `steps` gradients of the backbone an image.
    """
    check_images(images)
    check_variables(model, variables)
    check_targets(labels, batch=len(images), classes=model.classes, argument="labels")
    check_integer(steps, "steps")
    check_integer(margin, "margin")
    check_percentile(percentile)
    for name, value in {"radius": radius, "step": step, "steps": steps}.items():
        check_number(value, name)
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be positive, got {value}")
    if margin < 0:
        raise ValueError(f"margin must not be negative, got {margin}")
    if missing := sorted(set(np.unique(labels).tolist()) - set(prototype_classes(model))):
        raise ValueError(f"labels must be of classes that have prototypes, none has {missing[:5]}")
    places = jnp.asarray(batch_places(len(images), batch_size))
    data = (jnp.asarray(images), jnp.asarray(labels))
    found = _attacked(model, variables, data, places, radius, step, steps, margin, percentile)
    flat = {name: np.asarray(array).reshape(-1)[: len(images)] for name, array in found.items()}
    return Misalignment(
        flat["location"],
        flat["activation"],
        flat["rank"],
        float(flat["right_before"].mean()),
        float(flat["right_after"].mean()),
        flat["prototype"],
    )


@partial(compiled, static_argnames=("model", "steps", "margin", "percentile"))
def _attacked(
    model: ProtoPNet,
    variables: Params,
    data: tuple[Array, Array],
    batches: Array,
    radius: Array | float,
    step: Array | float,
    steps: int,
    margin: int,
    percentile: float,
) -> dict[str, Array]:
    own_classes = jnp.asarray(own_class(model)).T

    def compare(images: Array) -> Comparison:
        return model.apply(variables, images, method="compare")

    def attack(places: Array) -> dict[str, Array]:
        images, labels = data[0][places], data[1][places]
        before = compare(images)
        own = own_classes[labels] > 0
        chosen = jnp.argmax(jnp.where(own, before.similarities, -jnp.inf), axis=1)

        def resemblance(changed: Array) -> Array:
            return jnp.take_along_axis(compare(changed).similarities, chosen[:, None], axis=1).sum()

        maps = _maps_of(model, before, chosen)
        free = jax.vmap(lambda one: _outside(upsampled(one, images.shape[1:3]), margin, percentile))(maps)[..., None]
        slope = canonical_convolutions(jax.grad(resemblance))

        def descend(changed: Array, _: None) -> tuple[Array, None]:
            moved = changed - step * jnp.sign(slope(changed)) * free
            return images + jnp.clip(moved - images, -radius, radius), None

        changed, _ = jax.lax.scan(descend, images, None, length=steps)
        after = compare(changed)
        high = [
            jax.vmap(lambda one: _highest(one, images.shape[1:3]))(_maps_of(model, c, chosen)) for c in (before, after)
        ]
        union = (high[0] | high[1]).sum(axis=(1, 2))
        overlap = (high[0] & high[1]).sum(axis=(1, 2)) / jnp.maximum(union, 1)
        values = [jnp.take_along_axis(c.similarities, chosen[:, None], axis=1) for c in (before, after)]
        ahead = [
            (jnp.where(own, -jnp.inf, c.similarities) > v).sum(axis=1)
            for c, v in zip((before, after), values, strict=True)
        ]
        return {
            "location": jnp.where(union > 0, 1 - overlap, 0.0),
            "activation": 1 - (values[1] / values[0])[:, 0],
            "rank": (ahead[1] - ahead[0]).astype(jnp.float32),
            "right_before": jnp.argmax(before.logits, axis=1) == labels,
            "right_after": jnp.argmax(after.logits, axis=1) == labels,
            "prototype": chosen,
        }

    return jax.lax.map(attack, batches)


def _maps_of(model: ProtoPNet, compared: Comparison, chosen: Array) -> Float[Array, "batch height width"]:
    distances = jnp.take_along_axis(compared.distance_maps, chosen[:, None, None, None], axis=3)[..., 0]
    return similarity(distances, model.similarity, model.distance)


def _outside(pixels: Array, margin: int, percentile: float) -> Array:
    """1 where a pixel may be changed: outside of the high-activation box and its margin."""
    top, bottom, left, right = high_activation_box(pixels, percentile=percentile)
    rows, columns = jnp.arange(pixels.shape[0]), jnp.arange(pixels.shape[1])
    inside_rows = (rows >= top - margin) & (rows < bottom + margin)
    inside_columns = (columns >= left - margin) & (columns < right + margin)
    return 1.0 - (inside_rows[:, None] & inside_columns[None])


def _highest(one: Array, shape: tuple[int, ...]) -> Array:
    """The tenth of the pixels with the highest values, of the map enlarged as the paper does for this: bilinearly."""
    pixels = jax.image.resize(one, shape, "bilinear", antialias=False)
    return pixels > jnp.quantile(pixels, 0.9)
