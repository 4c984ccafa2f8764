"""Which pictures belong to prototypes, and the parts of them that are shown: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import matplotlib
import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from saliency_jax.typing import Images, Params

Pictures = Mapping[int, Any] | Sequence[Any] | np.ndarray
"""`pictures[i]` is `[height, width, channel]` with values in [0, 1]; a mapping may hold those alone that are shown."""

SIDES = ("top", "bottom", "left", "right")


def prototype_patches(
    classes: Int[np.ndarray, " prototype"],
    source: Int[np.ndarray, " prototype"],
    source_box: Int[np.ndarray, "prototype 4"],
    image: Int[np.ndarray, "prototype neighbour"],
    box: Int[np.ndarray, "prototype neighbour 4"],
    distance: Float[np.ndarray, "prototype neighbour"],
    labels: Int[np.ndarray, " n"],
    *,
    shape: tuple[int, int],
) -> xr.Dataset:
    """Where prototypes come from and which training images have the patches nearest to them, as one Dataset.

    Args:
        classes: the class of each prototype.
        source: the training image that each one is a patch of, `Sources.image`.
        source_box: top, bottom, left, right of that patch in pixels, bottom and right one past the last ones.
        image: the training images nearest to each prototype, nearest first, `nearest_images(...).image`.
        box: the box of the patch in each of them, `patch_boxes(...)`.
        distance: of that patch, `nearest_images(...).distance`.
        labels: the classes of all training images.
        shape: height and width in pixels that boxes are in.

    Returns:
        A Dataset over (prototype, neighbour, side):
            prototype_class, source `(prototype)`; source_box `(prototype, side)`;
            image, distance, image_class `(prototype, neighbour)`; box `(prototype, neighbour, side)`.

    Raises:
        ValueError: the arrays do not fit together, an image is not among the labels, or a box is not within shape.
    """
    labels = np.asarray(labels)
    source_box, box = np.asarray(source_box), np.asarray(box)
    arrays = {"classes": classes, "source": source, "image": image, "distance": distance}
    classes, source, image, distance = (np.asarray(array) for array in arrays.values())
    count, neighbours = len(classes), image.shape[-1]
    expected = {
        "source": (source, (count,)),
        "source_box": (source_box, (count, 4)),
        "image": (image, (count, neighbours)),
        "box": (box, (count, neighbours, 4)),
        "distance": (distance, (count, neighbours)),
    }
    for name, (array, wanted) in expected.items():
        if array.shape != wanted:
            raise ValueError(f"{name} must have shape {wanted} for {count} prototypes, got {array.shape}")
    for name, array in {"source": source, "image": image}.items():
        if array.size and not 0 <= array.min() <= array.max() < len(labels):
            raise ValueError(
                f"{name} must be among the {len(labels)} labelled images, got {array.min()} to {array.max()}"
            )
    for name, array in {"source_box": source_box, "box": box}.items():
        _check_boxes(array, shape, name)
    ranked = ("prototype", "neighbour")
    return xr.Dataset(
        {
            "prototype_class": ("prototype", classes),
            "source": ("prototype", source),
            "source_box": (("prototype", "side"), source_box),
            "image": (ranked, image),
            "image_class": (ranked, labels[image]),
            "distance": (ranked, distance),
            "box": ((*ranked, "side"), box),
        },
        coords={"prototype": np.arange(count), "neighbour": np.arange(neighbours), "side": list(SIDES)},
        attrs={"height": shape[0], "width": shape[1]},
    )


def patches_of_network(
    model: Any,
    variables: Params,
    images: Images,
    labels: Int[np.ndarray, " n"],
    sources: Any,
    *,
    count: int = 5,
    image_shape: tuple[int, int] | None = None,
) -> xr.Dataset:
    """`prototype_patches` of a network that was projected, measured on its training images.

    Args:
        model: the `ProtoPNet`.
        variables: its variables.
        images: `[n, height, width, channel]`: those it was projected on, as the model takes them.
        labels: their classes.
        sources: the patches that the prototypes are, `Fitted.sources` or `Projection.sources`.
        count: how many nearest images for each prototype; all where there are fewer.
        image_shape: height and width in pixels that boxes are in; the images' own where None.

    Returns:
        The Dataset of `prototype_patches`.

    Raises:
        ValueError: images are no batch of images or not as many as labels, sources speak of other images or of another
            number of prototypes, or count is not positive.
        TypeError: images are not floating point, or sources are none, such as before a last projection.

    Cost: a forward pass over all images, and one for each pair of a prototype and a neighbour.
    """
    # Here, since prototypes need Flax and no other figure does.
    from saliency_jax import prototypes

    if not isinstance(sources, prototypes.Sources):
        kind = type(sources).__name__
        raise TypeError(f"sources must be those of a network that ends in a projection, Fitted.sources, got {kind}")
    numbers = np.asarray(sources.image)
    if len(numbers) != len(prototypes.prototype_classes(model)) or not 0 <= numbers.min() <= numbers.max() < len(
        images
    ):
        raise ValueError(
            f"sources must give each prototype one of the {len(images)} images, got {len(numbers)} from "
            f"{numbers.min()} to {numbers.max()}"
        )
    near = prototypes.nearest_images(model, variables, images, count=min(count, len(images)))
    own = prototypes.NearestImages(*(np.asarray(array)[:, None] for array in sources))
    boxes = [prototypes.patch_boxes(model, variables, images, found, image_shape=image_shape) for found in (own, near)]
    return prototype_patches(
        np.asarray(prototypes.prototype_classes(model)),
        own.image[:, 0],
        boxes[0][:, 0],
        near.image,
        boxes[1],
        near.distance,
        np.asarray(labels),
        shape=tuple(images.shape[1:3] if image_shape is None else image_shape),
    )


def _check_boxes(boxes: np.ndarray, shape: tuple[int, int], argument: str) -> None:
    top, bottom, left, right = np.moveaxis(boxes, -1, 0)
    inside = (top >= 0) & (top < bottom) & (bottom <= shape[0]) & (left >= 0) & (left < right) & (right <= shape[1])
    if not inside.all():
        worst = boxes[~inside][0].tolist()
        raise ValueError(f"{argument} must be top < bottom and left < right within {shape} pixels, found {worst}")


def check_dataset(dataset: xr.Dataset, variables: Sequence[str], argument: str) -> None:
    """Raise ValueError where a Dataset lacks what is drawn from it."""
    if missing := [name for name in variables if name not in dataset]:
        raise ValueError(f"{argument} must have the variables {list(variables)}, lacks {missing}")


def check_explained(explained: xr.Dataset, patches: xr.Dataset) -> None:
    """Raise ValueError unless the two are what `explain` and `prototype_patches` gave for one network."""
    drawn = ("prototype", "prototype_class", "similarity", "weight", "points", "others", "target", "logit", "logits")
    check_dataset(explained, (*drawn, "box", "map"), "explained")
    check_dataset(patches, ("prototype_class", "source", "source_box", "image", "image_class", "box"), "patches")
    numbers = explained.prototype.values
    count = patches.sizes["prototype"]
    if not 0 <= numbers.min() <= numbers.max() < count:
        raise ValueError(f"explained must speak of the {count} prototypes of patches, found {numbers.max()}")
    if (patches.prototype_class.values[numbers] != explained.prototype_class.values).any():
        raise ValueError("explained and patches must be of one network: their prototypes have different classes")


def check_names(class_names: Sequence[str], *classes: np.ndarray) -> None:
    """Raise ValueError unless every class has a name."""
    largest = max((int(found.max()) for found in classes if found.size), default=-1)
    if largest >= len(class_names):
        raise ValueError(f"class_names must name all {largest + 1} classes, got {len(class_names)}")


def picture(pictures: Pictures, place: int, dataset: xr.Dataset, argument: str) -> Float[np.ndarray, "height width 3"]:
    """One of the pictures in colour, of the size that the boxes of a Dataset are in.

    Args:
        pictures: all of them.
        place: which one.
        dataset: with the attributes height and width.
        argument: what messages call the pictures.

    Raises:
        ValueError: there is no such picture, it is not of that size, it has other than 1 or 3 channels, or values
            outside of [0, 1].
    """
    try:
        found = np.asarray(pictures[place])
    except (KeyError, IndexError) as error:
        raise ValueError(f"{argument} must have picture {place}, which it lacks") from error
    shape = (int(dataset.attrs["height"]), int(dataset.attrs["width"]))
    if found.ndim != 3 or found.shape[:2] != shape or found.shape[2] not in (1, 3):
        raise ValueError(f"{argument} must be [height, width, 1 or 3 channels] of {shape} pixels, got {found.shape}")
    if not (np.issubdtype(found.dtype, np.floating) and 0 <= found.min() <= found.max() <= 1):
        raise ValueError(
            f"{argument} must be floating point in [0, 1], got {found.dtype} from {found.min()} to {found.max()}"
        )
    return np.broadcast_to(found, (*shape, 3))


def part(whole: Float[np.ndarray, "height width 3"], box: Int[np.ndarray, " 4"]) -> Float[np.ndarray, "tall wide 3"]:
    """What is inside a box: top, bottom, left, right."""
    top, bottom, left, right = box
    return whole[top:bottom, left:right]


def overlay(
    whole: Float[np.ndarray, "height width 3"], similarities: Float[np.ndarray, "row column"]
) -> Float[np.ndarray, "height width 3"]:
    """A map of patches over the picture in grey: enlarged as for its box, dark violet lowest to yellow highest.

    The map is scaled by itself; its heights are told by the similarity beside it. A map that is the same everywhere
    is the lowest colour throughout.
    """
    # Here, since prototypes need Flax and no other figure does.
    from saliency_jax.prototypes.upsampling import upsampled

    enlarged = np.asarray(upsampled(jnp.asarray(similarities), whole.shape[:2]))
    low, high = enlarged.min(), enlarged.max()
    # Rounding makes a constant map uneven when it is enlarged.
    constant = np.min(similarities) == np.max(similarities)
    scaled = np.zeros_like(enlarged) if constant else (enlarged - low) / (high - low)
    colours = matplotlib.colormaps["viridis"](scaled)[..., :3]
    grey = whole @ np.array([0.299, 0.587, 0.114])
    return 0.35 * grey[..., None] + 0.65 * colours
