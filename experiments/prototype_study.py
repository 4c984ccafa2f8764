"""What the experiments with ProtoPNet share: train it, measure it at every turn, and show what it learned."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from saliency_jax import plotting, prototypes, results
from saliency_jax.keys import named
from saliency_jax.prototypes import Epoch, Fitted, ProtoPNet, Pruned, Recipe, Sources, Stage
from saliency_jax.report import prototype_page
from saliency_jax.training import evaluate

BEFORE, AFTER, LAST, PRUNED = "before projection", "after projection", "after the last layer", "after pruning"


class Examples(NamedTuple):
    """What the network takes, the labels, and what people look at, `[n, height, width, channel]` in [0, 1]."""

    inputs: Any
    labels: np.ndarray
    pictures: Any


class Task(NamedTuple):
    """A classification to be learned by prototypes, beside a plain classifier on the same backbone."""

    model: ProtoPNet
    variables: Any
    train: Examples
    """Its inputs are what prototypes are projected on."""
    drawn_from: Any
    """What minibatches are drawn from: the inputs, or several views of each."""
    augment: Any
    measured: Mapping[str, Examples]
    """Name -> examples that the network was not trained on."""
    class_names: Sequence[str]
    plain: Mapping[str, float]
    """The accuracy of the plain classifier on what is measured."""


class Studied(NamedTuple):
    """A trained network, its pruned version, where prototypes come from, and all accuracies."""

    fitted: Fitted
    pruned: Pruned
    sources: Sources
    accuracies: dict[str, dict[str, float]]


def study(
    task: Task, *, key: Any, stages: Sequence[Stage], recipe: Recipe, last_layer: int, folder: Path, shown: int
) -> Studied:
    """Train, project, prune and measure; write history, table, figures and the page into the folder.

    Args:
        task: what is learned.
        key: draws the order of the images.
        stages: up to the last layer after the last projection.
        recipe: how they are trained.
        last_layer: epochs of the last layer after pruning.
        folder: for everything; a run that was broken off goes on.
        shown: how many images are explained.
    """
    accuracies = trained_accuracies(task, folder, stages)
    fitted = fit(task, accuracies, key=key, stages=stages, recipe=recipe, folder=folder)
    if fitted.sources is None:
        raise ValueError(f"stages must move no prototype after the last projection, got {stages}")
    smaller = prototypes.prune(
        task.model, fitted.variables, task.train.inputs, task.train.labels, batch_size=recipe.batch_size
    )
    again = prototypes.fit(
        smaller.model,
        smaller.variables,
        task.drawn_from,
        task.train.labels,
        key=named(key, "after pruning"),
        stages=(Stage("last_layer", last_layer),),
        recipe=recipe,
        augment=task.augment,
        folder=folder / "pruned",
    )
    pruned = smaller._replace(variables=again.variables)
    sources = Sources(*(np.asarray(array)[pruned.kept] for array in fitted.sources))
    accuracies[PRUNED] = measure(task, pruned.model, pruned.variables)
    accuracies["plain classifier"] = dict(task.plain)
    write_table(task, fitted, pruned, accuracies, folder)
    draw(task, pruned, sources, accuracies, folder, shown)
    return Studied(fitted, pruned, sources, accuracies)


def fit(
    task: Task,
    accuracies: dict[str, dict[str, float]],
    *,
    key: Any,
    stages: Sequence[Stage],
    recipe: Recipe,
    folder: Path,
) -> Fitted:
    """The network trained through its stages; the accuracies at the end of each are kept in the folder as they come."""
    total = sum(stage.epochs for stage in stages)
    with tqdm(total=total, desc="ProtoPNet", unit="epoch", leave=False) as bar:

        def after(epoch: Epoch, variables: Any) -> None:
            bar.set_postfix_str(f"{epoch.kind}, loss {epoch.loss:.3f}, accuracy {epoch.accuracy:.3f}")
            bar.update()
            if epoch.epoch == stages[epoch.stage].epochs:
                accuracies[turn(stages, epoch.stage)] = measure(task, task.model, variables)
                results.write_bytes(folder / "accuracies.json", json.dumps(accuracies, indent=1).encode())

        return prototypes.fit(
            task.model,
            task.variables,
            task.drawn_from,
            task.train.labels,
            key=named(key, "training"),
            stages=stages,
            recipe=recipe,
            augment=task.augment,
            projected=task.train.inputs,
            on_epoch=after,
            folder=folder / "training",
        )


def turn(stages: Sequence[Stage], place: int) -> str:
    """What the end of a stage is called: by the last projection if it is next to that, else by its place."""
    last = max((i for i, stage in enumerate(stages) if stage.kind == "project"), default=-2)
    names = {last - 1: BEFORE, last: AFTER, last + 1: LAST}
    return names.get(place, f"stage {place + 1}: {stages[place].kind}")


def trained_accuracies(task: Task, folder: Path, stages: Sequence[Stage]) -> dict[str, dict[str, float]]:
    """The accuracies that an earlier run of the same training has measured; the folder is made."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "accuracies.json"
    return json.loads(path.read_bytes()) if path.is_file() else {}


def measure(task: Task, model: ProtoPNet, variables: Any) -> dict[str, float]:
    """The accuracy on everything that is measured."""
    return {
        name: evaluate(model.apply, variables, examples.inputs, examples.labels, batch_size=100)
        for name, examples in task.measured.items()
    }


def write_table(
    task: Task, fitted: Fitted, pruned: Pruned, accuracies: Mapping[str, Mapping[str, float]], folder: Path
) -> None:
    """The course of the training as CSV; accuracies and duplicates as text, which is printed too."""
    header = "stage,kind,epoch,loss,cross_entropy,cluster,separation,l1,accuracy,seconds"
    rows = [
        ",".join(map(str, (e.stage + 1, e.kind, e.epoch, e.loss, *e.terms, e.accuracy, e.seconds)))
        for e in fitted.history
    ]
    results.write_bytes(folder / "history.csv", "\n".join([header, *rows, ""]).encode())
    assert fitted.sources is not None
    different = prototypes.duplicates(fitted.sources, fitted.variables["params"]["prototype_vectors"])
    columns = list(task.measured)
    lines = [
        f"{'accuracy':28s}" + "".join(f"{name:>12s}" for name in columns),
        *(f"{name:28s}" + "".join(f"{row[c]:12.4f}" for c in columns) for name, row in accuracies.items()),
        "",
        f"prototypes: {different.prototypes}, of {different.patches} different patches ({different.unique:.1%}) of "
        f"{different.images} images; {different.vectors} different vectors",
        f"pruning keeps {len(pruned.kept)} of them, for {len(set(prototypes.prototype_classes(pruned.model)))} of "
        f"{task.model.classes} classes",
        f"self-similarity of projected prototypes: {self_similarity(task, fitted)}",
        "",
    ]
    results.write_bytes(folder / "table.txt", "\n".join(lines).encode())
    print("\n".join(lines))


def self_similarity(task: Task, fitted: Fitted) -> str:
    """How near every prototype is to the patch that it is, after all later stages."""
    found = prototypes.nearest_images(task.model, fitted.variables, task.train.inputs, count=1)
    return f"largest distance to the nearest patch {found.distance.max():.1e}"


def draw(
    task: Task,
    pruned: Pruned,
    sources: Sources,
    accuracies: Mapping[str, Mapping[str, float]],
    folder: Path,
    shown: int,
) -> None:
    """The tables of points of some images, a gallery of prototypes, and the page with all of them."""
    [examples, *_] = task.measured.values()
    places = np.linspace(0, len(examples.labels) - 1, shown).astype(int)
    height, width = np.asarray(examples.pictures[0]).shape[:2]
    shape = (height, width)
    explained = prototypes.explain(
        pruned.model,
        pruned.variables,
        np.asarray(examples.inputs)[places].astype(np.float32),
        shown=min(6, len(pruned.kept)),
        image_shape=shape,
    )
    patches = plotting.patches_of_network(
        pruned.model, pruned.variables, task.train.inputs, np.asarray(task.train.labels), sources, image_shape=shape
    )
    # JPEG archives hand out the pictures one by one.
    pictures = [examples.pictures[i] for i in places]
    labels = np.asarray(examples.labels)[places]
    for i in range(min(shown, 4)):
        figure = plotting.points_table(
            explained,
            patches,
            pictures,
            task.train.pictures,
            class_names=task.class_names,
            image=i,
            true_class=int(labels[i]),
            rows=min(4, explained.sizes["rank"]),
        )
        plotting.save(figure, folder / f"points-{i}.png")
    some = np.linspace(0, len(pruned.kept) - 1, min(12, len(pruned.kept))).astype(int).tolist()
    gallery = plotting.prototype_gallery(
        patches, task.train.pictures, class_names=task.class_names, prototypes=sorted(set(some))
    )
    plotting.save(gallery, folder / "prototypes.png")
    page = prototype_page(
        explained,
        patches,
        pictures,
        task.train.pictures,
        class_names=task.class_names,
        labels=labels,
        accuracy=accuracies,
        settings={"network": type(task.model.backbone).__name__, "distance": task.model.distance},
    )
    results.write_bytes(folder / "prototypes.html", page.encode())
    print(f"written: {folder}/table.txt, history.csv, points-*.png, prototypes.png, prototypes.html")


def share(labels: np.ndarray, part: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Places of the images that are trained on, and of the same share of every class that is held out."""
    random = np.random.default_rng(seed)
    held = np.zeros(len(labels), bool)
    for c in np.unique(labels):
        own = random.permutation(np.flatnonzero(labels == c))
        held[own[: round(part * len(own))]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)
