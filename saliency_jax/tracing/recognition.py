"""From a flat program to operations: which equations together are a convolution with its bias, a ReLU, a softmax.

The steps are visited from the last to the first, and each that is needed becomes the end of the largest operation that
is known to end so. A step inside an operation whose result is needed elsewhere as well is run for itself too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from saliency_jax.tracing.compat import opened, scan_counts
from saliency_jax.tracing.operations import Operation, Plan
from saliency_jax.tracing.patterns import affine, average, biased_product, kind_of_step, normalization, softmax
from saliency_jax.tracing.pointwise import pointwise, relu
from saliency_jax.tracing.primitives import CONTAINERS
from saliency_jax.tracing.program import Program, Step, flat_program
from saliency_jax.tracing.reading import Group, Reading, read_values


def recognize(
    program: Program, live: Sequence[bool], owners: Sequence[str | None] = (), made: Sequence[bool] | None = None
) -> Plan:
    """The operations of a program.

    Args:
        program: a flat program.
        live: for each of its inputs, whether it depends on what is explained and a gradient passes it.
        owners: for each input, the name of the layer whose parameter it is; None where it is none.
        made: for each input, whether it depends on what is explained at all; as `live` where not given.

    Returns:
        The plan; its operations have no names yet.
    """
    reading = read_values(program, live, live if made is None else made, owners or [None] * len(program.inputs))
    needed = set(program.outputs)
    found: list[Operation] = []
    for index in reversed(range(len(program.steps))):
        step = program.steps[index]
        if not needed.intersection(step.outputs):
            continue
        kind, members = _group(reading, index)
        operation = _operation(reading, kind, [program.steps[i] for i in members], step.outputs)
        needed.update((*operation.inputs, *operation.sides))
        found.append(operation)
    return Plan(program, tuple(reversed(found)), reading.live)


def _operation(reading: Reading, kind: str, steps: Sequence[Step], outputs: tuple[int, ...]) -> Operation:
    written = {number for step in steps for number in step.outputs}
    reads = [number for step in steps for number in dict.fromkeys(step.inputs) if number not in written]
    inputs = tuple(number for number in dict.fromkeys(reads) if number in reading.live)
    sides = tuple(number for number in dict.fromkeys(reads) if number not in reading.live)
    bodies = tuple(_bodies(reading, steps[0])) if kind in _CONTAINER_KINDS else ()
    layer = next((reading.owner[number] for number in sides if number in reading.owner), None)
    return Operation(kind, "", tuple(steps), inputs, sides, outputs, steps[0].scope, layer, bodies)


def _group(reading: Reading, index: int) -> Group:
    """The kind of the operation that ends with a step, and the indices of its steps in order."""
    step = reading.program.steps[index]
    if not reading.live.intersection(step.outputs):
        return "constant", [index]
    for pattern in (relu, pointwise, softmax, normalization, biased_product, average, affine):
        found = pattern(reading, index)
        if found is not None:
            return found
    return kind_of_step(reading, step), [index]


_CONTAINER_KINDS = ("scan", "branch", "remat", "loop", "custom", "unknown")


def _bodies(reading: Reading, step: Step) -> list[Plan]:
    """The plans of the jaxprs that a step runs, with what is live inside them."""
    params, name = step.equation.params, step.primitive
    live = [number in reading.live for number in step.inputs]
    made = [number in reading.made for number in step.inputs]
    owners = [reading.owner.get(number) for number in step.inputs]
    if name == "cond":
        return [_body(branch, live[1:], made[1:], owners[1:]) for branch in params["branches"]]
    if name == "scan":
        first, count = scan_counts(params)
        return [_loop_body(params["jaxpr"], live, made, owners, first, count)]
    if name == "while":
        skip, first = params["cond_nconsts"], params["body_nconsts"]
        count = len(step.outputs)
        return [_loop_body(params["body_jaxpr"], live[skip:], made[skip:], owners[skip:], first, count)]
    if name in CONTAINERS:
        [body] = [params[key] for key in ("jaxpr", "call_jaxpr", "fun_jaxpr") if key in params]
        return [_body(body, live, made, owners)]
    return [_body_of_unknown(body, live, made, owners) for body in _jaxprs_in(params)]


def _jaxprs_in(params: Any) -> list[Any]:
    """The jaxprs that the parameters of an equation hold; how a scatter combines two numbers is none of its work."""
    if isinstance(params, Mapping):
        return _jaxprs_in([value for key, value in params.items() if key != "update_jaxpr"])
    if isinstance(params, (tuple, list)):
        return [jaxpr for value in params for jaxpr in _jaxprs_in(value)]
    return [params] if hasattr(opened(params)[0], "eqns") else []


def _body_of_unknown(jaxpr: Any, live: Sequence[bool], made: Sequence[bool], owners: Sequence[str | None]) -> Plan:
    """The plan of a jaxpr whose inputs may not be those of the equation that holds it: then any may be live."""
    count = len(opened(jaxpr)[0].invars)
    if count == len(live):
        return _body(jaxpr, live, made, owners)
    return _body(jaxpr, [True] * count, [True] * count, [None] * count)


def _body(jaxpr: Any, live: Sequence[bool], made: Sequence[bool], owners: Sequence[str | None]) -> Plan:
    return recognize(flat_program(jaxpr), live, owners, made)


def _loop_body(
    jaxpr: Any, live: Sequence[bool], made: Sequence[bool], owners: Sequence[str | None], first: int, count: int
) -> Plan:
    """The plan of a loop's body; what one turn makes live is live in the next."""
    live, made = list(live), list(made)
    program = flat_program(jaxpr)
    while True:
        reading = read_values(program, live, made, owners)
        before = (list(live), list(made))
        for i, number in enumerate(program.outputs[:count]):
            live[first + i] |= number in reading.live
            made[first + i] |= number in reading.made
        if (live, made) == before:
            return recognize(program, live, owners, made)
