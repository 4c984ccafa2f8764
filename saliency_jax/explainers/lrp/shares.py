"""Relevance in shares: what a rule returns, and the two ways in which rules share it out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from saliency_jax.explainers.lrp.linear import LinearLayer
from saliency_jax.tracing.override import Site

EPSILON = 1e-6


class Shares(NamedTuple):
    """Where relevance goes.

    Attributes:
        inputs: the relevance of each of the operation's inputs, shaped like it.
        bias: the relevance that its biases took, a scalar.
        stabilizer: the relevance that could not be shared out: epsilon's part of s(z), and all of R_k where z_k is 0.
    """

    inputs: tuple[Array, ...]
    bias: Array | float = 0.0
    stabilizer: Array | float = 0.0


Rule = Callable[..., Shares]
"""`rule(site, relevance) -> Shares`."""


@dataclass(frozen=True)
class Unfolded:
    """A rule for scalings and shifts that are then not folded into the layer before them; see `unfolded`."""

    rule: Rule

    def __call__(self, site: Site, relevance: Array) -> Shares:
        """The rule itself."""
        return self.rule(site, relevance)


def by_terms(
    apply: Callable[[Array, Array], Array],
    terms: Sequence[tuple[Array, Array]],
    bias: Array | None,
    relevance: Array,
    epsilon: float,
) -> Shares:
    """Relevance in proportion to sum_t apply(x_t, w_t) + bias, to the inputs x_t and the bias."""
    results, pulls = zip(*(jax.vjp(lambda v, w=w: apply(v, w), x) for x, w in terms), strict=True)
    z = sum(results[1:], results[0])
    z = z if bias is None else z + bias
    quotient = quotient_of(relevance, z, epsilon)
    shares = [x * pull(quotient)[0] for (x, _), pull in zip(terms, pulls, strict=True)]
    taken = 0.0 if bias is None else jnp.sum(bias * quotient)
    return Shares((sum(shares[1:], shares[0]),), taken, jnp.sum(relevance - z * quotient))


def by_value(site: Site, relevance: Array, z: Array, epsilon: float) -> Shares:
    """Relevance to every input by its part of z, through the operation's own gradient."""
    quotient = quotient_of(relevance, z, epsilon)
    shares = tuple(x * g for x, g in zip(site.inputs, site.gradient(quotient), strict=True))
    return Shares(shares, 0.0, jnp.sum(relevance - z * quotient))


def terms_by_sign(site: Site, layer: LinearLayer, high: Array, low: Array) -> tuple[tuple[Array, Array], ...]:
    """The terms x+ with the weights `high` and x- with `low`; the second is left out where x is nowhere negative."""
    if site.operation.positive:
        return ((layer.x, high),)
    return ((positive_part(layer.x), high), (negative_part(layer.x), low))


def quotient_of(relevance: Array, z: Array, epsilon: float) -> Array:
    """R / s(z), 0 where s(z) is 0."""
    stable = z + jnp.where(z >= 0, epsilon, -epsilon).astype(z.dtype)
    return jnp.where(stable == 0, 0, relevance / jnp.where(stable == 0, 1, stable))


def gathered(values: Array, axes: Sequence[int]) -> Array:
    """The sum over some axes at their first place, 0 elsewhere."""
    first = jnp.ones((), bool)
    for axis in axes:
        first = first & (lax.broadcasted_iota(jnp.int32, values.shape, axis) == 0)
    return jnp.where(first, values.sum(tuple(axes), keepdims=True), 0)


def positive_part(x: Array) -> Array:
    """max(x, 0)."""
    return jnp.maximum(x, 0)


def negative_part(x: Array) -> Array:
    """min(x, 0)."""
    return jnp.minimum(x, 0)


def unbroadcast(relevance: Array, x: Array) -> Array:
    """Relevance summed over the places to which x was broadcast."""
    _, pull = jax.vjp(lambda v: jnp.broadcast_to(v, relevance.shape), x)
    return pull(relevance)[0]
