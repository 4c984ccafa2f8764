"""The least time that some work takes: its operations over what the machine multiplies, its bytes over what it moves.

Only products of matrices and convolutions are counted, which are nearly all the operations of a network; of a
convolution only what meets the image and not its padding. No program that computes the same sums of products is
faster, but one that needs fewer of them may be: Winograd's convolutions do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from turns import seconds_a_call

SIDE = 2048
MOVED = 2**26
"""Numbers that are moved to measure how fast the memory is: more than any cache holds."""


class Machine(NamedTuple):
    """What was measured of the machine: operations a second in products of matrices, and bytes a second."""

    operations: float
    bytes: float


def measured_machine(dtype: Any = jnp.float32, *, repeats: int = 5) -> Machine:
    """The rates of this machine: of a large product of matrices, and of a copy."""
    square = jnp.ones((SIDE, SIDE), dtype)
    product = jax.jit(lambda a: a @ a)
    row = jnp.ones(MOVED, jnp.float32)
    copy = jax.jit(lambda a: a + 1)
    multiplied = median(seconds_a_call(partial(product, square), least=0.3) for _ in range(repeats))
    moved = median(seconds_a_call(partial(copy, row), least=0.3) for _ in range(repeats))
    return Machine(2 * SIDE**3 / multiplied, 2 * row.nbytes / moved)


def operations(f: Callable[..., Any], *arguments: Any) -> float:
    """How many multiplications and additions f takes in matrix products and convolutions."""
    return _counted(jax.make_jaxpr(f)(*arguments).jaxpr)


def floor(machine: Machine, *, operations: float, moved: float) -> float:
    """The least seconds: for the operations, or for the bytes that are moved where these take longer."""
    return max(operations / machine.operations, moved / machine.bytes)


def _counted(jaxpr: Any) -> float:
    total = 0.0
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        if name == "dot_general":
            total += _of_product(equation)
        elif name == "conv_general_dilated":
            total += _of_convolution(equation)
        inner = sum(_counted(part) for part in _inside(equation))
        total += inner * (equation.params["length"] if name == "scan" else 1)
    return total


def _inside(equation: Any) -> list[Any]:
    found = []
    for value in equation.params.values():
        for part in value if isinstance(value, tuple | list) else [value]:
            part = getattr(part, "jaxpr", part)
            if hasattr(part, "eqns"):
                found.append(part)
    return found


def _of_product(equation: Any) -> float:
    (contracted, _), _ = equation.params["dimension_numbers"]
    summed = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
    return 2.0 * math.prod(equation.outvars[0].aval.shape) * summed


def _of_convolution(equation: Any) -> float:
    """Two operations for each output, channel of its group, and place of the kernel that lies on the image."""
    params, numbers = equation.params, equation.params["dimension_numbers"]
    images, kernel = (v.aval.shape for v in equation.invars)
    outputs = equation.outvars[0].aval.shape
    met = 1.0
    for axis in range(len(params["window_strides"])):
        met *= _met(
            images[numbers.lhs_spec[2 + axis]],
            kernel[numbers.rhs_spec[2 + axis]],
            outputs[numbers.out_spec[2 + axis]],
            stride=params["window_strides"][axis],
            before=params["padding"][axis][0],
            image_step=params["lhs_dilation"][axis],
            kernel_step=params["rhs_dilation"][axis],
        )
    channels = kernel[numbers.rhs_spec[1]]
    return 2.0 * outputs[numbers.out_spec[0]] * outputs[numbers.out_spec[1]] * channels * met


def _met(image: int, kernel: int, outputs: int, *, stride: int, before: int, image_step: int, kernel_step: int) -> int:
    """Along one axis, how many pairs of an output and a place of the kernel meet a pixel: no padding, no hole."""
    places = np.arange(outputs)[:, None] * stride + np.arange(kernel)[None] * kernel_step - before
    inside = (places >= 0) & (places <= (image - 1) * image_step) & (places % image_step == 0)
    return int(inside.sum())
