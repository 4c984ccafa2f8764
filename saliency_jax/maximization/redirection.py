"""The gradient that leads into a dead ReLU: where nothing comes through, what would raise it is let through."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from saliency_jax.tracing import Site, override


def redirected(f: Callable) -> Callable:
    """`f` with the gradient of every ReLU redirected where, and only where, the ReLU lets none of it through.

    A ReLU's own gradient is 1[x > 0] g. Where that is 0 everywhere, it is g but for the entries that are off and would
    be pushed further down: 1[not (x < 0 and g < 0)] g.

    Args:
        f: a function of arrays that JAX can trace.

    Returns:
        A function with the same values.

    Source: the library lucid, `misc/redirected_relu_grad.py` (the signs are for a score to be raised).
    """
    return override(f, {"relu": _redirect})


def _redirect(site: Site, cotangent: Array) -> tuple[Array]:
    [own] = site.gradient(cotangent)
    further_off = (site.inputs[0] < 0) & (cotangent < 0)
    return (jnp.where(jnp.any(own != 0), own, jnp.where(further_off, 0, cotangent)),)
