"""What every entry point asks of its arrays before it traces: kind, rank, size, finiteness."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def is_concrete(array: Any) -> bool:
    """Whether an array's values can be looked at now, outside of any jit, grad or vmap."""
    if isinstance(array, jax.core.Tracer):
        return False
    return not isinstance(array, jax.Array) or array.is_fully_addressable


def check_floating(array: Any, argument: str) -> None:
    """Raise TypeError unless the array is real floating point: an integer image has no gradient."""
    dtype = jnp.result_type(array)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(
            f"{argument} must be floating point (an integer array has no gradient), got {dtype}: "
            f"convert it, for instance with {argument}.astype('float32') / 255"
        )


def check_finite(array: Any, argument: str) -> None:
    """Raise ValueError where a value that can be seen is NaN or infinite; under a trace nothing can be seen."""
    if is_concrete(array):
        # NumPy, since jnp would trace even a value that is known while it runs under somebody's jit.
        values = np.asarray(array)
        bad = values.size - np.count_nonzero(np.isfinite(values))
        if bad:
            raise ValueError(f"{argument} must be finite, found {bad} NaN or infinite of {values.size} values")


def check_image(image: Any, argument: str = "image") -> None:
    """Raise unless `image` is one finite floating-point array that is not empty."""
    check_floating(image, argument)
    if jnp.size(image) == 0:
        raise ValueError(f"{argument} must not be empty, got shape {jnp.shape(image)}")
    check_finite(image, argument)


def check_score_output(output: Any) -> None:
    """Raise TypeError unless what a score gives for one image, an array or its shape, is one real number."""
    shape, dtype = getattr(output, "shape", None), getattr(output, "dtype", None)
    if shape != () or dtype is None or not jnp.issubdtype(dtype, jnp.floating):
        found = type(output).__name__ if shape is None else f"shape {shape} of {dtype}"
        raise TypeError(f"score must give one real floating-point number for one image, got {found}")


def check_images(images: Any, argument: str = "images") -> None:
    """Raise unless `images` is a batch `[batch, height, width, channel]` of finite floating-point values."""
    check_floating(images, argument)
    shape = jnp.shape(images)
    if len(shape) != 4:
        raise ValueError(f"{argument} must be [batch, height, width, channel], got {len(shape)} axes: {shape}")
    if 0 in shape:
        raise ValueError(f"{argument} must hold at least one image of at least one pixel, got shape {shape}")
    check_finite(images, argument)


def check_targets(targets: Any, *, batch: int, classes: int, argument: str = "targets") -> None:
    """Raise unless `targets` is one integer class in [0, classes) for each image."""
    dtype, shape = jnp.result_type(targets), jnp.shape(targets)
    if not jnp.issubdtype(dtype, jnp.integer):
        raise TypeError(f"{argument} must be integer classes, got {dtype}")
    if shape != (batch,):
        raise ValueError(f"{argument} must hold one class for each of the {batch} images, got shape {shape}")
    if is_concrete(targets):
        values = np.asarray(targets)
        outside = values[(values < 0) | (values >= classes)]
        if outside.size:
            raise ValueError(f"{argument} must be classes in [0, {classes}), found {outside[:5].tolist()}")


def check_key(key: Any, explainer: str) -> None:
    """Raise ValueError where an explainer that draws random numbers was given no key."""
    if key is None:
        raise ValueError(f"{explainer} draws random numbers: pass key=jax.random.key(seed), got None")
