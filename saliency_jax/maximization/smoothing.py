"""A network without kinks: every ReLU a softplus, every maximum a log-sum-exp, as sharp as wanted.

The maximum of a penalized ReLU network lies where several of its linear pieces meet, where it has no gradient. That of
the smooth network has one, which is 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from saliency_jax.checks import check_function, check_number, is_concrete
from saliency_jax.maximization.units import ScoreOfParams, of_params
from saliency_jax.tracing.execution import Visited, Visitor, where
from saliency_jax.tracing.naming import plan_with_params
from saliency_jax.tracing.operations import Operation
from saliency_jax.tracing.override import run_planned
from saliency_jax.tracing.pooling import window_places
from saliency_jax.tracing.program import Step
from saliency_jax.typing import Score


def smoothed(score: Score, sharpness: Any) -> Score:
    """The score with smooth functions in the place of its kinks, which they become as the sharpness b grows.

    max(x, 0) becomes log(1 + exp(b x)) / b, and a maximum over a window or over axes log(sum exp(b x_i)) / b: at most
    log(2) / b and log(count) / b above. A ReLU that is cut off at c becomes the difference of two. Kinks of another
    kind (leaky ReLU, |x|) stay.

    Args:
        score: `score(image) -> scalar`.
        sharpness: b, positive, in 1 / units of the activations; a traced value to vary it.

    Returns:
        A score, smooth where the model has no other kinks.

    Raises:
        ValueError: sharpness is not positive; when called, a maximum is of a kind that is not known here.
    """
    check_function(score, "score")
    check_number(sharpness, "sharpness")
    # NumPy: under somebody's jit a comparison by jnp could not be looked at.
    if is_concrete(sharpness) and not 0 < np.asarray(sharpness) < math.inf:
        raise ValueError(f"sharpness must be positive and finite, got {sharpness}")
    sharp = of_params(score)

    def smooth(params: Any, image: Any) -> Array:
        planned = plan_with_params(sharp.of_params, params, image)
        visitors = {
            operation.name: _VISITORS[operation.kind](sharpness)
            for operation in planned.plan.everything()
            if operation.kind in _VISITORS
        }
        return jnp.asarray(run_planned(planned, (image,), visitors).outputs)

    return ScoreOfParams(smooth, sharp.params)


def _smooth_relu(sharpness: Any) -> Visitor:
    def visitor(operation: Operation, inputs: Sequence[Any], sides: Sequence[Any], given: Any) -> Visited:
        x = jnp.asarray(inputs[0])
        # The height at which it is cut off, if any: what it makes of a value above all others.
        [top] = operation.run([jnp.full_like(x, 1e30)], sides)
        return Visited([_softplus(x, sharpness) - _softplus(x - top, sharpness)])

    return visitor


def _softplus(x: Array, sharpness: Any) -> Array:
    return jax.nn.softplus(sharpness * x) / sharpness


def _smooth_maximum(sharpness: Any) -> Visitor:
    def visitor(operation: Operation, inputs: Sequence[Any], sides: Sequence[Any], given: Any) -> Visited:
        [step, *more] = operation.steps
        if more or len(inputs) != 1 or step.primitive not in _STACKED:
            raise ValueError(f"it is not known how to smooth the {operation.primitive} at {where(operation)}")
        values = sharpness * _STACKED[step.primitive](jnp.asarray(inputs[0]), step)
        return Visited([jax.nn.logsumexp(values, axis=0) / sharpness])

    return visitor


def _windows(x: Array, step: Step) -> Array:
    """What stands at each place of every window, the places first."""
    params = step.equation.params
    window, strides, dilation = (params[f"window_{name}"] for name in ("dimensions", "strides", "dilation"))
    spread = [(0, 0, apart - 1) for apart in params["base_dilation"]]
    x = lax.pad(x, jnp.array(-jnp.inf, x.dtype), spread)
    return jnp.stack(list(window_places(x, window, strides, params["padding"], dilation, fill=-math.inf)))


def _over_axes(x: Array, step: Step) -> Array:
    """What stands at each place of the axes that a maximum is taken over, the places first."""
    axes = step.equation.params["axes"]
    front = jnp.moveaxis(x, axes, range(len(axes)))
    return front.reshape(-1, *front.shape[len(axes) :])


_STACKED: dict[str, Callable[[Array, Step], Array]] = {
    "reduce_window_max": _windows,
    "reduce_max": _over_axes,
}
_VISITORS: dict[str, Callable[[Any], Visitor]] = {"relu": _smooth_relu, "max_pool": _smooth_maximum}
