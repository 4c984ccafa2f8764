"""A linear operation as its rules see it: an input, weights with all scalings in them, a bias, a result."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from saliency_jax.tracing.execution import where
from saliency_jax.tracing.operations import Operation
from saliency_jax.tracing.override import Site
from saliency_jax.tracing.primitives import REARRANGEMENTS, SUMS
from saliency_jax.tracing.program import Step


class LinearLayer(NamedTuple):
    """z = apply(x, weights) + bias.

    Attributes:
        x: the input.
        weights: those of the matrix product or convolution, times every scaling that follows it.
        bias: shaped like the result.
        output: z, as the model computes it.
        apply: `apply(x, weights)`, linear in each.
        channels: the axes of the result along which every place sees the same inputs.
    """

    x: Array
    weights: Array
    bias: Array
    output: Array
    apply: Callable[[Array, Array], Array]
    channels: tuple[int, ...] = ()


def split(operation: Operation) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """The steps of a linear operation: its product, sum or normalization, and the scalings and shifts after it."""
    if operation.kind in ("convolution", "dense", "average_pool"):
        moved = itertools.takewhile(lambda step: step.primitive in REARRANGEMENTS, operation.steps[1:])
        first = 1 + sum(1 for _ in moved)
        return operation.steps[:first], operation.steps[first:]
    if operation.kind == "affine":
        return (), operation.steps
    last = max(i for i, step in enumerate(operation.steps) if _reads(step, operation, operation.steps[:i]))
    return operation.steps[: last + 1], operation.steps[last + 1 :]


def _reads(step: Step, operation: Operation, before: Sequence[Step]) -> bool:
    """Whether a step of a normalization is not yet one of the scalings and shifts after it."""
    made = {number for earlier in before for number in earlier.outputs}
    live = [number for number in step.inputs if number in made or number in operation.inputs]
    return len(live) != 1 or step.primitive not in ("add", "sub", "mul", "div", "neg")


def linear_layer(site: Site) -> LinearLayer:
    """The layer of a convolution, a dense layer, an average pool or a scaling, with what follows it folded in.

    Raises:
        ValueError: the operation is of another kind.
    """
    operation = site.operation
    if operation.kind not in ("convolution", "dense", "average_pool", "affine"):
        raise ValueError(
            f"a rule that looks at weights fits convolutions, dense layers, average pools and scalings, "
            f"got {operation.kind!r} for {where(operation)}"
        )
    values = dict(zip((*operation.inputs, *operation.sides), (*site.inputs, *site.sides), strict=True))
    head, tail = split(operation)
    [x] = site.inputs
    if not head:
        start = operation.inputs[0]
        return LinearLayer(x, _scale(tail, start, jnp.ones_like(x), values), bias_of(site), site.output, jnp.multiply)
    step = head[0]
    made, aval = head[-1].outputs[0], head[-1].equation.outvars[0].aval
    scale = _scale(tail, made, jnp.ones(aval.shape, aval.dtype), values)
    if step.primitive in SUMS:
        return LinearLayer(
            x, scale, bias_of(site), site.output, lambda v, w: w * _run(head, operation.inputs[0], v, {})
        )
    place = 1 - step.inputs.index(operation.inputs[0])
    weights = jnp.asarray(values[step.inputs[place]])

    def apply(v: Array, w: Array) -> Array:
        return _run(head, operation.inputs[0], v, {step.inputs[place]: w})

    folded = weights * _along_weights(scale, weight_axes(head, place), weights.ndim) if tail else weights
    return LinearLayer(x, folded.astype(weights.dtype), bias_of(site), site.output, apply, _channels(head, place))


def held(site: Site) -> Callable[[Array], Array]:
    """The operation as an affine function of its input: the statistics of a normalization are held fixed."""
    operation = site.operation

    def function(x: Array) -> Array:
        values = dict(zip((*operation.inputs, *operation.sides), (x, *site.sides), strict=True))
        for step in operation.steps:
            outputs = step.run(*(values[number] for number in step.inputs))
            if operation.kind == "normalization" and step.primitive in ("sqrt", "rsqrt"):
                outputs = [lax.stop_gradient(output) for output in outputs]
            values.update(zip(step.outputs, outputs, strict=True))
        return values[operation.outputs[0]]

    return function


def bias_of(site: Site) -> Array:
    """The bias of a linear operation, shaped like its result: what it gives for zeros, its statistics held fixed."""
    operation = site.operation
    values = dict(zip(operation.sides, site.sides, strict=True))
    head, tail = split(operation)
    start = head[-1].outputs[0] if head else operation.inputs[0]
    aval = head[-1].equation.outvars[0].aval if head else site.inputs[0]
    return _run(tail, start, jnp.zeros(aval.shape, aval.dtype), values)


def _run(steps: Sequence[Step], start: int, value: Array, sides: Mapping[int, Any]) -> Array:
    values = {**sides, start: value}
    for step in steps:
        values.update(zip(step.outputs, step.run(*(values[number] for number in step.inputs)), strict=True))
    return values[steps[-1].outputs[0]] if steps else value


def _scale(steps: Sequence[Step], start: int, ones: Array, sides: Mapping[int, Any]) -> Array:
    """The product of all scalings; shifts are left out, so that it is exact."""
    values, number = {**sides, start: ones}, start
    for step in steps:
        if step.primitive in ("mul", "div", "neg"):
            values[step.outputs[0]] = step.run(*(values[i] for i in step.inputs))[0]
        else:
            negative = step.primitive == "sub" and step.inputs[1] == number
            values[step.outputs[0]] = -values[number] if negative else values[number]
        number = step.outputs[0]
    return values[number]


def weight_axes(head: Sequence[Step], place: int) -> dict[int, int]:
    """Axis of a product's result -> the axis of its weights that it comes from.

    Args:
        head: the product, and the steps that rearrange its result.
        place: which of the product's operands the weights are.
    """
    axes = _product_axes(head[0], place)
    for step in head[1:]:
        came_from = _rearranged(step)
        axes = {new: axes[old] for new, old in came_from.items() if old in axes}
    return axes


def _channels(head: Sequence[Step], place: int) -> tuple[int, ...]:
    """Axes of a product's result that come from its weights alone, and not from groups or batches of inputs too."""
    params = head[0].equation.params
    if params.get("feature_group_count", 1) > 1 or params.get("batch_group_count", 1) > 1:
        return ()
    batch = () if head[0].primitive == "conv_general_dilated" else params["dimension_numbers"][1][place]
    return tuple(axis for axis, of_weights in weight_axes(head, place).items() if of_weights not in batch)


def _rearranged(step: Step) -> dict[int, int]:
    """Axis of a rearrangement's result -> the axis of its operand; axes of one place, and merged ones, are left out."""
    before, after = step.equation.invars[0].aval.shape, step.equation.outvars[0].aval.shape
    if step.primitive == "transpose":
        return dict(enumerate(step.equation.params["permutation"]))
    wide = [[axis for axis, size in enumerate(shape) if size > 1] for shape in (after, before)]
    sizes = [[shape[axis] for axis in axes] for shape, axes in zip((after, before), wide, strict=True)]
    return dict(zip(*wide, strict=True)) if sizes[0] == sizes[1] else {}


def _product_axes(step: Step, place: int) -> dict[int, int]:
    numbers = step.equation.params["dimension_numbers"]
    if step.primitive == "conv_general_dilated":
        return {numbers.out_spec[1]: numbers.rhs_spec[0]} if place == 1 else {}
    (lhs_sum, rhs_sum), (lhs_batch, rhs_batch) = numbers
    ranks = [atom.aval.ndim for atom in step.equation.invars]
    free = [
        [axis for axis in range(rank) if axis not in (*summed, *batch)]
        for rank, summed, batch in zip(ranks, (lhs_sum, rhs_sum), (lhs_batch, rhs_batch), strict=True)
    ]
    batch = (lhs_batch, rhs_batch)[place]
    first = len(batch) + (len(free[0]) if place == 1 else 0)
    return {**dict(enumerate(batch)), **{first + i: axis for i, axis in enumerate(free[place])}}


def _along_weights(scale: Array, axes: Mapping[int, int], rank: int) -> Array:
    """A scale of a product's result, which varies along axes of the weights alone, shaped to multiply the weights."""
    picked = scale[tuple(slice(None) if axis in axes else 0 for axis in range(scale.ndim))]
    kept = [axes[axis] for axis in sorted(axes)]
    ordered = jnp.transpose(picked, sorted(range(len(kept)), key=kept.__getitem__))
    return jnp.expand_dims(ordered, [axis for axis in range(rank) if axis not in kept])
