"""The outcome of a check, for people and for machines."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from typing import Any

import xarray as xr

from saliency_jax.plotting.style import CONTROLS, readable
from saliency_jax.sanity.verdicts import DEPENDS, NO_DEPENDENCE, UNDECIDED

NUMBERS = {
    "similarity": "similarity",
    "low": "similarity_low",
    "high": "similarity_high",
    "unchanged": "unchanged",
    "unrelated": "null",
    "effect": "effect",
    "effect_low": "effect_low",
    "effect_high": "effect_high",
    "p_corrected": "p_corrected",
}
"""A variable of `verdicts` -> what the JSON calls it."""
SIGNS = {DEPENDS: "PASS", NO_DEPENDENCE: "FAIL"}


def all_pass(found: xr.Dataset, chosen: Collection[str]) -> bool:
    """Whether the maps of every chosen explainer depend on the weights; one that is undecided does not pass."""
    return all(found.verdict.sel(explainer=name).item() == DEPENDS for name in chosen)


def outcome_lines(found: xr.Dataset, chosen: Collection[str]) -> list[str]:
    """A line an explainer: whether it passes, its verdict, and its effect by each metric with the interval."""
    last = found.isel(stage=-1)
    metrics = [str(metric) for metric in last.metric.values]
    lines = [f"{'':36s}{'':22s}" + "".join(f"{readable(metric):>22s}" for metric in metrics)]
    for name in map(str, last.explainer.values):
        one = last.sel(explainer=name)
        verdict = str(one.verdict.item())
        sign = SIGNS.get(verdict, "????") if name in chosen else ""
        label = readable(name) + (" (control)" if name not in chosen and name in CONTROLS else "")
        cells = [_effect(one.sel(metric=metric)) for metric in metrics]
        lines.append(f"{sign:5s}{label:31s}{verdict:22s}" + "".join(f"{cell:>22s}" for cell in cells))
    lines.append("effect: 0 where the map is unchanged, 1 where it is as another image's map [95% interval]")
    if (found.verdict == UNDECIDED).any():
        dead = int(found.dead_models.sum())
        why = f"{dead} random models were dead" if dead else "more images, or more --seeds, may decide it"
        lines.append(f"undecided: too little was measured; {why}")
    return lines


def outcome_json(found: xr.Dataset, chosen: Collection[str], *, passed: bool, files: Mapping[str, Any]) -> str:
    """The same as JSON: `passed`, and for each explainer its verdict and its numbers; NaN is null."""
    last = found.isel(stage=-1)
    explainers = {}
    for name in map(str, last.explainer.values):
        one = last.sel(explainer=name)
        metrics = {
            str(metric): {said: _finite(float(one[variable].sel(metric=metric))) for variable, said in NUMBERS.items()}
            for metric in last.metric.values
        }
        verdict = str(one.verdict.item())
        explainers[name] = {
            "verdict": verdict,
            "chosen": name in chosen,
            "passed": verdict == DEPENDS,
            "metrics": metrics,
        }
    content = {
        "passed": passed,
        "test": found.attrs["test"],
        "stage": str(last.stage.item()),
        "level": found.attrs["level"],
        "tests": found.attrs["tests"],
        "dead_models": int(found.dead_models.sum()),
        "explainers": explainers,
        "files": {name: str(path) for name, path in files.items()},
    }
    return json.dumps(content, indent=1, allow_nan=False)


def _effect(cell: xr.Dataset) -> str:
    middle, low, high = (float(cell[name]) for name in ("effect", "effect_low", "effect_high"))
    return "no value" if math.isnan(middle) else f"{middle:.2f} [{low:.2f}, {high:.2f}]"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
