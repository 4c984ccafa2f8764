"""The tables that the experiments print: means with intervals and nulls, the state of the models, verdicts."""

from __future__ import annotations

import numpy as np
import xarray as xr

import saliency_jax as sj
from saliency_jax import plotting
from saliency_jax.sanity.summary import mean_interval

STATES = ("accuracy", "logit_low", "logit_high", "logit_spread")


def table(dataset: xr.Dataset) -> str:
    """A randomization test for people: models, similarities and verdicts, an explainer a row."""
    return "\n".join([*state_lines(dataset), *similarity_lines(dataset), *verdict_lines(sj.verdicts(dataset)), ""])


def state_lines(dataset: xr.Dataset) -> list[str]:
    """What the models say of the evaluation images, mean over seeds."""
    lines = ["", "state of the models, mean over seeds:"]
    models = dataset[list(STATES)].mean("seed")
    lines.append(f"{'':28s}" + "".join(f"{plotting.readable(str(name)):>22s}" for name in dataset.model.values))
    for name in models.data_vars:
        lines.append(f"{plotting.readable(str(name)):28s}" + "".join(f"{float(x):22.3f}" for x in models[name].values))
    return lines


def similarity_lines(dataset: xr.Dataset) -> list[str]:
    """For each metric the mean over images and seeds at each stage, and the null."""
    lines = []
    for metric in dataset.metric.values:
        curves = mean_interval(dataset.similarity.sel(metric=metric))
        nulls = mean_interval(dataset["null"].sel(metric=metric, null_kind="other_image"), dims=("image",))
        lines += ["", f"{plotting.TITLES.get(str(metric), str(metric))}: mean [95% interval]"]
        columns = (*map(plotting.readable, map(str, dataset.stage.values)), "null: other image")
        lines.append(f"{'':32s}" + "".join(f"{name:>22s}" for name in columns))
        for name in dataset.explainer.values:
            cells = [cell(curves.sel(explainer=name, stage=stage)) for stage in dataset.stage.values]
            cells.append(cell(nulls.sel(explainer=name)))
            lines.append(f"{plotting.readable(str(name)):32s}" + "".join(f"{cell:>22s}" for cell in cells))
    for kind, meaning in (
        ("constant_maps", "constant maps, which have no correlation (NaN)"),
        ("nonfinite_maps", "maps with NaN or infinite values"),
    ):
        counts = dataset[kind].sum(["stage", "seed"])
        for name in dataset.explainer.values[counts.values > 0]:
            lines.append(f"{plotting.readable(str(name))}: {int(counts.sel(explainer=name))} {meaning}")
    return lines


def verdict_lines(found: xr.Dataset) -> list[str]:
    """Each explainer's verdict at the last stage, with the effect by each metric."""
    last = found.isel(stage=-1)
    stage = plotting.readable(str(last.stage.item()))
    lines = [
        "",
        f"does it depend on what was randomized ({stage})?",
        "effect: 0 where the map is unchanged, 1 where it is as another image's map [95% interval]",
        f"{'':32s}{'verdict':>22s}" + "".join(f"{plotting.readable(str(m)):>22s}" for m in last.metric.values),
    ]
    for name in last.explainer.values:
        one = last.sel(explainer=name)
        cells = [cell(one.sel(metric=metric), "effect", "effect_low", "effect_high") for metric in last.metric.values]
        row = f"{plotting.readable(str(name)):32s}{one.verdict.item():>22s}"
        lines.append(row + "".join(f"{cell:>22s}" for cell in cells))
    level, tests = found.attrs["level"], found.attrs["tests"]
    lines.append(f"level {level:g}, corrected for {tests} tests ({found.attrs['correction']})")
    if dead := int(found.dead_models.sum()):
        lines.append(f"{dead} randomized models are dead (the same logits for all images, or not finite): not counted")
    return lines


def cell(interval: xr.Dataset, mean: str = "mean", low: str = "low", high: str = "high", *, digits: int = 2) -> str:
    """A mean and its interval, or that there is none."""
    middle, least, most = (float(interval[name]) for name in (mean, low, high))
    return "no value" if np.isnan(middle) else f"{middle:.{digits}f} [{least:.{digits}f}, {most:.{digits}f}]"


def constant_map_lines(dataset: xr.Dataset, consequence: str) -> list[str]:
    """How many of an explainer's maps were constant, and what comes of that, a line for each that has any."""
    counts = {str(name): dataset.constant_maps.sel(explainer=name).sum().item() for name in dataset.explainer.values}
    return [
        f"{plotting.readable(name)}: {count} constant maps, {consequence}" for name, count in counts.items() if count
    ]
