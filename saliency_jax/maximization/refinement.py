"""From an image near a maximum to the maximum itself, on smooth networks that become the sharp one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from saliency_jax.checks import check_finite_number, check_function, check_image, check_integer
from saliency_jax.maximization.ascent import Objective, Trace, climb, optax_module
from saliency_jax.maximization.maximize import Maximum, check_optimizer, check_score, check_terms, start
from saliency_jax.maximization.parameterizations import Parameterization, check_parameterization, pixels
from saliency_jax.maximization.smoothing import smoothed
from saliency_jax.maximization.terms import Term
from saliency_jax.maximization.units import ScoreOfParams, of_params
from saliency_jax.tracing import canonical_convolutions, compiled
from saliency_jax.typing import Image, Score


def refine(
    score: Score,
    image: Image,
    *,
    steps: int = 300,
    terms: Sequence[Term] = (),
    parameterization: Parameterization | None = None,
    sharpness: Sequence[float] = (10.0, 100.0, 1000.0),
    optimizer: Any = None,
) -> Maximum:
    """The stationary point near an image: max_x score_b(x) + sum terms(x), b = sharpness, one after another.

    score_b is the score with its ReLUs and maxima smoothed (see `smoothed`). At the maximum of a penalized ReLU network
    several linear pieces meet: it has no gradient there, and steps along those nearby never settle. Each smooth
    objective has a gradient that is 0 at its maximum, and the maximum of one is a start for the next.

    Args:
        score: `score(image) -> scalar`.
        image: where to begin, as `maximize_activation` finds it.
        steps: at each sharpness.
        terms: as in `maximize_activation`; smooth ones.
        parameterization: what the steps are taken in, one that has the code of an image: `pixels` (where None),
            `fourier`, or a decoder with an inverse, `decoder(...)._replace(code=encode)`.
        sharpness: in 1 / units of the activations; more is closer to the network itself and harder to climb.
        optimizer: of optax, begun anew at each sharpness; Adam with the rate 0.02, in units of the code (the image's
            own for `pixels`), that falls to 0 by a cosine where None.

    Returns:
        The image, and the trace of the smooth objectives, steps + 1 entries for each sharpness. Its last gradient_norm
        tells how stationary the image is.

    Raises:
        TypeError, ValueError: as `maximize_activation`; or sharpness or steps is not positive.

    Source: Nesterov 2005, "Smooth minimization of non-smooth functions", for smooth functions in the place of sharp
    ones.

    Cost: steps + 1 gradients at each sharpness.
    """
    check_function(score, "score")
    check_integer(steps, "steps")
    if not isinstance(sharpness, Sequence):
        raise TypeError(f"sharpness must be a sequence of numbers, got {sharpness!r}")
    for b in sharpness:
        check_finite_number(b, "sharpness")
    if steps < 1 or not sharpness or not all(b > 0 for b in sharpness):
        raise ValueError(f"steps and every sharpness must be positive, got {steps} and {tuple(sharpness)}")
    check_image(image)
    check_optimizer(optimizer)
    parameterization = pixels() if parameterization is None else parameterization
    check_parameterization(parameterization, "parameterization")
    image, named = jnp.asarray(image), of_params(score)
    # Nothing is drawn, here or below.
    shape, code = start(image, parameterization, jax.random.key(0))
    check_score(named, shape)
    check_terms(terms, shape)
    optax = optax_module()
    optimizer = optax.adam(optax.cosine_decay_schedule(0.02, steps)) if optimizer is None else optimizer

    blunt_to_sharp = jnp.asarray(sharpness, image.dtype)

    def run(params: Any, code: Any) -> tuple[Array, Trace]:
        def sharpen(code: Any, b: Array) -> tuple[Any, Trace]:
            smooth = smoothed(ScoreOfParams(named.of_params, params), b)
            objective = Objective(smooth, terms, parameterization, shape, None, 1)
            code, _, trace = climb(objective, code, jax.random.key(0), optimizer, steps=steps, looks=steps + 1)
            return code, trace

        code, traces = lax.scan(sharpen, code, blunt_to_sharp)
        *entries, transparency = traces
        found = parameterization.image(code, shape)
        return found, Trace._make((*(x.reshape(-1) for x in entries), transparency.sum(axis=0)))

    return Maximum(*compiled(canonical_convolutions(run))(named.params, code))
