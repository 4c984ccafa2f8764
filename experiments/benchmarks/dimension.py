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
import multiprocessing
import os
import resource
import sys
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
import matplotlib.pyplot as plt
import numpy as np
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator
from scipy.spatial.distance import pdist, squareform

from saliency_jax import plotting, results
from saliency_jax.dimension import two_nn

AGREE = 1e-4
DISCARD = 0.1
LIMIT = 2 << 30
"""Bytes of memory beyond the data that the large set should stay under."""
PAUSE = 0.5
"""Seconds between two sides' turns, until the threads of the one no longer wait for work on the other's cores."""
OURS, PAPER, PEER, PEER_DOUBLE = SIDES = (
    "saliency_jax",
    "the paper's way",
    "scikit-dimension",
    "the same, float64",
)


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


def sampled(points: int, features: int, dimension: int, seed: int) -> np.ndarray:
    """Points of a Gaussian of some dimension in a space of more features, float32."""
    rng = np.random.default_rng(seed)
    inner = rng.standard_normal((points, dimension), np.float32)
    return inner @ rng.standard_normal((dimension, features), np.float32)


def ours(points: np.ndarray) -> float:
    """The dimension by this library."""
    return float(two_nn(points, discard=DISCARD).value)


def paper(points: np.ndarray) -> float:
    """The dimension by the procedure of the paper's code: all distances, all rows sorted, a line through 0.

    Source: Ansuini et al., NeurIPS 2019. That code leaves out the last two ratios whatever fraction is used.
    """
    distances = np.sort(squareform(pdist(points)), axis=1)
    nearest, second = distances[:, 1], distances[:, 2]
    usable = (nearest != 0) & (nearest != second)
    ratios = np.sort(second[usable] / nearest[usable])
    count = len(ratios)
    x = np.log(ratios)[:-2]
    y = -np.log(1 - np.arange(1, count + 1)[:-2] / count)
    used = int(np.floor((1 - DISCARD) * count))
    x, y = x[:used], y[:used]
    return float(x @ y / (x @ x))


def peer(points: np.ndarray) -> float:
    """The dimension by scikit-dimension."""
    from skdim.id import TwoNN

    return float(TwoNN(discard_fraction=DISCARD).fit_transform(points))


def compile_seconds() -> Callable[[], float]:
    """A clock that reads how long XLA has compiled since it was made."""
    spent = [0.0]

    def listen(event: str, duration_secs: float, **_: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            spent[0] += duration_secs

    jax.monitoring.register_event_duration_secs_listener(listen)
    return lambda: spent[0]


def timed(call: Callable[[], float]) -> tuple[float, float]:
    """A call's value and its seconds, after a pause."""
    time.sleep(PAUSE)
    began = time.perf_counter()
    value = call()
    return value, time.perf_counter() - began


def compare(points: np.ndarray, repeats: int, clock: Callable[[], float]) -> dict[str, Any]:
    """Each side's times in turn, after their values have been held against each other.

    Raises:
        SystemExit: the values differ by more than AGREE.
    """
    sides = {OURS: partial(ours, points), PAPER: partial(paper, points)}
    if find_spec("skdim"):
        sides |= {PEER: partial(peer, points), PEER_DOUBLE: partial(peer, points.astype(np.float64))}
    compiled = clock()
    first = {name: timed(call) for name, call in sides.items()}
    compiled = clock() - compiled
    values = {name: value for name, (value, _) in first.items()}
    apart = {name: abs(value / values[PAPER] - 1) for name, value in values.items()}
    if not max(apart.values()) <= AGREE:
        raise SystemExit(f"the values must agree to {AGREE:g} before any time counts, got {values}")
    turns = [{name: timed(call)[1] for name, call in sides.items()} for _ in range(repeats)]
    found = {}
    for name in sides:
        ratios = sorted(turn[name] / turn[OURS] for turn in turns)
        found[name] = {
            "value": values[name],
            "relative_difference": apart[name],
            "first_call_s": first[name][1],
            "compile_s": compiled if name == OURS else 0.0,
            "seconds": median(turn[name] for turn in turns),
            "times_ours": median(ratios),
            "times_ours_low": ratios[0],
            "times_ours_high": ratios[-1],
        }
    return {"points": points.shape[0], "features": points.shape[1], "repeats": repeats, "sides": found}


def scaling(options: Options, clock: Callable[[], float]) -> dict[str, list[dict[str, Any]]]:
    """The comparison over numbers of points, and over numbers of features."""
    points, features = options.scaling_points, options.scaling_features
    sizes = {
        "points": [(number, features[len(features) // 2]) for number in points],
        "features": [(points[len(points) // 2], number) for number in features],
    }
    return {
        along: [
            compare(sampled(*size, options.dimension, options.seed), options.scaling_repeats, clock) for size in chosen
        ]
        for along, chosen in sizes.items()
    }


def slope(sizes: list[int], seconds: list[float]) -> float:
    """The power of the size that the time grows with, over the larger half of the sizes; NaN for one size."""
    chosen = max(2, (len(sizes) + 1) // 2)
    if len(sizes) < 2:
        return float("nan")
    return float(np.polyfit(np.log(sizes[-chosen:]), np.log(seconds[-chosen:]), 1)[0])


def in_a_process_of_its_own(measure: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """What a function measures in a fresh process that does nothing else.

    It starts with the peak of memory of the process that it came from, so that this is done before anything is
    computed here; and a process that has used an accelerator may have kept its memory.
    """
    with multiprocessing.get_context("spawn").Pool(1) as process:
        return process.apply(measure, arguments)


def large(points: int, features: int, dimension: int, seed: int) -> dict[str, Any]:
    """Time and memory of one call."""
    clock = compile_seconds()
    data = sampled(points, features, dimension, seed)
    jax.block_until_ready(jax.numpy.zeros(1))
    before = peak_memory()
    value, seconds = timed(partial(ours, data))
    device = jax.devices()[0].memory_stats() or {}
    return {
        "points": points,
        "features": features,
        "value": value,
        "seconds": seconds,
        "compile_s": clock(),
        "data_bytes": data.nbytes,
        "before_bytes": before,
        "peak_bytes": peak_memory(),
        "device_peak_bytes": device.get("peak_bytes_in_use", 0),
    }


def peak_memory() -> int:
    """The most bytes that this process has had in memory."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main(options: Options) -> dict[str, Any]:
    """Measure, write and print."""
    found: dict[str, Any] = {"load_before": os.getloadavg()[0]}
    if options.large:
        found["large"] = in_a_process_of_its_own(large, *options.large_size, options.dimension, options.seed)
    found |= {
        "options": {name: str(value) for name, value in asdict(options).items()},
        "versions": {name: version(name) for name in ("jax", "numpy", "scipy")}
        | ({PEER: version(PEER)} if find_spec("skdim") else {}),
        "device": str(jax.devices()[0]),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }
    clock = compile_seconds()
    points = sampled(options.points, options.features, options.dimension, options.seed)
    found["comparison"] = compare(points, options.repeats, clock)
    found["scaling"] = scaling(options, clock)
    options.out.mkdir(parents=True, exist_ok=True)
    results.write_bytes(options.out / "dimension.json", json.dumps(found, indent=1).encode())
    plotting.save(figure(found), options.out / "dimension.png")
    text = table(found)
    results.write_bytes(options.out / "dimension.txt", text.encode())
    print(text)
    return found


def table(found: dict[str, Any]) -> str:
    """The measurements for people."""
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    lines = [f"{versions}; {found['device']}, {found['cores']} cores, load before {found['load_before']:.1f}"]
    if PEER not in found["versions"]:
        lines.append(f"{PEER} is not installed and was left out: pip install scikit-dimension==0.5.0")
    one = found["comparison"]
    lines += [
        "",
        f"two_nn of {one['points']} points, {one['features']} features, median of {one['repeats']} turns",
        f"{'':18s}{'seconds':>9s}{'times ours [range]':>22s}{'first call':>12s}{'compiling':>11s}{'value':>10s}"
        f"{'difference':>12s}",
    ]
    for name, row in one["sides"].items():
        times = f"{row['times_ours']:.1f} [{row['times_ours_low']:.1f}, {row['times_ours_high']:.1f}]"
        lines.append(
            f"{name:18s}{row['seconds']:9.3f}{times:>22s}{row['first_call_s']:10.2f} s{row['compile_s']:9.2f} s"
            f"{row['value']:10.4f}{row['relative_difference']:12.1e}"
        )
    for along, rows in found["scaling"].items():
        other = "features" if along == "points" else "points"
        names = list(rows[0]["sides"])
        lines += ["", f"seconds against the number of {along}, with {rows[0][other]} {other}"]
        lines.append(f"{along:>18s}" + "".join(f"{name:>18s}" for name in names))
        for row in rows:
            lines.append(f"{row[along]:18d}" + "".join(f"{row['sides'][name]['seconds']:18.4f}" for name in names))
        slopes = [slope(*curve(rows, along, name)) for name in names]
        lines.append(f"{'slope, large sizes':>18s}" + "".join(f"{value:18.2f}" for value in slopes))
    if "large" in found:
        lines += ["", *large_lines(found["large"])]
    return "\n".join([*lines, ""])


def large_lines(one: dict[str, float]) -> list[str]:
    """Time and memory of the large set."""
    mib = {name: one[name] / 2**20 for name in ("data_bytes", "before_bytes", "peak_bytes", "device_peak_bytes")}
    beyond = one["peak_bytes"] - one["data_bytes"]
    lines = [
        f"{one['points']} points, {one['features']} features: {one['seconds']:.1f} s, of which "
        f"{one['compile_s']:.1f} s compiling; dimension {one['value']:.3f}",
        f"peak memory {mib['peak_bytes']:.0f} MiB, of which the data {mib['data_bytes']:.0f} MiB: "
        f"{beyond / 2**20:.0f} MiB beyond them, Python and JAX included ({'under' if beyond < LIMIT else 'NOT under'} "
        f"{LIMIT / 2**20:.0f} MiB); {mib['peak_bytes'] - mib['before_bytes']:.0f} MiB more than before the call",
    ]
    if one["device_peak_bytes"]:
        lines.append(f"peak memory of the device {mib['device_peak_bytes']:.0f} MiB, the data included")
    return lines


def curve(rows: list[dict[str, Any]], along: str, name: str) -> tuple[list[int], list[float]]:
    """The sizes and one side's seconds."""
    return [row[along] for row in rows], [row["sides"][name]["seconds"] for row in rows]


def figure(found: dict[str, Any]) -> Figure:
    """Seconds against the number of points and against the number of features, each with its slope."""
    whole, panels = plt.subplots(1, 2, figsize=(9.5, 4.4), sharey=True, layout="constrained")
    for axes, (along, rows) in zip(panels, found["scaling"].items(), strict=True):
        _panel(axes, along, rows)
    panels[0].set_ylabel("seconds")
    where = f"{found['device']}, {found['cores']} cores"
    whole.suptitle(f"TwoNN on {where}; the slopes are over the larger half of the sizes", fontsize=11)
    return whole


def _panel(axes: Axes, along: str, rows: list[dict[str, Any]]) -> None:
    for name in rows[0]["sides"]:
        sizes, seconds = curve(rows, along, name)
        place = SIDES.index(name)
        label = f"{name}: slope {slope(sizes, seconds):.1f}"
        axes.plot(sizes, seconds, color=plotting.COLOURS[place], marker=plotting.MARKERS[place], label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    sizes, _ = curve(rows, along, OURS)
    axes.xaxis.set_ticks(sizes, [f"{size:,}" for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())
    other = "features" if along == "points" else "points"
    axes.set_title(f"with {rows[0][other]:,} {other}", fontsize=11)
    axes.set_xlabel(f"number of {along}")
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    axes.grid(color="0.9", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
