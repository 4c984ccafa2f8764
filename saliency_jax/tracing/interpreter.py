"""Evaluate a function's jaxpr with other code in the place of chosen primitives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from saliency_jax.tracing.compat import (
    Equation,
    Jaxpr,
    evaluate_equation,
    is_literal,
    opened,
    scan_counts,
    trace,
)

Rule = Callable[..., Sequence[Any]]
"""`rule(equation, *values) -> outputs`: what stands in for one equation."""

INLINED = ("jit", "pjit", "closed_call", "core_call")


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
        if not _applies(traced.jaxpr, rules):
            return f(*args)
        outputs = evaluate(traced.jaxpr, traced.consts, jax.tree.leaves(args), rules)
        return jax.tree.unflatten(jax.tree.structure(traced.outputs), outputs)

    return rewritten


def evaluate(jaxpr: Jaxpr, consts: Sequence[Any], args: Sequence[Any], rules: Mapping[str, Rule]) -> list[Any]:
    """The outputs of `jaxpr` at `args`, with `rules` in force at every depth."""
    values = dict(zip(jaxpr.constvars, consts, strict=True)) | dict(zip(jaxpr.invars, args, strict=True))

    def read(atom: Any) -> Any:
        return atom.val if is_literal(atom) else values[atom]

    for equation in jaxpr.eqns:
        inputs = [read(atom) for atom in equation.invars]
        name = equation.primitive.name
        if name in rules:
            # What a jaxpr holds as a constant may be NumPy's; a rule is given arrays.
            outputs = rules[name](equation, *map(jnp.asarray, inputs))
        elif name in _ENTER and any(_applies(inner, rules) for inner in _bodies(equation)):
            outputs = _ENTER[name](equation, inputs, rules)
        else:
            outputs = evaluate_equation(jaxpr, equation, inputs)
        values.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _bodies(equation: Equation) -> list[Jaxpr]:
    """The jaxprs that an entered equation runs."""
    params = equation.params
    found = [params[key] for key in ("jaxpr", "call_jaxpr", "body_jaxpr") if key in params]
    return [opened(body)[0] for body in (*found, *params.get("branches", ()))]


def _applies(jaxpr: Jaxpr, rules: Mapping[str, Rule]) -> bool:
    return any(
        equation.primitive.name in rules
        or (equation.primitive.name in _ENTER and any(_applies(body, rules) for body in _bodies(equation)))
        for equation in jaxpr.eqns
    )


def _closed(jaxpr: Any, rules: Mapping[str, Rule]) -> Callable[..., list[Any]]:
    """A jaxpr as a function of its inputs, under the rules."""
    body, consts = opened(jaxpr)
    return lambda *args: evaluate(body, consts, args, rules)


def _enter_call(equation: Equation, inputs: Sequence[Any], rules: Mapping[str, Rule]) -> Sequence[Any]:
    body = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
    return _closed(body, rules)(*inputs)


def _enter_remat(equation: Equation, inputs: Sequence[Any], rules: Mapping[str, Rule]) -> Sequence[Any]:
    params = equation.params
    if params["differentiated"]:
        # The second computation of a block: merged with the first, it would save no memory. JAX puts this barrier
        # itself, where it lowers a block that it has differentiated; the new block is not yet one of those.
        inputs = _behind_barrier(inputs, params["prevent_cse"])
    remat = partial(jax.checkpoint, prevent_cse=params["prevent_cse"], policy=params["policy"])
    return remat(_closed(params["jaxpr"], rules))(*inputs)


def _behind_barrier(values: Sequence[Any], chosen: bool | tuple[bool, ...]) -> list[Any]:
    """The values, those chosen behind a barrier that XLA does not look through."""
    mask = (chosen,) * len(values) if isinstance(chosen, bool) else chosen
    behind = iter(lax.optimization_barrier([v for v, inside in zip(values, mask, strict=True) if inside]))
    return [next(behind) if inside else v for v, inside in zip(values, mask, strict=True)]


def _enter_scan(equation: Equation, inputs: Sequence[Any], rules: Mapping[str, Rule]) -> Sequence[Any]:
    params = equation.params
    body = _closed(params["jaxpr"], rules)
    num_consts, num_carry = scan_counts(params)
    consts, carry, xs = (
        inputs[:num_consts],
        inputs[num_consts : num_consts + num_carry],
        inputs[num_consts + num_carry :],
    )

    def step(carried: Sequence[Any], x: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        outputs = body(*consts, *carried, *x)
        return outputs[:num_carry], outputs[num_carry:]

    options = {name: params[name] for name in ("length", "reverse", "unroll")}
    carried, ys = lax.scan(step, list(carry), list(xs), **options)
    return [*carried, *ys]


def _enter_while(equation: Equation, inputs: Sequence[Any], rules: Mapping[str, Rule]) -> Sequence[Any]:
    params = equation.params
    for_condition, for_body = params["cond_nconsts"], params["body_nconsts"]
    condition, body = _closed(params["cond_jaxpr"], {}), _closed(params["body_jaxpr"], rules)
    condition_consts, body_consts = inputs[:for_condition], inputs[for_condition : for_condition + for_body]
    return lax.while_loop(
        lambda carry: condition(*condition_consts, *carry)[0],
        lambda carry: body(*body_consts, *carry),
        list(inputs[for_condition + for_body :]),
    )


def _enter_cond(equation: Equation, inputs: Sequence[Any], rules: Mapping[str, Rule]) -> Sequence[Any]:
    index, *operands = inputs
    return lax.switch(index, [_closed(branch, rules) for branch in equation.params["branches"]], *operands)


_ENTER: dict[str, Callable[[Equation, Sequence[Any], Mapping[str, Rule]], Sequence[Any]]] = {
    **dict.fromkeys(INLINED, _enter_call),
    "checkpoint": _enter_remat,
    "remat2": _enter_remat,
    "scan": _enter_scan,
    "while": _enter_while,
    "cond": _enter_cond,
}
