"""How much memory a program holds at once, read from its jaxpr before anything is compiled."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from saliency_jax.tracing.compat import Jaxpr, is_literal, opened, trace

_CGROUP_FILES = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Where Linux says how much memory a container may use and uses: version 2, version 1."""


def peak_bytes(f: Callable, *args: Any) -> int:
    """The most memory that the values of `f(*args)` take at one moment, its arguments not counted.

    Every value lives from the equation that makes it to the last one that reads it, and a call or a turn of a loop
    needs what its own body needs on top. XLA joins many equations into one that keeps nothing in between, so what a
    compiled program takes is at most about this.

    Args:
        f: a function that JAX can trace.
        args: its arguments; arrays, or `jax.ShapeDtypeStruct` in their place.

    Returns:
        Bytes.
    """
    return _peak(trace(f, *args).jaxpr)


def _peak(jaxpr: Jaxpr) -> int:
    outputs = {v for v in jaxpr.outvars if not is_literal(v)}
    last_read: dict[Any, int] = {}
    for i, equation in enumerate(jaxpr.eqns):
        last_read.update(dict.fromkeys((v for v in equation.invars if not is_literal(v)), i))
    given = {*jaxpr.invars, *jaxpr.constvars}
    alive, most = 0, 0
    for i, equation in enumerate(jaxpr.eqns):
        made = sum(_bytes(v) for v in equation.outvars)
        # A call's own outputs are among what its body holds at its end.
        inside = max((_peak(body) for body in _bodies(equation)), default=0)
        most = max(most, alive + max(made, inside))
        alive += made
        freed = {v for v in equation.invars if not is_literal(v) and last_read[v] == i} - given - outputs
        freed |= {v for v in equation.outvars if v not in last_read} - outputs
        alive -= sum(_bytes(v) for v in freed)
    return max(most, alive)


def _bodies(equation: Any) -> list[Jaxpr]:
    """The jaxprs that an equation runs."""
    held = (item for value in equation.params.values() for item in (value if _is_several(value) else (value,)))
    opened_ones = (opened(item)[0] for item in held)
    return [body for body in opened_ones if hasattr(body, "eqns")]


def _is_several(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _bytes(variable: Any) -> int:
    aval = variable.aval
    if not hasattr(aval, "shape") or not hasattr(aval, "dtype"):
        return 0
    return math.prod(aval.shape) * getattr(aval.dtype, "itemsize", 0)


def samples_at_once() -> int:
    """How many samples of one image are computed together by default: few on a CPU, whose cache is small."""
    return 5 if jax.default_backend() == "cpu" else 25


def memory_to_use(devices: int = 1) -> int:
    """How many bytes one of several devices may fill with values at once, where nobody says.

    Half of what is free on an accelerator. On a CPU a quarter of what is free, 2 GiB at most, as larger chunks are no
    faster there; its devices share that.
    """
    if jax.default_backend() != "cpu":
        return free_bytes() // 2
    return min(free_bytes() // 4, 2 << 30) // devices


def free_bytes() -> int:
    """How much memory is free on the first device: an accelerator's own, or the machine's within its container.

    Where neither can be asked it is a quarter of the machine's memory.
    """
    device = jax.local_devices()[0]
    statistics = device.memory_stats() if device.platform != "cpu" else None
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"] - statistics.get("bytes_in_use", 0)
    free = [_available_to_the_machine()]
    for limit_file, use_file in _CGROUP_FILES:
        limit, used = _number(Path(limit_file)), _number(Path(use_file))
        if limit is not None and used is not None:
            free.append(limit - used)
    return max(min(free), 0)


def _available_to_the_machine() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith("kB")}
    return 1024 * kilobytes.get("MemAvailable", kilobytes["MemFree"])


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
