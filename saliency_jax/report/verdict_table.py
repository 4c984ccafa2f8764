"""The verdicts of a randomization test: in a sentence, and in a table with effects, intervals and nulls."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import numpy as np
import xarray as xr

from saliency_jax.plotting.style import CONTROLS, readable
from saliency_jax.report.markup import node, table
from saliency_jax.report.number_tables import number, title_of, with_interval
from saliency_jax.sanity.evidence import UNCHANGED
from saliency_jax.sanity.verdicts import DEPENDS, NO_DEPENDENCE, UNDECIDED

SYMBOLS = {DEPENDS: "\N{HEAVY CHECK MARK}", NO_DEPENDENCE: "\N{HEAVY BALLOT X}", UNDECIDED: "?"}
KINDS = {DEPENDS: "good", NO_DEPENDENCE: "bad", UNDECIDED: "open"}
"""CSS classes; what they colour is also said in words and by a symbol."""
LEAST, MOST = -0.25, 1.5
"""The ends of the scale on which effects are drawn."""
WIDTH = 140
RANDOMIZED = {
    "parameter_randomization": "the model's weights",
    "data_randomization": "what the model learned from its labels",
}
"""What a test is about, by its name."""


def summary(found: xr.Dataset) -> list[Element]:
    """One sentence a verdict that an explainer has."""
    subject = RANDOMIZED.get(str(found.attrs["test"]), "what was changed")
    sentences = {
        DEPENDS: f"The maps of {{}} depend on {subject}.",
        NO_DEPENDENCE: f"For {{}} no dependence on {subject} was found.",
        UNDECIDED: "Undecided for {}: too little was measured.",
    }
    said: list[tuple[str, str]] = []
    for verdict, sentence in sentences.items():
        names = [str(n) for n in found.explainer.values[found.verdict.values == verdict]]
        tested = [readable(name) for name in names if name not in CONTROLS]
        controls = [readable(name) for name in names if name in CONTROLS]
        if tested:
            said.append((verdict, sentence.format(listed(tested))))
        if controls:
            expected = ", as it must be" if verdict == NO_DEPENDENCE else ""
            controlled = (
                f"control{'s' if len(controls) > 1 else ''} that know{'' if len(controls) > 1 else 's'} no model"
            )
            said.append(("control", f"{listed(controls)}, {controlled}: {verdict}{expected}."))
    lines = [
        node(
            "p",
            {"class": f"said {KINDS.get(verdict, 'open')}"},
            node("span", {"aria-hidden": "true"}, SYMBOLS.get(verdict, "\N{MIDDLE DOT}")),
            text,
        )
        for verdict, text in said
    ]
    return lines + [node("p", None, text) for text in _hardly_changed(found)]


def _hardly_changed(found: xr.Dataset) -> list[str]:
    """One sentence a metric by which explainers that depend by another one are nearly as they were."""
    last = found.isel(stage=-1)
    depends = last.explainer.values[last.verdict.values == DEPENDS]
    said = []
    for metric in map(str, last.metric.values):
        high = last.effect_high.sel(metric=metric, explainer=depends)
        if names := [readable(str(name)) for name in depends[high.to_numpy() <= UNCHANGED]]:
            said.append(
                f"By one metric, {title_of(metric)}, the maps of {listed(names)} hardly change: the effect is under "
                f"{UNCHANGED:g}."
            )
    return said


def verdict_table(found: xr.Dataset) -> Element:
    """Each explainer's verdict at the last stage, with effect, interval, similarity and null by each metric.

    Args:
        found: what `saliency_jax.verdicts` returned.
    """
    last = found.isel(stage=-1)
    metrics = [str(metric) for metric in last.metric.values]
    rows: list[list[Element | str]] = []
    for name in map(str, last.explainer.values):
        one = last.sel(explainer=name)
        verdict = str(one.verdict.item())
        mark = node("span", {"class": "mark", "aria-hidden": "true"}, SYMBOLS[verdict])
        control = [node("small", None, "control")] if name in CONTROLS else []
        rows.append(
            [
                node("span", None, readable(name), *control),
                node("span", {"class": f"verdict {KINDS[verdict]}"}, mark, verdict),
                *(_effect(one.sel(metric=metric)) for metric in metrics),
            ]
        )
    head = ["Explainer", "Verdict", *(f"Effect by {readable(metric)}" for metric in metrics)]
    return table(f"Verdicts at the last stage, {readable(str(last.stage.item()))}", head, rows)


def listed(names: list[str]) -> str:
    """Names as a sentence has them: "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _effect(cell: xr.Dataset) -> Element:
    effect, low, high = (float(cell[name]) for name in ("effect", "effect_low", "effect_high"))
    similarity, null = float(cell.similarity), float(cell.unrelated)
    lines = [
        node("div", {"class": "effect"}, with_interval(effect, low, high)),
        node("small", None, f"similarity {number(similarity)}, null {number(null)}, p {_p(float(cell.p_corrected))}"),
    ]
    drawn = [] if np.isnan(effect) else [_gauge(effect, low, high)]
    return node("div", None, *drawn, *lines)


def _p(value: float) -> str:
    return "under 0.001" if value < 0.001 else number(value, 3)


def _gauge(effect: float, low: float, high: float) -> Element:
    """An effect with its interval between 0, no change, and 1, as another image's map; ends beyond it are cut off."""

    def x(value: float) -> float:
        return WIDTH * (min(max(value, LEAST), MOST) - LEAST) / (MOST - LEAST)

    return node(
        "svg",
        {"viewBox": f"0 0 {WIDTH} 16", "class": "gauge", "aria-hidden": "true"},
        node("path", {"class": "rule", "d": f"M0,8H{WIDTH}M{x(0.0):.1f},2v12M{x(1.0):.1f},2v12"}),
        node("path", {"class": "range", "d": f"M{x(low):.1f},8H{x(high):.1f}"}),
        node("circle", {"class": "dot", "cx": f"{x(effect):.1f}", "cy": "8", "r": "4"}),
    )
