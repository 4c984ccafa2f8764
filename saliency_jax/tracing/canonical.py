"""Convolutions brought to the forms that XLA computes fast on a CPU, at every depth of a program.

XLA does this itself in the outermost computation alone. Inside a loop the convolutions that autodiff writes, whose axes
stand in another order, fall back to plain loops: the gradient in a kernel takes thirty times as long. Depthwise ones do
so everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from jax import Array, lax

from saliency_jax.tracing.compat import Equation
from saliency_jax.tracing.depthwise import depthwise_convolution, is_depthwise
from saliency_jax.tracing.interpreter import rewrite


def canonical_convolutions(f: Callable) -> Callable:
    """`f` with every convolution in the form that is fast inside loops on a CPU; elsewhere `f` itself.

    Axes are transposed to (batch, *spatial, channel) and (*spatial, in, out) before and back after, and depthwise
    convolutions become sums of shifted products. It is to be put around a function that already takes gradients, for
    it is their convolutions that are in other layouts.

    Args:
        f: a function of pytrees that JAX can trace.

    Returns:
        A function of the same arguments and results, differentiable in every way in which `f` is.
    """
    if jax.default_backend() != "cpu":
        return f
    return rewrite(f, {"conv_general_dilated": canonical_rule})


def canonical_rule(equation: Equation, lhs: Array, rhs: Array) -> Sequence[Any]:
    """One convolution, its operands transposed to channels last and its result transposed back."""

    def convolve(lhs: Array, rhs: Array, params: Mapping[str, Any]) -> Array:
        if is_depthwise(lhs, rhs, params):
            return depthwise_convolution(lhs, rhs, params)
        return equation.primitive.bind(lhs, rhs, **params)

    numbers = equation.params["dimension_numbers"]
    spatial = range(lhs.ndim - 2)
    activations = (0, lhs.ndim - 1, *(axis + 1 for axis in spatial))
    canonical = lax.ConvDimensionNumbers(activations, (lhs.ndim - 1, lhs.ndim - 2, *spatial), activations)
    if numbers == canonical:
        return [convolve(lhs, rhs, equation.params)]
    batch, channel, *axes = numbers.lhs_spec
    out, into, *taps = numbers.rhs_spec
    result = convolve(
        lax.transpose(lhs, (batch, *axes, channel)),
        lax.transpose(rhs, (*taps, into, out)),
        equation.params | {"dimension_numbers": canonical},
    )
    batch, channel, *axes = numbers.out_spec
    order = (batch, *axes, channel)
    return [lax.transpose(result, [order.index(axis) for axis in range(lhs.ndim)])]
