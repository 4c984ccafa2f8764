"""Inception v3, the network of the paper's main figures: 17 blocks, whole or in part, with or without BatchNorm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from saliency_jax.checks import check_images
from saliency_jax.tracing.pooling import max_pool
from saliency_jax.typing import Images

SMALLEST_SIDE = 75
"""Pixels of the smallest image that leaves something of itself in the last blocks."""


class Convolution(NamedTuple):
    """A convolution with normalization and ReLU."""

    name: str
    channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: Literal["SAME", "VALID"] = "SAME"


Step = Convolution | Literal["average", "last", "halve"] | tuple["Branch", ...]
"""One step of a branch: a convolution, a pooling, or branches that share an input and whose results are joined along
the channels. Pools are 3 x 3: "halve" is a maximum at every other place, the others keep the size ("last" is what the
variant wants in the last block)."""
Branch = tuple[Step, ...]


def _same_size(pooled_channels: int) -> Step:
    return (
        (Convolution("branch1x1", 64),),
        (Convolution("branch5x5_1", 48), Convolution("branch5x5_2", 64, (5, 5))),
        (
            Convolution("branch3x3dbl_1", 64),
            Convolution("branch3x3dbl_2", 96, (3, 3)),
            Convolution("branch3x3dbl_3", 96, (3, 3)),
        ),
        ("average", Convolution("branch_pool", pooled_channels)),
    )


def _factorized(channels: int) -> Step:
    return (
        (Convolution("branch1x1", 192),),
        (
            Convolution("branch7x7_1", channels),
            Convolution("branch7x7_2", channels, (1, 7)),
            Convolution("branch7x7_3", 192, (7, 1)),
        ),
        (
            Convolution("branch7x7dbl_1", channels),
            Convolution("branch7x7dbl_2", channels, (7, 1)),
            Convolution("branch7x7dbl_3", channels, (1, 7)),
            Convolution("branch7x7dbl_4", channels, (7, 1)),
            Convolution("branch7x7dbl_5", 192, (1, 7)),
        ),
        ("average", Convolution("branch_pool", 192)),
    )


def _expanded(pool: Literal["average", "last"]) -> Step:
    return (
        (Convolution("branch1x1", 320),),
        (
            Convolution("branch3x3_1", 384),
            ((Convolution("branch3x3_2a", 384, (1, 3)),), (Convolution("branch3x3_2b", 384, (3, 1)),)),
        ),
        (
            Convolution("branch3x3dbl_1", 448),
            Convolution("branch3x3dbl_2", 384, (3, 3)),
            ((Convolution("branch3x3dbl_3a", 384, (1, 3)),), (Convolution("branch3x3dbl_3b", 384, (3, 1)),)),
        ),
        (pool, Convolution("branch_pool", 192)),
    )


STEM: dict[str, Branch] = {
    "Conv2d_1a_3x3": (Convolution("Conv2d_1a_3x3", 32, (3, 3), 2, "VALID"),),
    "Conv2d_2a_3x3": (Convolution("Conv2d_2a_3x3", 32, (3, 3), padding="VALID"),),
    "Conv2d_2b_3x3": (Convolution("Conv2d_2b_3x3", 64, (3, 3)),),
    "Conv2d_3b_1x1": ("halve", Convolution("Conv2d_3b_1x1", 80)),
    "Conv2d_4a_3x3": (Convolution("Conv2d_4a_3x3", 192, (3, 3), padding="VALID"),),
}
"""Block -> its steps."""
MIXED: dict[str, Branch] = {
    "Mixed_5b": ("halve", _same_size(32)),
    "Mixed_5c": (_same_size(64),),
    "Mixed_5d": (_same_size(64),),
    "Mixed_6a": (
        (
            (Convolution("branch3x3", 384, (3, 3), 2, "VALID"),),
            (
                Convolution("branch3x3dbl_1", 64),
                Convolution("branch3x3dbl_2", 96, (3, 3)),
                Convolution("branch3x3dbl_3", 96, (3, 3), 2, "VALID"),
            ),
            ("halve",),
        ),
    ),
    "Mixed_6b": (_factorized(128),),
    "Mixed_6c": (_factorized(160),),
    "Mixed_6d": (_factorized(160),),
    "Mixed_6e": (_factorized(192),),
    "Mixed_7a": (
        (
            (Convolution("branch3x3_1", 192), Convolution("branch3x3_2", 320, (3, 3), 2, "VALID")),
            (
                Convolution("branch7x7x3_1", 192),
                Convolution("branch7x7x3_2", 192, (1, 7)),
                Convolution("branch7x7x3_3", 192, (7, 1)),
                Convolution("branch7x7x3_4", 192, (3, 3), 2, "VALID"),
            ),
            ("halve",),
        ),
    ),
    "Mixed_7b": (_expanded("average"),),
    "Mixed_7c": (_expanded("last"),),
}
"""Block -> its steps, for all but the first a set of branches."""
LOGITS = "Logits"
BLOCKS = (*STEM, *MIXED, LOGITS)
"""The paper's 17 blocks, first executed first."""

INCEPTIONS: Mapping[str, Mapping[str, Any]] = {
    "torchvision": {"normalization": "batch", "padding_counts": True, "last_pool": "average", "classes": 1000},
    "graph_2015": {"normalization": "folded", "padding_counts": False, "last_pool": "max", "classes": 1008},
}
"""Name -> settings: `InceptionV3(**INCEPTIONS[name])`. "torchvision" is the network of its published weights,
"graph_2015" the one in TensorFlow's frozen graph of 2015-12-05, whose normalization is in its kernels and biases."""


class InceptionV3(nn.Module):
    """Inception v3: five convolutions, eleven mixed blocks of parallel branches, the mean over places and the logits.

    Any run of its blocks is a network too: `InceptionV3(last="Mixed_7a")` gives that block's activations,
    `InceptionV3(first="Mixed_7b")` takes them and gives the logits, and each has the parameters of its blocks alone.
    A max pooling between two blocks belongs to the later one.

    Args:
        classes: number of logits.
        normalization: "batch", BatchNorm (epsilon 0.001) after each convolution; "folded", a bias there, into which
            and the kernel a BatchNorm may have been multiplied.
        padding_counts: whether an average at the edge divides by all 9 places of its window, or by those inside.
        last_pool: what the pooling branch of Mixed_7c takes, an average or a maximum.
        dropout: share of the pooled activations that training sets to 0; needs the random key "dropout".
        first: the first block that runs, on the images or on the activations of the block before it.
        last: the last block that runs; its activations or logits are returned.

    Source: Szegedy et al. (2016), "Rethinking the Inception Architecture for Computer Vision"; blocks named as in
    Adebayo et al. (2018), section 4, branches as in torchvision. The maximum in the graph of 2015 is known from the
    networks that compute the Frechet inception distance with its weights.
    """

    classes: int = 1000
    normalization: Literal["batch", "folded"] = "batch"
    padding_counts: bool = True
    last_pool: Literal["average", "max"] = "average"
    dropout: float = 0.5
    first: str = BLOCKS[0]
    last: str = BLOCKS[-1]

    @nn.compact
    def __call__(self, images: Images, *, train: bool = False) -> Float[Array, "batch *features"]:
        """The logits of a batch of images, or the activations of the last block asked for.

        Args:
            images: `[batch, height, width, 3]`, or the activations of the block before `first`.
            train: normalize by the batch (and update the collection "batch_stats") and drop out.

        Returns:
            `[batch, class]` where the last block is Logits, else `[batch, height, width, channel]`.

        Raises:
            ValueError, TypeError: images are no batch of images, or smaller than 75 pixels; unknown settings.
        """
        check_images(images)
        blocks = self._blocks()
        details = _Details(self.normalization, self.padding_counts, self.last_pool)
        if self.first == BLOCKS[0] and min(images.shape[1:3]) < SMALLEST_SIDE:
            raise ValueError(f"images must be at least {SMALLEST_SIDE} pixels high and wide, got {images.shape}")
        hidden = jnp.asarray(images)
        for name in blocks:
            if name in STEM:
                hidden = _through(STEM[name], hidden, details, train)
            elif name in MIXED:
                hidden = _Mixed(MIXED[name], details, name=name)(hidden, train)
            else:
                pooled = nn.Dropout(self.dropout, deterministic=not train)(hidden.mean(axis=(1, 2)))
                hidden = nn.Dense(self.classes, kernel_init=nn.initializers.he_normal(), name=name)(pooled)
        return hidden

    def _blocks(self) -> tuple[str, ...]:
        """The names of the blocks that run; ValueError where a setting is unknown."""
        choices = (
            ("normalization", self.normalization, ("batch", "folded")),
            ("last_pool", self.last_pool, ("average", "max")),
            ("first", self.first, BLOCKS),
            ("last", self.last, BLOCKS),
        )
        for setting, value, allowed in choices:
            if value not in allowed:
                raise ValueError(f"{setting} must be one of {', '.join(allowed)}; got {value!r}")
        begin, end = BLOCKS.index(self.first), BLOCKS.index(self.last)
        if begin > end:
            raise ValueError(f"first must not come after last, got {self.first!r} and {self.last!r}")
        return BLOCKS[begin : end + 1]


class _Details(NamedTuple):
    """In what the variants differ, as InceptionV3's arguments say."""

    normalization: str
    padding_counts: bool
    last_pool: str


class _Mixed(nn.Module):
    """The steps of one block, as a module."""

    steps: Branch
    details: _Details

    @nn.compact
    def __call__(self, inputs: Array, train: bool) -> Array:
        return _through(self.steps, inputs, self.details, train)


class _Unit(nn.Module):
    """relu(normalized(conv(x)))."""

    convolution: Convolution
    details: _Details

    @nn.compact
    def __call__(self, inputs: Array, train: bool) -> Array:
        _, channels, kernel, stride, padding = self.convolution
        batch = self.details.normalization == "batch"
        conv = nn.Conv(
            channels,
            kernel,
            stride,
            padding,
            use_bias=not batch,
            kernel_init=nn.initializers.he_normal(),
            name="conv",
        )
        convolved = conv(inputs)
        if batch:
            convolved = nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-3, name="bn")(convolved)
        return jax.nn.relu(convolved)


def _through(branch: Branch, inputs: Array, details: _Details, train: bool) -> Array:
    """The steps of a branch in turn, the convolutions as modules of the one that calls."""
    hidden = inputs
    for step in branch:
        if isinstance(step, str):
            hidden = _pooled(step, hidden, details)
        elif isinstance(step, Convolution):
            hidden = _Unit(step, details, name=step.name)(hidden, train)
        else:
            hidden = jnp.concatenate([_through(part, hidden, details, train) for part in step], axis=-1)
    return hidden


def _pooled(kind: str, inputs: Array, details: _Details) -> Array:
    if kind == "halve":
        return max_pool(inputs, (3, 3), (2, 2))
    if kind == "last" and details.last_pool == "max":
        return max_pool(inputs, (3, 3), padding="SAME")
    return nn.avg_pool(inputs, (3, 3), padding="SAME", count_include_pad=details.padding_counts)
