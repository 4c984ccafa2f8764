"""Whether a chain of elementwise equations is a ReLU, however it is written: decided by what it does to numbers.

`jax.nn.relu`, `jnp.maximum(x, 0)`, `jnp.where(x > 0, x, 0)`, `x * (x > 0)` and `jnp.clip(x, 0, 6)` are different
equations and one function. The chain is evaluated in NumPy at a few points, which decides between the piecewise linear
functions that networks are written with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.checks import is_concrete
from saliency_jax.tracing.primitives import CUSTOM
from saliency_jax.tracing.program import Program, Step, flat_program

POINTS = np.array([-1e4, -8.0, -3.0, -1.0, -0.3, -1e-3, -1e-30, 0.0, 1e-30, 1e-3, 0.3, 1.0, 2.5, 5.0, 8.0, 1e4])
"""Close around 0 too: what is cut off at some small number is no ReLU."""


def _select(which: Any, *cases: Any) -> Any:
    return np.choose(np.asarray(which).astype(int), np.broadcast_arrays(*cases))


_MEANING: dict[str, Callable[..., Any]] = {
    "max": np.maximum,
    "min": np.minimum,
    "gt": np.greater,
    "ge": np.greater_equal,
    "lt": np.less,
    "le": np.less_equal,
    "eq": np.equal,
    "ne": np.not_equal,
    "and": np.logical_and,
    "or": np.logical_or,
    "not": np.logical_not,
    "add": np.add,
    "add_any": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "neg": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "select_n": _select,
    "clamp": lambda low, x, high: np.clip(x, low, high),
    **dict.fromkeys(("convert_element_type", "broadcast_in_dim", "reshape", "squeeze", "copy", "copy_p"), lambda x: x),
    **dict.fromkeys(("pvary", "pcast"), lambda x: x),
}


def uniform_constants(program: Program) -> dict[int, Any]:
    """number -> the one value of every constant that is the same number everywhere, and of what is made of these."""
    known: dict[int, Any] = {}
    for number, value in program.constants.items():
        if isinstance(value, np.ndarray) and value.size and (value == value.flat[0]).all():
            known[number] = value.flat[0]
        elif (
            np.ndim(value) == 0
            and is_concrete(value)
            and not jnp.issubdtype(jnp.result_type(value), jax.dtypes.prng_key)
        ):
            known[number] = np.asarray(value)
    extend_constants(program.steps, known)
    return known


def extend_constants(steps: Sequence[Step], known: dict[int, Any]) -> None:
    """Add to `known` the outputs of the steps that read known values only."""
    for step in steps:
        if step.inputs and all(number in known for number in step.inputs) and len(step.outputs) == 1:
            values = _evaluate(step, [known[number] for number in step.inputs])
            if values is not None:
                known[step.outputs[0]] = values


def is_relu(steps: Sequence[Step], source: int, target: int, constants: Mapping[int, Any]) -> bool:
    """Whether `target` is max(source, 0), or that cut off at some height (ReLU6)."""
    values = dict(constants) | {source: POINTS}
    for step in steps:
        if len(step.outputs) != 1 or any(number not in values for number in step.inputs):
            return False
        found = _evaluate(step, [values[number] for number in step.inputs])
        if found is None:
            return False
        values[step.outputs[0]] = found
    found = np.broadcast_to(np.asarray(values[target], float), POINTS.shape)
    return bool(found[-1] > 0) and np.array_equal(found, np.clip(POINTS, 0, found[-1]))


def _evaluate(step: Step, values: Sequence[Any]) -> Any:
    """What a step gives for plain numbers; None where that is not known here."""
    if step.primitive in CUSTOM:
        return _evaluate_body(flat_program(step.equation.params["call_jaxpr"]), values)
    meaning = _MEANING.get(step.primitive)
    with np.errstate(all="ignore"):
        return None if meaning is None else meaning(*values)


def _evaluate_body(body: Program, values: Sequence[Any]) -> Any:
    known = uniform_constants(body) | dict(zip(body.inputs, values, strict=True))
    extend_constants(body.steps, known)
    return known.get(body.outputs[0]) if len(body.outputs) == 1 else None
