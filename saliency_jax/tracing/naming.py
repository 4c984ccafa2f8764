"""Plans of functions, and names for their operations: after the layer that they read, or the layer before them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from saliency_jax.tracing.compat import trace
from saliency_jax.tracing.layers import layer_names
from saliency_jax.tracing.operations import Operation, Plan
from saliency_jax.tracing.program import flat_program
from saliency_jax.tracing.recognition import recognize

INPUT = "input"
_BY_PRIMITIVE = ("movement", "unknown", "custom")


class Planned(NamedTuple):
    """A function's plan, with what it takes to run it.

    Attributes:
        plan: the plan; its operations are named.
        params: the flat parameters that stand before what is explained among the plan's arguments.
        outputs: the tree of the function's results, as shapes.
    """

    plan: Plan
    params: list[Any]
    outputs: Any


def plan_of(f: Callable, *args: Any) -> Planned:
    """The named plan of a function of arrays, all of whose arguments are what is explained.

    A function that says which parameters it is made of (see `class_score`) has its operations named after these.
    """
    of_params, params = (getattr(f, name, None) for name in ("of_params", "params"))
    if of_params is not None:
        return plan_with_params(of_params, params, *args)
    return plan_with_params(lambda _, *xs: f(*xs), (), *args)


def plan_with_params(f: Callable, params: Any, *args: Any) -> Planned:
    """The named plan of `f(params, *args)`, the args being what is explained."""
    traced = trace(f, params, *args)
    leaves = jax.tree.leaves(params)
    explained = len(jax.tree.leaves(args))
    owners = [*layer_names(params, traced.jaxpr), *[None] * explained]
    live = [False] * len(leaves) + [True] * explained
    plan = recognize(flat_program(traced.jaxpr, traced.consts), live, owners)
    return Planned(named(plan), leaves, traced.outputs)


def named(plan: Plan) -> Plan:
    """The plan with a name for each operation.

    An operation that reads parameters has the name of their layer, "block1/conv", and another the name of the layer
    before it with its own kind, "block1/conv/relu". Where the parameters are not known, the scope in which an operation
    stands takes the place of the layer. A name that is taken gets a number: "block1/conv/relu_1".
    """
    known = any(operation.layer for operation in plan.everything())
    return _named(plan, {}, Counter(), known)


def _named(plan: Plan, before: Mapping[int, str], taken: Counter[str], known: bool) -> Plan:
    """The plan named; `before` is the layer that each of its inputs comes from, `known` whether layers are."""
    came_from = dict.fromkeys(plan.program.inputs, INPUT) | dict(before)
    order = {number: place for place, operation in enumerate(plan.operations) for number in operation.outputs}
    operations = []
    for operation in plan.operations:
        if operation.kind == "constant":
            operations.append(operation._replace(name=_unique("constant", taken)))
            continue
        latest = max(operation.inputs, key=lambda number: order.get(number, -1), default=-1)
        own = operation.layer if known else _scope(operation)
        layer = own or came_from.get(latest, INPUT)
        bodies = tuple(_named(body, _into(operation, body, came_from), taken, known) for body in operation.bodies)
        name = own or f"{layer}/{operation.primitive if operation.kind in _BY_PRIMITIVE else operation.kind}"
        operations.append(operation._replace(name=_unique(name, taken), bodies=bodies))
        came_from.update(dict.fromkeys(operation.outputs, layer))
    return plan._replace(operations=tuple(operations))


def _scope(operation: Operation) -> str | None:
    """The scope of an operation that is likely to be a layer of its own."""
    return operation.scope or None if operation.kind in ("convolution", "dense", "affine") else None


def _into(operation: Operation, body: Plan, came_from: Mapping[int, str]) -> dict[int, str]:
    """The layers that a body's inputs come from; its last inputs are the operation's last."""
    reads = operation.steps[0].inputs[-len(body.program.inputs) :] if body.program.inputs else ()
    pairs = zip(body.program.inputs[-len(reads) :] if reads else (), reads, strict=True)
    return {inner: came_from[number] for inner, number in pairs if number in came_from}


def _unique(name: str, taken: Counter[str]) -> str:
    taken[name] += 1
    return name if taken[name] == 1 else _unique(f"{name}_{taken[name] - 1}", taken)
