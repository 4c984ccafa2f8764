"""Numbers as a page writes them, and the tables of a randomization test."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import numpy as np
import xarray as xr

from saliency_jax.plotting.style import TITLES, readable
from saliency_jax.report.markup import table
from saliency_jax.sanity.summary import mean_interval

STATES = {
    "accuracy": "Accuracy",
    "logit_low": "Lowest logit",
    "logit_high": "Highest logit",
    "logit_spread": "Spread of the logits",
}
NULL_KINDS = {
    "other_image": "another image's map",
    "permuted_pixels": "itself, pixels shuffled",
    "noise": "noise",
    "itself": "itself",
}


def number(value: float, digits: int = 2) -> str:
    """A number with so many digits after the point; NaN as "no value"."""
    # Adding 0 makes 0 of what was rounded to -0.
    return "no value" if np.isnan(value) else f"{round(value, digits) + 0:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def with_interval(value: float, low: float, high: float) -> str:
    """A mean with the ends of its interval."""
    return number(value) if np.isnan(value) else f"{number(value)} [{number(low)}, {number(high)}]"


def title_of(metric: str) -> str:
    """What a metric measures, in words."""
    return TITLES.get(metric, readable(metric))


def similarity_table(scores: xr.Dataset, metric: str) -> Element:
    """Means over images and seeds with intervals at every stage of one metric, and the null."""
    curves = mean_interval(scores.similarity)
    nulls = mean_interval(scores["null"].sel(null_kind="other_image"), dims=("image",))
    rows = []
    for name in map(str, scores.explainer.values):
        cells = [_mean(curves.sel(explainer=name, stage=stage)) for stage in scores.stage.values]
        rows.append([readable(name), *cells, _mean(nulls.sel(explainer=name))])
    head = ["Explainer", *map(readable, map(str, scores.stage.values)), "Null: other image"]
    return table(f"{title_of(metric)}: mean over images and seeds [95% interval]", head, rows)


def null_table(scores: xr.Dataset, metric: str) -> Element:
    """What the trained model's maps score by one metric where there is nothing to find, and against themselves."""
    nulls = mean_interval(scores["null"], dims=("image",))
    kinds = [str(kind) for kind in scores.null_kind.values]
    rows = [
        [readable(name), *(_mean(nulls.sel(explainer=name, null_kind=kind)) for kind in kinds)]
        for name in map(str, scores.explainer.values)
    ]
    head = ["Explainer", *(f"Against {NULL_KINDS.get(kind, readable(kind))}" for kind in kinds)]
    return table(f"{title_of(metric)}: mean over images [95% interval]", head, rows)


def models_table(dataset: xr.Dataset) -> Element:
    """What the trained model and the randomized ones say of the evaluation images, mean over seeds."""
    given = [name for name in STATES if name in dataset]
    means = dataset[given].mean("seed")
    rows = [
        [readable(str(model)), *(number(float(means[name].sel(model=model)), 3) for name in given)]
        for model in dataset.model.values
    ]
    return table("State of the models, mean over seeds", ["Model", *(STATES[name] for name in given)], rows)


def _mean(found: xr.Dataset) -> str:
    return with_interval(*(float(found[part]) for part in ("mean", "low", "high")))
