"""Scalings and shifts that follow a linear operation, folded into it: a BatchNorm becomes part of weights and bias."""

from __future__ import annotations

from collections.abc import Callable

from saliency_jax.explainers.lrp.linear import split, weight_axes
from saliency_jax.tracing.operations import Operation, Plan
from saliency_jax.tracing.primitives import ELEMENTWISE, PRODUCTS
from saliency_jax.tracing.program import Program, Step

_FOLDS = ("convolution", "dense", "average_pool", "normalization")


def fold_scalings(plan: Plan, keep: Callable[[Operation], bool]) -> Plan:
    """The plan with "affine" operations merged into the linear one before them, where that alone feeds them.

    A scale that differs between places of a convolution's result is no scale of its weights; such an operation stays,
    as does one that is to be kept.
    """
    operations: list[Operation] = []
    reads = [number for operation in plan.operations for number in (*operation.inputs, *operation.sides)]
    for operation in plan.operations:
        operation = operation._replace(bodies=tuple(fold_scalings(body, keep) for body in operation.bodies))
        before = None if keep(operation) else _feeder(operation, operations)
        if before is None or reads.count(before.outputs[0]) != 1 or before.outputs[0] in plan.program.outputs:
            operations.append(operation)
        elif _fits(plan.program, before, operation):
            operations.remove(before)
            operations.append(_merged(before, operation))
        else:
            operations.append(operation)
    return plan._replace(operations=tuple(operations))


def _feeder(operation: Operation, earlier: list[Operation]) -> Operation | None:
    if operation.kind != "affine":
        return None
    return next((o for o in earlier if o.kind in _FOLDS and o.outputs == operation.inputs), None)


def _merged(before: Operation, affine: Operation) -> Operation:
    written = set(before.outputs)
    sides = dict.fromkeys((*before.sides, *(number for number in affine.sides if number not in written)))
    return before._replace(steps=(*before.steps, *affine.steps), sides=tuple(sides), outputs=affine.outputs)


def _fits(program: Program, before: Operation, affine: Operation) -> bool:
    """Whether the scaling varies along the axes of the weights alone, and leaves the shape as it is."""
    if program.avals[before.outputs[0]].shape != program.avals[affine.outputs[0]].shape:
        return False
    if before.primitive not in PRODUCTS:
        return True
    head, _ = split(before)
    axes = weight_axes(head, 1 - head[0].inputs.index(before.inputs[0]))
    makers = {number: maker for maker in program.steps for number in maker.outputs}
    scales = [
        number
        for scaling in affine.steps
        if scaling.primitive in ("mul", "div")
        for number in scaling.inputs
        if number in affine.sides
    ]
    return all(_varying(program, makers, number) <= set(axes) for number in scales)


def _varying(program: Program, makers: dict[int, Step], number: int) -> set[int]:
    """The axes along which a value can vary; those that it was broadcast to are none."""
    shape = program.avals[number].shape
    wide = {axis for axis, size in enumerate(shape) if size > 1}
    maker = makers.get(number)
    if maker is None:
        return wide
    if maker.primitive == "broadcast_in_dim":
        inner = _varying(program, makers, maker.inputs[0])
        return {axis for i, axis in enumerate(maker.equation.params["broadcast_dimensions"]) if i in inner}
    same = [i for i in maker.inputs if program.avals[i].shape and len(program.avals[i].shape) == len(shape)]
    if maker.primitive in ELEMENTWISE and same:
        return wide & set().union(*(_varying(program, makers, i) for i in same))
    return wide
