"""`jax.jit` with the convolutions on all cores of a CPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import jax
import jax.numpy as jnp

from saliency_jax.tracing.compat import CONVOLUTIONS_ON_ALL_CORES


def compiled(f: Callable, **options: Any) -> Callable:
    """`jax.jit(f, **options)`, compiled for all cores of a CPU where JAX by itself would use one.

    Before version 0.12 JAX hands its CPU convolutions to kernels of one thread: on a machine with many cores they take
    as many times longer. Inside another `jax.jit` the options of the outermost one count, and this is `jax.jit`.

    Args:
        f: a function of pytrees that JAX can trace.
        options: those of `jax.jit`, without compiler_options.

    Returns:
        A function of the same arguments and results.
    """
    inside = jax.jit(f, **options)
    outermost = jax.jit(f, compiler_options=CONVOLUTIONS_ON_ALL_CORES, **options)

    @wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        # JAX takes compiler options at the outermost jit alone. Under somebody's jit even a constant is traced.
        traced = any(isinstance(leaf, jax.core.Tracer) for leaf in (jnp.zeros(()), *jax.tree.leaves((args, kwargs))))
        return (inside if traced or jax.default_backend() != "cpu" else outermost)(*args, **kwargs)

    return call
