"""One compiled climb: the objective, its gradient in the code, and what every step saw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from saliency_jax.keys import named, numbered
from saliency_jax.maximization.parameterizations import Parameterization, Shape
from saliency_jax.maximization.terms import Term
from saliency_jax.maximization.transformations import Transform


class Trace(NamedTuple):
    """The course of a maximization. Entry t is taken before step t, the last entry at the image that is returned.

    Attributes:
        objective: the score of the transformed image, plus the terms, plus the log density of the code.
        score: the score alone.
        gradient_norm: Euclidean norm of the objective's gradient in the code: in the image itself for `pixels`.
        score_gradient_norm: Euclidean norm of the score's gradient in the image; 0 throughout for a dead unit.
        transparency: the sum over all entries of |d objective / d image|: which places mattered.
    """

    objective: Float[Array, " entry"]
    score: Float[Array, " entry"]
    gradient_norm: Float[Array, " entry"]
    score_gradient_norm: Float[Array, " entry"]
    transparency: Float[Array, "*image"]


class Objective(NamedTuple):
    """What is maximized: mean_k score(transform_k(x)) + sum terms(x) + log_prior(code), x = image(code).

    Attributes:
        score: `score(image) -> scalar`.
        terms: `term(image) -> scalar`.
        parameterization: makes the image of the code.
        shape: of the image.
        transform: `transform(key, image) -> image`, or None.
        copies: how many transformed images.
    """

    score: Callable[[Array], Array]
    terms: Sequence[Term]
    parameterization: Parameterization
    shape: Shape
    transform: Transform | None
    copies: int

    def image(self, code: Any) -> Array:
        """The image of a code."""
        return self.parameterization.image(code, self.shape)

    def score_of(self, image: Array, key: Any) -> Array:
        """The score, averaged over transformed copies."""
        if self.transform is None:
            return self.score(image)
        transform = self.transform
        return jnp.mean(jax.vmap(lambda k: self.score(transform(k, image)))(numbered(key, self.copies)))

    def added(self, image: Array) -> Array:
        """The sum of the terms."""
        return sum((term(image) for term in self.terms), start=jnp.zeros((), image.dtype))

    def value(self, code: Any, key: Any) -> Array:
        """The objective."""
        image = self.image(code)
        return self.score_of(image, key) + self.added(image) + self.parameterization.log_prior(code)


class _Seen(NamedTuple):
    """The objective at one code: value, gradient in the code, what of both goes into the trace."""

    value: Array
    gradient: Any
    entries: tuple[Array, Array, Array, Array]
    image_gradient: Array


def climb(
    objective: Objective,
    code: Any,
    key: Any,
    optimizer: Any,
    *,
    steps: int,
    looks: int,
    first: int = 0,
    state: Any = None,
) -> tuple[Any, Any, Trace]:
    """The code and the optimizer's state after some steps, and the trace of what was seen.

    Args:
        objective: what is maximized.
        code: where to begin.
        key: step t draws from fold_in(key, t).
        optimizer: of optax; it is given value, grad and value_fn too, for line searches.
        steps: how many.
        looks: entries of the trace: steps + 1 for one before every step and one at the end, or steps where another
            climb goes on from there.
        first: the number of the first step.
        state: of the optimizer, where steps went before.
    """
    optimizer = optax_module().with_extra_args_support(optimizer)

    def step(carried: Any, place: Array) -> tuple[Any, tuple[Array, ...]]:
        code, state, transparency = carried
        step_key = jax.random.fold_in(key, first + place)
        seen = _look(objective, code, step_key)
        # Optimizers minimize.
        loss_gradient = jax.tree.map(jnp.negative, seen.gradient)
        updates, moved_state = optimizer.update(
            loss_gradient,
            state,
            code,
            value=-seen.value,
            grad=loss_gradient,
            value_fn=lambda c: -objective.value(c, step_key),
        )
        moved = jax.tree.map(jnp.add, code, updates)
        # A turn behind the last step looks and does not step: one program for both.
        code, state = jax.tree.map(
            lambda new, old: jnp.where(place < steps, new, old), (moved, moved_state), (code, state)
        )
        return (code, state, transparency + jnp.abs(seen.image_gradient)), seen.entries

    state = optimizer.init(code) if state is None else state
    start = (code, state, jnp.zeros(objective.shape, jnp.result_type(float)))
    (code, state, transparency), entries = lax.scan(step, start, jnp.arange(looks))
    return code, state, Trace._make((*entries, transparency))


def _look(objective: Objective, code: Any, key: Any) -> _Seen:
    image, to_code = jax.vjp(objective.image, code)
    score, score_gradient = jax.value_and_grad(objective.score_of)(image, key)
    added, added_gradient = jax.value_and_grad(objective.added)(image)
    prior, prior_gradient = jax.value_and_grad(objective.parameterization.log_prior)(code)
    image_gradient = score_gradient + added_gradient
    gradient = jax.tree.map(jnp.add, to_code(image_gradient)[0], prior_gradient)
    value = score + added + prior
    return _Seen(value, gradient, (value, score, _norm(gradient), _norm(score_gradient)), image_gradient)


def _norm(tree: Any) -> Array:
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)))


def joined(before: Trace, after: Trace) -> Trace:
    """The trace of two climbs, the second from where the first ended, which the first has not looked at."""
    entries = (jnp.concatenate(both) for both in zip(before[:-1], after[:-1], strict=True))
    return Trace._make((*entries, before.transparency + after.transparency))


def keys(key: Any) -> tuple[Array, Array]:
    """The keys of the first image and of the steps."""
    return named(key, "start"), named(key, "steps")


def optax_module() -> ModuleType:
    """optax; ModuleNotFoundError that names the extra where it is not installed."""
    try:
        import optax
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("maximization steps by optax: pip install 'saliency-jax[models]'") from error
    return optax
