"""From an image near a maximum to the maximum itself, on smooth networks that become the sharp one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from saliency_jax.checks import check_finite_number, check_function, check_image, check_integer
from saliency_jax.maximization.ascent import Objective, Trace, climb, optax_module
from saliency_jax.maximization.maximize import Maximum, check_optimizer, check_score, check_terms
from saliency_jax.maximization.parameterizations import pixels
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
    sharpness: Sequence[float] = (10.0, 100.0, 1000.0),
    optimizer: Any = None,
) -> Maximum:
    """The stationary point near an image: max_x score_b(x) + sum terms(x) in pixels, b = sharpness, one after another.

    score_b is the score with its ReLUs and maxima smoothed (see `smoothed`). At the maximum of a penalized ReLU network
    several linear pieces meet: it has no gradient there, and steps along those nearby never settle. Each smooth
    objective has a gradient that is 0 at its maximum, and the maximum of one is a start for the next.

    Args:
        score: `score(image) -> scalar`.
        image: where to begin, as `maximize_activation` finds it.
        steps: at each sharpness.
        terms: as in `maximize_activation`; smooth ones.
        sharpness: in 1 / units of the activations; more is closer to the network itself and harder to climb.
        optimizer: of optax, begun anew at each sharpness; Adam with the rate 0.02, in units of the image, that falls
            to 0 by a cosine where None.

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
    image, named = jnp.asarray(image), of_params(score)
    check_score(named, image.shape)
    check_terms(terms, image.shape)
    optax = optax_module()
    optimizer = optax.adam(optax.cosine_decay_schedule(0.02, steps)) if optimizer is None else optimizer

    def run(params: Any, image: Array) -> tuple[Array, Trace]:
        def sharpen(image: Array, b: Array) -> tuple[Array, Trace]:
            smooth = smoothed(ScoreOfParams(named.of_params, params), b)
            objective = Objective(smooth, terms, pixels(), image.shape, None, 1)
            # Nothing is drawn.
            image, _, trace = climb(objective, image, jax.random.key(0), optimizer, steps=steps, looks=steps + 1)
            return image, trace

        image, traces = lax.scan(sharpen, image, jnp.asarray(sharpness, image.dtype))
        *entries, transparency = traces
        return image, Trace._make((*(x.reshape(-1) for x in entries), transparency.sum(axis=0)))

    return Maximum(*compiled(canonical_convolutions(run))(named.params, image))
