"""Sides of a benchmark timed in turns: what else the machine does meets them alike, and every turn has its own ratio.

A first call, which compiles, is timed by itself; what JAX spends on compilation is told apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple, TypeVar

import jax

Side = TypeVar("Side", bound=Hashable)

PAUSE = 0.5
"""Seconds until the threads of one side no longer wait for work on the cores of the other."""


class FirstCall(NamedTuple):
    """What a first call gave, and its seconds, those of compilation among them."""

    value: Any
    seconds: float
    compile_seconds: float


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call gives, waited for, and its seconds."""
    began = time.perf_counter()
    value = jax.block_until_ready(call())
    return value, time.perf_counter() - began


def seconds(call: Callable[[], Any]) -> float:
    """The seconds of one call."""
    return timed(call)[1]


def seconds_a_call(call: Callable[[], Any], *, least: float) -> float:
    """The seconds of a call in a turn of at least so many seconds, after one that does not count.

    The other side's threads go on spinning for a while after its own turn, and would take a core from this one.
    """
    jax.block_until_ready(call())
    began, calls = time.perf_counter(), 0
    while calls == 0 or time.perf_counter() - began < least:
        jax.block_until_ready(call())
        calls += 1
    return (time.perf_counter() - began) / calls


COMPILATION = ("jaxpr_trace_duration", "jaxpr_to_mlir_module_duration", "backend_compile_duration")
"""Tracing, lowering, and XLA itself; a function that is jitted within another is traced within its trace."""


def compilation_clock() -> Callable[[], float]:
    """A clock that reads how long JAX has compiled since it was made: traced, lowered, and compiled by XLA."""
    spans: list[tuple[float, float]] = []

    def listen(event: str, duration_secs: float, **_: Any) -> None:
        if event.rpartition("/")[2] in COMPILATION:
            end = time.perf_counter()
            begin = end - duration_secs
            # They are told of at their ends: what lies within this one came before it, and counts once.
            while spans and spans[-1][0] >= begin:
                spans.pop()
            spans.append((max(begin, spans[-1][1]) if spans else begin, end))

    jax.monitoring.register_event_duration_secs_listener(listen)
    return lambda: sum(end - begin for begin, end in spans)


def first_call(call: Callable[[], Any], clock: Callable[[], float]) -> FirstCall:
    """A call that may compile, timed by a `compilation_clock` as well."""
    compiled = clock()
    value, whole = timed(call)
    return FirstCall(value, whole, clock() - compiled)


def in_turns(
    timers: Mapping[Side, Callable[[], float]], repeats: int, *, pause: float = 0.0
) -> dict[Side, list[float]]:
    """The seconds of every side in so many turns: each side once, one after the other, and again.

    Args:
        timers: side -> a function that takes the side's turn and returns its seconds, as `partial(seconds, call)` does.
        repeats: how many turns each side takes.
        pause: seconds before each.
    """
    found: dict[Side, list[float]] = {side: [] for side in timers}
    for _ in range(repeats):
        for side, timer in timers.items():
            time.sleep(pause)
            found[side].append(timer())
    return found


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """One side's seconds over another's, turn by turn."""
    return [a / b for a, b in zip(over, under, strict=True)]


def spread(name: str, values: Sequence[float]) -> dict[str, float]:
    """The median, the least and the largest of some values: `name`, `name_low` and `name_high`."""
    return {name: median(values), f"{name}_low": min(values), f"{name}_high": max(values)}
