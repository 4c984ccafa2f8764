"""The run that benchmarks/faults.py disturbs: a randomization test small enough to be started hundreds of times."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import saliency_jax as sj
from saliency_jax import results

CLASSES, SIDE, HIDDEN = 3, 8, 16
DISTURBED_STAGE = "hidden"
"""The layer whose random weights overflow where a NaN is asked for."""


@jax.jit
def init(key: jax.Array) -> dict[str, dict[str, jax.Array]]:
    """Fresh weights of a network of three layers."""
    shapes = {"first": (SIDE * SIDE, HIDDEN), DISTURBED_STAGE: (HIDDEN, HIDDEN), "logits": (HIDDEN, CLASSES)}
    return {
        name: {"kernel": jax.random.normal(jax.random.fold_in(key, i), shape) / np.sqrt(shape[0])}
        for i, (name, shape) in enumerate(shapes.items())
    }


@jax.jit
def overflowing_init(key: jax.Array) -> dict[str, dict[str, jax.Array]]:
    """The same weights, but those of one layer are so large that the exponential of its outputs is infinite."""
    fresh = init(key)
    return {**fresh, DISTURBED_STAGE: {"kernel": 1e4 * fresh[DISTURBED_STAGE]["kernel"]}}


def apply(params: Any, images: jax.Array) -> jax.Array:
    """The logits of a batch."""
    hidden = jnp.tanh(images.reshape(len(images), -1) @ params["first"]["kernel"])
    # A softmax that does not take the maximum away first.
    hidden = jnp.exp(hidden @ params[DISTURBED_STAGE]["kernel"])
    return (hidden / hidden.sum(axis=1, keepdims=True)) @ params["logits"]["kernel"]


def one_run(
    folder: Path,
    *,
    hold: float,
    cache: Path,
    fresh: Callable[[jax.Array], Any] = init,
    after_part: Callable[[int], None] = lambda done: None,
) -> None:
    """The whole test in this process: its parts in folder/parts, its results in folder/results.nc.

    Args:
        folder: the run's folder.
        hold: seconds before each write is on disk.
        cache: where compiled programs are kept.
        fresh: draws random weights.
        after_part: called with the number of parts that are done.
    """
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    on_disk = os.fsync

    def held(fd: Any) -> None:
        time.sleep(hold)
        on_disk(fd)

    os.fsync = held
    images = jnp.asarray(np.random.default_rng(0).normal(size=(6, SIDE, SIDE, 1)), jnp.float32)
    dataset = sj.parameter_randomization(
        apply,
        init(jax.random.key(1)),
        fresh,
        images,
        jnp.arange(len(images)) % CLASSES,
        {"smoothgrad": sj.smoothgrad(sj.gradient, samples=4)},
        key=jax.random.key(2),
        order="independent",
        protocol="released_code",
        metrics={"pearson": sj.pearson},
        seeds=2,
        folder=folder / "parts",
        progress=lambda name, done, total: after_part(done),
    )
    os.fsync = on_disk
    results.write_dataset(dataset, folder / "results.nc")


def whole_parts(folder: Path) -> dict[str, tuple[int, int]]:
    """The finished parts, and what shows whether one was written again."""
    stats = {path.name: path.stat() for path in (folder / "parts").glob("*.nc")}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}


def digest(folder: Path) -> str | None:
    """A digest of a run's results; None where there are none."""
    path = folder / "results.nc"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def fork(work: Callable[[], Any], log: Path) -> int:
    """Do some work in a process of its own, and say which; it ends with 0, 1 for an error, or what SystemExit says."""
    child = os.fork()
    if child:
        return child
    code = 1
    # A shell starts what runs in its background with Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with log.open("ab", buffering=0) as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        work()
        code = 0
    except SystemExit as asked:
        code = asked.code if isinstance(asked.code, int) else 1
    except KeyboardInterrupt:
        # As Python ends a program.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    # Without the parent's clean-up, which is the parent's.
    os._exit(code)


def list_modules(path: Path) -> None:
    """Write the names of the modules that this process has loaded."""
    path.write_text("\n".join(sys.modules))


def load_modules(path: Path) -> None:
    """Load the modules of such a list, as far as they can be: the processes forked from here on need not."""
    for name in path.read_text().splitlines():
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def wait(process: int) -> int:
    """Wait for a process to end: its exit code, or a signal's negative number."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
