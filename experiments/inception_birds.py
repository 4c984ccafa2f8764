"""Can an Inception v3 whose last blocks are not at hand be completed? The published trunk with a head trained on birds.

    python experiments/inception_birds.py --trunk PATH.npz --birds PATH.npz

runs the published Inception v3 as far as its weights are at hand (to Mixed_7a) over 1,449 training and 1,500 test
pictures of 50 kinds of birds, keeps the activations, and trains Mixed_7b, Mixed_7c and the logits on them, with several
random crops and mirror images of every training picture. The result is a whole network: `whole_network(trunk, out)` is
what the other experiments load. About 35 minutes on two busy cores. It should show a test accuracy of 0.949, above that
of a linear probe on the mean activations, 0.907.

    python experiments/inception_birds.py --trunk PATH.npz --birds PATH.npz --held-out 0.2 --out runs/tuning

measures on a fifth of the training pictures instead of the test pictures, to choose settings by.

In the folder --out: activations/ (float16, 237 MB for each view of the training pictures; safe to delete after the
training), training/ (its checkpoints), head/ (what was trained), course.csv (a row an epoch), course.png,
accuracy.json, report.html (all of it for a browser). A run that was broken off goes on.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from digits import set_up
from inception_birds_page import report
from PIL import Image
from tqdm import tqdm
from unfinished import run

from saliency_jax import checkpoints, results
from saliency_jax.data import birds
from saliency_jax.data.images import Pictures, opened
from saliency_jax.data.preprocessing import Preprocessing, as_rgb, preprocess
from saliency_jax.keys import named
from saliency_jax.models.weights.inception_trunk import (
    ACTIVATION_SHAPE,
    IMAGE_SHAPE,
    Whole,
    completed,
    head,
    read_trunk,
    trunk,
)
from saliency_jax.tracing import compiled

CLASSES = 50
PREPROCESSING = Preprocessing(IMAGE_SHAPE[0], crop=1.0)
"""The pictures are cropped to the bird already: nothing more is cut off."""


@dataclass(frozen=True)
class Options:
    """Can an Inception v3 whose last blocks are not at hand be completed?"""

    trunk: Path
    """The published weights, inception_v3_2015_to_mixed8.npz."""
    birds: Path
    """The pictures, cub200_2011_cropped_50classes_227px.npz."""
    views: int = 2
    """How many versions of each training picture: itself, and random crops, every other one mirrored."""
    smallest_crop: float = 0.7
    """The smallest side of a crop as a fraction of the picture's."""
    epochs: int = 8
    """How often each training picture is seen, each time in a view drawn at random."""
    batch_size: int = 32
    """Pictures in a minibatch."""
    learning_rate: float = 1e-3
    """AdamW's, reached after the first epoch and lowered to 0 along a cosine."""
    weight_decay: float = 0.05
    """AdamW's, of the kernels."""
    smoothing: float = 0.1
    """Share of the probability that the target gives to all classes alike."""
    dropout: float = 0.5
    """Share of the pooled activations that training sets to 0."""
    held_out: float = 0.0
    """Share of the training pictures that are measured on instead of the test pictures."""
    seed: int = 0
    """The seed of everything that is drawn."""
    out: Path = Path("runs/inception_birds")
    """The folder for the results; the same options again go on with what is there."""
    activations: Path | None = None
    """The folder of the activations; below --out if not given."""
    compilation_cache: Path | None = Path(".jax_cache")
    """Where compiled programs are kept for the next run; None to keep none."""


class Examples(NamedTuple):
    """Activations of Mixed_7a in one or several views, `[n, 8, 8, 1280]` each, and labels."""

    views: Sequence[np.ndarray]
    labels: np.ndarray


def main(options: Options) -> dict[str, float]:
    """Cache the activations, train the head on them, and measure it."""
    set_up((), (), options.out, options.compilation_cache)
    train, test = examples(options)
    linear = linear_probe(train, test)
    print(f"a linear probe on the mean activations of Mixed_7a: accuracy {linear:.4f}", flush=True)
    variables = train_head(options, train, test)
    if not checkpoints.steps(options.out / "head"):
        checkpoints.save(options.out / "head", options.epochs, variables)
    accuracy = evaluate(variables, test)
    measured = {"accuracy": accuracy, "linear_probe": linear, "pictures": len(test.labels)}
    results.write_bytes(options.out / "accuracy.json", json.dumps(measured, indent=1).encode())
    report(measured, options, __doc__)
    where = "held-out training" if options.held_out else "test"
    print(f"Inception v3, {CLASSES} birds: accuracy {accuracy:.4f} on {len(test.labels)} {where} pictures")
    return measured


def whole_network(trunk_file: Path, out: Path = Options.out) -> Whole:
    """The completed Inception v3: `model.apply(variables, images) -> logits`, images pixel / 127.5 - 1 of 299 pixels.

    Args:
        trunk_file: the published weights.
        out: the folder in which this experiment trained the head.
    """
    like = jax.eval_shape(head(CLASSES).init, jax.random.key(0), jnp.zeros((1, *ACTIVATION_SHAPE)))
    return completed(read_trunk(trunk_file), checkpoints.restore(out / "head", like))


def examples(options: Options) -> tuple[Examples, Examples]:
    """What is trained on and what is measured on; the test pictures are not looked at where something is held out."""
    folder = options.activations or options.out / "activations"
    drawn = {"seed": options.seed, "smallest_crop": options.smallest_crop, "trunk": str(options.trunk.name)}
    results.open_run(folder, drawn)
    variables = jax.device_put(read_trunk(options.trunk))
    pictures = birds.load(options.birds, "train")
    views = [cached(folder / f"train-{view}.npy", pictures, variables, options, view) for view in range(options.views)]
    labels = np.asarray(pictures.labels)
    if options.held_out == 0:
        pictures = birds.load(options.birds, "test")
        test = cached(folder / "test.npy", pictures, variables, options, 0)
        return Examples(views, labels), Examples([test], np.asarray(pictures.labels))
    order = np.random.default_rng(options.seed).permutation(len(labels))
    held, kept = np.split(order, [round(options.held_out * len(labels))])
    return Examples([view[kept] for view in views], labels[kept]), Examples([views[0][held]], labels[held])


def cached(path: Path, pictures: Pictures, variables: Any, options: Options, view: int) -> np.ndarray:
    """The activations of Mixed_7a for one view of the pictures, `[n, 8, 8, 1280]` float16, from the file or into it."""
    if not path.is_file():
        found = np.empty((len(pictures.sources), *ACTIVATION_SHAPE), np.float16)
        for begin in tqdm(range(0, len(found), 16), desc=f"activations {path.stem}", mininterval=30):
            places = range(begin, min(begin + 16, len(found)))
            images = [seen(pictures, place, view, options) for place in places]
            found[begin : places.stop] = run_trunk(variables, np.stack(images))
        if not np.isfinite(found).all():
            raise FloatingPointError(f"an activation for {path.name} is not finite in float16")
        content = io.BytesIO()
        np.save(content, found)
        results.write_bytes(path, content.getvalue())
    return np.load(path, mmap_mode="r")


def seen(pictures: Pictures, place: int, view: int, options: Options) -> np.ndarray:
    """One picture as the network sees it: whole in view 0, else a crop drawn by seed, view and place."""
    picture = as_rgb(opened(pictures, place))
    if view:
        random = np.random.default_rng([options.seed, view, place])
        width, height = (random.uniform(options.smallest_crop, 1) * side for side in picture.size)
        left, top = random.uniform(0, picture.width - width), random.uniform(0, picture.height - height)
        size = (PREPROCESSING.size, PREPROCESSING.size)
        picture = picture.resize(size, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))
        if view % 2:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return preprocess(picture, PREPROCESSING)


run_trunk = compiled(trunk().apply)
"""Activations of Mixed_7a for a batch of images."""
run_head = compiled(head(CLASSES).apply)
"""Logits for a batch of activations, compiled once for all epochs."""


def linear_probe(train: Examples, test: Examples) -> float:
    """The accuracy of a logistic regression on the mean activations over places: whether the pictures can be told."""

    def features(examples: Examples) -> np.ndarray:
        return np.stack([np.asarray(x, np.float32).mean(axis=(0, 1)) for x in examples.views[0]])

    known, asked = features(train), features(test)
    mean, deviation = known.mean(axis=0), known.std(axis=0) + 1e-3
    known, asked = (known - mean) / deviation, (asked - mean) / deviation

    def loss(weights: jax.Array) -> jax.Array:
        entropy = optax.softmax_cross_entropy_with_integer_labels(known @ weights, train.labels).mean()
        return entropy + 5e-3 * jnp.sum(weights**2)

    solver = optax.lbfgs()

    def step(state: Any, _: Any) -> tuple[Any, None]:
        weights, inner = state
        value, gradient = jax.value_and_grad(loss)(weights)
        updates, inner = solver.update(gradient, inner, weights, value=value, grad=gradient, value_fn=loss)
        return (optax.apply_updates(weights, updates), inner), None

    start = jnp.zeros((known.shape[1], CLASSES))
    (weights, _), _ = jax.jit(lambda: jax.lax.scan(step, (start, solver.init(start)), length=60))()
    return float(np.mean(np.argmax(asked @ np.asarray(weights), axis=1) == test.labels))


def train_head(options: Options, train: Examples, test: Examples) -> Any:
    """The variables of the head, trained with AdamW on smoothed labels; a checkpoint after each epoch."""
    model, key = head(CLASSES, dropout=options.dropout), jax.random.key(options.seed)
    folder, steps = options.out / "training", len(train.labels) // options.batch_size
    optimizer = optax.adamw(
        optax.warmup_cosine_decay_schedule(0.0, options.learning_rate, steps, options.epochs * steps),
        weight_decay=options.weight_decay,
        mask=lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params),
    )

    @partial(compiled, donate_argnums=(0, 1))
    def step(variables: Any, state: Any, inputs: jax.Array, labels: jax.Array, key: jax.Array) -> Any:
        def loss(params: Any) -> tuple[jax.Array, Any]:
            logits, updated = model.apply(
                {**variables, "params": params},
                inputs.astype(jnp.float32),
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": key},
            )
            targets = optax.smooth_labels(jax.nn.one_hot(labels, CLASSES), options.smoothing)
            return optax.softmax_cross_entropy(logits, targets).mean(), updated

        (value, updated), gradient = jax.value_and_grad(loss, has_aux=True)(variables["params"])
        updates, state = optimizer.update(gradient, state, variables["params"])
        return {"params": optax.apply_updates(variables["params"], updates), **updated}, state, value

    variables = jax.jit(model.init)(named(key, "init"), jnp.zeros((1, *ACTIVATION_SHAPE)))
    state = optimizer.init(variables["params"])
    settings = {name: str(value) for name, value in asdict(options).items() if name in TRAINED_BY}
    results.open_run(options.out, settings)
    course: list[tuple[float, float]] = []
    if checkpoints.steps(folder):
        stored = checkpoints.restore(folder, {"params": variables, "optimizer": state})
        variables, state = stored["params"], stored["optimizer"]
        course = [tuple(row) for row in checkpoints.read_metadata(folder)["course"]]
    for epoch in tqdm(range(len(course), options.epochs), initial=len(course), total=options.epochs, desc="training"):
        random = np.random.default_rng([options.seed, epoch])
        order, losses = random.permutation(len(train.labels)), []
        for i in range(steps):
            batch = np.sort(order[i * options.batch_size : (i + 1) * options.batch_size])
            view = random.integers(len(train.views), size=len(batch))
            inputs = np.stack([train.views[v][place] for v, place in zip(view, batch, strict=True)])
            drop = jax.random.fold_in(named(key, "dropout"), epoch * steps + i)
            variables, state, loss = step(variables, state, inputs, train.labels[batch], drop)
            losses.append(loss)
        course.append((float(np.mean(losses)), evaluate(variables, test)))
        print(f"epoch {epoch + 1}: loss {course[-1][0]:.3f}, accuracy {course[-1][1]:.4f}", flush=True)
        checkpoints.save(folder, epoch + 1, {"params": variables, "optimizer": state}, metadata={"course": course})
        rows = [f"{i},{loss:.6f},{accuracy:.6f}" for i, (loss, accuracy) in enumerate(course, start=1)]
        results.write_bytes(options.out / "course.csv", "\n".join(["epoch,loss,accuracy", *rows, ""]).encode())
    return variables


TRAINED_BY = (
    "views",
    "epochs",
    "batch_size",
    "learning_rate",
    "weight_decay",
    "smoothing",
    "dropout",
    "held_out",
    "seed",
)
"""The options that decide what the head becomes."""


def evaluate(variables: Any, examples: Examples) -> float:
    """The share of pictures, each in its first view, whose largest logit is that of their label."""
    [view, *_] = examples.views
    batches = [view[begin : begin + 50] for begin in range(0, len(view), 50)]
    logits = np.concatenate([run_head(variables, np.asarray(batch, np.float32)) for batch in batches])
    return float(np.mean(np.argmax(logits, axis=1) == examples.labels))


if __name__ == "__main__":
    run(main, tyro.cli(Options, description=__doc__), "inception_birds.py", __doc__)
