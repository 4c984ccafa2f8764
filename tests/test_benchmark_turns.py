"""The turns of the benchmarks: by a clock that is moved by hand."""

import time
from functools import partial

import jax
import jax.numpy as jnp
import pytest
from test_experiments import EXPERIMENTS


@pytest.fixture
def turns(monkeypatch):
    monkeypatch.syspath_prepend(EXPERIMENTS / "benchmarks")
    import turns

    return turns


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still but for what a test adds to its only entry."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    return now


def lasting(clock, durations, name, order):
    """A call whose turns last so long, one after the other."""
    left = iter(durations)

    def call():
        order.append((name, clock[0]))
        clock[0] += next(left)
        return name

    return call


def test_sides_alternate_and_a_pause_counts_for_neither(turns, clock):
    order = []
    sides = {"a": lasting(clock, [1, 2, 4], "a", order), "b": lasting(clock, [3, 2, 20], "b", order)}
    found = turns.in_turns({name: partial(turns.seconds, call) for name, call in sides.items()}, 3, pause=0.5)
    assert [name for name, _ in order] == ["a", "b"] * 3
    assert order[0][1] == 100.5
    assert found == {"a": [1, 2, 4], "b": [3, 2, 20]}


def test_ratios_are_taken_turn_by_turn(turns):
    """The median of the ratios is 3 and the ratio of the medians 3 / 2."""
    ratios = turns.ratios([3.0, 2.0, 20.0], [1.0, 2.0, 4.0])
    assert turns.spread("faster", ratios) == {"faster": 3.0, "faster_low": 1.0, "faster_high": 5.0}
    with pytest.raises(ValueError, match="argument 2 is longer"):
        turns.ratios([1.0], [1.0, 2.0])


def test_a_short_call_is_repeated_until_its_turn_is_long_enough(turns, clock):
    order = []
    # The first one, which is slow, does not count; then 0.2 + 0.2 reaches 0.3.
    call = lasting(clock, [9, 0.2, 0.2, 7], "call", order)
    assert turns.seconds_a_call(call, least=0.3) == pytest.approx(0.2)
    assert len(order) == 3


def test_a_first_call_tells_what_it_compiled_and_a_second_compiles_nothing(turns):
    square = jax.jit(lambda x: jnp.sum(x * x))
    clock = turns.compilation_clock()
    values = jnp.arange(3.0)
    first, second = (turns.first_call(partial(square, values), clock) for _ in range(2))
    assert float(first.value) == float(second.value) == 5
    assert 0 < first.compile_seconds < first.seconds
    assert second.compile_seconds == 0


def test_what_is_traced_within_a_trace_counts_once(turns, clock):
    read = turns.compilation_clock()
    assert read() == 0

    def told(name, duration, at):
        clock[0] = at
        jax.monitoring.record_event_duration_secs(f"/jax/core/compile/{name}", duration)

    told("jaxpr_trace_duration", 2, at=12)
    told("jaxpr_trace_duration", 1, at=14)
    assert read() == 3
    told("jaxpr_trace_duration", 8, at=16)
    assert read() == 8
    told("jaxpr_to_mlir_module_duration", 1, at=18)
    told("backend_compile_duration", 3.5, at=21)
    told("something_else", 5, at=40)
    # The last one began half a second before the one before it ended.
    assert read() == 8 + 1 + 3
