"""The time and memory of the dimension of many points, in a process of its own."""

from __future__ import annotations

import multiprocessing
import resource
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from dimension_ways import ours, sampled
from turns import compilation_clock, first_call

LIMIT = 2 << 30
"""Bytes of memory beyond the data that the large set should stay under."""


def in_a_process_of_its_own(measure: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """What a function measures in a fresh process that does nothing else.

    It starts with the peak of memory of the process that it came from, so that this is done before anything is
    computed here; and a process that has used an accelerator may have kept its memory.
    """
    with multiprocessing.get_context("spawn").Pool(1) as process:
        return process.apply(measure, arguments)


def large(points: int, features: int, dimension: int, seed: int) -> dict[str, Any]:
    """Time and memory of one call."""
    data = sampled(points, features, dimension, seed)
    jax.block_until_ready(jax.numpy.zeros(1))
    before = peak_memory()
    value, seconds, compiling = first_call(partial(ours, data), compilation_clock())
    device = jax.devices()[0].memory_stats() or {}
    return {
        "points": points,
        "features": features,
        "value": value,
        "seconds": seconds,
        "compile_s": compiling,
        "data_bytes": data.nbytes,
        "before_bytes": before,
        "peak_bytes": peak_memory(),
        "device_peak_bytes": device.get("peak_bytes_in_use", 0),
    }


def peak_memory() -> int:
    """The most bytes that this process has had in memory."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def large_lines(one: dict[str, float]) -> list[str]:
    """Time and memory of the large set."""
    mib = {name: one[name] / 2**20 for name in ("data_bytes", "before_bytes", "peak_bytes", "device_peak_bytes")}
    beyond = one["peak_bytes"] - one["data_bytes"]
    lines = [
        f"{one['points']} points, {one['features']} features: {one['seconds']:.1f} s, of which "
        f"{one['compile_s']:.1f} s compiling; dimension {one['value']:.3f}",
        f"peak memory {mib['peak_bytes']:.0f} MiB, of which the data {mib['data_bytes']:.0f} MiB: "
        f"{beyond / 2**20:.0f} MiB beyond them, Python and JAX included ({'under' if beyond < LIMIT else 'NOT under'} "
        f"{LIMIT / 2**20:.0f} MiB); {mib['peak_bytes'] - mib['before_bytes']:.0f} MiB more than before the call",
    ]
    if one["device_peak_bytes"]:
        lines.append(f"peak memory of the device {mib['device_peak_bytes']:.0f} MiB, the data included")
    return lines
