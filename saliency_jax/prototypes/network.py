"""ProtoPNet: a network that compares the parts of an image with learned prototypes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.nn import initializers
from jaxtyping import Float, Int

from saliency_jax.checks import check_function, check_images, check_integer
from saliency_jax.prototypes.distances import Distance, Similarity, distance_maps, nearest_patches, similarity
from saliency_jax.typing import Images

AddOn = Literal["regular", "bottleneck", "none"]


class Comparison(NamedTuple):
    """All that ProtoPNet computes of a batch."""

    distance_maps: Float[Array, "batch height width prototype"]
    distances: Float[Array, "batch prototype"]
    """Of the nearest patch of each image."""
    places: Int[Array, "batch prototype"]
    """Where it is: `row * width + column`."""
    similarities: Float[Array, "batch prototype"]
    logits: Float[Array, "batch class"]


class ProtoPNet(nn.Module):
    """A backbone, add-on layers, prototypes, and a last layer without bias over the similarities to them.

    z = add_on(backbone(images)), d_j = min over patches of distance(z, p_j), s_j = log((d_j + 1) / (d_j + 1e-4)),
    logit_c = sum_j s_j w_jc. A prototype belongs to one class; w_jc begins at 1 for its own class and at -0.5 for the
    others.

    Its parameters are the groups that stages of training free and hold: "backbone", "add_on", "prototype_vectors"
    `[prototype, depth]` and "last_layer". The backbone runs as it is, BatchNorm by its running averages: a prototype
    that was projected on a patch stays that patch whatever is trained afterwards.

    Args:
        classes: number of logits.
        prototypes: how many in all, equally many a class; 10 a class where None.
        backbone: a Linen module or a function of images that gives activations `[batch, height, width, channel]`:
            `Trunk(model)` makes one of any network of this library. None where the inputs are such activations.
        depth: length of a prototype.
        add_on: "regular": two 1x1 convolutions, the second one with a sigmoid; "bottleneck": as many as it takes to
            halve the channels down to `depth`, the last one with a sigmoid; "none": the activations themselves.
        distance: "l2", squared, or "cosine".
        similarity: "log" or "linear".
        class_of: the class of each prototype, where they are not equally many a class.

    Raises:
        ValueError: prototypes cannot be divided among the classes, or another field is out of its range.

    Source: Chen et al. (2019), section 2; "cosine" from ProtoPNeXt, Willard et al. (2024).
    """

    classes: int
    prototypes: int | None = None
    backbone: Callable[[Any], Array] | None = None
    depth: int = 128
    add_on: AddOn = "regular"
    distance: Distance = "l2"
    similarity: Similarity = "log"
    class_of: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("classes", "depth"):
            check_integer(getattr(self, name), name)
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name, known in _KNOWN.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {known}, got {getattr(self, name)!r}")
        if self.backbone is not None:
            check_function(self.backbone, "backbone")
        if self.prototypes is not None:
            check_integer(self.prototypes, "prototypes")
        if self.class_of is not None:
            _check_class_of(self.class_of)
        if self.class_of is None:
            count = 10 * self.classes if self.prototypes is None else self.prototypes
            if count < 1 or count % self.classes:
                raise ValueError(f"prototypes must be equally many for each of {self.classes} classes, got {count}")
        elif self.prototypes not in (None, len(self.class_of)) or not self.class_of:
            raise ValueError(
                f"class_of must name the class of each of {self.prototypes} prototypes, got {len(self.class_of)}"
            )
        elif not 0 <= min(self.class_of) <= max(self.class_of) < self.classes:
            raise ValueError(f"class_of must be classes in [0, {self.classes}), got {self.class_of}")
        super().__post_init__()

    def setup(self) -> None:
        """The add-on layers, the prototypes and the last layer."""
        classes = prototype_classes(self)
        if self.add_on != "none":
            self.adding = _AddOn(self.depth, self.add_on, name="add_on")
        # Parameters that were read from a file may be NumPy's.
        self.prototype_vectors = jnp.asarray(
            self.param("prototype_vectors", initializers.uniform(1.0), (len(classes), self.depth))
        )
        own = np.asarray(classes)[:, None] == np.arange(self.classes)[None]
        self.last_layer = nn.Dense(
            self.classes, use_bias=False, kernel_init=lambda *_: jnp.where(own, 1.0, -0.5), precision="highest"
        )

    def __call__(self, images: Images) -> Float[Array, "batch class"]:
        """The logits of a batch of images, or of activations where there is no backbone."""
        nearest = nearest_patches(self.patches(images), self.prototype_vectors, self.distance)
        return self.last_layer(similarity(nearest.distances, self.similarity, self.distance))

    def compare(self, images: Images) -> Comparison:
        """The logits and all that they are made of: `model.apply(variables, images, method="compare")`."""
        patches = self.patches(images)
        maps = distance_maps(patches, self.prototype_vectors, self.distance)
        nearest = nearest_patches(patches, self.prototype_vectors, self.distance)
        similarities = similarity(nearest.distances, self.similarity, self.distance)
        return Comparison(maps, nearest.distances, nearest.places, similarities, self.last_layer(similarities))

    def patches(self, images: Images) -> Float[Array, "batch height width depth"]:
        """What the prototypes are compared with: `model.apply(variables, images, method="patches")`."""
        check_images(images)
        features = jnp.asarray(images) if self.backbone is None else self.backbone(images)
        if features.ndim != 4:
            raise ValueError(f"backbone must give [batch, height, width, channel], got shape {features.shape}")
        if self.add_on == "none":
            if features.shape[-1] != self.depth:
                raise ValueError(
                    f'depth must be the {features.shape[-1]} channels with add_on "none", got {self.depth}'
                )
            return features
        return self.adding(features)


_KNOWN = {
    "add_on": ("regular", "bottleneck", "none"),
    "distance": ("l2", "cosine"),
    "similarity": ("log", "linear"),
}


def prototype_classes(model: ProtoPNet) -> tuple[int, ...]:
    """The class of each prototype of a model.

    Raises:
        TypeError: the model is no ProtoPNet.
    """
    if not isinstance(model, ProtoPNet):
        raise TypeError(f"model must be a ProtoPNet, got {type(model).__name__}")
    if model.class_of is not None:
        return tuple(model.class_of)
    count = 10 * model.classes if model.prototypes is None else model.prototypes
    return tuple(j // (count // model.classes) for j in range(count))


def _check_class_of(class_of: Any) -> None:
    if not isinstance(class_of, tuple):
        raise TypeError(f"class_of must be a tuple of classes, got {type(class_of).__name__}")
    for one in class_of:
        check_integer(one, "class_of")


def own_class(model: ProtoPNet) -> Float[np.ndarray, "prototype class"]:
    """1 where a prototype belongs to a class, else 0."""
    classes = list(prototype_classes(model))
    return np.eye(model.classes, dtype=np.float32)[classes]


class _AddOn(nn.Module):
    """1x1 convolutions from the backbone's channels to the prototypes' depth, with ReLU between, a sigmoid last."""

    depth: int
    kind: str

    @nn.compact
    def __call__(self, features: Array) -> Array:
        widths = [self.depth, self.depth] if self.kind == "regular" else _halvings(features.shape[-1], self.depth)
        # He's initialization over the outputs, as the original has it.
        init = initializers.variance_scaling(2.0, "fan_out", "normal")
        for i, width in enumerate(widths, start=1):
            features = nn.Conv(width, (1, 1), kernel_init=init, name=f"conv{i}")(features)
            features = jax.nn.relu(features) if i < len(widths) else jax.nn.sigmoid(features)
        return features


def _halvings(channels: int, depth: int) -> list[int]:
    """The widths of the bottleneck's convolutions: two at each halving, until the depth is reached."""
    widths: list[int] = []
    while True:
        channels = max(depth, channels // 2)
        widths += [channels, channels]
        if channels == depth:
            return widths
