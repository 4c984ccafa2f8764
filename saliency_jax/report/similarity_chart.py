"""Similarity over the stages of a test as an inline picture whose values show on hover, on focus, and in words."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
import xarray as xr

from saliency_jax.plotting.style import readable, style
from saliency_jax.report.markup import node
from saliency_jax.report.number_tables import with_interval
from saliency_jax.sanity.parts import TRAINED
from saliency_jax.sanity.summary import mean_interval

WIDTH, HEIGHT = 640, 330
LEFT, RIGHT, TOP = 44, 14, 24
UPRIGHT, SLANTED = 44, 92
"""What is left below for the names of the stages."""
LETTER = 6.5
"""The width of a letter: names that do not fit beside each other are slanted."""
SPREAD = 0.18
"""How far points of one stage are moved apart, in stages."""
GREY = "#8c8c8c"

SHAPES = {
    "o": "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z",
    "s": "M-3.6,-3.6h7.2v7.2h-7.2z",
    "^": "M0,-4.8l4.6,8.2h-9.2z",
    "v": "M0,4.8l4.6,-8.2h-9.2z",
    "D": "M0,-5l5,5l-5,5l-5,-5z",
    "P": "M-1.6,-4.8h3.2v3.2h3.2v3.2h-3.2v3.2h-3.2v-3.2h-3.2v-3.2h3.2z",
    "X": "M0,-2.2l2.2,-2.4l2.4,2.4l-2.4,2.2l2.4,2.2l-2.4,2.4l-2.2,-2.4l-2.2,2.4l-2.4,-2.4l2.4,-2.2l-2.4,-2.2l2.4,-2.4z",
    "*": "M0,-5.4l1.5,3.6l3.9,0.2l-3,2.5l1,3.8l-3.4,-2.1l-3.4,2.1l1,-3.8l-3,-2.5l3.9,-0.2z",
}
"""Markers by the names that matplotlib has for them, around (0, 0)."""


def similarity_chart(scores: xr.Dataset, title: str) -> Element:
    """One line an explainer: its similarity to the trained model's maps over the stages, and its null.

    Points are means over images and seeds with 95% bootstrap intervals. A line that the pointer or the keyboard is on
    stands out and shows its values; the same values are its name for those who do not see it.

    Args:
        scores: a randomization test's Dataset at one metric.
        title: what is measured.
    """
    stages = [str(stage) for stage in scores.stage.values]
    labels = [TRAINED, *map(readable, stages), "null: other image"]
    step = (WIDTH - LEFT - RIGHT) / len(labels)
    slanted = LETTER * max(map(len, [*labels[:-1], "other image"])) > step
    series = _series(scores)
    lowest = min([0.0, *(float(np.nanmin(low)) for _, low, _ in series.values() if np.isfinite(low).any())])
    bottom = np.floor(4 * lowest) / 4
    floor = HEIGHT - (SLANTED if slanted else UPRIGHT)

    def x(place: float | int) -> float:
        return LEFT + step * (place + 0.5)

    def y(value: float) -> float:
        return floor - (floor - TOP) * (value - bottom) / (1 - bottom)

    spread = np.linspace(-SPREAD, SPREAD, len(series)) if len(series) > 1 else np.zeros(1)
    lines = [
        _line(name, place, values, labels, [x(k + spread[place]) for k in range(len(labels))], y)
        for place, (name, values) in enumerate(series.items())
        if np.isfinite(values[0]).any()
    ]
    return node(
        "svg",
        {"viewBox": f"0 0 {WIDTH} {HEIGHT}", "class": "chart", "role": "group", "aria-label": title},
        *_frame(labels, x, y, bottom=bottom, floor=floor, step=step, slanted=slanted),
        *lines,
    )


def legend(names: list[str]) -> Element:
    """What each line is, for all charts of a page."""
    entries = []
    for place, name in enumerate(names):
        stroke, shape = look(name, place)
        sample = node(
            "svg",
            {"viewBox": "-16 -7 32 14", "class": "sample", "aria-hidden": "true"},
            node("path", {"d": "M-15,0h30", **stroke}),
            shape(0.0, 0.0),
        )
        entries.append(node("li", None, sample, readable(name)))
    return node("ul", {"class": "legend", "aria-label": "Explainers"}, *entries)


def look(name: str, place: int) -> tuple[dict[str, str], Any]:
    """The stroke of the explainer at this place of a list, and its marker as a function of where it stands."""
    chosen = style(name, place)
    grey = chosen["linestyle"] == ":"
    # Black would not be seen in the dark.
    colour = GREY if grey else "currentColor" if chosen["color"] == "#000000" else chosen["color"]
    dashes = {"-": {}, "--": {"stroke-dasharray": "6 3"}, ":": {"stroke-dasharray": "2 3"}}[chosen["linestyle"]]
    stroke = {"fill": "none", "stroke": colour, "stroke-width": "1.8", **dashes}

    def marker(x: float, y: float) -> Element:
        place = {"d": SHAPES[chosen["marker"]], "transform": f"translate({x:.1f} {y:.1f})"}
        return node("path", {**place, "stroke": colour, **({"class": "hollow"} if grey else {"fill": colour})})

    return stroke, marker


def _series(scores: xr.Dataset) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """name -> means, lower and upper ends at the trained model, the stages and the null."""
    curves = mean_interval(scores.similarity)
    nulls = mean_interval(scores["null"], dims=("image",))
    found = {}
    for name in map(str, scores.explainer.values):
        curve, null = curves.sel(explainer=name), nulls.sel(explainer=name)
        parts = [
            np.concatenate(
                [
                    [float(null[part].sel(null_kind="itself"))],
                    curve[part].transpose("stage").to_numpy(),
                    [float(null[part].sel(null_kind="other_image"))],
                ]
            )
            for part in ("mean", "low", "high")
        ]
        found[name] = (parts[0], parts[1], parts[2])
    return found


def _line(name: str, place: int, values: tuple, labels: list[str], across: list[float], y: Any) -> Element:
    stroke, marker = look(name, place)
    mean, low, high = values
    said = [f"{label} {with_interval(m, a, b)}" for label, m, a, b in zip(labels, mean, low, high, strict=True)]
    known = [k for k in range(len(labels)) if np.isfinite(mean[k])]
    # The null is no further stage: no line leads there.
    path, previous = "", None
    for k in known[: len(known) - (known[-1] == len(labels) - 1)]:
        path += f"{'L' if previous == k - 1 else 'M'}{across[k]:.1f},{y(mean[k]):.1f}"
        previous = k
    bars = "".join(f"M{across[k]:.1f},{y(low[k]):.1f}V{y(high[k]):.1f}" for k in known)
    points = [
        node("g", None, node("title", None, f"{readable(name)}, {said[k]}"), marker(across[k], y(mean[k])))
        for k in known
    ]
    shown = [
        node("text", {"x": f"{across[k]:.1f}", "y": f"{y(mean[k]) - 9:.1f}", "text-anchor": "middle"}, f"{mean[k]:.2f}")
        for k in known
    ]
    return node(
        "g",
        {"class": "series", "tabindex": "0", "role": "img", "aria-label": f"{readable(name)}: {'; '.join(said)}"},
        # Wide and unseen, for the pointer.
        node("path", {"d": path, "class": "reach"}),
        node("path", {"d": path, **stroke}),
        node("path", {"d": bars, "stroke": stroke["stroke"], "stroke-width": "1"}),
        *points,
        node("g", {"class": "values", "aria-hidden": "true"}, *shown),
    )


def _frame(
    labels: list[str], x: Any, y: Any, *, bottom: float, floor: int, step: float, slanted: bool
) -> list[Element]:
    """The band behind the null, the scale, and the names below."""
    band = {"x": f"{x(len(labels) - 1.5):.1f}", "y": str(TOP), "width": f"{step:.1f}", "height": f"{floor - TOP:.1f}"}
    parts = [node("rect", {"class": "band", **band})]
    for value in np.arange(bottom, 1.001, 0.25 if bottom > -0.5 else 0.5):
        line = {"class": "zero" if value == 0 else "rule", "d": f"M{LEFT},{y(value):.1f}H{WIDTH - RIGHT}"}
        text = {"x": str(LEFT - 6), "y": f"{y(value) + 4:.1f}", "text-anchor": "end", "class": "scale"}
        parts += [node("path", line), node("text", text, f"{value:g}".replace("-", "\N{MINUS SIGN}"))]
    for place, label in enumerate(labels):
        if slanted:
            at = {"transform": f"translate({x(place) + 4:.1f} {floor + 16}) rotate(-35)", "text-anchor": "end"}
            parts.append(node("text", {"class": "scale", **at}, label))
            continue
        rows = label.split(": ")
        at = {"x": f"{x(place):.1f}", "text-anchor": "middle"}
        parts += [node("text", {"class": "scale", "y": f"{floor + 18 + 15 * k}", **at}, t) for k, t in enumerate(rows)]
    return [node("g", {"aria-hidden": "true"}, *parts)]
