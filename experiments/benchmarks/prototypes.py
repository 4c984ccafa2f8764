"""How many images a second ProtoPNet trains on and projects, beside the original's arithmetic in PyTorch, in one run.

    pip install torch==2.13.0
    python experiments/benchmarks/prototypes.py

Three networks, the same weights and images on both sides: digits of 28x28 pixels with the paper's CNN and 100
prototypes; images of 224x224 with ResNet-18 and 500; and stored activations of 8x8 places and 1280 channels with 500
and no backbone. The PyTorch side is `prototype_peer.py`, as the original lays activations out and with channels last.
After two epochs of each stage the terms of the loss have to agree to 1e-4, and the projections have to choose the same
patches, but for such as are as near to 1e-5, before any time counts. Then the sides take turns; medians are reported,
and the ratio of each pair of turns. The first call, which compiles, is told apart. Images lie in memory on both sides
and nothing is drawn into files, so that the arithmetic is timed and not the loading.
On two cores with other work digits take two minutes and stored activations one, with --repeats 3; ResNet-18 takes far
longer, less with --size 112. Without PyTorch only this library is timed.
Writes prototypes.json and prototypes.txt in the folder --out.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import jax
import tyro
from prototype_networks import Network, activations, digits, resnet18
from prototype_sides import loss_difference, peer, projected, projection_difference, trained
from turns import PAUSE, compilation_clock, first_call, in_turns, ratios, seconds, spread

from saliency_jax import results
from saliency_jax.prototypes import Stage
from saliency_jax.prototypes.schedule import Kind

OURS, ORIGINAL, FAST = ("saliency_jax", "PyTorch", "PyTorch, channels last")


@dataclass(frozen=True)
class Options:
    """ProtoPNet's training and projection beside the original's arithmetic in PyTorch."""

    networks: tuple[str, ...] = ("digits", "resnet18", "activations")
    """Which networks: digits, resnet18, activations."""
    repeats: int = 5
    """How many turns each side takes."""
    digits: int = 800
    """How many digits; batches of 80."""
    images: int = 64
    """How many images for ResNet-18, at least one a class of 50; batches of 16."""
    activations: int = 400
    """How many stored activations, at least one a class of 50; batches of 80."""
    size: int = 224
    """Height and width of the images for ResNet-18, in pixels."""
    threads: int | None = None
    """How many threads PyTorch uses; as many as there are cores if not given."""
    out: Path = Path("runs/benchmarks")
    """The folder for the results."""


NETWORKS: dict[str, Callable[[Options], Network]] = {
    "digits": lambda options: digits(options.digits),
    "resnet18": lambda options: resnet18(options.images, options.size),
    "activations": lambda options: activations(options.activations),
}


def compare(network: Network, repeats: int, clock: Callable[[], float]) -> dict[str, Any]:
    """Images a second of every stage on each side, after the sides have been held against each other."""
    found: dict[str, Any] = {"images": len(network.images), "shape": list(network.images.shape[1:])}
    found |= {
        "batch_size": network.recipe.batch_size,
        "prototypes": len(network.variables["params"]["prototype_vectors"]),
    }
    sides: dict[str, Any] = {OURS: None}
    kinds: tuple[Kind, ...] = (*network.stages, "project")
    firsts = {kind: first(network, kind, clock) for kind in kinds}
    if find_spec("torch"):
        found["loss_difference"] = loss_difference(network)
        found["projection"] = projection_difference(network)
        sides |= {ORIGINAL: peer(network, fast=False), FAST: peer(network, fast=True)}
    found["stages"] = {}
    for kind in kinds:
        found["stages"][kind] = firsts[kind] | stage(network, kind, sides, repeats)
        print(f"{kind}: {found['stages'][kind]}", file=sys.stderr, flush=True)
    return found


def stage(network: Network, kind: Kind, sides: dict[str, Any], repeats: int) -> dict[str, Any]:
    """One stage's images a second on each side, and how many times as many ours are."""
    timers = {name: partial(turn, network, kind, side) for name, side in sides.items()}
    turns = in_turns(timers, repeats, pause=PAUSE)
    steps = len(network.images) // network.recipe.batch_size
    images = len(network.images) if kind == "project" else steps * network.recipe.batch_size
    found = {}
    for name in sides:
        found[name] = {
            "images_a_second": images / median(turns[name]),
            **spread("times_faster", ratios(turns[name], turns[OURS])),
        }
    return {"sides": found}


def first(network: Network, kind: Kind, clock: Callable[[], float]) -> dict[str, float]:
    """The seconds of this library's first call, a training of one epoch or a projection; XLA's compilation in it."""
    call = partial(projected, network) if kind == "project" else partial(trained, network, (Stage(kind, 1),))
    found = first_call(call, clock)
    return {"first_s": found.seconds, "compile_s": found.compile_seconds}


def turn(network: Network, kind: Kind, side: Any) -> float:
    """The seconds of an epoch or of a projection; of ours, a training's second epoch."""
    if side is not None:
        return seconds(side.project if kind == "project" else partial(side.epoch, kind))
    return seconds(partial(projected, network)) if kind == "project" else trained(network, (Stage(kind, 2),))[1][-1]


def main(options: Options) -> dict[str, Any]:
    """Measure, write and print."""
    unknown = [name for name in options.networks if name not in NETWORKS]
    if unknown or not options.networks:
        raise SystemExit(f"--networks must be among {', '.join(NETWORKS)}, got {' '.join(unknown) or 'none'}")
    if min(options.images, options.activations) < 50 or options.digits < 10 or options.repeats < 1:
        raise SystemExit("--images and --activations must be at least 50, --digits 10 and --repeats 1")
    if find_spec("torch") and options.threads is not None:
        import torch

        torch.set_num_threads(options.threads)
    found: dict[str, Any] = {
        "load_before": os.getloadavg()[0],
        "options": {name: str(value) for name, value in asdict(options).items()},
        "versions": {name: version(name) for name in ("jax", "flax", "torch") if find_spec(name)},
        "device": str(jax.devices()[0]),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }
    clock = compilation_clock()
    found["networks"] = {name: compare(NETWORKS[name](options), options.repeats, clock) for name in options.networks}
    options.out.mkdir(parents=True, exist_ok=True)
    results.write_bytes(options.out / "prototypes.json", json.dumps(found, indent=1).encode())
    text = table(found)
    results.write_bytes(options.out / "prototypes.txt", text.encode())
    print(text)
    return found


def table(found: dict[str, Any]) -> str:
    """The measurements, a stage a row, for people."""
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    lines = [f"{versions}; {found['device']}, {found['cores']} cores, load before {found['load_before']:.1f}"]
    if "torch" not in found["versions"]:
        lines.append("PyTorch is not installed and was left out: pip install torch==2.13.0")
    for name, row in found["networks"].items():
        shape = "x".join(map(str, row["shape"]))
        lines += [
            "",
            f"{name}: {row['images']} of {shape}, batches of {row['batch_size']}, {row['prototypes']} prototypes",
        ]
        if "loss_difference" in row:
            same, count = (row["projection"][name] for name in ("same", "prototypes"))
            lines.append(
                f"terms of the loss within {row['loss_difference']:.1e}; the same patch for {same} of "
                f"{count} prototypes" + ("" if same == count else ", one as near for the others")
            )
        names = list(next(iter(row["stages"].values()))["sides"])
        lines.append(
            f"{'images a second':16s}{OURS:>13s}"
            + "".join(f"{side:>24s}{'ours are times as many':>28s}" for side in names[1:])
            + f"{'first call':>12s}{'compiling':>11s}"
        )
        for kind, measured in row["stages"].items():
            line = f"{kind:16s}{measured['sides'][OURS]['images_a_second']:13.1f}"
            for side in names[1:]:
                one = measured["sides"][side]
                times = f"{one['times_faster']:.2f} [{one['times_faster_low']:.2f}, {one['times_faster_high']:.2f}]"
                line += f"{one['images_a_second']:24.1f}{times:>28s}"
            lines.append(line + f"{measured['first_s']:10.1f} s{measured['compile_s']:9.1f} s")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
