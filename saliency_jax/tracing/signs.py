"""Which values can be shown to be nowhere negative, whatever the image: a rule then has half as much to compute."""

from __future__ import annotations

import numpy as np

from saliency_jax.tracing.operations import Operation, Plan
from saliency_jax.tracing.primitives import KEEPS_SIGN, names

_NEVER_NEGATIVE = names("abs exp exp2 logistic sqrt square")


def mark_positive(plan: Plan, positive: frozenset[int] = frozenset()) -> tuple[Plan, list[bool]]:
    """The plan with `positive` set on operations whose inputs are nowhere negative, and which results are.

    Args:
        plan: the plan.
        positive: the numbers of its inputs that are nowhere negative.
    """
    known = set(positive)
    operations = []
    for operation in plan.operations:
        operation = operation._replace(positive=bool(operation.inputs) and known.issuperset(operation.inputs))
        if operation.kind in ("custom", "remat"):
            [body] = operation.bodies
            inner = frozenset(
                i for i, number in zip(body.program.inputs, operation.steps[0].inputs, strict=True) if number in known
            )
            body, results = mark_positive(body, inner)
            operation = operation._replace(bodies=(body,))
            known.update(number for number, is_positive in zip(operation.outputs, results, strict=True) if is_positive)
        elif operation.bodies:
            bodies = tuple(mark_positive(body)[0] for body in operation.bodies)
            operation = operation._replace(bodies=bodies)
        elif _gives_positive(operation, plan):
            known.update(operation.outputs)
        operations.append(operation)
    return plan._replace(operations=tuple(operations)), [number in known for number in plan.program.outputs]


def _gives_positive(operation: Operation, plan: Plan) -> bool:
    """Whether an operation's result is nowhere negative, given what is known of its inputs."""
    kind, steps = operation.kind, operation.steps
    if kind in ("relu", "softmax"):
        return True
    if kind == "activation":
        return len(steps) == 1 and steps[0].primitive in _NEVER_NEGATIVE
    if not operation.positive:
        return False
    if kind == "movement":
        return steps[0].primitive in KEEPS_SIGN
    if kind == "average_pool":
        constants = [plan.program.constants.get(number, -1) for number in operation.sides]
        return all(np.ndim(value) == 0 and not _is_traced(value) and value > 0 for value in constants)
    if kind == "max_pool":
        return all(step.primitive in ("reduce_window_max", "reduce_max") for step in steps)
    if kind == "concatenation":
        return not operation.sides
    return kind == "sum" and steps[0].primitive in ("add", "add_any")


def _is_traced(value: object) -> bool:
    return not isinstance(value, (int, float, np.generic, np.ndarray))
