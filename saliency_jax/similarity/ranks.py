"""Average ranks, by one sort of integers and two binary searches.

The order of floats is the order of their bits, read as sign and magnitude. Integers matter for speed: XLA sorts
them several times faster than floats, whose order needs a comparator of its own. Memory is linear in the size.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int

from saliency_jax.similarity.pairs import floating

_INTEGERS = {4: jnp.int32, 8: jnp.int64}


def ranks(x: Float[Array, ...]) -> Float[Array, ...]:
    """Ranks from 1 to n over all elements; equal elements share the mean of their ranks.

    `rank_i = (#{j: x_j < x_i} + #{j: x_j <= x_i} + 1) / 2`

    0.0 and -0.0 are equal; infinities are the extremes and equal to themselves. Subnormal numbers keep their
    order on every device, also where arithmetic flushes them to zero. The cost is a sort and two binary searches,
    O(n log n). Ranks are multiples of 1/2: exact in float32 up to 2**23 elements.

    Args:
        x: any shape, n elements in all.

    Returns:
        The ranks, in the shape of `x`, in its dtype (float32 at least). All NaN if one element is NaN: a NaN has no
        place in the order.

    Raises:
        TypeError: if `x` is not an array of floats.
        ValueError: if `x` is empty.

    Source:
        Kendall, "The treatment of ties in ranking problems", Biometrika 33 (1945), the mid-rank method.
    """
    x = floating(x)
    mid_ranks = (doubled_centred_ranks(sort_key(x)).astype(x.dtype) + (x.size + 1)) / 2
    return jnp.where(jnp.isnan(x).any(), jnp.nan, mid_ranks).reshape(x.shape)


def sort_key(x: Float[Array, ...], *, absolute: bool = False) -> Int[Array, " n"]:
    """Integers in the order of the floats `x`, or of their absolute values, flattened; NaNs somewhere."""
    integer = _INTEGERS[x.dtype.itemsize]
    bits = lax.bitcast_convert_type(x.ravel(), integer)
    magnitude = bits & jnp.iinfo(integer).max
    return magnitude if absolute else jnp.where(bits < 0, -magnitude, magnitude)


def doubled_centred_ranks(keys: Int[Array, " n"]) -> Int[Array, " n"]:
    """Twice the average rank less n + 1: exact integers from 1 - n to n - 1 that sum to zero."""
    ascending = jnp.sort(keys)
    # There is no integer between a key and the next one: `<= key` is `< key + 1`.
    return _count_below(ascending, keys) + _count_below(ascending, keys + 1) - keys.size


def _count_below(ascending: Int[Array, " n"], keys: Int[Array, " m"]) -> Int[Array, " m"]:
    """How many elements of a sorted array lie below each key, by binary search without branches.

    A loop of plain gathers from an array padded to a power of two: several times faster on the CPU than
    `jnp.searchsorted`, which carries both ends of every interval.
    """
    rounds = ascending.size.bit_length()
    padding = jnp.full((1 << rounds) - ascending.size, jnp.iinfo(ascending.dtype).max, ascending.dtype)
    padded = jnp.concatenate([ascending, padding])

    def halve(i: Array, below: Array) -> Array:
        step = jnp.int32(1 << (rounds - 1)) >> i
        probe = padded.at[below + (step - 1)].get(mode="promise_in_bounds")
        return jnp.where(probe < keys, below + step, below)

    return lax.fori_loop(0, rounds, halve, jnp.zeros(keys.shape, jnp.int32))
