"""Evaluate a function with other code in the place of chosen primitives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from saliency_jax.tracing.compat import Equation, trace
from saliency_jax.tracing.execution import Visited, Visitor, run
from saliency_jax.tracing.operations import Operation, Plan
from saliency_jax.tracing.primitives import REMATERIALIZED
from saliency_jax.tracing.program import Program, Step, flat_program

Rule = Callable[..., Sequence[Any]]
"""`rule(equation, *values) -> outputs`: what stands in for one equation."""

_ENTERED = {"scan": "scan", "cond": "branch", "while": "loop", **dict.fromkeys(REMATERIALIZED, "remat")}


def rewrite(f: Callable, rules: Mapping[str, Rule]) -> Callable:
    """A function that computes `f` with `rules[name]` in the place of every primitive called `name`.

    Calls, rematerialized blocks, scans, loops and branches are entered where a rule applies inside them. A custom_jvp
    or custom_vjp call is bound whole, since its body is not its derivative: the gradient of relu at 0 is 0 by its own
    rule and 0.5 by its body's. A function in which no rule applies is called as it is.

    Args:
        f: a function of pytrees that JAX can trace.
        rules: primitive name -> rule.

    Returns:
        A function of the same arguments and results.
    """

    def rewritten(*args: Any) -> Any:
        traced = trace(f, *args)
        plan = step_by_step(flat_program(traced.jaxpr, traced.consts))
        found = [operation for operation in plan.everything() if operation.primitive in rules]
        if not found:
            return f(*args)
        visitors = {operation.name: _replaced_by(rules[operation.primitive]) for operation in found}
        outputs, _ = run(plan, jax.tree.leaves(args), visitors)
        return jax.tree.unflatten(jax.tree.structure(traced.outputs), outputs)

    return rewritten


def step_by_step(program: Program, prefix: str = "") -> Plan:
    """A program with every step an operation of its own, named by its place."""
    return Plan(program, tuple(_operations(program, prefix)), frozenset())


def _operations(program: Program, prefix: str) -> Iterator[Operation]:
    for place, step in enumerate(program.steps):
        kind, name = _ENTERED.get(step.primitive, "step"), f"{prefix}{place}"
        bodies = tuple(step_by_step(flat_program(b), f"{name}.{i}.") for i, b in enumerate(_bodies(step)))
        reads = tuple(dict.fromkeys(step.inputs))
        yield Operation(kind, name, (step,), reads, (), step.outputs, step.scope, None, bodies)


def _bodies(step: Step) -> Sequence[Any]:
    """The jaxprs that an entered step runs; a loop's condition is none."""
    if step.primitive not in _ENTERED:
        return ()
    params = step.equation.params
    return params["branches"] if "branches" in params else [params[k] for k in ("jaxpr", "body_jaxpr") if k in params]


def _replaced_by(rule: Rule) -> Visitor:
    def visitor(operation: Operation, inputs: Sequence[Any], sides: Sequence[Any], given: Any) -> Visited:
        [step] = operation.steps
        values = dict(zip(operation.inputs, inputs, strict=True))
        equation: Equation = step.equation
        # What a jaxpr holds as a constant may be NumPy's; a rule is given arrays.
        return Visited(rule(equation, *(jnp.asarray(values[number]) for number in step.inputs)))

    return visitor
