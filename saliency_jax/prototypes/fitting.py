"""The training of ProtoPNet through its stages, each epoch one program, resumable after every one of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import checkpoints
from saliency_jax.checks import (
    check_batch,
    check_floating,
    check_function,
    check_integer,
    check_number,
    check_one_key,
    check_sequence,
    check_targets,
)
from saliency_jax.prototypes import losses
from saliency_jax.prototypes.checks import check_variables
from saliency_jax.prototypes.epochs import Augment, State, begin, nowhere, run_epoch
from saliency_jax.prototypes.network import ProtoPNet, prototype_classes
from saliency_jax.prototypes.projection import Labels, Sources, project
from saliency_jax.prototypes.schedule import PAPER, TRAINED, Recipe, Stage
from saliency_jax.training import evaluate
from saliency_jax.typing import Images, Params, PRNGKey


class Epoch(NamedTuple):
    """What one epoch gave; a projection is an epoch without a loss."""

    stage: int
    kind: str
    epoch: int
    """Of the stage, from 1."""
    loss: float
    terms: tuple[float, ...]
    """Cross entropy, cluster, separation and L1, not weighted, averaged over the minibatches."""
    accuracy: float
    """Of the minibatches as they were met."""
    validation: float
    """The accuracy on the validation images after it; NaN where there are none."""
    seconds: float


class Fitted(NamedTuple):
    """A trained ProtoPNet."""

    variables: Params
    sources: Sources | None
    """Where the prototypes come from; None where the last thing that moved them was no projection."""
    history: tuple[Epoch, ...]


def fit(
    model: ProtoPNet,
    variables: Params,
    images: Images,
    labels: Labels,
    *,
    key: PRNGKey,
    stages: Sequence[Stage],
    recipe: Recipe = PAPER,
    augment: Augment | None = None,
    projected: Images | None = None,
    validation: tuple[Images, Labels] | None = None,
    on_epoch: Callable[[Epoch, Params], None] | None = None,
    folder: checkpoints.Folder | None = None,
    save_seconds: float = 60.0,
) -> Fitted:
    """Train a ProtoPNet through its stages.

    A stage trains its own groups of parameters (`schedule.TRAINED`); all else, the other variables of the backbone
    such as BatchNorm's averages included, stays as it is. Each kind of stage has an Adam of its own, which goes on
    where a later stage of that kind goes on.

    Args:
        model: the network, hashable.
        variables: where to start: its "params" are trained. They stay valid.
        images: `[n, ...]`, floating point, on the device all the while: what the network takes, or what `augment`
            makes that of.
        labels: their classes, `[n]`.
        key: draws the order of the images and what `augment` draws.
        stages: what is done, in order; `schedule()` gives the paper's.
        recipe: minibatches, rates and weights of the loss.
        augment: a function of a key and a minibatch, hashable.
        projected: the images that prototypes are projected on, in the order of `labels`; `images` where None.
        validation: images and labels whose accuracy is measured after each epoch.
        on_epoch: called after each epoch with what it gave and all variables, of which the next epoch takes the memory:
            who wants to keep them copies them. Called again for an epoch that is done again after a break.
        folder: where checkpoints go. A training that finds one there goes on from it and ends with the bits of one
            that was never broken off; `model` and `augment` are taken on trust.
        save_seconds: time between checkpoints; 0 for one each epoch. The end of a stage always has one.

    Returns:
        The variables, where the prototypes come from, and what each epoch gave.

    Raises:
        ValueError: arrays, stages and recipe do not fit each other, a class has prototypes and no image, or the
            folder holds a training of something else; what differs is named.
        TypeError: images are not floating point, labels not integer, or another argument is of another kind.
        FloatingPointError: a loss is no longer finite; stage and epoch are named.

    Source: Chen et al. (2019), section 2.2.

    Cost: a stage that holds the backbone computes no gradient of it.
    """
    projected = images if projected is None else projected
    check_variables(model, variables)
    _check(model, images, labels, projected, augment, stages, recipe)
    check_one_key(key)
    if on_epoch is not None:
        check_function(on_epoch, "on_epoch")
    check_number(save_seconds, "save_seconds")
    if not save_seconds >= 0:
        raise ValueError(f"save_seconds must not be negative, got {save_seconds}")
    # A checksum reads every byte, for nothing where nothing is stored.
    origin = {} if folder is None else _origin(model, variables, images, labels, projected, key, stages, recipe)
    images, labels = jnp.asarray(images), jnp.asarray(labels)
    fixed = {name: held for name, held in variables.items() if name != "params"}
    # An epoch takes its buffers over, so the caller's parameters are copied first.
    state = begin(jax.tree.map(lambda leaf: jnp.array(leaf, jnp.asarray(leaf).dtype), variables["params"]), recipe)
    history: list[Epoch] = []
    if folder is not None and checkpoints.steps(folder):
        state, history = _resumed(folder, state, origin)

    plan = [(place, stage, epoch) for place, stage in enumerate(stages) for epoch in range(stage.epochs)]
    saved = time.monotonic()
    for place, stage, epoch in plan[len(history) :]:
        began = time.monotonic()
        if stage.kind == "project":
            found = project(model, {**fixed, "params": state.params}, projected, labels, batch_size=recipe.batch_size)
            # Of the kinds that a checkpoint's are read back as.
            sources = Sources(*map(np.asarray, found.sources, (old.dtype for old in nowhere(0))))
            state = state._replace(params=found.variables["params"], sources=sources)
            terms, correct = np.full(4, np.nan), float("nan")
        else:
            joint = sum(1 for past in history if past.kind == "joint") if stage.kind == "joint" else 0
            drawn = jax.random.fold_in(jax.random.fold_in(key, place), epoch)
            scale = recipe.decay ** (joint // recipe.decay_every)
            state, sums, right = run_epoch(
                model, augment, recipe, stage.kind, state, fixed, images, labels, drawn, jnp.float32(scale)
            )
            terms, correct = np.asarray(sums, np.float64), float(right)
            if not np.isfinite(terms).all():
                raise FloatingPointError(
                    f"the loss is not finite in stage {place} ({stage.kind}), epoch {epoch + 1}: terms {terms.tolist()}"
                )
            if "prototype_vectors" in TRAINED[stage.kind]:
                state = state._replace(sources=nowhere(len(prototype_classes(model))))
        now = {**fixed, "params": state.params}
        measured = float("nan") if validation is None else _accuracy(model, now, validation, recipe)
        loss = float(losses.total(losses.Terms(*map(jnp.asarray, terms)), recipe.weights))
        seconds = time.monotonic() - began
        history.append(
            Epoch(place, stage.kind, epoch + 1, loss, tuple(terms.tolist()), correct, measured, round(seconds, 3))
        )
        if on_epoch is not None:
            on_epoch(history[-1], now)
        if folder is not None and (epoch + 1 == stage.epochs or time.monotonic() - saved >= save_seconds):
            metadata = {"origin": origin, "history": [list(row) for row in history]}
            checkpoints.save(folder, len(history), state._asdict(), metadata=metadata)
            saved = time.monotonic()
    sources = Sources(*(np.asarray(array) for array in state.sources))
    known = bool((sources.image >= 0).all())
    return Fitted({**fixed, "params": state.params}, sources if known else None, tuple(history))


def _accuracy(model: ProtoPNet, variables: Params, validation: tuple[Images, Labels], recipe: Recipe) -> float:
    return evaluate(model.apply, variables, *validation, batch_size=recipe.batch_size)


def _check(
    model: ProtoPNet,
    images: Images,
    labels: Labels,
    projected: Images,
    augment: Augment | None,
    stages: Sequence[Stage],
    recipe: Recipe,
) -> None:
    """Raise unless the arrays fit each other and the model, and every stage is one that is known."""
    check_floating(images, "images")
    if not jnp.ndim(images):
        raise ValueError(f"images must be [n, ...], got shape {jnp.shape(images)}")
    if augment is not None:
        check_function(augment, "augment")
    check_targets(labels, batch=len(images), classes=model.classes, argument="labels")
    if len(projected) != len(images):
        raise ValueError(f"projected must hold the {len(images)} training images in their order, got {len(projected)}")
    if augment is None and jnp.ndim(images) != 4:
        raise ValueError(f"images must be [n, height, width, channel] without augment, got shape {jnp.shape(images)}")
    check_batch(projected, "images" if projected is images else "projected")
    if not isinstance(recipe, Recipe):
        raise TypeError(f"recipe must be a Recipe, got {type(recipe).__name__}")
    if recipe.batch_size > len(images):
        raise ValueError(f"batch_size must be at most the {len(images)} images, got {recipe.batch_size}")
    check_sequence(stages, Stage, "stages")
    if not stages:
        raise ValueError("stages must hold at least one, got none")
    for stage in stages:
        check_integer(stage.epochs, "stages")
        known = isinstance(stage.kind, str) and stage.kind in TRAINED
        if not known or stage.epochs < 1 or (stage.kind == "project" and stage.epochs != 1):
            raise ValueError(f"stages must be of {tuple(TRAINED)} and one epoch or more (project: one), got {stage}")
    if missing := sorted(set(prototype_classes(model)) - set(np.unique(labels).tolist())):
        raise ValueError(f"labels must name an image of every class that has prototypes, none is of {missing[:5]}")


def _origin(
    model: ProtoPNet,
    variables: Params,
    images: Any,
    labels: Any,
    projected: Any,
    key: Any,
    stages: Sequence[Stage],
    recipe: Recipe,
) -> dict[str, Any]:
    """What decides a training, to be compared with a checkpoint's."""
    raw = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    fields = ("classes", "depth", "add_on", "distance", "similarity")
    return {
        "model": {name: getattr(model, name) for name in fields} | {"class_of": list(prototype_classes(model))},
        "variables": checkpoints.checksum(variables),
        "images": checkpoints.checksum(images),
        "labels": checkpoints.checksum(labels),
        "projected": "images" if projected is images else checkpoints.checksum(projected),
        "key": np.asarray(raw).tolist(),
        "stages": [list(stage) for stage in stages],
        "recipe": {**asdict(recipe), "weights": list(recipe.weights)},
    }


def _resumed(folder: checkpoints.Folder, like: State, origin: dict[str, Any]) -> tuple[State, list[Epoch]]:
    """State and history of the newest checkpoint; ValueError where it is of another training."""
    metadata = checkpoints.read_metadata(folder)
    checkpoints.check_origin(metadata["origin"], origin)
    stored = checkpoints.restore(folder, like._asdict())
    rows = ({**dict(zip(Epoch._fields, row, strict=True)), "terms": tuple(row[4])} for row in metadata["history"])
    return State(**stored), [Epoch(**row) for row in rows]
