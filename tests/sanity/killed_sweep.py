"""A small sweep as a program of its own, for test_kill to kill: `killed_sweep.py FOLDER OUT SECONDS`.

Every write to disk takes SECONDS at each of its two steps, so that a kill often falls between them.
"""

import os
import sys
import time
from pathlib import Path

import jax
from small_models import sweep

import saliency_jax as sj
from saliency_jax.results import write_dataset


def slowed(step, seconds):
    def slow(*args):
        time.sleep(seconds)
        return step(*args)

    return slow


def measure(folder=None):
    return sweep({"gradient": sj.gradient, "noise": sj.noise}, seeds=2, folder=folder)


def main(folder, out, seconds):
    jax.config.update("jax_compilation_cache_dir", str(Path(out).parent / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    write = os.replace, os.fsync
    os.replace, os.fsync = (slowed(step, float(seconds)) for step in write)
    found = measure(folder)
    os.replace, os.fsync = write
    write_dataset(found, Path(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
