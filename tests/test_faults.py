"""Faults that a run meets: signals, a full device, a NaN in the middle, a second process; and the benchmark of them."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from saliency_jax.batches import batched
from saliency_jax.exhaustion import ChunkHalvedWarning, with_halved_chunks
from saliency_jax.interruption import SIGNALS, Interrupted
from saliency_jax.results import part

ROOT = Path(__file__).resolve().parents[1]


# A device that runs out of memory.


@jax.custom_batching.custom_vmap
def greedy(x):
    """Twice x; more than four at once take more memory than a machine can address."""
    return 2 * x


@greedy.def_vmap
def _(size, batched, x):
    held = jnp.sort(jax.lax.iota(jnp.float32, 1 << 48 if size > 4 else 16) * x.ravel()[0])
    return 2 * x + 0 * held[3], True


def test_images_that_do_not_fit_together_are_explained_in_halved_chunks_from_then_on():
    images = np.random.default_rng(0).normal(size=(13, 2, 2, 1)).astype(np.float32)
    explain = batched(
        lambda score, image, key=None: greedy(image), lambda params, x: x.reshape(len(x), -1) @ params, batch_size=7
    )
    arguments = jnp.ones((4, 3)), images, np.zeros(13, np.int32)
    with pytest.warns(ChunkHalvedWarning, match=r"7 at once do not fit .*RESOURCE_EXHAUSTED.*going on with 3") as said:
        maps = explain(*arguments)
    assert len(said) == 1
    np.testing.assert_array_equal(maps, 2 * images)
    # A warning would be an error here.
    np.testing.assert_array_equal(explain(*arguments), 2 * images)


def test_one_item_that_does_not_fit_is_the_devices_own_error_with_the_memory_that_is_free():
    tried = []

    def run(chunk):
        tried.append(chunk)
        return jnp.zeros(1 << 48, jnp.int8)

    with pytest.warns(ChunkHalvedWarning), pytest.raises(jax.errors.JaxRuntimeError) as caught:
        with_halved_chunks(run, 13)
    assert tried == [13, 6, 3, 1]
    assert str(1 << 48) in str(caught.value)
    assert any("with 1 item at once" in note and "GB are free" in note for note in caught.value.__notes__)


@pytest.mark.parametrize(
    "error",
    [
        jax.errors.JaxRuntimeError("INTERNAL: a kernel failed, not RESOURCE_EXHAUSTED"),
        ValueError("RESOURCE_EXHAUSTED: a user's own words"),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_other_errors_pass_at_the_first_attempt(error):
    tried = []

    def run(chunk):
        tried.append(chunk)
        raise error

    with pytest.raises(type(error)) as caught:
        with_halved_chunks(run, 8)
    assert caught.value is error and tried == [8] and not hasattr(error, "__notes__")


def test_processes_that_share_a_program_are_not_left_with_two_chunks(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)

    def run(chunk):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

    with pytest.raises(jax.errors.JaxRuntimeError) as caught:
        with_halved_chunks(run, 8)
    assert any("batch_size of 4 or less" in note for note in caught.value.__notes__)


def test_under_a_jit_of_somebody_elses_there_is_nothing_to_wait_for():
    assert jax.jit(lambda x: with_halved_chunks(lambda chunk: chunk * x, 4)[0])(2.0) == 8.0


def test_a_chunk_of_nothing_is_refused():
    with pytest.raises(ValueError, match="chunk must be at least 1, got 0"):
        with_halved_chunks(lambda chunk: chunk, 0)


# Signals.


def handlers():
    return [signal.getsignal(number) for number in SIGNALS]


@pytest.fixture(autouse=True)
def handlers_are_what_they_were():
    """Every test finds Python's own handlers, which a shell's background jobs do not have, and leaves them there."""
    of_shell = handlers()
    pythons = [signal.SIG_DFL, signal.default_int_handler]
    for number, handler in zip(SIGNALS, pythons, strict=True):
        signal.signal(number, handler)
    yield
    left = handlers()
    for number, handler in zip(SIGNALS, of_shell, strict=True):
        signal.signal(number, handler)
    assert left == pythons


def numbers(value=1.0):
    return xr.Dataset({"similarity": ("image", np.array([value, np.nan, -0.0], np.float32))})


def interrupted_by(*signals, then=numbers):
    """A part in whose middle signals come."""

    def measure():
        for number in signals:
            signal.raise_signal(number)
        return then()

    return measure


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_waits_for_the_end_of_the_part_which_is_then_on_disk(tmp_path, capfd, number, code):
    with pytest.raises(Interrupted, match=rf"{number.name}: the part 'a/b' is finished in .*{tmp_path.name}") as caught:
        part(tmp_path, "a/b", interrupted_by(number))
    assert caught.value.code == code and not isinstance(caught.value, Exception)
    told = capfd.readouterr().err
    assert f"{number.name}: stopping at the end of this part" in told and str(caught.value) in told
    assert handlers() == [signal.SIG_DFL, signal.default_int_handler]
    xr.testing.assert_identical(part(tmp_path, "a/b", lambda: pytest.fail("measured again")), numbers())


def test_the_second_signal_stops_at_once(tmp_path, capfd):
    with pytest.raises(KeyboardInterrupt):
        part(tmp_path, "a", interrupted_by(signal.SIGINT, signal.SIGINT, then=lambda: pytest.fail("went on")))
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_part_itself_goes_before_the_signal(tmp_path, capfd):
    def breaks():
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        part(tmp_path, "a", interrupted_by(signal.SIGTERM, then=breaks))


def test_a_part_inside_a_part_is_the_one_to_stop_at(tmp_path, capfd):
    inner = interrupted_by(signal.SIGTERM)
    with pytest.raises(Interrupted, match="'inner' is finished"):
        part(tmp_path, "outer", lambda: part(tmp_path, "inner", inner))
    assert [path.name for path in tmp_path.iterdir()] == ["inner.nc"]
    with pytest.raises(KeyboardInterrupt):
        part(tmp_path, "x", lambda: part(tmp_path, "y", interrupted_by(signal.SIGINT, signal.SIGINT)))


def test_handlers_of_somebody_elses_and_ignored_signals_stay(tmp_path):
    came = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    ignored = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        part(tmp_path, "a", interrupted_by(signal.SIGTERM, signal.SIGINT))
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, ignored)
    assert came == [signal.SIGTERM] and (tmp_path / "a.nc").exists()


def test_a_thread_which_may_set_no_handlers_measures_all_the_same(tmp_path):
    thread = threading.Thread(target=part, args=(tmp_path, "a", numbers))
    thread.start()
    thread.join()
    assert (tmp_path / "a.nc").exists()


def test_without_a_folder_there_is_nothing_to_finish_for():
    with pytest.raises(KeyboardInterrupt):
        part(None, "a", interrupted_by(signal.SIGINT, then=lambda: pytest.fail("went on")))


# All faults, for real.


@pytest.mark.slow
def test_runs_that_are_killed_interrupted_doubled_and_out_of_room_end_with_the_same_bytes(tmp_path):
    script = ROOT / "experiments" / "benchmarks" / "faults.py"
    faults = ["SIGKILL", "SIGTERM", "two processes", "no room"]
    counts = ["--kills", "2", "--others", "1", "--write-seconds", "0.1"]
    command = [sys.executable, script, "--faults", *faults, *counts, "--out", tmp_path]
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, env=env, capture_output=True, text=True, timeout=500)
    assert run.returncode == 0, run.stderr
    found = json.loads((tmp_path / "faults.json").read_text())
    rows = found["faults"]
    assert {name: len(of_fault) for name, of_fault in rows.items()} == dict.fromkeys(faults, 1) | {"SIGKILL": 2}
    for of_fault in rows.values():
        assert all(row["equal"] and row["measured_again"] == 0 for row in of_fault)
    assert {row["ended"] for row in rows["SIGKILL"]} == {-signal.SIGKILL}
    assert rows["SIGTERM"][0]["ended"] in (143, -signal.SIGTERM)
    assert rows["two processes"][0]["ended"] == 0 and rows["no room"][0]["ended"] == 1
    nan = found["nan"]
    assert nan["nan_there"] == nan["similarities_there"] > 0 and nan["maps_counted_there"] == nan["maps_there"]
    assert nan["other_stages_equal"] and nan["nonfinite_elsewhere"] == 0
    assert not (tmp_path / "work").exists()
