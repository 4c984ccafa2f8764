"""How relevance goes back through one operation: `rule(site, relevance) -> Shares`.

Notation: an operation computes z_k = sum_i x_i w_ik + b_k; R_k is the relevance of z_k; s(z) = z + epsilon sign(z),
with sign(0) = 1; x+ = max(x, 0), x- = min(x, 0). Scalings that follow a matrix product, such as an inference BatchNorm,
are part of w and b. Options are keyword-only; fix them with `functools.partial`. Where a rule takes `bias`, False
leaves the bias out of z, and relevance that it would take stays with the inputs.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from saliency_jax.explainers.lrp.linear import bias_of, held, linear_layer
from saliency_jax.explainers.lrp.shares import (
    EPSILON,
    Rule,
    Shares,
    Unfolded,
    by_terms,
    by_value,
    gathered,
    negative_part,
    positive_part,
    quotient_of,
    terms_by_sign,
    unbroadcast,
)
from saliency_jax.tracing.operations import LINEAR
from saliency_jax.tracing.override import Site
from saliency_jax.tracing.pooling import pooling_rule


def epsilon(site: Site, relevance: Array, *, epsilon: float = EPSILON, bias: bool = True) -> Shares:
    """R_i = x_i sum_k w_ik R_k / s(z_k); with several inputs, for all of them together.

    Source: Bach et al. 2015, equation 58.
    """
    if site.operation.kind not in LINEAR:
        return by_value(site, relevance, site.output, epsilon)
    [x] = site.inputs
    shift = bias_of(site)
    # The model's own result is z: nothing has to be computed again.
    z = site.output if bias else site.output - shift
    quotient = quotient_of(relevance, z, epsilon)
    _, pull = jax.vjp(held(site), x)
    taken = jnp.sum(shift * quotient) if bias else 0.0
    return Shares((x * pull(quotient)[0],), taken, jnp.sum(relevance - z * quotient))


def zero(site: Site, relevance: Array) -> Shares:
    """R_i = x_i sum_k w_ik R_k / z_k, nothing where z_k is 0: gradient times input, layer by layer.

    Source: Bach et al. 2015, equation 56; Montavon et al. 2019, section 10.2.1 (LRP-0).
    """
    return epsilon(site, relevance, epsilon=0.0)


norm = epsilon
"""Relevance by share of the result, for sums and average pools: the rule epsilon with no weights to look at."""


def gamma(site: Site, relevance: Array, *, gamma: float = 0.25, epsilon: float = EPSILON, bias: bool = True) -> Shares:
    """What speaks for the sign of z_k counts 1 + gamma times; for z_k > 0:

    R_i = sum_k [x+_i (w + gamma w+)_ik + x-_i (w + gamma w-)_ik] R_k / s(the same summed over i, + b_k + gamma b+_k),
    for z_k < 0 with w+ and w- exchanged and b-, for z_k = 0 nothing.

    Source: Montavon et al. 2019, section 10.2.3; its form for inputs of both signs, Andeol et al. 2021.
    """
    layer = linear_layer(site)
    high, low = positive_part(layer.weights), negative_part(layer.weights)
    shift = layer.bias if bias else jnp.zeros_like(layer.bias)
    found = []
    for wins, up, down, b in (
        (layer.output > 0, high, low, positive_part),
        (layer.output < 0, low, high, negative_part),
    ):
        terms = terms_by_sign(site, layer, layer.weights + gamma * up, layer.weights + gamma * down)
        part = jnp.where(wins, relevance, 0)
        found.append(by_terms(layer.apply, terms, shift + gamma * b(shift), part, epsilon))
    [up], [down] = found[0].inputs, found[1].inputs
    nowhere = jnp.sum(jnp.where(layer.output == 0, relevance, 0))
    return Shares((up + down,), found[0].bias + found[1].bias, found[0].stabilizer + found[1].stabilizer + nowhere)


def z_plus(site: Site, relevance: Array, *, epsilon: float = EPSILON, bias: bool = True) -> Shares:
    """R_i = sum_k (x+_i w+_ik + x-_i w-_ik) R_k / s(the same summed over i, + b+_k); alpha-beta with 1 and 0.

    Source: Montavon et al. 2017, equation 13.
    """
    layer = linear_layer(site)
    terms = terms_by_sign(site, layer, positive_part(layer.weights), negative_part(layer.weights))
    return by_terms(layer.apply, terms, positive_part(layer.bias) if bias else None, relevance, epsilon)


def alpha_beta(
    site: Site,
    relevance: Array,
    *,
    alpha: float = 2.0,
    beta: float = 1.0,
    epsilon: float = EPSILON,
    bias: bool = True,
) -> Shares:
    """alpha times the shares of what raises z_k minus beta times those of what lowers it; alpha - beta = 1.

    Where nothing lowers z_k its inputs get alpha R_k in all: this rule need not conserve relevance.

    Raises:
        ValueError: alpha or beta is negative, or alpha - beta is not 1.

    Source: Bach et al. 2015, equation 60.
    """
    if alpha < 0 or beta < 0 or abs(alpha - beta - 1) > 1e-9:
        raise ValueError(f"alpha and beta must not be negative, with alpha - beta = 1; got {alpha} and {beta}")
    raising = z_plus(site, relevance, epsilon=epsilon, bias=bias)
    layer = linear_layer(site)
    terms = terms_by_sign(site, layer, negative_part(layer.weights), positive_part(layer.weights))
    lowering = by_terms(layer.apply, terms, negative_part(layer.bias) if bias else None, relevance, epsilon)
    [up], [down] = raising.inputs, lowering.inputs
    return Shares(
        (alpha * up - beta * down,),
        alpha * raising.bias - beta * lowering.bias,
        alpha * raising.stabilizer - beta * lowering.stabilizer,
    )


def z_box(site: Site, relevance: Array, *, low: Any = 0.0, high: Any = 1.0, epsilon: float = EPSILON) -> Shares:
    """R_i = sum_k (x_i w_ik - low_i w+_ik - high_i w-_ik) R_k / s(the same summed over i), for x in [low, high].

    Args:
        site: the operation.
        relevance: of its result.
        low: the least value of each input, one number or an array that broadcasts to the input.
        high: the greatest.
        epsilon: of s.

    Source: Montavon et al. 2017, equation 14.
    """
    layer = linear_layer(site)
    low, high = (jnp.broadcast_to(jnp.asarray(bound, layer.x.dtype), layer.x.shape) for bound in (low, high))
    # x w is x w+ + x w-: two products for three, and at the bounds, where all of them cancel, nothing is left to round.
    terms = ((layer.x - low, positive_part(layer.weights)), (layer.x - high, negative_part(layer.weights)))
    return by_terms(layer.apply, terms, None, relevance, epsilon)


def w_square(site: Site, relevance: Array, *, epsilon: float = EPSILON, bias: bool = True) -> Shares:
    """R_i = sum_k w_ik^2 R_k / s(sum_i w_ik^2 + b_k^2).

    Source: Montavon et al. 2017, equation 12.
    """
    layer = linear_layer(site)
    terms = ((jnp.ones_like(layer.x), jnp.square(layer.weights)),)
    return by_terms(layer.apply, terms, jnp.square(layer.bias) if bias else None, relevance, epsilon)


def flat(site: Site, relevance: Array, *, epsilon: float = EPSILON) -> Shares:
    """Every input that z_k sees gets the same share of R_k, to the bit.

    Source: Lapuschkin et al. 2019, supplementary note 1.
    """
    layer = linear_layer(site)
    seen, pull = jax.vjp(lambda x: layer.apply(x, jnp.ones_like(layer.weights)), jnp.ones_like(layer.x))
    quotient = quotient_of(relevance, seen, epsilon)
    # One term is left of every sum over channels: the order of their terms differs between inputs, and a map that is
    # constant but for rounding has ranks.
    return Shares((pull(gathered(quotient, layer.channels))[0],), 0.0, jnp.sum(relevance - seen * quotient))


def pass_through(site: Site, relevance: Array) -> Shares:
    """R_i = R_k: for activations, and for a normalization that is not folded into a layer.

    Where an input was broadcast to the result, its places add up.
    """
    [x] = site.inputs
    return Shares((unbroadcast(relevance, x),))


def unfolded(rule: Rule) -> Rule:
    """The rule, for an "affine" operation that is to stay one: `("affine", unfolded(pass_through))` leaves every
    inference BatchNorm an operation of its own, and lets relevance pass it.
    """
    return Unfolded(rule)


def moved(site: Site, relevance: Array) -> Shares:
    """Relevance back to where each value came from; what was a constant beside the inputs, such as a class token, took
    its part as a bias does."""
    found = site.gradient(relevance)
    return Shares(found, jnp.sum(relevance) - sum(jnp.sum(share) for share in found))


def gradient(site: Site, relevance: Array) -> Shares:
    """The operation's own gradient, as if relevance were one. It conserves nothing."""
    return Shares(site.gradient(relevance))


def winner(site: Site, relevance: Array) -> Shares:
    """All of R_k to the input that was the maximum: the gradient's way, the first of several in a max pool."""
    operation = site.operation
    if operation.primitive == "reduce_window_max":
        _, pull = jax.vjp(lambda x: pooling_rule(operation.steps[0].equation, x)[0], *site.inputs)
        return Shares(pull(relevance))
    return Shares(site.gradient(relevance))


def halves(site: Site, relevance: Array) -> Shares:
    """R_k in equal parts to the factors of a product of two things that depend on the image, such as a gate.

    Source: Achtibat et al. 2024 (AttnLRP), equation 14 with two factors.
    """
    return Shares(tuple(unbroadcast(relevance / len(site.inputs), x) for x in site.inputs))


def bilinear(site: Site, relevance: Array, *, epsilon: float = EPSILON) -> Shares:
    """Half of R_k to each factor of a matrix product, within it by share: R_ji = sum_p a_ji v_ip R_jp / s(2 z_jp).

    Source: Achtibat et al. 2024 (AttnLRP), equation 15.
    """
    # A value multiplied by itself is one input and both factors.
    factors = sum(number in site.operation.inputs for number in site.operation.steps[0].inputs)
    return by_value(site, relevance, factors * site.output, epsilon)


def softmax(site: Site, relevance: Array) -> Shares:
    """R_i = x_i (R_i - s_i sum_j R_j), s the softmax of x: a Taylor expansion, whose constant term the bias share is.

    Source: Achtibat et al. 2024 (AttnLRP), equation 13.
    """
    [x] = site.inputs
    # x times the softmax's own gradient for R / s, which holds for a softmax along any axis.
    [found] = site.gradient(quotient_of(relevance, site.output, 0.0))
    return Shares((x * found,), jnp.sum(relevance) - jnp.sum(x * found))


def numerator(site: Site, relevance: Array) -> Shares:
    """All of R_k to the numerator of a quotient; what it is divided by is held fixed."""
    step = site.operation.steps[-1]
    top = step.inputs[0]
    return Shares(
        tuple(
            unbroadcast(relevance, x) if number == top else jnp.zeros_like(x)
            for number, x in zip(site.operation.inputs, site.inputs, strict=True)
        )
    )
