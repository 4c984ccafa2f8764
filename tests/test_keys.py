"""Keys by name and by number: the draws that the documentation promises."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saliency_jax.keys import named, numbered

KEYS = [jax.random.key, jax.random.PRNGKey]


@pytest.mark.parametrize("make", KEYS)
def test_a_named_key_is_folded_with_the_checksum_of_its_name(make):
    # zlib's own published example: crc32(b"123456789") = 0xCBF43926.
    assert zlib.crc32(b"123456789") == 0xCBF43926
    expected = jax.random.fold_in(make(7), 0xCBF43926 & 0x7FFFFFFF)
    assert jax.random.bits(named(make(7), "123456789")) == jax.random.bits(expected)


@pytest.mark.parametrize("make", KEYS)
def test_a_numbered_key_is_folded_with_its_place_whatever_the_count(make):
    for count in (1, 4, 9):
        keys = numbered(make(7), count)
        assert len(keys) == count
        for i in (0, count - 1):
            assert jax.random.bits(keys[i]) == jax.random.bits(jax.random.fold_in(make(7), i))


def test_keys_of_other_names_and_places_draw_otherwise():
    key = jax.random.key(0)
    names = ["explain", "noise", "other_image", "permuted_pixels", "params/conv1/kernel", "params/conv1/bias"]
    keys = jnp.stack([*(named(key, name) for name in names), *numbered(key, 50), key])
    assert len(np.unique(jax.vmap(jax.random.bits)(keys))) == len(keys)
