"""This library beside Captum, Zennit, Quantus and scikit-dimension, in one run on the same weights and images.

    pip install torch==2.13.0    # first, and from PyTorch's own index the build for CPUs
    pip install captum==0.9.0 zennit==0.5.1 quantus==0.6.0 scikit-dimension==0.5.0
    python experiments/benchmarks/peers.py

measures, on the paper's CNN, SqueezeNet, ResNet-50, ViT-S and Inception v3 (which needs torchvision): the gradient,
guided backpropagation, Grad-CAM and LRP of 1 and of 32 images; integrated gradients of 64 points and SmoothGrad of 50
samples, of one image on the large networks, where more of them take as much each; the whole cascade with rank
correlations and the smooth test beside Quantus with Captum; continuity and selectivity beside Quantus; TwoNN beside
scikit-dimension. Captum is given a few samples at a time, as it is fastest; on the CNN its own default stands beside
it.

Both sides compute the same: in float64 the maps of one image, the curves and dimensions, and in float32 the
similarities of the cascades, have to agree to 1e-4 before any time counts (most agree to 1e-9): a row that does not is
marked in the table and left out of the figure. Then, in float32 and PyTorch's fastest layout, they take turns; medians
are reported, and the ratio of each pair of turns. Compilation is
told apart, and the ratio of the first calls counts it in; cascades and the smooth test compile in every turn. Beside
them stands the least time that the machine needs for the products of matrices and convolutions. A peer that is not
installed is skipped, and its row says so. An hour on two cores; every row is written as soon as it is measured.

Writes peers.json, peers.txt and peers.png in the folder --out.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

if find_spec("torch") is None:
    raise SystemExit("peers.py needs torch: pip install torch==2.13.0")

import jax
import torch
import tyro
from arithmetic import Machine, floor, measured_machine
from peer_figure import figure, table
from peer_networks import ONE_PASS, SAMPLED
from peer_work import Work, all_work
from tqdm import tqdm
from turns import PAUSE, in_turns, ratios, seconds, seconds_a_call, spread, timed

from saliency_jax import plotting, results

AGREE = 1e-4
TURN = 0.3
"""The least seconds of a turn."""
LONG = 5.0
"""Seconds of a first call after which turns are of one call, without one to warm up."""
PACKAGES = ("jax", "torch", "captum", "zennit", "quantus", "scikit-dimension")
MODULES = {"scikit-dimension": "skdim"}


@dataclass(frozen=True)
class Options:
    """This library beside Captum, Zennit, Quantus and scikit-dimension."""

    networks: tuple[str, ...] = ("mnist_cnn", "squeezenet", "resnet50", "vit_s", "inception_v3")
    """Whose maps and cascades are compared."""
    batches: tuple[int, ...] = (1, 32)
    """How many images at once."""
    explainers: tuple[str, ...] = (*ONE_PASS, *SAMPLED)
    """Which explainers."""
    cascades: bool = True
    """Compare the cascade of each network, and the smooth test of the CNN."""
    measures: bool = True
    """Compare continuity, selectivity and TwoNN."""
    repeats: int = 5
    """How many turns each side takes."""
    threads: int | None = None
    """How many threads PyTorch uses; as many as there are cores if not given."""
    out: Path = Path("runs/benchmarks")
    """The folder for the results."""


def measured(work: Work, machine: Machine, repeats: int) -> dict[str, Any]:
    """One row: whether both sides compute the same, their first calls, and their turns."""
    row: dict[str, Any] = {"work": work.name, "network": work.network, "batch": work.batch, "peer": work.peer}
    if (missing := work.missing()) is not None:
        return row | {"skipped": missing}
    sides = work.sides()
    _, first = timed(sides.ours)
    _, peer_first = timed(sides.theirs)
    # A long call needs no other before it, and what compiles in every call would compile once more.
    long = work.compiles or first > LONG
    timer = seconds if long else partial(seconds_a_call, least=TURN)
    turns = in_turns({"ours": partial(timer, sides.ours), "theirs": partial(timer, sides.theirs)}, repeats, pause=PAUSE)
    times_faster = ratios(turns["theirs"], turns["ours"])
    row |= {
        "difference": sides.difference,
        "agree": bool(sides.difference <= AGREE),
        "seconds": median(turns["ours"]),
        "peer_seconds": median(turns["theirs"]),
        **spread("times_faster", times_faster),
        "first_call_s": first,
        "peer_first_call_s": peer_first,
        "times_faster_with_compilation": median(times_faster) if work.compiles else peer_first / first,
    }
    if sides.operations is not None:
        row["least_s"] = floor(machine, operations=sides.operations, moved=sides.bytes)
    return row


def main(options: Options) -> dict[str, Any]:
    """Measure, write and print."""
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    load = os.getloadavg()[0]
    machine = measured_machine()
    rows: list[dict[str, Any]] = []
    found: dict[str, Any] = {
        "options": {name: str(value) for name, value in asdict(options).items()},
        "versions": {name: version(name) for name in PACKAGES if find_spec(MODULES.get(name, name)) is not None},
        "device": str(jax.devices()[0]),
        "cores": os.cpu_count(),
        "load_before": load,
        "machine": machine._asdict(),
        "rows": rows,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    asked = options.networks, options.batches, options.explainers
    with tqdm(all_work(*asked, cascades=options.cascades, measures=options.measures), unit="row") as progress:
        for work in progress:
            progress.set_description(f"{work.network}, {work.name}, {work.batch}")
            rows.append(measured(work, machine, options.repeats))
            results.write_bytes(options.out / "peers.json", json.dumps(found, indent=1).encode())
            results.write_bytes(options.out / "peers.txt", table(found).encode())
    if any(row.get("agree") for row in rows):
        plotting.save(figure(found), options.out / "peers.png")
    print(table(found))
    return found


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
