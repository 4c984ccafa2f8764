"""Folds in chunks: every place once, whatever the chunk."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saliency_jax.explainers.chunks import fold_chunks
from saliency_jax.tracing.memory import samples_at_once


def visits(count, at_once):
    """How often each place is folded in, the sizes of the chunks, and how many places are valid in each."""
    sizes = []

    def step(carry, indices, valid):
        sizes.append(len(indices))
        seen, smallest = carry
        return seen.at[indices].add(valid), jnp.minimum(smallest, valid.sum())

    return *fold_chunks(step, (jnp.zeros(count, int), jnp.array(count)), count, at_once=at_once), sizes


@pytest.mark.parametrize(
    ("count", "at_once"), [(1, 1), (1, 9), (7, 1), (7, 2), (7, 3), (7, 7), (7, 50), (9, 4), (50, 5)]
)
def test_every_place_is_visited_once_in_chunks_that_are_never_empty_or_too_large(count, at_once):
    seen, smallest, sizes = visits(count, at_once)
    np.testing.assert_array_equal(seen, 1)
    assert smallest >= 1
    assert max(sizes) <= at_once


def test_the_chunk_is_by_default_that_of_the_device():
    assert max(visits(50, None)[-1]) == samples_at_once()


def test_places_come_in_order_and_the_carry_may_be_a_tree():
    def step(carry, indices, valid):
        return {"digits": jnp.where(valid[0], carry["digits"] * 10 + indices[0], carry["digits"]), "n": carry["n"] + 1}

    found = jax.jit(lambda: fold_chunks(step, {"digits": jnp.array(0), "n": jnp.array(0)}, 5, at_once=1))()
    assert (int(found["digits"]), int(found["n"])) == (1234, 5)


@pytest.mark.parametrize(("count", "at_once"), [(0, 3), (-1, None), (3, 0), (3, -2)])
def test_counts_under_one_are_named(count, at_once):
    with pytest.raises(ValueError, match=r"must be at least 1, got"):
        fold_chunks(lambda carry, indices, valid: carry, 0, count, at_once=at_once)
