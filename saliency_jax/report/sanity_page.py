"""A randomization test on one page: what was asked, the verdicts, curves, maps, nulls, and how to run it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

import xarray as xr

from saliency_jax.plotting.style import readable
from saliency_jax.report.embedded_pictures import is_small, store
from saliency_jax.report.markup import node
from saliency_jax.report.number_tables import models_table, null_table, similarity_table, title_of
from saliency_jax.report.page_parts import missing_section, section, settings_section, whole_page
from saliency_jax.report.similarity_chart import legend, similarity_chart
from saliency_jax.report.stage_maps import image_maps, slider, stored_maps
from saliency_jax.report.verdict_table import summary, verdict_table
from saliency_jax.sanity.verdicts import LEVEL, verdicts

TITLES = {
    "parameter_randomization": "Do the maps depend on the model's weights?",
    "data_randomization": "Do the maps depend on what the model learned from its data?",
}
ASKED = {
    "parameter_randomization": (
        "The layers of a trained model are replaced by random ones, {order}. An explainer whose maps stay as they were "
        "cannot explain what the model has learned."
    ),
    "data_randomization": (
        "One model is trained on the true labels and one on permuted labels, which say nothing about the images. An "
        "explainer whose maps of both are alike cannot explain what the model learned from the labels."
    ),
}
ORDERS = {
    "top_down": "from the output down to the input",
    "bottom_up": "from the input up to the output",
    "independent": "one layer at a time",
    "": "stage by stage",
}
MAPS_METRICS = ("spearman_abs", "spearman")
"""The value of the first of these that was measured stands under the maps."""


def sanity_page(
    dataset: xr.Dataset,
    *,
    title: str | None = None,
    settings: Mapping[str, Any] | None = None,
    command: str | None = None,
    class_names: Sequence[str] | None = None,
    missing: Sequence[str] = (),
    pictures: int = 3,
    level: float = LEVEL,
) -> str:
    """One HTML file about a randomization test, with everything inside.

    It loads nothing, and is under 5 MB whatever the Dataset holds. A slider walks through the stages of the maps;
    without JavaScript, and in print, all stages stand below one another. All texts are escaped.

    Args:
        dataset: of `parameter_randomization` or `data_randomization`, or what is finished of one.
        title: the heading; the question of the test where None.
        settings: names and values beside those that the Dataset has as attributes.
        command: the command that makes this page again.
        class_names: the name of each class.
        missing: what was not measured of a run that was broken off.
        pictures: the maps of this many of the kept images are shown.
        level: of the verdicts.

    Returns:
        The text of the file, to be written as UTF-8.

    Raises:
        ValueError: the dataset is not that of a randomization test, pictures is negative, or class_names has fewer
            names than there are classes.

    Source: the layout of figures follows Adebayo et al. (2018), figures 2 to 5.

    Cost: half a second, and the encoding of explainers * stages * pictures maps.
    """
    if pictures < 0:
        raise ValueError(f"pictures must not be negative, got {pictures}")
    found = verdicts(dataset, level=level)
    _check_classes(dataset, class_names)
    kept = min(pictures, dataset.sizes.get("kept_image", 0)) if "maps" in dataset else 0
    shown = dataset.isel(kept_image=slice(kept)) if kept else dataset
    test = str(dataset.attrs.get("test", ""))
    title = title or TITLES.get(test, f"Do the maps change? {readable(test).capitalize()}")
    sections = [
        *([_broken_off(missing)] if missing else []),
        _verdicts(found),
        _curves(dataset),
        *([_maps(shown, kept, class_names)] if kept else []),
        _nulls(dataset),
        _numbers(dataset),
        _settings(dataset, settings or {}, command),
    ]
    order = ORDERS.get(str(dataset.attrs.get("order", "")), "stage by stage")
    asked = ASKED.get(test, "The maps of a model are compared with those of a changed one.").format(order=order)
    return whole_page(
        title,
        [node("p", None, asked), node("p", None, _measured(dataset))],
        sections,
        style="sanity_page.css",
        store=[store(stored_maps(shown))] if kept else [],
        script="sanity_page.js",
    )


def _measured(dataset: xr.Dataset) -> str:
    counts = [
        (dataset.sizes["explainer"], "explainer"),
        (dataset.sizes["image"], "image"),
        (dataset.sizes["stage"], "stage"),
        (dataset.sizes["seed"], "random seed"),
    ]
    *most, last = [f"{count} {name}{'' if count == 1 else 's'}" for count, name in counts]
    return f"Measured: {', '.join(most)} and {last}."


def _broken_off(missing: Sequence[str]) -> Element:
    return missing_section(
        "This run was broken off",
        "What follows is about the parts that were finished. These are missing:",
        missing,
        "The command below, run again, goes on where the run was broken off.",
    )


def _verdicts(found: xr.Dataset) -> Element:
    dead = int(found.dead_models.sum())
    said = (
        f"{dead} of the randomized models are dead: they give all images the same logits, or logits that are not "
        "finite. They say nothing about an explainer and are not counted."
    )
    return section(
        "verdicts",
        "Verdicts",
        *summary(found),
        verdict_table(found),
        node(
            "p",
            None,
            "The effect is 0 where a map is unchanged and 1 where it is as far from the trained model's map as another "
            "image's map is, with a 95% bootstrap interval over images and seeds; the marks of its line are at 0 and "
            "1. The null is the similarity of maps of different images. A verdict rests on a permutation test at level "
            f"{found.attrs['level']:g} for all {found.attrs['tests']} tests together ({found.attrs['correction']}); p "
            "is corrected. Dependence is needed and not enough: an explainer that passes may still explain badly.",
        ),
        *([node("p", None, said)] if dead else []),
    )


def _curves(dataset: xr.Dataset) -> Element:
    charts = []
    for metric in map(str, dataset.metric.values):
        scores = dataset.sel(metric=metric)
        chart = similarity_chart(scores, f"{title_of(metric)} over the stages")
        frame = {"class": "scrolls", "role": "region", "tabindex": "0", "aria-label": title_of(metric)}
        charts.append(
            node(
                "figure",
                None,
                node("figcaption", None, title_of(metric)),
                node("div", frame, chart),
                node("a", {"href": f"#values-{metric}"}, "The values as a table"),
            )
        )
    return section(
        "curves",
        "Curves",
        node(
            "p",
            None,
            "Similarity to the trained model's map, mean over images and seeds with 95% intervals. On the shaded band "
            "stands the null, where similarity means nothing. Point at a line, or go to it with the Tab key, for its "
            "values.",
        ),
        legend([str(name) for name in dataset.explainer.values]),
        node("div", {"class": "charts"}, *charts),
    )


def _maps(dataset: xr.Dataset, kept: int, class_names: Sequence[str] | None) -> Element:
    measured = [str(metric) for metric in dataset.metric.values]
    metric = next((name for name in MAPS_METRICS if name in measured), measured[0])
    stages = [str(stage) for stage in dataset.stage.values]
    pictures = section(
        "maps",
        "Maps",
        node(
            "p",
            None,
            "Each map is scaled by itself, by the 99th percentile of its absolute values: red is positive, blue "
            "negative and white 0; maps without negative values go from white to black; a constant map is of an even "
            "half tone; yellow pixels are not finite. Maps are of the first seed.",
        ),
        *([slider(stages)] if len(stages) > 1 else []),
        *(image_maps(dataset, place, metric, class_names) for place in range(kept)),
    )
    if not is_small(dataset.maps.isel(explainer=0, model=0, kept_image=0).to_numpy()):
        pictures.set("class", "photographs")
    return pictures


def _nulls(dataset: xr.Dataset) -> Element:
    return section(
        "nulls",
        "Nulls",
        node(
            "p",
            None,
            "What the trained model's maps score where there is nothing to find: against its map of another image, "
            "against themselves with the pixels shuffled, and against noise. A similarity that is no higher says that "
            "nothing is left.",
        ),
        *(null_table(dataset.sel(metric=metric), str(metric)) for metric in dataset.metric.values),
    )


def _numbers(dataset: xr.Dataset) -> Element:
    tables = [
        node("div", {"id": f"values-{metric}"}, similarity_table(dataset.sel(metric=metric), str(metric)))
        for metric in dataset.metric.values
    ]
    notes = []
    for kind, meaning in (
        ("constant_maps", "constant maps, which have no correlation"),
        ("nonfinite_maps", "maps with NaN or infinite values"),
    ):
        counts = dataset[kind].sum(["stage", "seed"]) if kind in dataset else xr.DataArray([])
        for name in dataset.explainer.values[counts.values > 0] if counts.size else ():
            notes.append(node("p", None, f"{readable(str(name))}: {int(counts.sel(explainer=name))} {meaning}."))
    models = [models_table(dataset)] if "accuracy" in dataset else []
    return section("numbers", "Numbers", *models, *tables, *notes)


def _settings(dataset: xr.Dataset, settings: Mapping[str, Any], command: str | None) -> Element:
    sizes = {f"number of {name}s": dataset.sizes[name] for name in ("image", "seed")}
    given = {readable(str(name)): value for name, value in dataset.attrs.items()}
    return settings_section({**given, **sizes, **settings}, command)


def _check_classes(dataset: xr.Dataset, class_names: Sequence[str] | None) -> None:
    if class_names is None:
        return
    used = [int(dataset[name].max()) for name in ("targets", "explained_class") if name in dataset]
    if used and max(used) >= len(class_names):
        raise ValueError(f"class_names must name all {max(used) + 1} classes, got {len(class_names)}")
