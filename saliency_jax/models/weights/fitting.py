"""Arrays from a published file as the parameters of a network here: every leaf filled, nothing left over."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import numpy as np

from saliency_jax.tracing.layers import leaf_paths
from saliency_jax.typing import Params


def fit(arrays: Mapping[str, np.ndarray], model: nn.Module, image_shape: Sequence[int], *, source: str) -> Params:
    """The variables of a model from arrays by the names of their leaves: {"params/conv1/kernel": array, ...}.

    Args:
        arrays: leaf path -> values, in the layout of the model (kernels HWIO, dense kernels inputs first).
        model: the network that they are for.
        image_shape: `(height, width, channel)` of its images; only shapes are traced, nothing is run.
        source: what the arrays were read from, for the messages.

    Returns:
        The variables as `model.apply` takes them, NumPy arrays in the dtypes of the model.

    Raises:
        ValueError: a leaf has no array or one of another shape, an array has no leaf, values are not finite or not
            numbers. The message names the first and says how many more there are.
    """
    wanted = jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct((1, *image_shape), np.float32))
    paths = leaf_paths(wanted)
    if missing := [path for path in paths if path not in arrays]:
        near = difflib.get_close_matches(missing[0], arrays, n=2)
        raise ValueError(
            f"{source} must have every tensor of {type(model).__name__}: {len(missing)} of {len(paths)} are missing, "
            f"first {missing[0]!r}; near names in it: {near}"
        )
    if extra := [name for name in arrays if name not in set(paths)]:
        raise ValueError(
            f"{source} is of another architecture than this {type(model).__name__}: it has {len(extra)} tensors more, "
            f"first {extra[0]!r}"
        )
    leaves = jax.tree.leaves(wanted)
    fitted = [_checked(arrays[path], leaf, path, source) for path, leaf in zip(paths, leaves, strict=True)]
    return jax.tree.unflatten(jax.tree.structure(wanted), fitted)


def _checked(array: np.ndarray, leaf: jax.ShapeDtypeStruct, path: str, source: str) -> np.ndarray:
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{source}: tensor {path!r} must hold numbers, found dtype {array.dtype}")
    if array.shape != leaf.shape:
        raise ValueError(f"{source}: tensor {path!r} must have shape {leaf.shape}, found {array.shape}")
    values = np.ascontiguousarray(array, dtype=leaf.dtype)
    if bad := values.size - np.count_nonzero(np.isfinite(values)):
        raise ValueError(f"{source}: tensor {path!r} must be finite, found {bad} NaN or infinite of {values.size}")
    return values
