"""The rules of LRP in dense NumPy, from their formulas: on a layer's matrix, one term for each input and result.

Every rule takes a `Dense` layer and the relevance of its results, and gives that of its inputs and its bias. Formulas
as in Montavon et al. 2019 and as Zennit computes them; s(z) = z + epsilon, or z - epsilon for z < 0.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import override


class Dense(NamedTuple):
    """z_k = sum_i w_ki x_i + b_k; `seen` is 1 where x_i has a weight to z_k, though it were 0."""

    x: np.ndarray
    w: np.ndarray
    b: np.ndarray
    seen: np.ndarray


def dense_layer(f, ones, x):
    """The layer of an affine function, `ones` being the same with weights of one and no bias."""
    with jax.enable_x64(True):
        x = jnp.asarray(np.asarray(x, np.float64))
        w, seen = (np.asarray(jax.jacfwd(g)(x)).reshape(-1, x.size) for g in (f, ones))
        b = np.ravel(f(jnp.zeros_like(x)))
    return Dense(np.ravel(x), w, b, np.asarray(seen != 0, float))


def over(relevance, z, epsilon):
    """R / s(z), and 0 where s(z) is 0."""
    stable = np.where(z >= 0, z + epsilon, z - epsilon)
    return np.divide(relevance, stable, out=np.zeros_like(z), where=stable != 0)


def by_share(terms, b, relevance, epsilon):
    """Each z_k's relevance in proportion to its terms t_ki and its bias."""
    quotient = over(relevance, terms.sum(1) + b, epsilon)
    return terms.T @ quotient, b @ quotient


def up(x):
    return np.where(x > 0, x, 0.0)


def down(x):
    return np.where(x < 0, x, 0.0)


def epsilon(layer, relevance, *, epsilon=1e-6, bias=True):
    return by_share(layer.w * layer.x, layer.b * bias, relevance, epsilon)


def zero(layer, relevance):
    return epsilon(layer, relevance, epsilon=0.0)


def gamma(layer, relevance, *, gamma=0.25, epsilon=1e-6, bias=True):
    """One result at a time: which of the two forms holds is said by the sign of its z_k, its bias included."""
    shares, taken = np.zeros_like(layer.x), 0.0
    for w, b, r in zip(layer.w, layer.b, relevance, strict=True):
        z = w @ layer.x + b
        if z == 0:
            continue
        favoured, other = (up, down) if z > 0 else (down, up)
        terms = up(layer.x) * (w + gamma * favoured(w)) + down(layer.x) * (w + gamma * other(w))
        share, bias_share = by_share(terms[None], bias * np.array([b + gamma * favoured(b)]), np.array([r]), epsilon)
        shares, taken = shares + share, taken + bias_share
    return shares, taken


def z_plus(layer, relevance, *, epsilon=1e-6, bias=True):
    return by_share(up(layer.w * layer.x), up(layer.b) * bias, relevance, epsilon)


def alpha_beta(layer, relevance, *, alpha=2.0, beta=1.0, epsilon=1e-6, bias=True):
    raising = by_share(up(layer.w * layer.x), up(layer.b) * bias, relevance, epsilon)
    lowering = by_share(down(layer.w * layer.x), down(layer.b) * bias, relevance, epsilon)
    return tuple(alpha * p - beta * n for p, n in zip(raising, lowering, strict=True))


def z_box(layer, relevance, *, low=0.0, high=1.0, epsilon=1e-6):
    terms = layer.w * layer.x - up(layer.w) * np.ravel(low) - down(layer.w) * np.ravel(high)
    return by_share(terms, np.zeros_like(layer.b), relevance, epsilon)


def w_square(layer, relevance, *, epsilon=1e-6, bias=True):
    return by_share(layer.w**2, layer.b**2 * bias, relevance, epsilon)


def flat(layer, relevance, *, epsilon=1e-6):
    return by_share(layer.seen, np.zeros_like(layer.b), relevance, epsilon)


def site_of(f, x, kind):
    """The one operation of a kind in `f`, at the values that it is run with."""
    found = []

    def note(site, cotangent):
        found.append(site)
        return site.gradient(cotangent)

    output, pull = jax.vjp(override(f, {kind: note}), x)
    pull(jnp.ones_like(output))
    [site] = found
    return site


def agree(found, expected, bound):
    """Within `bound` of the largest share: relevance of a z near 0 is millions, and then so are its rounding errors."""
    scale = max(np.abs(expected).max(), 1.0)
    np.testing.assert_allclose(np.ravel(found) / scale, np.ravel(expected) / scale, rtol=0, atol=bound)
