"""The one place that knows how JAX versions differ in the shape of a jaxpr; tested at both ends of the range."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from jax.extend.core import Literal, Var
from jax.interpreters import partial_eval

Jaxpr = Any
Equation = Any

CONVOLUTIONS_ON_ALL_CORES = (
    {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}
    if tuple(map(int, jax.__version__.split(".")[:2])) < (0, 12)
    else {}
)
"""Compiler options that give a CPU's convolutions to kernels of many threads, as those of JAX 0.12 all are."""


class Traced(NamedTuple):
    """A function as an open jaxpr: its equations, the values of its constants, the tree of its outputs."""

    jaxpr: Jaxpr
    consts: Sequence[Any]
    outputs: Any


def trace(f: Callable, *args: Any) -> Traced:
    """The jaxpr of `f` at `args`, whose flattened leaves are its inputs in order."""
    closed, outputs = jax.make_jaxpr(f, return_shape=True)(*args)
    jaxpr, consts = opened(closed)
    return Traced(jaxpr, consts, outputs)


def opened(jaxpr: Any) -> tuple[Jaxpr, Sequence[Any]]:
    """A jaxpr and its constants; JAX 0.12 folded ClosedJaxpr into Jaxpr, and a remat's body was open before."""
    return getattr(jaxpr, "jaxpr", jaxpr), getattr(jaxpr, "consts", ())


def without_dead_code(jaxpr: Jaxpr) -> Jaxpr:
    """A jaxpr without the equations that no output needs, in calls and loops as well; its inputs all stay."""
    alive, _ = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars), instantiate=True)
    return alive


def evaluate_equation(jaxpr: Jaxpr, equation: Equation, values: Sequence[Any]) -> list[Any]:
    """What one equation gives for the values of its inputs.

    A public evaluator is handed a jaxpr of this one equation: how a primitive's parameters are bound, its name stack
    and its compilation context stay JAX's own business.
    """
    by_variable = {atom: value for atom, value in zip(equation.invars, values, strict=True) if isinstance(atom, Var)}
    alone = jaxpr.replace(constvars=[], invars=list(by_variable), outvars=list(equation.outvars), eqns=[equation])
    return jax.core.eval_jaxpr(alone, (), *by_variable.values())


def is_literal(atom: Any) -> bool:
    """Whether an equation's input is a constant written into the jaxpr."""
    return isinstance(atom, Literal)


def scan_counts(params: Mapping[str, Any]) -> tuple[int, int]:
    """How many of a scan's inputs are constants and how many are carried; JAX 0.12 holds them as a tree."""
    if "num_consts" in params:
        return params["num_consts"], params["num_carry"]
    consts, carry, _ = params["ft_in"].unpack()
    return len(list(consts)), len(list(carry))
