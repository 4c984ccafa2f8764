"""Strict numerics for every test: no silent rank promotion, CPU unless told otherwise, and a key to draw from."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jaxtyping
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def key():
    return jax.random.key(0)


@pytest.fixture
def as_a_user(monkeypatch):
    """Arguments go unchecked by beartype, as outside of the tests: what is left is the library's own check."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
