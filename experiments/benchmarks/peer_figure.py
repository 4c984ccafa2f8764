"""The table and the figure of peers.py: how many times faster this library is, a row for each piece of work."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from saliency_jax import plotting

TICKS = (0.25, 0.5, 1, 2, 4, 8, 16, 32)


def table(found: dict[str, Any]) -> str:
    """The measurements for people."""
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    rate = found["machine"]
    lines = [
        f"{versions}; {found['device']}, {found['cores']} cores, load before {found['load_before']:.1f}",
        f"products of matrices: {rate['operations'] / 1e9:.0f} GFLOP/s in float32; "
        f"memory: {rate['bytes'] / 1e9:.0f} GB/s",
        "",
        f"{'network':14s}{'work':22s}{'batch':>6s} {'peer':17s}{'ms':>9s}{'peer':>9s}{'times faster':>20s}"
        f"{'first call':>12s}{'peer':>8s}{'with it':>9s}{'least ms':>10s}{'share':>7s}{'peer':>6s}{'difference':>12s}",
    ]
    for row in found["rows"]:
        start = f"{row['network']:14s}{plotting.readable(row['work']):22s}{row['batch']:6d} {row['peer']:17s}"
        lines.append(start + (f"  {row['skipped']}" if "skipped" in row else _numbers(row)))
    lines += [
        "",
        "ms of the whole batch. With it: times faster, the first calls and so compilation counted in. Least ms: the",
        "operations of the products of matrices at the machine's rate, or the bytes at the memory's; share: of that",
        "rate, ours and the peer's.",
    ]
    return "\n".join([*lines, ""])


def _numbers(row: dict[str, Any]) -> str:
    spread = f"{row['times_faster']:.2f} ({row['times_faster_low']:.2f}-{row['times_faster_high']:.2f})"
    least = row.get("least_s")
    floor = (
        f"{1e3 * least:10.1f}{100 * least / row['seconds']:6.0f}%{100 * least / row['peer_seconds']:5.0f}%"
        if least is not None
        else f"{'-':>10s}{'-':>7s}{'-':>6s}"
    )
    return (
        f"{1e3 * row['seconds']:9.1f}{1e3 * row['peer_seconds']:9.1f}{spread:>20s}{row['first_call_s']:10.1f} s"
        f"{row['peer_first_call_s']:6.1f} s{row['times_faster_with_compilation']:9.2f}{floor}{row['difference']:12.1e}"
        + ("" if row["agree"] else "  DIFFERENT")
    )


def figure(found: dict[str, Any]) -> Figure:
    """Times faster than the peer where both compute the same, with the range of the turns; a colour a network."""
    rows = [row for row in found["rows"] if row.get("agree")]
    networks = list(dict.fromkeys(row["network"] for row in rows))
    whole, axes = plt.subplots(figsize=(7.5, 1.2 + 0.26 * len(rows)), layout="constrained")
    for place, row in enumerate(rows):
        which = networks.index(row["network"])
        axes.plot([row["times_faster_low"], row["times_faster_high"]], [place] * 2, color=plotting.COLOURS[which])
        axes.plot([row["times_faster"]], [place], plotting.MARKERS[which], color=plotting.COLOURS[which])
    axes.axvline(1, color="0.4", linewidth=1)
    axes.set_yticks(range(len(rows)), [_label(row) for row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xscale("log", base=2)
    axes.set_xticks(TICKS)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    low, high = (pick(row[f"times_faster_{end}"] for row in rows) for pick, end in ((min, "low"), (max, "high")))
    axes.set_xlim(min(0.5, low / 1.2), max(2.0, high * 1.2))
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    axes.set_xlabel("times as fast as the peer (median of the turns, and their range)")
    looks = zip(networks, plotting.COLOURS, plotting.MARKERS, strict=False)
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="", label=plotting.readable(name))
        for name, colour, marker in looks
    ]
    whole.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8)
    return whole


def _label(row: dict[str, Any]) -> str:
    unit = "points" if row["work"] == "TwoNN" else "image" if row["batch"] == 1 else "images"
    return f"{plotting.readable(row['work'])}, {row['batch']} {unit} · {row['peer']}"
