"""Run a plan with visitors: functions that stand in for chosen operations, at any depth.

A visitor may return something beside the operation's results. It comes out of the run under the operation's name, from
a scan with one entry a turn; what a visitor is handed goes in the same way. Blocks in which nobody is visited are run
as they stand, custom derivatives included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from saliency_jax.tracing.compat import opened, scan_counts
from saliency_jax.tracing.operations import Operation, Plan

Given = Mapping[str, Any]
"""Name of an operation -> what its visitor is handed."""


class Visited(NamedTuple):
    """What a visitor returns: the operation's results, and whatever is to come out of the run under its name."""

    outputs: Sequence[Any]
    observed: Any = None


Visitor = Callable[[Operation, Sequence[Any], Sequence[Any], Any], Visited]
"""`visitor(operation, inputs, sides, given) -> Visited`; given is None where nothing is handed to it."""


Visitors = Mapping[str, Visitor]
"""Name of an operation -> what stands in for it."""


def run(plan: Plan, args: Sequence[Any], visitors: Visitors, given: Given | None = None) -> Visited:
    """A plan's results at `args`, and everything that was observed on the way, by name.

    Args:
        plan: what to run.
        args: its arguments, flat.
        visitors: operation name -> what stands in for it.
        given: operation name -> what is handed to its visitor; inside a scan with a leading axis for the turns.

    Raises:
        ValueError: something is observed inside a while loop, or anything in an equation that is not known.
    """
    given = given or {}
    values = dict(plan.program.constants) | dict(zip(plan.program.inputs, args, strict=True))
    observed: dict[str, Any] = {}
    for operation in plan.operations:
        inputs = [values[number] for number in operation.inputs]
        sides = [values[number] for number in operation.sides]
        if operation.name in visitors:
            outputs, seen = visitors[operation.name](operation, inputs, sides, given.get(operation.name))
            observed |= {} if seen is None else {operation.name: seen}
        elif _holds(operation, visitors):
            operands = [values[number] for number in operation.steps[0].inputs]
            inside = {name: value for name, value in given.items() if name in _names(operation)}
            outputs, seen = _ENTER[operation.kind](operation, operands, visitors, inside)
            observed |= seen
        else:
            outputs = operation.run(inputs, sides)
        values.update(zip(operation.outputs, outputs, strict=True))
    return Visited([values[number] for number in plan.program.outputs], observed)


def _names(operation: Operation) -> set[str]:
    return {inner.name for body in operation.bodies for inner in body.everything()}


def _holds(operation: Operation, visitors: Visitors) -> bool:
    return bool(operation.bodies) and not _names(operation).isdisjoint(visitors)


def _enter_block(
    operation: Operation, operands: Sequence[Any], visitors: Mapping[str, Visitor], given: Given
) -> Visited:
    [body] = operation.bodies
    return run(body, operands, visitors, given)


def _enter_remat(
    operation: Operation, operands: Sequence[Any], visitors: Mapping[str, Visitor], given: Given
) -> Visited:
    params = operation.steps[0].equation.params
    if params["differentiated"]:
        # The second computation of a block: merged with the first, it would save no memory. JAX puts this barrier
        # itself, where it lowers a block that it has differentiated; the new block is not yet one of those.
        operands = _behind_barrier(operands, params["prevent_cse"])
    [body] = operation.bodies
    block = jax.checkpoint(
        lambda operands, given: tuple(run(body, operands, visitors, given)),
        prevent_cse=params["prevent_cse"],
        policy=params["policy"],
    )
    return Visited(*block(list(operands), dict(given)))


def _behind_barrier(values: Sequence[Any], chosen: bool | tuple[bool, ...]) -> list[Any]:
    """The values, those chosen behind a barrier that XLA does not look through."""
    mask = (chosen,) * len(values) if isinstance(chosen, bool) else chosen
    behind = iter(lax.optimization_barrier([v for v, inside in zip(values, mask, strict=True) if inside]))
    return [next(behind) if inside else v for v, inside in zip(values, mask, strict=True)]


def _enter_scan(
    operation: Operation, operands: Sequence[Any], visitors: Mapping[str, Visitor], given: Given
) -> Visited:
    params = operation.steps[0].equation.params
    [body] = operation.bodies
    num_consts, num_carry = scan_counts(params)
    consts, carry = operands[:num_consts], operands[num_consts : num_consts + num_carry]

    def turn(carried: Sequence[Any], x: tuple[Sequence[Any], Given]) -> tuple[list[Any], Any]:
        slices, inside = x
        outputs, observed = run(body, [*consts, *carried, *slices], visitors, inside)
        return list(outputs[:num_carry]), (list(outputs[num_carry:]), observed)

    options = {name: params[name] for name in ("length", "reverse", "unroll")}
    xs = (list(operands[num_consts + num_carry :]), dict(given))
    carried, (ys, observed) = lax.scan(turn, list(carry), xs, **options)
    return Visited([*carried, *ys], observed)


def _enter_loop(
    operation: Operation, operands: Sequence[Any], visitors: Mapping[str, Visitor], given: Given
) -> Visited:
    params = operation.steps[0].equation.params
    [body] = operation.bodies
    for_condition, for_body = params["cond_nconsts"], params["body_nconsts"]
    condition, consts = opened(params["cond_jaxpr"])
    first, rest = operands[:for_condition], operands[for_condition : for_condition + for_body]

    def turn(carry: Sequence[Any]) -> list[Any]:
        outputs, observed = run(body, [*rest, *carry], visitors)
        if observed or given:
            raise ValueError(f"nothing can be observed inside the while loop at {where(operation)}")
        return list(outputs)

    outputs = lax.while_loop(
        lambda carry: jax.core.eval_jaxpr(condition, consts, *first, *carry)[0],
        turn,
        list(operands[for_condition + for_body :]),
    )
    return Visited(outputs, {})


def _enter_branch(
    operation: Operation, operands: Sequence[Any], visitors: Mapping[str, Visitor], given: Given
) -> Visited:
    index, *rest = operands

    def taken(body: Plan, operands: Sequence[Any], given: Given) -> tuple[list[Any], dict[str, Any]]:
        outputs, observed = run(body, operands, visitors, given)
        return list(outputs), dict(observed)

    branches = [partial(taken, body) for body in operation.bodies]
    shapes: dict[str, Any] = {}
    for branch in branches:
        shapes |= jax.eval_shape(branch, rest, dict(given))[1]

    def padded(branch: Callable, operands: Sequence[Any], given: Given) -> tuple[list[Any], dict[str, Any]]:
        outputs, observed = branch(operands, given)
        return outputs, jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes) | observed

    outputs, observed = lax.switch(index, [partial(padded, branch) for branch in branches], rest, dict(given))
    return Visited(outputs, observed)


def _refuse(operation: Operation, operands: Sequence[Any], visitors: Visitors, given: Given) -> Visited:
    raise ValueError(
        f"the {operation.primitive} at {where(operation)} holds operations that have to be visited, and it is not "
        f"known how to go inside it"
    )


def where(operation: Operation) -> str:
    """An operation's place for an error message."""
    return f"{operation.scope or 'the top of the function'} (operation {operation.name})"


_ENTER: dict[str, Callable[[Operation, Sequence[Any], Visitors, Given], Visited]] = {
    "custom": _enter_block,
    "remat": _enter_remat,
    "scan": _enter_scan,
    "loop": _enter_loop,
    "branch": _enter_branch,
    "unknown": _refuse,
}
