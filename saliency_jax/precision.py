"""A model in another precision than its parameters have."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from saliency_jax.checks import check_function
from saliency_jax.typing import Apply, Images, Params


def in_precision(apply: Apply, dtype: Any) -> Apply:
    """The same model computed in another precision: parameters and images are rounded on its way in, logits come back.

    f(params, images) = apply(round(params), round(images)), in the images' own dtype. What lies outside of the model
    stays in that dtype: the noise of SmoothGrad, the path of integrated gradients, and the sums over their samples. In
    bfloat16 every gradient is rounded to 8 bits. An average over samples forgives much of that and a single gradient
    does not; `experiments/benchmarks/precision.py` measures how much, and what it gains. Nothing in this library rounds
    unless it is asked to.

    Args:
        apply: the model, `apply(params, images) -> logits`.
        dtype: a floating point dtype, such as `jax.numpy.bfloat16`.

    Returns:
        `apply(params, images) -> logits`, the logits in the dtype of the images. Integer parameters stay as they are.

    Raises:
        TypeError: apply is no function, or dtype is not floating point.
    """
    check_function(apply, "apply")
    try:
        precision = jnp.dtype(dtype)
    except TypeError as error:
        raise TypeError(f"dtype must be a floating point dtype, got {dtype!r}") from error
    # NumPy takes None for float64.
    if dtype is None or not jnp.issubdtype(precision, jnp.floating):
        raise TypeError(f"dtype must be a floating point dtype, got {dtype}")

    def rounded(leaf: Any) -> Any:
        return jnp.asarray(leaf, precision) if jnp.issubdtype(jnp.result_type(leaf), jnp.floating) else leaf

    def apply_rounded(params: Params, images: Images) -> Array:
        logits = apply(jax.tree.map(rounded, params), images.astype(precision))
        return logits.astype(images.dtype)

    return apply_rounded
