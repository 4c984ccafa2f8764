"""What a run survives: kills, signals, two processes on one folder, a full disk, changed bytes, a NaN.

    python experiments/benchmarks/faults.py

starts one small parameter randomization test again and again, breaks each one off in its own way at a moment that is
drawn at random, starts it once more in the same folder, and compares the file of its results, byte by byte, with that
of a run that nobody disturbed. Half an hour or more on two cores with 200 kills. It should show that every file is
equal, that no part that was finished is measured again, and nothing that must be cleared away by hand.

A run is a process that is forked from one that has loaded JAX and not yet started it, so that a kill costs little more
than the run itself. A kill may fall into anything from JAX's start to the last write; every write is held for
--write-seconds, so that many fall into one. Writes table.txt and faults.json (every moment, and what it left) in --out,
and outcomes.jsonl, a line for each run as it ends; the same command goes on after the last line.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np
import tyro
from fault_run import (
    DISTURBED_STAGE,
    digest,
    fork,
    list_modules,
    load_modules,
    one_run,
    overflowing_init,
    wait,
    whole_parts,
)

import saliency_jax as sj
from saliency_jax import results

FAULTS = ("SIGKILL", "SIGTERM", "SIGINT", "two processes", "no room", "a changed byte", "a part cut off")


@dataclass(frozen=True)
class Options:
    """What a run survives: kills, signals, two processes on one folder, a full disk, changed bytes, a NaN."""

    kills: int = 200
    """How many runs are killed (SIGKILL), each once at a moment of its own."""
    others: int = 10
    """How many runs meet each of the other faults."""
    faults: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = FAULTS
    """Which faults."""
    seed: int = 0
    """Draws the moments."""
    write_seconds: float = 0.08
    """How long each write is held before it is on disk, so that kills fall into it."""
    out: Path = Path("runs/benchmarks/faults")
    """The folder for the results."""


class Outcome(NamedTuple):
    """What one disturbed run came to.

    Attributes:
        moment: when it was disturbed, in seconds from its start or as a place.
        ended: how the disturbed process ended: a signal's negative number, or an exit code.
        finished: how many parts were finished then.
        half_written: how many files were in the middle of being written.
        measured_again: how many of the finished parts were measured again afterwards.
        equal: whether the results are those of the undisturbed run, byte by byte.
    """

    moment: float | str
    ended: int
    finished: int
    half_written: int
    measured_again: int
    equal: bool


Fault = Callable[[Path, random.Random], tuple[float | str, int]]
"""Starts a run in a folder and disturbs it: (when, how the process ended)."""


def main(options: Options) -> dict[str, Any]:
    """Disturb, resume, compare, write and print."""
    if unknown := set(options.faults) - set(FAULTS):
        raise ValueError(f"faults must be among {FAULTS}, got {sorted(unknown)}")
    # What an outcome depends on; how many there are is not among it.
    chosen = {"seed": options.seed, "write_seconds": options.write_seconds}
    results.open_run(options.out, {**chosen, "jax": jax.__version__, "saliency_jax": sj.__version__})
    folder = options.out / "work"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    run = partial(one_run, hold=options.write_seconds, cache=folder / "compiled")
    modules = folder / "modules.txt"
    wait(fork(partial(run, folder / "reference", after_part=lambda done: list_modules(modules)), folder / "log.txt"))
    reference = digest(folder / "reference")
    if reference is None:
        raise RuntimeError(f"the undisturbed run has failed: {(folder / 'log.txt').read_text()}")
    load_modules(modules)
    began = time.monotonic()
    wait(fork(partial(run, folder / "timed"), folder / "log.txt"))
    lasts = time.monotonic() - began
    found = {}
    faults = all_faults(run, lasts)
    for name in options.faults:
        disturb = partial(disturbed, faults[name], run, folder, reference=reference)
        wanted = options.kills if name == "SIGKILL" else options.others
        found[name] = outcomes(name, wanted, disturb, seed=options.seed, log=options.out / "outcomes.jsonl")
        print(f"{name}: {sum(row.equal for row in found[name])} of {wanted} equal", flush=True)
    whole = {
        "options": {name: str(value) for name, value in asdict(options).items()},
        "jax": jax.__version__,
        "undisturbed_s": lasts,
        "parts": len(whole_parts(folder / "reference")),
        "nan": nan_in_the_middle(run, folder),
        "faults": {name: [outcome._asdict() for outcome in rows] for name, rows in found.items()},
    }
    results.write_bytes(options.out / "faults.json", json.dumps(whole, indent=1).encode())
    text = table(whole, found)
    results.write_bytes(options.out / "table.txt", text.encode())
    print(text)
    shutil.rmtree(folder)
    return whole


def outcomes(fault: str, wanted: int, disturb: Callable[[str], Outcome], *, seed: int, log: Path) -> list[Outcome]:
    """One fault's outcomes: those that the log has from before, then new ones, each written there as it ends."""
    lines = log.read_text().splitlines() if log.exists() else []
    rows = [json.loads(line) for line in lines]
    known = {(row.pop("fault"), row.pop("run")): Outcome(**row) for row in rows}
    found: list[Outcome] = []
    numbers = itertools.count()
    while len(found) < wanted:
        i = next(numbers)
        outcome = known.get((fault, i))
        if outcome is None:
            outcome = disturb(f"{seed}/{fault}/{i}")
            lines.append(json.dumps({"fault": fault, "run": i, **outcome._asdict()}))
            results.write_bytes(log, "".join(f"{line}\n" for line in lines).encode())
        # A run that was through before its signal came has not been disturbed.
        if outcome.ended != 0 or not fault.startswith("SIG"):
            found.append(outcome)
    return found


def all_faults(run: Callable[..., None], lasts: float) -> dict[str, Fault]:
    """Every fault by its name; `lasts` is how long an undisturbed run takes."""
    found: list[Fault] = [
        *(partial(signalled, run, lasts, number) for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)),
        partial(two_processes, run, lasts),
        partial(no_room, run),
        *(partial(damaged, run, damage) for damage in (changed_byte, cut_off)),
    ]
    return dict(zip(FAULTS, found, strict=True))


def signalled(
    run: Callable[..., None], lasts: float, number: signal.Signals, folder: Path, draw: random.Random
) -> tuple[float, int]:
    """A run that gets a signal at a moment of its life, all of them equally likely."""
    moment = draw.uniform(0, lasts)
    process = fork(partial(run, folder), folder.parent / "log.txt")
    time.sleep(moment)
    os.kill(process, number)
    return moment, wait(process)


def two_processes(run: Callable[..., None], lasts: float, folder: Path, draw: random.Random) -> tuple[float, int]:
    """Two runs on one folder, the second one up to half a run later; neither may fail."""
    moment = draw.choice([0.0, draw.uniform(0, lasts / 2)])
    first = fork(partial(run, folder), folder.parent / "log.txt")
    time.sleep(moment)
    second = fork(partial(run, folder), folder.parent / "log.txt")
    return moment, max(map(abs, (wait(first), wait(second))))


def no_room(run: Callable[..., None], folder: Path, draw: random.Random) -> tuple[str, int]:
    """A run that may write no more bytes after some of its parts: the system refuses, as at a quota."""
    parts = draw.randrange(1, 5)

    def no_more(done: int) -> None:
        if done == parts:
            resource.setrlimit(resource.RLIMIT_FSIZE, (draw.randrange(1, 200), resource.RLIM_INFINITY))

    return f"after {parts} parts", wait(fork(partial(run, folder, after_part=no_more), folder.parent / "no_room.txt"))


def damaged(
    run: Callable[..., None], damage: Callable[[bytes, random.Random], bytes], folder: Path, draw: random.Random
) -> tuple[str, int]:
    """A finished run, one of whose parts is damaged on disk, and whose results are gone."""
    ended = wait(fork(partial(run, folder), folder.parent / "log.txt"))
    path = draw.choice(sorted((folder / "parts").glob("*.nc")))
    path.write_bytes(damage(path.read_bytes(), draw))
    (folder / "results.nc").unlink()
    return path.name, ended


def changed_byte(content: bytes, draw: random.Random) -> bytes:
    """A file with one byte changed."""
    place = draw.randrange(len(content))
    return content[:place] + bytes([content[place] ^ draw.randrange(1, 256)]) + content[place + 1 :]


def cut_off(content: bytes, draw: random.Random) -> bytes:
    """The beginning of a file."""
    return content[: draw.randrange(len(content))]


def disturbed(fault: Fault, run: Callable[..., None], work: Path, seed: str, *, reference: str) -> Outcome:
    """Disturb a run, start it again in the same folder where it is not through, and look at what it leaves.

    Args:
        fault: what happens to the run.
        run: `run(folder)`.
        work: the folder for the run's own.
        seed: draws the moment, and names the folder.
        reference: the digest of an undisturbed run's results.
    """
    folder = work / seed.replace("/", "-").replace(" ", "_")
    folder.mkdir()
    moment, ended = fault(folder, random.Random(seed))
    before, half = whole_parts(folder), len(list(folder.glob("**/.*.partial")))
    if not (folder / "results.nc").exists():
        wait(fork(partial(run, folder), folder.parent / "log.txt"))
    after = whole_parts(folder)
    again = sum(after.get(name) != stamp for name, stamp in before.items())
    outcome = Outcome(moment, ended, len(before), half, again, digest(folder) == reference)
    if outcome.equal:
        shutil.rmtree(folder)
    return outcome


def nan_in_the_middle(run: Callable[..., None], folder: Path) -> dict[str, Any]:
    """A test in which one stage's random weights overflow, beside the undisturbed one."""
    wait(fork(partial(run, folder / "nan", fresh=overflowing_init), folder / "log.txt"))
    found, want = (results.read_dataset(folder / name / "results.nc") for name in ("nan", "reference"))
    at_stage = {"stage": found.stage == DISTURBED_STAGE}
    others = {"stage": found.stage != DISTURBED_STAGE}
    counted = found.nonfinite_maps.where(at_stage["stage"], drop=True)
    return {
        "stage": DISTURBED_STAGE,
        "similarities_there": int(found.similarity.isel(at_stage).size),
        "nan_there": int(np.isnan(found.similarity.isel(at_stage)).sum()),
        "maps_counted_there": int(counted.sum()),
        "maps_there": int(counted.size * found.sizes["image"]),
        "other_stages_equal": bool(found.similarity.isel(others).identical(want.similarity.isel(others))),
        "nonfinite_elsewhere": int(found.nonfinite_maps.isel(others).sum()),
    }


def lines_of(found: dict[str, list[Outcome]]) -> Iterator[str]:
    """A line a fault."""
    yield f"{'fault':16s}{'runs':>6s}{'equal':>7s}{'finished':>10s}{'again':>7s}{'half':>6s}  how the process ended"
    for name, rows in found.items():
        ends = {code: sum(row.ended == code for row in rows) for code in sorted({row.ended for row in rows})}
        yield (
            f"{name:16s}{len(rows):6d}{sum(row.equal for row in rows):7d}{sum(row.finished for row in rows):10d}"
            f"{sum(row.measured_again for row in rows):7d}{sum(row.half_written > 0 for row in rows):6d}  "
            + ", ".join(f"{code}: {count}" for code, count in ends.items())
        )


def table(whole: dict[str, Any], found: dict[str, list[Outcome]]) -> str:
    """The outcomes for people."""
    nan = whole["nan"]
    return "\n".join(
        [
            f"JAX {whole['jax']}; {whole['parts']} parts a run; undisturbed {whole['undisturbed_s']:.1f} s",
            "",
            *lines_of(found),
            "",
            "equal: the results are those of an undisturbed run, byte by byte. finished: parts finished when the fault",
            "came; again: how many of them were measured again. half: runs with a file in the middle of its writing.",
            "",
            f"NaN at the stage {nan['stage']!r}: {nan['nan_there']} of {nan['similarities_there']} similarities there,",
            f"{nan['maps_counted_there']} of {nan['maps_there']} maps there counted as not finite; the other stages "
            f"are {'equal' if nan['other_stages_equal'] else 'NOT equal'} to",
            f"those of the undisturbed run, with {nan['nonfinite_elsewhere']} maps that are not finite",
            "",
        ]
    )


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
