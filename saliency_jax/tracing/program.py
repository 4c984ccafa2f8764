"""A jaxpr as one flat list of steps: calls are inlined, and every value has a number of its own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from saliency_jax.tracing.compat import Equation, Jaxpr, evaluate_equation, is_literal, opened

CALLS = ("jit", "pjit", "closed_call", "core_call")
"""Equations that only run a jaxpr: they are inlined."""


class Step(NamedTuple):
    """One equation, its variables replaced by numbers.

    Attributes:
        equation: the equation.
        owner: the jaxpr that it stands in.
        inputs: the numbers of the values that it reads.
        outputs: the numbers of the values that it writes.
        scope: the names around it: Linen's module path and every `jax.named_scope`, joined by slashes.
    """

    equation: Equation
    owner: Jaxpr
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    scope: str

    @property
    def primitive(self) -> str:
        """The name of its primitive."""
        return self.equation.primitive.name

    def run(self, *values: Any) -> list[Any]:
        """What the equation gives for the values of its inputs."""
        return evaluate_equation(self.owner, self.equation, values)


class Program(NamedTuple):
    """A flat jaxpr.

    Attributes:
        steps: in order of execution.
        inputs: the numbers of its arguments.
        outputs: the numbers of its results.
        constants: number -> value, for literals and what the function closes over.
        avals: number -> shape and dtype.
    """

    steps: tuple[Step, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    constants: Mapping[int, Any]
    avals: Mapping[int, Any]


def flat_program(jaxpr: Any, consts: Sequence[Any] | None = None) -> Program:
    """The flat program of a jaxpr, closed or with its constants beside it; scans, branches and custom rules stay."""
    body, own = opened(jaxpr)
    steps: list[Step] = []
    constants: dict[int, Any] = {}
    avals: dict[int, Any] = {}
    numbers = itertools.count()
    inputs = tuple(_number(variable.aval, numbers, avals) for variable in body.invars)
    outputs = _inline(body, own if consts is None else consts, inputs, "", steps, constants, avals, numbers)
    return Program(tuple(steps), inputs, outputs, constants, avals)


def _number(aval: Any, numbers: Iterator[int], avals: dict[int, Any]) -> int:
    number = next(numbers)
    avals[number] = aval
    return number


def _inline(
    body: Jaxpr,
    consts: Sequence[Any],
    inputs: Sequence[int],
    scope: str,
    steps: list[Step],
    constants: dict[int, Any],
    avals: dict[int, Any],
    numbers: Iterator[int],
) -> tuple[int, ...]:
    """Append the steps of `body` for the given inputs; the numbers of its outputs."""
    known = dict(zip(body.invars, inputs, strict=True))

    def constant(aval: Any, value: Any) -> int:
        number = _number(aval, numbers, avals)
        constants[number] = value
        return number

    for variable, value in zip(body.constvars, consts, strict=True):
        known[variable] = constant(variable.aval, value)

    def read(atom: Any) -> int:
        return constant(atom.aval, atom.val) if is_literal(atom) else known[atom]

    for equation in body.eqns:
        reads = tuple(read(atom) for atom in equation.invars)
        inner_scope = "/".join(part for part in (scope, str(equation.source_info.name_stack)) if part)
        if equation.primitive.name in CALLS:
            callee = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
            inner, own = opened(callee)
            written = _inline(inner, own, reads, inner_scope, steps, constants, avals, numbers)
        else:
            written = tuple(_number(variable.aval, numbers, avals) for variable in equation.outvars)
            steps.append(Step(equation, body, reads, written, inner_scope))
        known.update(zip(equation.outvars, written, strict=True))
    return tuple(read(atom) for atom in body.outvars)
