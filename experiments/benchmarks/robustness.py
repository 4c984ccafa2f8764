"""Measures of robustness and selectivity beside those of Quantus and Captum, in one run on the same network.

    pip install torch==2.13.0 captum==0.9.0 quantus==0.6.0 zennit==0.5.1
    python experiments/benchmarks/robustness.py

The paper's CNN with the same weights on both sides, its gradient explained on both. What one side perturbs the other is
handed: the points that this library draws are the perturbations of the peers. In float64 the values of both have to
agree before any time counts; in float32 they take turns, and medians are reported with the ratio of each pair of turns.
Both are timed without what comes before: compilation here (told apart), the module there. The searches that the peers
do not have, across kinks and by ascent, are turned off. About ten minutes on two cores.

Where a peer computes something else than the definition, its own options make it compute that: Quantus divides maps by
the maximum of their batch (normalise=False here), takes an image's own minimum for black in its translations (every
image has a pixel of 0 here, as digits do), and leaves the whole image out of its curves, whose first value is dropped
here. Both peers divide max-sensitivity by the length of the map. The infidelity of Quantus is not compared: it perturbs
what it has perturbed before. Captum has no selectivity, Lipschitz estimate or continuity.

A third side takes its turn: the gradients and forward passes that the measure consists of, by themselves, in one
program. What they take of this library's time is the share of the network; the peer's time over theirs is the most that
could be gained on the peer without running the network itself faster.

Writes robustness.json and robustness.txt in the folder --out.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

missing = [name for name in ("torch", "captum", "quantus", "zennit") if find_spec(name) is None]
if missing:
    raise SystemExit(
        f"robustness.py needs {', '.join(missing)}: "
        "pip install torch==2.13.0 captum==0.9.0 quantus==0.6.0 zennit==0.5.1"
    )

import jax
import numpy as np
import torch
import tyro
from robustness_measures import MEASURES, difference_in_double
from robustness_problem import problem
from robustness_work import network_alone
from turns import PAUSE, in_turns, ratios, seconds, spread

from saliency_jax import results

AGREE = 1e-8
"""Quantus adds 1e-10 to the distances that it divides by."""


@dataclass(frozen=True)
class Options:
    """Measures of robustness and selectivity beside those of Quantus and Captum."""

    images: int = 32
    """How many images are measured."""
    samples: int = 50
    """How many perturbations of each."""
    repeats: int = 3
    """How many turns each side takes."""
    compared: int = 3
    """Of how many images the values are compared in float64."""
    threads: int | None = None
    """How many threads PyTorch uses; as many as there are cores if not given."""
    out: Path = Path("runs/benchmarks")
    """The folder for the results."""


def compare(name: str, options: Options) -> dict[str, Any]:
    """One measure's values in float64, then its times in float32."""
    measure = MEASURES[name]
    difference = difference_in_double(
        measure, images=options.images, samples=options.samples, compared=options.compared
    )
    of = problem(options.images, options.images, options.samples, np.float32)
    work = measure.work(of)
    here, there, network = measure.ours(of), measure.theirs(of), network_alone(of, work)
    first = seconds(here)
    there()
    network()
    sides = {"ours": here, "theirs": there, "network": network}
    turns = in_turns({side: partial(seconds, call) for side, call in sides.items()}, options.repeats, pause=PAUSE)
    return {
        "peer": measure.peer,
        "difference_float64": difference,
        "agree": difference <= AGREE,
        "first_call_s": first,
        "seconds": median(turns["ours"]),
        "peer_seconds": median(turns["theirs"]),
        "work_of_an_image": work._asdict(),
        "network_seconds": median(turns["network"]),
        **spread("times_faster", ratios(turns["theirs"], turns["ours"])),
        **spread("share_of_network", ratios(turns["network"], turns["ours"])),
        **spread("times_at_most", ratios(turns["theirs"], turns["network"])),
    }


def main(options: Options) -> dict[str, Any]:
    """Measure, write and print."""
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    found = {
        "options": {name: str(value) for name, value in asdict(options).items()},
        "versions": {"jax": jax.__version__, "torch": torch.__version__, "quantus": version("quantus")},
        "device": str(jax.devices()[0]),
        "measures": {name: compare(name, options) for name in MEASURES},
    }
    options.out.mkdir(parents=True, exist_ok=True)
    results.write_bytes(options.out / "robustness.json", json.dumps(found, indent=1).encode())
    text = table(found)
    results.write_bytes(options.out / "robustness.txt", text.encode())
    print(text)
    return found


def table(found: dict[str, Any]) -> str:
    """The measurements, a measure a row, for people."""
    versions = found["versions"]
    lines = [
        f"JAX {versions['jax']} on {found['device']}, PyTorch {versions['torch']}, Quantus {versions['quantus']}",
        f"{found['options']['images']} images, {found['options']['samples']} perturbations of each",
        "",
        f"{'measure':18s}{'peer':10s}{'s':>9s}{'peer s':>9s}{'times faster':>22s}"
        f"{'network s':>11s}{'its share':>11s}{'at most':>9s}{'first call':>12s}"
        f"{'difference in float64':>24s}",
    ]
    for name, row in found["measures"].items():
        spread = f"{row['times_faster']:.1f} ({row['times_faster_low']:.1f}-{row['times_faster_high']:.1f})"
        lines.append(
            f"{name.strip():18s}{row['peer']:10s}{row['seconds']:9.3f}{row['peer_seconds']:9.3f}{spread:>22s}"
            f"{row['network_seconds']:11.3f}{row['share_of_network']:11.2f}{row['times_at_most']:9.1f}"
            f"{row['first_call_s']:10.1f} s{row['difference_float64']:24.1e}"
            + ("" if row["agree"] else "  THE VALUES DIFFER")
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
