"""Should ProtoPNet's own maps be believed? The sanity checks, and what its critics found, on digits.

    python experiments/protopnet_checks.py

trains the ProtoPNet of protopnet.py (or takes it from --out, where it is trained) and two on 500 digits that they learn
by heart, one of them with permuted labels, and asks four questions. Do its maps depend on its parameters (the cascade,
beside the gradient and an edge detector)? On what it learned (permuted labels)? Does a prototype's similarity come from
where its map says (pixels outside of its box are changed to lower it)? Do prototypes keep to parts (consistency), also
under noise (stability)? Digits have no annotated parts: the outermost pixels of the ink on four sides and its centre
stand in for them. About five minutes on two cores.

It should show that the maps depend on parameters and labels, and that the box of a map is not all that its prototype
looks at: pixels outside of it that change by at most 0.1 take about a fifth of the similarity.

In the folder checks below --out: parameters.nc and labels.nc (xarray Datasets), curves.png, bars.png, maps.png,
table.txt, report.html (all of it for a browser); finished parts are kept, so that a run that was broken off goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import protopnet
import tyro
import xarray as xr
from digits import part_bar, set_up
from pages import spoken, write_findings
from prototype_study import Task, fit
from tables import table
from tqdm import tqdm
from unfinished import run

import saliency_jax as sj
from saliency_jax import data, plotting, prototypes, results
from saliency_jax.keys import named
from saliency_jax.prototypes import Fitted, Parts, Stage
from saliency_jax.prototypes.losses import Weights
from saliency_jax.report import Table
from saliency_jax.sanity.label_test import Fit, permuted_labels

CRITICS_HALF_SIZE = 4
"""Pixels: 72 of 224 are 9 of 28."""


@dataclass(frozen=True)
class Options(protopnet.Options):
    """Should ProtoPNet's own maps be believed? The sanity checks, and what its critics found, on digits."""

    images: int = 32
    """How many test images are explained: the first ones."""
    attacked: int = 200
    """How many test images are attacked, and looked at for parts."""
    seeds: int = 2
    """How many random models for each stage of the cascade."""
    memorized: int = 500
    """How many training images the networks of the label test learn by heart, one of them with permuted labels."""
    memorized_classifier: int = 600
    """Minibatches that the classifiers are trained on whose trunks they begin with."""
    memorized_joint: int = 40
    """Epochs in which all but their last layer is trained."""
    least_fitted: float = 0.95
    """The training accuracy on permuted labels under which the label test is refused."""


def main(options: Options) -> tuple[xr.Dataset, xr.Dataset]:
    """Train both networks, ask the four questions, and write the answers."""
    set_up((), (), options.out, options.compilation_cache)
    key = jax.random.key(options.seed)
    task, fitted = trained(options, key)
    folder = options.out / "checks"
    folder.mkdir(exist_ok=True)
    by_parameters = parameter_test(options, task, fitted, named(key, "parameters"))
    by_labels = label_test(options, key)
    for name, dataset in {"parameters": by_parameters, "labels": by_labels}.items():
        results.write_dataset(dataset, folder / f"{name}.nc")
        results.write_csv(dataset, folder / f"{name}.csv")
    plotting.save(plotting.similarity_curves(by_parameters), folder / "curves.png")
    plotting.save(plotting.map_grid(by_parameters), folder / "maps.png")
    plotting.save(plotting.similarity_bars(by_labels), folder / "bars.png")
    criticized = critics_lines(options, task, fitted, named(key, "noise"))
    lines = [
        "PARAMETERS",
        table(by_parameters),
        "LABELS",
        *(
            f"{model.item()}: training accuracy {float(by_labels.train_accuracy.sel(model=model)):.4f} on its labels, "
            f"test accuracy {float(by_labels.test_accuracy.sel(model=model)):.4f}"
            for model in by_labels.model
        ),
        table(by_labels),
        *criticized,
        "",
    ]
    results.write_bytes(folder / "table.txt", "\n".join(lines).encode())
    report(by_parameters, by_labels, criticized, options, "\n".join(lines))
    print("\n".join(lines))
    print(f"written: {folder}/parameters.nc, labels.nc, curves.png, maps.png, bars.png, table.txt, report.html")
    return by_parameters, by_labels


def report(
    by_parameters: xr.Dataset, by_labels: xr.Dataset, criticized: list[str], options: Options, text: str
) -> None:
    """Write report.html: the verdicts of both tests, and what the critics ask."""
    subjects = {"its parameters": sj.verdicts(by_parameters), "what it learned": sj.verdicts(by_labels)}
    found = [
        f"On {subject} depend the maps of {spoken(judged.explainer.values[judged.verdict.values == 'depends'])}."
        for subject, judged in subjects.items()
    ]
    names = [str(name) for name in by_parameters.explainer.values]
    rows = [
        [plotting.readable(name), *(judged.verdict.sel(explainer=name).item() for judged in subjects.values())]
        for name in names
    ]
    # A line that ends in a colon goes on in the next one.
    answers = "\n".join(criticized[1:]).replace(":\n ", ":").splitlines()
    write_findings(
        [
            *found,
            *(f"{answer[0].upper()}{answer[1:]}." for answer in answers),
            Table("Do the maps depend on it?", ["Explainer", *subjects], rows),
        ],
        options,
        "protopnet_checks.py",
        __doc__,
        figures={
            "curves.png": (
                "Similarity to the trained network's maps as its layers become random, from the last one down.",
                "A line for each explainer; those of ProtoPNet's own maps fall when the prototypes are random.",
            ),
            "bars.png": (
                "Similarity of the maps of a network of true labels and one of permuted labels.",
                "A bar for each explainer, and a diamond for what unrelated images' maps have in common.",
            ),
            "maps.png": (
                "The maps of one image as the network's layers become random.",
                "A row for each explainer, a column for each stage.",
            ),
        },
        printed=text,
        folder=options.out / "checks",
    )


def trained(options: Options, key: jax.Array) -> tuple[Task, Fitted]:
    """The ProtoPNet of protopnet.py, trained or read."""
    given = as_trained(options, options.out)
    task = protopnet.digits(given, key)
    return task, fit(task, {}, key=key, stages=protopnet.stages(given), recipe=protopnet.recipe(), folder=options.out)


def memorized(options: Options, key: jax.Array, folder: Path, labels: np.ndarray | None) -> tuple[Task, Fitted]:
    """A ProtoPNet of some of the digits that knows their labels by heart, the true ones or others."""
    training = replace(protopnet.CLASSIFIER, steps=options.memorized_classifier)
    task = protopnet.digits(
        as_trained(options, folder), key, labels=labels, images=options.memorized, training=training
    )
    # Clusters and decayed weights stand against learning by heart.
    recipe = replace(
        protopnet.recipe(),
        weight_decay=0.0,
        decay_every=max(1, 4 * options.memorized_joint // 5),
        weights=Weights(cluster=0.08, separation=-0.008),
    )
    stages = (Stage("warm", 5), Stage("joint", options.memorized_joint))
    return task, fit(task, {}, key=key, stages=stages, recipe=recipe, folder=folder)


def as_trained(options: Options, folder: Path) -> protopnet.Options:
    """The options of protopnet.py, with another folder."""
    given = {name: getattr(options, name) for name in protopnet.Options.__dataclass_fields__}
    return protopnet.Options(**{**given, "out": folder})


def explainers(task: Task) -> dict[str, Any]:
    """ProtoPNet's own maps, and two that everybody knows beside them."""
    return {
        "class_evidence": prototypes.class_evidence(task.model),
        "nearest_prototype": prototypes.nearest_prototype(task.model),
        **{name: sj.EXPLAINERS[name] for name in ("gradient", "edges")},
    }


def parameter_test(options: Options, task: Task, fitted: Fitted, key: jax.Array) -> xr.Dataset:
    """The cascade from the last layer down; the initializer draws the last layer as it was before its training."""
    [test] = task.measured.values()
    with tqdm(desc="randomization", unit="part", leave=False) as bar:
        return sj.parameter_randomization(
            task.model.apply,
            fitted.variables,
            jax.jit(lambda key: task.model.init(key, jnp.asarray(test.inputs[:1]))),
            test.inputs[: options.images],
            test.labels[: options.images],
            explainers(task),
            key=key,
            protocol="released_code",
            seeds=options.seeds,
            evaluation=(test.inputs, test.labels),
            folder=options.out / "checks" / "parameters",
            progress=part_bar(bar),
        )


def label_test(options: Options, key: jax.Array) -> xr.Dataset:
    """The maps of a network of true labels against those of one of permuted labels, both of the same few digits."""
    split = data.load(options.dataset, "train", source=options.source, data_dir=options.data_dir)
    permuted = np.asarray(permuted_labels(split.labels, named(key, "permuted labels")))
    task, true = memorized(options, named(key, "true"), options.out / "checks" / "true", None)
    other_task, other = memorized(options, named(key, "permuted"), options.out / "checks" / "permuted", permuted)
    [test] = task.measured.values()
    with tqdm(desc="labels", unit="part", leave=False) as bar:
        return sj.data_randomization(
            task.model.apply,
            true.variables,
            other.variables,
            test.inputs[: options.images],
            test.labels[: options.images],
            explainers(task),
            key=named(key, "labels"),
            fit=Fit(task.train.inputs, task.train.labels, other_task.train.labels, test.inputs, test.labels),
            least_fitted=options.least_fitted,
            folder=options.out / "checks" / "labels",
            progress=part_bar(bar),
        )


def critics_lines(options: Options, task: Task, fitted: Fitted, key: jax.Array) -> list[str]:
    """Spatial misalignment, consistency, stability and duplicates."""
    [test] = task.measured.values()
    images, labels = np.asarray(test.inputs[: options.attacked]), test.labels[: options.attacked]
    moved = prototypes.misalignment(task.model, fitted.variables, images, labels, margin=1)
    landmarks = ink_landmarks(images)
    hits = [
        prototypes.part_hits(task.model, fitted.variables, np.asarray(seen), landmarks, half_size=CRITICS_HALF_SIZE)
        for seen in (images, prototypes.with_noise(images, key))
    ]
    consistent = prototypes.consistency(task.model, hits[0], landmarks.visible, labels)
    stable = prototypes.stability(task.model, hits[0], hits[1], labels)
    assert fitted.sources is not None
    different = prototypes.duplicates(fitted.sources, fitted.variables["params"]["prototype_vectors"])
    return [
        f"CRITICS, {len(images)} test images",
        "spatial misalignment, pixels outside of the most similar prototype's box changed by at most 0.1:",
        f"  location (PLC) {moved.location.mean():.3f}, activation (PAC) {moved.activation.mean():.3f}, "
        f"rank (PRC) {moved.rank.mean():.2f}; accuracy {moved.accuracy_before:.3f} before, "
        f"{moved.accuracy_after:.3f} after",
        f"consistency {consistent.value:.3f}, stability {stable.value:.3f} (five landmarks of the ink, 9 x 9 pixels)",
        f"different patches: {different.patches} of {different.prototypes} prototypes; vectors: {different.vectors}",
    ]


def ink_landmarks(images: np.ndarray) -> Parts:
    """The middle of the outermost rows and columns of the ink, on four sides, and the ink's centre."""
    ink = np.asarray(images[..., 0] > 0.5, np.float64)
    rows, columns = np.arange(ink.shape[1]), np.arange(ink.shape[2])

    def first(along: np.ndarray) -> np.ndarray:
        return np.argmax(along > 0, axis=1)

    def middle(amounts: np.ndarray, places: np.ndarray) -> np.ndarray:
        return (amounts * places).sum(axis=1) / np.maximum(amounts.sum(axis=1), 1)

    by_row, by_column = ink.sum(axis=2), ink.sum(axis=1)
    top, left = first(by_row), first(by_column)
    bottom, right = rows[-1] - first(by_row[:, ::-1]), columns[-1] - first(by_column[:, ::-1])
    every = np.arange(len(ink))
    points = [
        (top, middle(ink[every, top], columns)),
        (bottom, middle(ink[every, bottom], columns)),
        (middle(ink[every, :, left], rows), left),
        (middle(ink[every, :, right], rows), right),
        (middle(by_row, rows), middle(by_column, columns)),
    ]
    visible = np.repeat((ink.sum(axis=(1, 2)) > 0)[:, None], len(points), axis=1)
    return Parts(np.stack([y for y, _ in points], 1) * 1.0, np.stack([x for _, x in points], 1) * 1.0, visible)


if __name__ == "__main__":
    run(main, tyro.cli(Options, description=__doc__), "protopnet_checks.py", __doc__, page="checks/report.html")
