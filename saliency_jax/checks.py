"""What every entry point asks of its arrays before it traces: kind, rank, size, finiteness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def is_concrete(array: Any) -> bool:
    """Whether an array's values can be looked at now, outside of any jit, grad or vmap."""
    if isinstance(array, jax.core.Tracer):
        return False
    return not isinstance(array, jax.Array) or array.is_fully_addressable


def dtype_of(array: Any, argument: str) -> Any:
    """The dtype that JAX takes an array, or a list of numbers, to have; TypeError where it is neither."""
    try:
        # None is a floating-point array to JAX, and a string the name of a dtype.
        if array is None or isinstance(array, str):
            raise TypeError
        return jnp.result_type(np.asarray(array) if isinstance(array, list | tuple) else array)
    except (TypeError, ValueError):
        raise TypeError(f"{argument} must be an array of numbers, got {_kind(array)}") from None


def check_no_list(array: Any, argument: str) -> None:
    """Raise TypeError where numbers came as a list or a tuple, which have no shape."""
    if isinstance(array, list | tuple):
        raise TypeError(f"{argument} must be an array, got {_kind(array)}: convert it with jax.numpy.asarray")


def check_floating(array: Any, argument: str) -> None:
    """Raise TypeError unless the array is real floating point: an integer image has no gradient."""
    dtype = dtype_of(array, argument)
    check_no_list(array, argument)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(
            f"{argument} must be floating point (an integer array has no gradient), got {dtype}: "
            f"convert it, for instance with {argument}.astype('float32') / 255"
        )


def check_finite(array: Any, argument: str) -> None:
    """Raise ValueError where a value that can be seen is NaN or infinite; under a trace nothing can be seen."""
    dtype_of(array, argument)
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


def check_batch(images: Any, argument: str = "images") -> None:
    """Raise unless `images` is a batch `[batch, height, width, channel]`, floating point, of whatever values."""
    check_floating(images, argument)
    shape = jnp.shape(images)
    if len(shape) != 4:
        raise ValueError(f"{argument} must be [batch, height, width, channel], got {len(shape)} axes: {shape}")
    if 0 in shape:
        raise ValueError(f"{argument} must hold at least one image of at least one pixel, got shape {shape}")


def check_images(images: Any, argument: str = "images") -> None:
    """Raise unless `images` is a batch `[batch, height, width, channel]` of finite floating-point values."""
    check_batch(images, argument)
    check_finite(images, argument)


def check_targets(targets: Any, *, batch: int, classes: int, argument: str = "targets") -> None:
    """Raise unless `targets` is one integer class in [0, classes) for each image."""
    dtype, shape = dtype_of(targets, argument), jnp.shape(targets)
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
    """Raise where an explainer that draws random numbers was given no key, or what is none."""
    if key is None:
        raise ValueError(f"{explainer} draws random numbers: pass key=jax.random.key(seed), got None")
    check_one_key(key)


def check_one_key(key: Any) -> None:
    """Raise unless `key` is one JAX random key: TypeError where it is none, ValueError where it is several.

    A raw key is an array of the implementation's words, two where JAX is not told otherwise.
    """
    dtype, shape = getattr(key, "dtype", None), jnp.shape(key) if hasattr(key, "dtype") else ()
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    if not typed and (dtype != jnp.uint32 or not shape):
        raise TypeError(f"key must be a JAX random key, jax.random.key(seed), got {_kind(key)}")
    words = () if typed else jax.eval_shape(lambda: jax.random.PRNGKey(0)).shape
    if shape != words:
        raise ValueError(f"key must be one random key, got shape {shape}: take one of them, as jax.random.split gives")


def check_integer(value: Any, argument: str) -> None:
    """Raise TypeError unless a value is an integer, ValueError where an index of 32 bits cannot hold it."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{argument} must be an integer, got {_kind(value)}")
    if not -(2**31) <= int(value) < 2**31:
        raise ValueError(f"{argument} must fit into 32 bits, got {value}")


def check_number(value: Any, argument: str) -> None:
    """Raise TypeError unless a value is one real number, ValueError where it is too large for float32.

    NaN and infinity are left to the range that a caller asks for; `check_finite_number` refuses them.
    """
    if isinstance(value, (bool, str, list, tuple)) or np.ndim(value) or not _is_real(value):
        raise TypeError(f"{argument} must be one real number, got {_kind(value)}")
    if is_concrete(value) and float(np.finfo(np.float32).max) < abs(value) < np.inf:
        raise ValueError(f"{argument} must be a number of float32, got {value}")


def check_finite_number(value: Any, argument: str) -> None:
    """Raise as `check_number`, and ValueError where the number is seen to be NaN or infinite."""
    check_number(value, argument)
    check_finite(value, argument)


def check_function(value: Any, argument: str) -> None:
    """Raise TypeError unless a value can be called."""
    if not callable(value):
        raise TypeError(f"{argument} must be a function, got {_kind(value)}")


def check_sequence(values: Any, kind: type, argument: str) -> None:
    """Raise TypeError unless the values are a list or another sequence of one kind of thing."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise TypeError(f"{argument} must be a sequence of {kind.__name__}, got {_kind(values)}")
    for value in values:
        if not isinstance(value, kind):
            raise TypeError(f"{argument} must be a sequence of {kind.__name__}, found {_kind(value)} in it")


def check_map(found: Any, image: Any) -> None:
    """Raise ValueError unless what an explainer gave is an array shaped like its image."""
    if getattr(found, "shape", None) != image.shape:
        what = getattr(found, "shape", None) or _kind(found)
        raise ValueError(f"explain must give a map shaped like the image {image.shape}, got {what}")


def _is_real(value: Any) -> bool:
    dtype = getattr(value, "dtype", None)
    if dtype is None:
        return isinstance(value, (int, float))
    return jnp.issubdtype(dtype, jnp.integer) or jnp.issubdtype(dtype, jnp.floating)


def _kind(value: Any) -> str:
    """What a value is, for a message: an array's dtype and shape, a number or a name itself, or its type."""
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{value.dtype} of shape {value.shape}"
    return repr(value) if value is None or isinstance(value, (int, float, complex, str)) else type(value).__name__
