"""Max pooling with a gradient that is cheap on every device.

XLA differentiates a windowed maximum by select-and-scatter, which on a CPU costs several times all the rest of a small
CNN. The same gradient (the first maximum of a window takes all of it, ties included) follows from strided slices, one
for each place in the window, that compilers fuse.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from saliency_jax.tracing.compat import Equation

LARGEST_UNROLLED_WINDOW = 64
"""Past this many places in a window one slice a place is no longer a gain, and XLA's own gradient is kept."""


def max_pool(
    inputs: Float[Array, "batch *spatial channel"],
    window_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: str | Sequence[tuple[int, int]] = "VALID",
) -> Float[Array, "batch *pooled channel"]:
    """The maximum over windows of the spatial axes: flax.linen.max_pool's values and gradients, faster.

    out[b, i, c] = max_k inputs[b, i * stride + k, c], the gradient to the first k that attains it.

    Args:
        inputs: activations, channels last.
        window_shape: size of the window along each spatial axis, in pixels.
        strides: step along each spatial axis, in pixels; 1 where not given, as in Flax.
        padding: "VALID", "SAME", or (low, high) pixels of padding for each spatial axis.

    Returns:
        The pooled activations.

    Raises:
        ValueError: window_shape, strides or padding have not one positive entry for each spatial axis.
    """
    spatial = inputs.ndim - 2
    strides = (1,) * spatial if strides is None else tuple(strides)
    for argument, sizes in (("window_shape", window_shape), ("strides", strides)):
        if len(sizes) != spatial or min(sizes, default=1) < 1:
            raise ValueError(
                f"{argument} needs one positive entry for each of the {spatial} spatial axes of inputs {inputs.shape}, "
                f"got {tuple(sizes)}"
            )
    window, steps = (1, *window_shape, 1), (1, *strides, 1)
    if padding in ("VALID", "SAME"):
        pads = tuple(lax.padtype_to_pads(inputs.shape, window, steps, padding))
    elif isinstance(padding, str) or len(padding) != spatial:
        raise ValueError(
            f'padding must be "VALID", "SAME" or one (low, high) for each of the {spatial} spatial axes of inputs '
            f"{inputs.shape}, got {padding!r}"
        )
    else:
        pads = ((0, 0), *((low, high) for low, high in padding), (0, 0))
    if math.prod(window) > LARGEST_UNROLLED_WINDOW:
        return _window_max(inputs, window, steps, pads, (1,) * inputs.ndim)
    return _max_pool(inputs, window, steps, pads, (1,) * inputs.ndim)


def pooling_rule(equation: Equation, inputs: Array) -> Sequence[Any]:
    """The windowed maximum of an equation, bit for bit, with the gradient from slices where the window is small."""
    params = equation.params
    cheap = math.prod(params["window_dimensions"]) <= LARGEST_UNROLLED_WINDOW
    undilated = all(dilation == 1 for dilation in params["base_dilation"])
    if not (cheap and undilated and jnp.issubdtype(inputs.dtype, jnp.floating)):
        return [equation.primitive.bind(inputs, **params)]
    geometry = (params[key] for key in ("window_dimensions", "window_strides", "padding", "window_dilation"))
    return [_max_pool(inputs, *geometry)]


def _window_max(inputs: Array, window: Any, strides: Any, padding: Any, dilation: Any) -> Array:
    return lax.reduce_window(inputs, -jnp.inf, lax.max, window, strides, padding, window_dilation=dilation)


@partial(jax.custom_jvp, nondiff_argnums=(1, 2, 3, 4))
def _max_pool(inputs: Array, window: Any, strides: Any, padding: Any, dilation: Any) -> Array:
    return _window_max(inputs, window, strides, padding, dilation)


@_max_pool.defjvp
def _max_pool_jvp(
    window: Any, strides: Any, padding: Any, dilation: Any, primals: Any, tangents: Any
) -> tuple[Array, Array]:
    geometry = (window, strides, padding, dilation)
    places = zip(
        window_places(primals[0], *geometry, fill=-jnp.inf),
        window_places(tangents[0], *geometry, fill=0.0),
        strict=True,
    )
    best, tangent = next(places)
    for value, value_tangent in places:
        # ">=" gives a tie to the earlier place, as XLA does; a NaN, once met, is the maximum.
        keep = (best >= value) | jnp.isnan(best)
        # lax.max and not jnp.where: of 0 and -0 it takes 0, as the windowed maximum does.
        best, tangent = lax.max(best, value), jnp.where(keep, tangent, value_tangent)
    return best, tangent


def window_places(x: Array, window: Any, strides: Any, padding: Any, dilation: Any, *, fill: float) -> Iterator[Array]:
    """For each place in the window, in row-major order, what stands there in every window: one strided slice each."""
    if any(low or high for low, high in padding):
        x = lax.pad(x, jnp.array(fill, x.dtype), [(low, high, 0) for low, high in padding])
    spans = [(size - 1) * step + 1 for size, step in zip(window, dilation, strict=True)]
    counts = [(n - span) // step + 1 for n, span, step in zip(x.shape, spans, strides, strict=True)]
    for place in itertools.product(*map(range, window)):
        start = [i * step for i, step in zip(place, dilation, strict=True)]
        stop = [s + (n - 1) * step + 1 for s, n, step in zip(start, counts, strides, strict=True)]
        yield lax.slice(x, start, stop, strides)
