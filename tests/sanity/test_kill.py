"""A sweep that is killed (SIGKILL: no handler, no clean-up) at random moments and started again."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import xarray as xr
from killed_sweep import measure

from saliency_jax.results import read_dataset

SCRIPT = Path(__file__).with_name("killed_sweep.py")
ROOT = Path(__file__).resolve().parents[2]
PARTS = 8
STEP = 0.2
"""Seconds that each of the two steps of a write takes. A kill comes at most two parts after the start of a run, so that
three of them at least find it at work."""


def start(folder, out, seconds):
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, SCRIPT, folder, out, str(seconds)], env=env, stderr=subprocess.PIPE)


def finish(folder, out):
    run = start(folder, out, 0.0)
    _, errors = run.communicate(timeout=300)
    assert run.returncode == 0, errors.decode()


def whole_parts(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.nc")}


def partial_files(folder):
    return {path.name for path in folder.glob(".*.partial")}


def wait_for_another(find, folder, run):
    before = find(folder)
    while run.poll() is None and find(folder) <= before:
        time.sleep(0.005)


def kill(folder, out, *, delay):
    """Start a sweep and kill it: some time after its first new part; in the middle of a write where delay is None."""
    run = start(folder, out, STEP)
    wait_for_another(lambda folder: whole_parts(folder).keys(), folder, run)
    if delay is None:
        wait_for_another(partial_files, folder, run)
    else:
        time.sleep(delay)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    return run.returncode


@pytest.mark.slow
def test_a_sweep_that_is_killed_again_and_again_ends_with_the_same_dataset(tmp_path):
    killed = tmp_path / "killed"
    draw = random.Random(0)
    codes = []
    for delay in (draw.uniform(0, 2 * STEP), None, draw.uniform(0, 2 * STEP), None):
        before = whole_parts(killed)
        codes.append(kill(killed, tmp_path / "killed.nc", delay=delay))
        # What was whole before is untouched, and every part that has its name is readable.
        assert before.items() <= whole_parts(killed).items()
        for path in killed.glob("*.nc"):
            read_dataset(path)
    assert codes.count(-signal.SIGKILL) >= 3, "the sweep ended too early to be killed"
    assert partial_files(killed), "no kill fell into the middle of a write"
    finish(killed, tmp_path / "killed.nc")
    assert len(whole_parts(killed)) == PARTS
    xr.testing.assert_identical(read_dataset(tmp_path / "killed.nc"), measure())
