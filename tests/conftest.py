"""For every test: no silent rank promotion, CPU unless told otherwise, compiled programs shared, and a key."""

import gc
import os
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# No test reads from which line of which file an operation came: to write it down is a thirtieth of the time.
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    # Workers and scripts that tests start inherit it: what one of them compiled, the others read. It goes at the end.
    PROGRAMS = tempfile.TemporaryDirectory(prefix="programs-of-the-tests-", ignore_cleanup_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = PROGRAMS.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "0"
if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
    # They would compile all that they import, each anew: of 6 seconds that takes 4. Nothing is written beside a source.
    BYTECODE = tempfile.TemporaryDirectory(prefix="bytecode-of-the-tests-", ignore_cleanup_errors=True)
    os.environ["PYTHONPYCACHEPREFIX"] = BYTECODE.name

import jax
import jaxtyping
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
# Traces make millions of objects, few of them in circles: looking for these at every 700 costs a twentieth of the time.
gc.set_threshold(50_000, 20, 50)


@pytest.fixture
def key():
    return jax.random.key(0)


@pytest.fixture
def as_a_user(monkeypatch):
    """Arguments go unchecked by beartype, as outside of the tests: what is left is the library's own check."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
