"""For every test: no silent rank promotion, CPU unless told otherwise, compiled programs shared, and a key."""

import gc
import os
import tempfile
from functools import partial

os.environ.setdefault("JAX_PLATFORMS", "cpu")
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

CHECKED_CLOSURES = set()
CHECKED = jaxtyping.jaxtyped


def jaxtyped(function=None, *, typechecker):
    """A function inside of another is made anew by every call: the first of each is checked, and no more.

    To write the checks of all takes a tenth to a fifth of the tests' time.
    """
    if function is None:
        return partial(jaxtyped, typechecker=typechecker)
    if "<locals>" in getattr(function, "__qualname__", "") and hasattr(function, "__code__"):
        if function.__code__ in CHECKED_CLOSURES:
            return function
        CHECKED_CLOSURES.add(function.__code__)
    return CHECKED(function, typechecker=typechecker)


# Where the import hook of --jaxtyping-packages, which decorates every function of the library, looks for it.
jaxtyping.jaxtyped = jaxtyped

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
