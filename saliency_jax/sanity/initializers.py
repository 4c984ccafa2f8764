"""Where the random weights of a randomized model come from: `fresh(key, params) -> params`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from saliency_jax.checks import check_number
from saliency_jax.keys import named
from saliency_jax.tracing.layers import leaf_paths, same_structure
from saliency_jax.typing import Init, Params

Fresh = Callable[[Any, Params], Params]
"""`fresh(key, params) -> params` of the same structure, shapes and dtypes."""

PAPER_STDDEV = 0.01


def own_initializer(init: Init) -> Fresh:
    """The model's own initializer, `init(key) -> params`: what the released code of Adebayo et al. 2018 does.

    Biases that are initialized to a constant come back as that constant.
    """

    def fresh(key: Any, params: Params) -> Params:
        drawn = init(key)
        _check_fits(drawn, params)
        return drawn

    return fresh


def truncated_normal(stddev: float = PAPER_STDDEV) -> Fresh:
    """Every entry from a normal distribution cut at two standard deviations: the paper's text, with 0.01.

    As in TensorFlow, `stddev` is that of the normal before it is cut; what is drawn has 0.8796 of it.

    Args:
        stddev: in units of the parameters.

    Raises:
        ValueError: stddev is not positive and finite.

    Source: Adebayo et al. 2018, appendix on implementation.
    """
    check_number(stddev, "stddev")
    if not 0 < stddev < math.inf:
        raise ValueError(f"stddev must be positive and finite, got {stddev}")

    def draw(key: Array, leaf: Array) -> Array:
        return stddev * jax.random.truncated_normal(key, -2, 2, leaf.shape, leaf.dtype)

    return _leaf_by_leaf(draw)


def uniform(scale: float = PAPER_STDDEV) -> Fresh:
    """Every entry uniform on [-scale, scale]: the paper reports identical results with it.

    Raises:
        ValueError: scale is not positive and finite.
    """
    check_number(scale, "scale")
    if not 0 < scale < math.inf:
        raise ValueError(f"scale must be positive and finite, got {scale}")
    return _leaf_by_leaf(lambda key, leaf: jax.random.uniform(key, leaf.shape, leaf.dtype, -scale, scale))


def permutation() -> Fresh:
    """The trained entries of each leaf in random order over all its axes: the same values, no structure."""
    return _leaf_by_leaf(lambda key, leaf: jax.random.permutation(key, leaf.ravel()).reshape(leaf.shape))


STATISTICS = frozenset({"mean", "var", "running_mean", "running_var", "moving_mean", "moving_variance"})
"""What frameworks call the averages that a normalization has seen in training, as against the parameters it learned."""


def is_statistic(path: str) -> bool:
    """Whether a parameter leaf holds a running mean or variance, by the end of its path: "batch_stats/bn/mean"."""
    return "batch_stats" in path.split("/") or path.split("/")[-1] in STATISTICS


def with_statistics(fresh: Fresh, statistics: Fresh) -> Fresh:
    """`fresh` for everything that is learned, `statistics` for the running means and variances of normalizations.

    A variance cannot be drawn around 0 as weights are: half of the draws would be negative, and the maps NaN.

    Args:
        fresh: draws weights and biases.
        statistics: gives the statistics: `own_initializer(init)` for a network that has seen no data, `kept` for the
            trained ones.
    """

    def chosen(key: Any, params: Params) -> Params:
        paths = leaf_paths(params)
        drawn = jax.tree.leaves(fresh(key, params))
        if not any(map(is_statistic, paths)):
            return jax.tree.unflatten(jax.tree.structure(params), drawn)
        seen = jax.tree.leaves(statistics(key, params))
        leaves = [s if is_statistic(path) else d for path, s, d in zip(paths, seen, drawn, strict=True)]
        return jax.tree.unflatten(jax.tree.structure(params), leaves)

    return chosen


def kept(key: Any, params: Params) -> Params:
    """The trained values themselves."""
    return params


def _leaf_by_leaf(draw: Callable[[Array, Array], Array]) -> Fresh:
    """Each floating-point leaf drawn with the key of its path: equal shapes get different weights."""

    @jax.jit
    def fresh(key: Any, params: Params) -> Params:
        leaves, structure = jax.tree.flatten(params)
        drawn = [
            draw(named(key, path), leaf) if jnp.issubdtype(jnp.result_type(leaf), jnp.floating) else leaf
            for path, leaf in zip(leaf_paths(params), map(jnp.asarray, leaves), strict=True)
        ]
        return jax.tree.unflatten(structure, drawn)

    return fresh


def _check_fits(drawn: Params, params: Params) -> None:
    if not same_structure(drawn, params):
        raise ValueError(
            "init(key) must give the structure of params: "
            f"got {jax.tree.structure(drawn)} for {jax.tree.structure(params)}"
        )
    for path, new, old in zip(leaf_paths(params), jax.tree.leaves(drawn), jax.tree.leaves(params), strict=True):
        if jnp.shape(new) != jnp.shape(old):
            raise ValueError(
                f"init(key) must give the shapes of params: {path} is {jnp.shape(new)} and not {jnp.shape(old)}"
            )
        if jnp.result_type(new) != jnp.result_type(old):
            raise ValueError(
                f"init(key) must give the dtypes of params: {path} is {jnp.result_type(new)} "
                f"and not {jnp.result_type(old)}"
            )
