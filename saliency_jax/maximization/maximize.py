"""Activation maximization: gradient ascent on an image, or on what makes one, for any score."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from saliency_jax.checks import check_function, check_image, check_integer, check_key, check_score_output, is_concrete
from saliency_jax.maximization.ascent import Objective, Trace, climb, joined, keys, optax_module
from saliency_jax.maximization.parameterizations import (
    NO_INVERSE,
    Parameterization,
    Shape,
    check_parameterization,
    pixels,
)
from saliency_jax.maximization.redirection import redirected
from saliency_jax.maximization.terms import Term
from saliency_jax.maximization.transformations import Transform
from saliency_jax.maximization.units import ScoreOfParams, of_params
from saliency_jax.tracing import canonical_convolutions, compiled, fast_pooling
from saliency_jax.tracing.naming import plan_with_params
from saliency_jax.typing import Score


class Maximum(NamedTuple):
    """The image that was found, and how."""

    image: Float[Array, "*image"]
    trace: Trace


def maximize_activation(
    score: Score,
    shape_or_image: Any,
    key: Any,
    *,
    steps: int = 256,
    terms: Sequence[Term] = (),
    parameterization: Parameterization | None = None,
    transform: Transform | None = None,
    copies: int = 1,
    optimizer: Any = None,
    redirected_steps: int = 0,
) -> Maximum:
    """The image that a score is highest for, by gradient ascent: max_x mean_k score(transform_k(x)) + sum terms(x).

    Many units, or many weights of a term, at once by `jax.vmap` of the whole, best inside `jax.jit`:

        def unit(channel, key):
            score = channel_score(apply, params, "fire5", channel)
            return maximize_activation(score, (224, 224, 3), key, parameterization=fourier())
        maxima = jax.jit(jax.vmap(unit))(channels, keys)
        check_alive(maxima)

    Args:
        score: `score(image) -> scalar`: `class_score`, `channel_score`, `neuron_score`, `direction_score` or any other.
        shape_or_image: the shape of the image, or the image to begin with.
        key: draws the first image and the transformations; the same key gives the same bits.
        steps: of the ascent.
        terms: penalties and log densities, `term(image) -> scalar`, added to the score: `l2`, `total_variation`,
            `gaussian_expert`, `kernel_density_expert` or any other.
        parameterization: what the steps are taken in: `pixels` (where None), `fourier`, `maco`, `decoder`, with
            `bounded`, `recoloured` and `masked` around them.
        transform: `transform(key, image) -> image`, drawn anew at every step.
        copies: how many transformed images a step averages over.
        optimizer: of optax; Adam with the rate 0.05, in units of the code, that falls to 0 by a cosine where None.
            Those with a line search, as `optax.lbfgs()`, are given what they need.
        redirected_steps: how many of the first steps take the redirected gradient of ReLUs that let nothing through:
            16 wake most dead units.

    Returns:
        The image, and the trace of steps + 1 entries.

    Raises:
        TypeError: the score is no real scalar, the image not floating point, or another argument of another kind.
        ValueError: the score does not depend on the image in a way that a gradient passes; its unit is dead; steps or
            copies is under 1, copies are asked for without a transformation, not fewer redirected_steps than steps;
            the image is not finite or out of the parameterization's range; a term is no scalar; the parameterization
            gives another shape.
        ModuleNotFoundError: optax is not installed.

    Source: Erhan et al. 2009, section 3.2; Simonyan et al. 2014, section 2; Montavon et al. 2018, section 3.

    Cost: steps + 1 gradients of the score. Outside of `jax.jit` each call traces and compiles its own program.
    """
    check_function(score, "score")
    for argument, value in (("steps", steps), ("redirected_steps", redirected_steps), ("copies", copies)):
        check_integer(value, argument)
    if not 0 <= redirected_steps < steps:
        raise ValueError(f"steps must be at least 1 and more than redirected_steps, got {steps} and {redirected_steps}")
    if copies < 1 or (copies > 1 and transform is None):
        raise ValueError(f"copies must be at least 1, and more only with a transformation, got {copies}")
    check_key(key, "maximize_activation")
    parameterization = pixels() if parameterization is None else parameterization
    check_parameterization(parameterization, "parameterization")
    if transform is not None:
        check_function(transform, "transform")
    check_optimizer(optimizer)
    start_key, step_key = keys(key)
    shape, code = start(shape_or_image, parameterization, start_key)
    named = of_params(score)
    check_score(named, shape, transform)
    check_terms(terms, shape)
    optax = optax_module()
    optimizer = optax.adam(optax.cosine_decay_schedule(0.05, steps)) if optimizer is None else optimizer

    def run(params: Any, code: Any, key: Any) -> tuple[Array, Trace]:
        sharp = fast_pooling(partial(named.of_params, params))
        objective = Objective(sharp, terms, parameterization, shape, transform, copies)
        if not redirected_steps:
            code, _, trace = climb(objective, code, key, optimizer, steps=steps, looks=steps + 1)
            return objective.image(code), trace
        waking = objective._replace(score=redirected(sharp))
        first = redirected_steps
        code, state, before = climb(waking, code, key, optimizer, steps=first, looks=first)
        rest = steps - first
        code, _, after = climb(objective, code, key, optimizer, steps=rest, looks=rest + 1, first=first, state=state)
        return objective.image(code), joined(before, after)

    found = Maximum(*compiled(canonical_convolutions(run))(named.params, code, step_key))
    check_alive(found, redirected_steps=redirected_steps)
    return found


def check_alive(found: Maximum, *, redirected_steps: int = 0) -> None:
    """Raise ValueError where the score's gradient was 0 at every step; under a trace nothing can be seen.

    `maximize_activation` does this itself for one unit; it is to be called on what a `jax.vmap` of it returned.

    Args:
        found: the maximum of one unit, or of many with leading axes.
        redirected_steps: what it was found with.

    Raises:
        ValueError: a unit is dead.
        TypeError: found is no Maximum.
    """
    if not isinstance(found, Maximum):
        raise TypeError(f"found must be a Maximum, got {type(found).__name__}")
    check_integer(redirected_steps, "redirected_steps")
    norms = found.trace.score_gradient_norm
    if not is_concrete(norms):
        return
    dead = np.all(np.asarray(norms)[..., redirected_steps:] == 0, axis=-1)
    if not dead.any():
        return
    units = "the unit" if dead.ndim == 0 else f"of {dead.size} units {np.flatnonzero(dead)[:10].tolist()}"
    advice = (
        f"even after {redirected_steps} redirected steps; begin with another image or key, or score a tap before its "
        "ReLU"
        if redirected_steps
        else "pass redirected_steps=16 to be led to where it answers, begin with another image or key, or score a tap "
        "before its ReLU"
    )
    raise ValueError(
        f"the score must answer to the image somewhere on the way, but {units} must be dead: its gradient was 0 at "
        f"every step; {advice}"
    )


def start(shape_or_image: Any, parameterization: Parameterization, key: Any) -> tuple[Shape, Any]:
    """The shape of the image, and the code to begin with."""
    if _is_shape(shape_or_image):
        shape = tuple(int(size) for size in shape_or_image)
        if not shape or min(shape) < 1:
            raise ValueError(f"shape_or_image must have positive sizes where it is a shape, got {shape}")
        code = parameterization.init(key, shape)
    else:
        check_image(shape_or_image, "shape_or_image")
        image = jnp.asarray(shape_or_image)
        if parameterization.code is None:
            raise ValueError(NO_INVERSE)
        shape, code = image.shape, parameterization.code(image)
    made = jax.eval_shape(lambda code: parameterization.image(code, shape), code)
    if getattr(made, "shape", None) != shape:
        raise ValueError(f"parameterization must give an image of shape {shape}, got {made}")
    return shape, code


def check_score(named: ScoreOfParams, shape: Shape, transform: Transform | None = None) -> None:
    """Raise unless the score is a real scalar that a gradient in the image reaches."""
    one = jax.ShapeDtypeStruct(shape, jnp.result_type(float))
    if transform is not None:
        one = jax.eval_shape(transform, jax.random.key(0), one)
    planned = plan_with_params(named.of_params, named.params, one)
    check_score_output(planned.outputs)
    if planned.plan.program.outputs[0] not in planned.plan.live:
        raise ValueError(
            "score must depend on the image in a way that a gradient passes, but it is the same for every image, or "
            "reads it only where none does (stop_gradient, argmax)"
        )


def check_optimizer(optimizer: Any) -> None:
    """Raise TypeError unless this is one of optax's, or None."""
    if optimizer is not None and not all(callable(getattr(optimizer, name, None)) for name in ("init", "update")):
        raise TypeError(f"optimizer must be of optax, with init and update, got {type(optimizer).__name__}")


def check_terms(terms: Sequence[Term], shape: Shape) -> None:
    """Raise TypeError where terms are no functions, ValueError where one is no scalar."""
    if isinstance(terms, str) or not isinstance(terms, Sequence):
        raise TypeError(f"terms must be a sequence of functions, got {terms!r}")
    for term in terms:
        check_function(term, "terms")
    for place, term in enumerate(terms):
        made = jax.eval_shape(term, jax.ShapeDtypeStruct(shape, jnp.result_type(float)))
        if getattr(made, "shape", None) != ():
            raise ValueError(f"terms must be functions image -> scalar, but number {place} gives {made}")


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(isinstance(size, int | np.integer) for size in value)
