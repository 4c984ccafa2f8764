"""The table and the figure of dimension.py: the seconds of every way, and how they grow with the size."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from dimension_memory import large_lines
from dimension_ways import OURS, PEER, SIDES
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from saliency_jax import plotting


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


def slope(sizes: list[int], seconds: list[float]) -> float:
    """The power of the size that the time grows with, over the larger half of the sizes; NaN for one size."""
    chosen = max(2, (len(sizes) + 1) // 2)
    if len(sizes) < 2:
        return float("nan")
    return float(np.polyfit(np.log(sizes[-chosen:]), np.log(seconds[-chosen:]), 1)[0])


def curve(rows: list[dict[str, Any]], along: str, name: str) -> tuple[list[int], list[float]]:
    """The sizes and one side's seconds."""
    return [row[along] for row in rows], [row["sides"][name]["seconds"] for row in rows]
