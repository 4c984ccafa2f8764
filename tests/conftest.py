"""For every test: no silent rank promotion, CPU unless told otherwise, compiled programs shared, and a key."""

import os
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    # Workers and scripts that tests start inherit it: what one of them compiled, the others read. It goes at the end.
    PROGRAMS = tempfile.TemporaryDirectory(prefix="programs-of-the-tests-", ignore_cleanup_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = PROGRAMS.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "0"

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
