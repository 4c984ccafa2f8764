"""Why this class: which prototypes an image resembles, where, and what that adds to the logit."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from jaxtyping import Int

from saliency_jax.checks import check_batch, check_images, check_integer, check_targets
from saliency_jax.prototypes.checks import check_count, check_percentile, check_size, check_variables
from saliency_jax.prototypes.distances import similarity
from saliency_jax.prototypes.nearest import NearestImages
from saliency_jax.prototypes.network import ProtoPNet, prototype_classes
from saliency_jax.prototypes.upsampling import high_activation_boxes
from saliency_jax.tracing import compiled
from saliency_jax.typing import Images, Params

SIDES = ("top", "bottom", "left", "right")


def explain(
    model: ProtoPNet,
    variables: Params,
    images: Images,
    *,
    targets: Any = None,
    shown: int = 10,
    image_shape: tuple[int, int] | None = None,
    percentile: float = 95.0,
    batch_size: int = 16,
) -> xr.Dataset:
    """The table behind a class's logit: similarity x weight = points, summed.

    logit_c = sum_j s_j w_jc. The `shown` prototypes with the most points for the class, and the sum of all others.

    Args:
        model: the network.
        variables: its variables.
        images: `[n, height, width, channel]`: what the network takes.
        targets: the class asked about, for each image; the predicted one where None.
        shown: how many prototypes, by points, the largest first; of equal ones the first.
        image_shape: height and width in pixels that boxes are in; the images' own where None. It is needed where the
            network takes activations.
        percentile: of the enlarged map, for the box around what is high.
        batch_size: images at a time.

    Returns:
        A Dataset over (image, rank, side, row, column, class):
            prototype, prototype_class, similarity, weight, points `(image, rank)`;
            patch_row, patch_column `(image, rank)`: the place of the nearest patch;
            box `(image, rank, side)`: top, bottom, left, right of what is high, in pixels;
            map `(image, rank, row, column)`: similarity of every patch;
            others `(image)`: the points of all prototypes that are not shown;
            target, logit `(image)`: the class and its logit, points.sum("rank") + others;
            logits `(image, class)`.

    Raises:
        ValueError: shown is not in [1, prototypes], a target is no class, percentile is outside [0, 100], batch_size
            is under 1, or images are no batch of images.
        TypeError: targets are not integer, or images not floating point.

    Source: Chen et al. (2019), section 2.4 and figure 3.
    """
    check_images(images)
    check_variables(model, variables)
    count = len(prototype_classes(model))
    check_integer(shown, "shown")
    if not 1 <= shown <= count:
        raise ValueError(f"shown must be between 1 and the {count} prototypes, got {shown}")
    check_percentile(percentile)
    check_count(batch_size, "batch_size")
    if image_shape is not None:
        check_size(image_shape, "image_shape")
    if targets is not None:
        check_targets(targets, batch=len(images), classes=model.classes)
    shape = tuple(images.shape[1:3] if image_shape is None else image_shape)
    # A class of -1 asks for the predicted one.
    asked = np.full(len(images), -1) if targets is None else np.asarray(targets)
    parts = [
        _explained(
            model,
            variables,
            jnp.asarray(images[i : i + batch_size]),
            jnp.asarray(asked[i : i + batch_size]),
            shown,
            shape,
            percentile,
        )
        for i in range(0, len(images), batch_size)
    ]
    found = jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)
    ranked, single = ("image", "rank"), ("image",)
    dims = {
        **dict.fromkeys(("prototype", "similarity", "weight", "points", "patch_row", "patch_column"), ranked),
        **dict.fromkeys(("others", "target", "logit"), single),
        "box": (*ranked, "side"),
        "map": (*ranked, "row", "column"),
        "logits": ("image", "class"),
    }
    dataset = xr.Dataset({name: (dims[name], array) for name, array in found.items()}, {"side": list(SIDES)})
    classes = np.asarray(prototype_classes(model))[found["prototype"]]
    return dataset.assign(prototype_class=(ranked, classes)).assign_attrs(
        height=shape[0], width=shape[1], percentile=percentile
    )


@partial(compiled, static_argnames=("model", "shown", "shape", "percentile"))
def _explained(
    model: ProtoPNet,
    variables: Params,
    images: Array,
    targets: Array,
    shown: int,
    shape: tuple[int, int],
    percentile: float,
) -> dict[str, Array]:
    compared = model.apply(variables, images, method="compare")
    targets = jnp.where(targets < 0, jnp.argmax(compared.logits, axis=1), targets)
    weights = variables["params"]["last_layer"]["kernel"].T[targets]
    points = compared.similarities * weights
    most, chosen = jax.lax.top_k(points, shown)

    def of_chosen(array: Array) -> Array:
        return jnp.take_along_axis(array, chosen, axis=1)

    maps = similarity(compared.distance_maps, model.similarity, model.distance).transpose(0, 3, 1, 2)
    maps = jnp.take_along_axis(maps, chosen[:, :, None, None], axis=1)
    boxes = high_activation_boxes(maps.reshape(-1, *maps.shape[2:]), shape, percentile=percentile)
    places = of_chosen(compared.places)
    return {
        "prototype": chosen,
        "similarity": of_chosen(compared.similarities),
        "weight": of_chosen(weights),
        "points": most,
        "patch_row": places // maps.shape[3],
        "patch_column": places % maps.shape[3],
        "box": boxes.reshape(*chosen.shape, 4),
        "map": maps,
        "others": points.sum(axis=1) - most.sum(axis=1),
        "target": targets,
        "logit": jnp.take_along_axis(compared.logits, targets[:, None], axis=1)[:, 0],
        "logits": compared.logits,
    }


def patch_boxes(
    model: ProtoPNet,
    variables: Params,
    images: Images,
    found: NearestImages,
    *,
    image_shape: tuple[int, int] | None = None,
    percentile: float = 95.0,
) -> Int[np.ndarray, "prototype neighbour 4"]:
    """The box of what resembles each prototype in each of its nearest images: top, bottom, left, right in pixels.

    Args:
        model: the network.
        variables: its variables.
        images: those that `found` speaks of.
        found: what `nearest_images` gave.
        image_shape: height and width that boxes are in; the images' own where None.
        percentile: of the enlarged map.

    Raises:
        ValueError: images are no batch of images, percentile is outside [0, 100], or image_shape is none.
        TypeError: images are not floating point, or found is not what `nearest_images` gives.

    Cost: as many forward passes as there are pairs of a prototype and a neighbour.
    """
    check_batch(images)
    check_variables(model, variables)
    if not isinstance(found, NearestImages):
        raise TypeError(f"found must be what nearest_images gives, got {type(found).__name__}")
    check_percentile(percentile)
    if image_shape is not None:
        check_size(image_shape, "image_shape")
    shape = tuple(images.shape[1:3] if image_shape is None else image_shape)
    numbers = np.broadcast_to(np.arange(len(found.image))[:, None], found.image.shape).ravel()
    places = found.image.ravel()
    boxes = [
        np.asarray(
            _boxes(
                model,
                variables,
                jnp.asarray(images[places[i : i + 32]]),
                jnp.asarray(numbers[i : i + 32]),
                shape,
                percentile,
            )
        )
        for i in range(0, len(places), 32)
    ]
    return np.concatenate(boxes).reshape(*found.image.shape, 4)


@partial(compiled, static_argnames=("model", "shape", "percentile"))
def _boxes(
    model: ProtoPNet,
    variables: Params,
    images: Array,
    prototypes: Array,
    shape: tuple[int, int],
    percentile: float,
) -> Array:
    distances = model.apply(variables, images, method="compare").distance_maps
    own = jnp.take_along_axis(distances, prototypes[:, None, None, None], axis=3)[..., 0]
    return high_activation_boxes(similarity(own, model.similarity, model.distance), shape, percentile=percentile)
