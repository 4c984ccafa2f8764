"""What the dimension of a layer's activations costs, beside the paper's way and scikit-dimension, in one run.

    pip install scikit-dimension==0.5.0
    python experiments/benchmarks/dimension.py --large

times `two_nn` of 2000 points of 25,088 features, as many as VGG-16's last pooling has, against the paper's way (SciPy's
pdist, the whole matrix sorted, a line fitted) and against scikit-dimension where it is installed. The values have to
agree to 1e-4 before any time counts. Then the sides take turns; medians are reported, and the ratio of each pair of
turns; compilation is told apart. All are given float32, as activations are; scikit-dimension computes in float64 and
is quicker where it need not convert, so that it is timed on float64 as well. Ours should be 20 times faster than the
paper's way, and 3 times faster than scikit-dimension. After that the time against the number of points, which should
grow like its square, and against the number of features. Some ten minutes on two cores, most of them the paper's pdist.

With --large, before all that, 50,000 points of 1024 features in a process of its own: a few minutes. Its peak of
resident memory should stay under 2 GiB beyond the data. Run it on a machine that does nothing else.
Writes dimension.json, dimension.txt and dimension.png in the folder --out.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import jax
import numpy as np
import tyro
from dimension_figures import figure, table
from dimension_memory import in_a_process_of_its_own, large
from dimension_ways import OURS, PAPER, PEER, PEER_DOUBLE, ours, paper, peer, sampled
from turns import PAUSE, compilation_clock, first_call, in_turns, ratios, seconds, spread

from saliency_jax import plotting, results

AGREE = 1e-4


@dataclass(frozen=True)
class Options:
    """What the dimension of a layer's activations costs, beside the paper's way and scikit-dimension."""

    points: int = 2000
    """How many points."""
    features: int = 25_088
    """How many features each has."""
    dimension: int = 20
    """The dimension of the Gaussian that the points are drawn from, before they are mapped to the features."""
    repeats: int = 5
    """How many turns each side takes."""
    scaling_points: tuple[int, ...] = (500, 1000, 2000, 4000, 8000)
    """The numbers of points whose times are shown, with as many features as are in the middle of the next option."""
    scaling_features: tuple[int, ...] = (64, 256, 1024, 4096, 16_384)
    """The numbers of features whose times are shown, with as many points as are in the middle of the option before."""
    scaling_repeats: int = 3
    """How many turns each side takes at each of these sizes."""
    large: bool = False
    """Also time the large set and its memory."""
    large_size: tuple[int, int] = (50_000, 1024)
    """How many points the large set has, and how many features."""
    seed: int = 0
    """The seed of the points."""
    out: Path = Path("runs/benchmarks")
    """The folder for the results."""


def compare(points: np.ndarray, repeats: int, clock: Callable[[], float]) -> dict[str, Any]:
    """Each side's times in turn, after their values have been held against each other.

    Raises:
        SystemExit: the values differ by more than AGREE.
    """
    sides = {OURS: partial(ours, points), PAPER: partial(paper, points)}
    if find_spec("skdim"):
        sides |= {PEER: partial(peer, points), PEER_DOUBLE: partial(peer, points.astype(np.float64))}
    first = {}
    for name, call in sides.items():
        time.sleep(PAUSE)
        first[name] = first_call(call, clock)
    values = {name: one.value for name, one in first.items()}
    apart = {name: abs(value / values[PAPER] - 1) for name, value in values.items()}
    if not max(apart.values()) <= AGREE:
        raise SystemExit(f"the values must agree to {AGREE:g} before any time counts, got {values}")
    turns = in_turns({name: partial(seconds, call) for name, call in sides.items()}, repeats, pause=PAUSE)
    found = {}
    for name in sides:
        found[name] = {
            "value": values[name],
            "relative_difference": apart[name],
            "first_call_s": first[name].seconds,
            "compile_s": first[name].compile_seconds,
            "seconds": median(turns[name]),
            **spread("times_ours", ratios(turns[name], turns[OURS])),
        }
    return {"points": points.shape[0], "features": points.shape[1], "repeats": repeats, "sides": found}


def scaling_sizes(options: Options) -> list[tuple[str, tuple[int, int]]]:
    """Each comparison's points and features, and along which of the two its time is shown."""
    points, features = options.scaling_points, options.scaling_features
    return [("points", (number, features[len(features) // 2])) for number in points] + [
        ("features", (points[len(points) // 2], number)) for number in features
    ]


def keep_what_is_found(found: dict[str, Any], path: Path) -> None:
    """Write what has been measured so far, so that a run that is broken off loses only the measurement under way."""
    results.write_bytes(path, json.dumps(found, indent=1).encode())


def main(options: Options) -> dict[str, Any]:
    """Measure, write after each measurement what is known by then, and print."""
    found: dict[str, Any] = {
        "load_before": os.getloadavg()[0],
        "options": {name: str(value) for name, value in asdict(options).items()},
        "versions": {name: version(name) for name in ("jax", "numpy", "scipy")}
        | ({PEER: version(PEER)} if find_spec("skdim") else {}),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    keep = partial(keep_what_is_found, found, options.out / "dimension.json")
    if options.large:
        found["large"] = in_a_process_of_its_own(large, *options.large_size, options.dimension, options.seed)
        keep()
    found["device"] = str(jax.devices()[0])
    clock = compilation_clock()
    points = sampled(options.points, options.features, options.dimension, options.seed)
    found["comparison"] = compare(points, options.repeats, clock)
    found["scaling"] = {"points": [], "features": []}
    keep()
    for along, size in scaling_sizes(options):
        points = sampled(*size, options.dimension, options.seed)
        found["scaling"][along].append(compare(points, options.scaling_repeats, clock))
        keep()
    plotting.save(figure(found), options.out / "dimension.png")
    text = table(found)
    results.write_bytes(options.out / "dimension.txt", text.encode())
    print(text)
    return found


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
