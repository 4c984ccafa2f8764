"""The published Inception v3 of 2015 as far as it is at hand, and the whole network with the blocks that are not.

At hand are 76 convolutions with their normalization folded in, up to Mixed_7a, as an .npz with the names of
TensorFlow's graph: "conv/kernel", "conv/bias", ..., "mixed_8_tower_1_conv_3/bias", kernels HWIO.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from saliency_jax.data.checksums import check_sha256
from saliency_jax.data.images import read_arrays
from saliency_jax.models.folding import folded
from saliency_jax.models.inception import BLOCKS, INCEPTIONS, MIXED, STEM, Branch, Convolution, InceptionV3
from saliency_jax.models.weights.fitting import fit
from saliency_jax.tracing.layers import leaf_paths
from saliency_jax.typing import Params

PUBLISHED_SHA256 = "077bb29f3de90902b9e5b2d4e8755e2c9a5543a87b35f47d13ee076fd60b885a"
"""Of inception_v3_2015_to_mixed8.npz."""
LAST_BLOCK = "Mixed_7a"
"""The last block whose weights are in the file."""
IMAGE_SHAPE = (299, 299, 3)
ACTIVATION_SHAPE = (8, 8, 1280)
"""What LAST_BLOCK gives for an image of IMAGE_SHAPE."""


class Whole(NamedTuple):
    """A network and its variables: `model.apply(variables, images) -> logits`."""

    model: InceptionV3
    variables: Params


def trunk() -> InceptionV3:
    """The network from the images to the activations of Mixed_7a, `[batch, 8, 8, 1280]` for 299 pixels."""
    return InceptionV3(**INCEPTIONS["graph_2015"], last=LAST_BLOCK)


def head(classes: int, *, dropout: float = 0.5) -> InceptionV3:
    """The network from the activations of Mixed_7a to logits: Mixed_7b, Mixed_7c, Logits, to be trained.

    It normalizes by BatchNorm, as the published network did when it was trained; `completed` folds that in.

    Args:
        classes: number of logits.
        dropout: share of the pooled activations that training sets to 0.
    """
    settings = {**INCEPTIONS["graph_2015"], "classes": classes, "normalization": "batch"}
    return InceptionV3(**settings, dropout=dropout, first=BLOCKS[BLOCKS.index(LAST_BLOCK) + 1])


def read_trunk(path: str | os.PathLike[str], *, sha256: str | None = PUBLISHED_SHA256) -> Params:
    """The published weights as the variables of `trunk()`; images are pixel / 127.5 - 1, RGB, of 299 pixels.

    Args:
        path: the .npz.
        sha256: what the file's checksum must be; None to read another file on purpose.

    Returns:
        The variables, NumPy arrays.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file has another checksum, is truncated, is no .npz of numbers, or a tensor is missing, extra,
            not finite or of another shape.
    """
    path = Path(path).expanduser()
    if sha256 is not None:
        check_sha256(path.read_bytes(), sha256, path)
    ours = leaf_names()
    arrays = {ours.get(name, name): array for name, array in read_arrays(path).items()}
    return fit(arrays, trunk(), IMAGE_SHAPE, source=str(path))


def leaf_names() -> dict[str, str]:
    """TensorFlow's name of each tensor -> the path of the leaf here: "conv_1/kernel" -> "params/Conv2d_2a_3x3/..."."""
    published: dict[str, str] = {}
    for i, block in enumerate(STEM):
        published[_numbered("conv", i)] = f"params/{block}"
    for i, (block, steps) in enumerate(MIXED.items()):
        if BLOCKS.index(block) <= BLOCKS.index(LAST_BLOCK):
            [branches] = [step for step in steps if isinstance(step, tuple) and not isinstance(step, Convolution)]
            for tower, convolution in _towers(branches):
                published[f"{_numbered('mixed', i)}_{tower}"] = f"params/{block}/{convolution.name}"
    return {f"{name}/{kind}": f"{leaf}/conv/{kind}" for name, leaf in published.items() for kind in ("kernel", "bias")}


def completed(trunk_variables: Params, head_variables: Params) -> Whole:
    """The whole Inception v3 out of published weights and a trained head.

    Args:
        trunk_variables: of `trunk()`, as `read_trunk` gives them.
        head_variables: of `head(classes)`, trained, its BatchNorms folded in or not.

    Returns:
        The network of all 17 blocks, with as many classes as the head has, and its variables.

    Raises:
        ValueError: a leaf is missing, extra, in both, not finite or of another shape.
    """
    named = [
        dict(zip(leaf_paths(part), map(np.asarray, jax.tree.leaves(part)), strict=True))
        for part in (trunk_variables, folded(head_variables))
    ]
    if twice := sorted(named[0].keys() & named[1].keys()):
        raise ValueError(f"trunk_variables and head_variables must be of different blocks, both have {twice[0]!r}")
    bias = named[1].get("params/Logits/bias")
    if bias is None or bias.ndim != 1:
        raise ValueError(
            f"head_variables must have the vector 'params/Logits/bias', found {leaf_paths(head_variables)}"
        )
    model = InceptionV3(**{**INCEPTIONS["graph_2015"], "classes": bias.size})
    return Whole(model, fit(named[0] | named[1], model, IMAGE_SHAPE, source="trunk and head"))


def _towers(branches: tuple[Branch, ...]) -> Iterator[tuple[str, Convolution]]:
    """TensorFlow's names: the first branch's convolution has no tower if it is alone; the others are numbered."""
    towers = 0
    for branch in branches:
        convolutions = [step for step in branch if isinstance(step, Convolution)]
        if len(branch) == 1 and convolutions:
            yield "conv", convolutions[0]
        elif convolutions:
            for i, convolution in enumerate(convolutions):
                yield f"{_numbered('tower', towers)}_{_numbered('conv', i)}", convolution
            towers += 1


def _numbered(name: str, i: int) -> str:
    """TensorFlow's way to count: conv, conv_1, conv_2."""
    return f"{name}_{i}" if i else name
