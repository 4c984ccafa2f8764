"""Can fifty kinds of birds be told by their parts? ProtoPNet beside a plain classifier on the same Inception v3.

    python experiments/inception_birds.py --trunk PATH.npz --birds PATH.npz
    python experiments/protopnet_birds.py --trunk PATH.npz --birds PATH.npz

trains a ProtoPNet on the Inception v3 that the first command completes for the birds. That network is the plain
classifier (0.949 on the 1,500 test pictures) and its last spatial activation, Mixed_7c, the backbone: 10 prototypes a
class, cosine distance, 500 in all. Backbone activations are computed once for each view of the training pictures and
kept, so that two cores train the add-on layers, the prototypes and the last layer in minutes. It should show a test
accuracy of at least 0.80, within 3.5 points of the plain classifier's, and nine in ten prototypes of a patch of their
own.

    python experiments/protopnet_birds.py --trunk PATH.npz --birds PATH.npz --held-out 0.2 \\
        --completed runs/inception_birds_held_out --out runs/protopnet_birds_held_out

measures on a fifth of the training pictures instead, to choose settings by, with a network that was completed without
them (`inception_birds.py --held-out 0.2 --out runs/inception_birds_held_out`, the same seed). The settings here were
chosen so; the test pictures chose nothing.

    python experiments/protopnet_birds.py --trunk PATH.npz --birds PATH.npz --fine-tune

trains the whole backbone in the joint stage, on a GPU: it starts from pixels, with crops and mirror images drawn anew
in every minibatch.

In the folder --out: table.txt (the accuracy at every turn), history.csv, points-*.png, prototypes.png,
prototypes.html. The activations, 380 MB for each view, are safe to delete. A run that was broken off goes on.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from digits import set_up
from inception_birds import CLASSES, cached, seen, whole_network
from inception_birds import Options as CompletionOptions
from prototype_study import Examples, Studied, Task, study
from tqdm import tqdm
from unfinished import run

from saliency_jax import results
from saliency_jax.data import birds
from saliency_jax.data.images import Pictures, opened
from saliency_jax.data.preprocessing import as_rgb
from saliency_jax.keys import named
from saliency_jax.models.inception import InceptionV3
from saliency_jax.models.weights.inception_trunk import IMAGE_SHAPE, read_trunk
from saliency_jax.prototypes import ProtoPNet, Recipe, Stage, drawn_patches
from saliency_jax.prototypes.losses import Weights
from saliency_jax.tracing import compiled

LAYER = "Mixed_7c"
SHOWN_SIZE = 227
"""Pixels a side of the pictures as they are shown, as they are in the archive."""


@dataclass(frozen=True)
class Options:
    """Can fifty kinds of birds be told by their parts? ProtoPNet beside a plain classifier on the same Inception v3."""

    trunk: Path
    """The published weights, inception_v3_2015_to_mixed8.npz."""
    birds: Path
    """The pictures, cub200_2011_cropped_50classes_227px.npz."""
    completed: Path = CompletionOptions.out
    """The folder in which inception_birds.py completed the network."""
    views: int = 2
    """How many versions of each training picture, as in inception_birds.py."""
    prototypes: int = 10
    """Prototypes a class."""
    joint: int = 8
    """Epochs of add-on layers and prototypes, and of the backbone with --fine-tune."""
    last_layer: int = 4
    """Epochs of the last layer after the projection, and after pruning."""
    dropped: float = 0.3
    """Share of the backbone's channels that training sets to 0, drawn for each picture."""
    batch_size: int = 20
    """Pictures in a minibatch."""
    held_out: float = 0.0
    """Share of the training pictures that is measured on instead of the test pictures."""
    fine_tune: bool = False
    """Train the whole backbone from pixels in the joint stage; for a GPU."""
    shown: int = 12
    """How many pictures are explained on the page."""
    seed: int = 0
    """The seed of everything that is drawn; with --held-out, of inception_birds.py too."""
    out: Path = Path("runs/protopnet_birds")
    """The folder for the results; the same options again go on with what is there."""
    activations: Path | None = None
    """The folder of the activations of Mixed_7a; below --completed if not given."""
    compilation_cache: Path | None = Path(".jax_cache")
    """Where compiled programs are kept for the next run; None to keep none."""


def main(options: Options) -> Studied:
    """Keep the backbone's activations, train the ProtoPNet on them, and write what it does."""
    set_up((), (), options.out, options.compilation_cache)
    key = jax.random.key(options.seed)
    return study(
        task(options, key),
        key=key,
        stages=(
            Stage("joint", options.joint),
            Stage("project"),
            Stage("last_layer", options.last_layer),
        ),
        recipe=Recipe(batch_size=options.batch_size, decay_every=5, weights=Weights(cluster=3.0, separation=-0.3)),
        last_layer=options.last_layer,
        folder=options.out,
        shown=options.shown,
    )


def task(options: Options, key: jax.Array) -> Task:
    """The birds, the completed network, and a ProtoPNet on its last activation, not trained yet."""
    completion = CompletionOptions(
        trunk=options.trunk, birds=options.birds, views=options.views, held_out=options.held_out, seed=options.seed
    )
    whole = whole_network(options.trunk, options.completed)
    backbone = InceptionV3(**{**_fields(whole.model), "last": LAYER})
    variables = {"params": {name: leaf for name, leaf in whole.variables["params"].items() if name != "Logits"}}
    pictures = birds.load(options.birds, "train")
    labels = np.asarray(pictures.labels)
    held = np.array([], int)
    kept = np.arange(len(labels))
    if options.held_out:
        # The split of inception_birds.py, whose network has not seen the held-out pictures.
        order = np.random.default_rng(options.seed).permutation(len(labels))
        held, kept = np.split(order, [round(options.held_out * len(labels))])
    tested = pictures if options.held_out else birds.load(options.birds, "test")
    kept_test = held if options.held_out else np.arange(len(tested.sources))
    if options.fine_tune:
        # Each view was drawn once for the activations; here minibatches draw their own.
        inputs = whole_pictures(pictures, completion)
        measured_inputs = inputs[held] if options.held_out else whole_pictures(tested, completion)
        drawn_from, model_backbone = inputs[kept], backbone
    else:
        views = [
            activations(options, completion, pictures, variables, backbone, f"train-{v}", v)
            for v in range(options.views)
        ]
        measured_inputs = (
            views[0][held]
            if options.held_out
            else activations(options, completion, tested, variables, backbone, "test", 0)
        )
        inputs = views[0]
        drawn_from = np.stack([view[kept] for view in views], axis=1)
        model_backbone = None
    name = "held out" if options.held_out else "test"
    measured = {name: Examples(measured_inputs, np.asarray(tested.labels)[kept_test], Shown(tested, kept_test))}
    augment = mirrored_crops if options.fine_tune else Dropped(options.dropped)
    model = ProtoPNet(
        classes=CLASSES, prototypes=CLASSES * options.prototypes, backbone=model_backbone, distance="cosine"
    )
    initial = jax.jit(model.init)(named(key, "init"), jnp.asarray(inputs[:1], jnp.float32))
    if options.fine_tune:
        initial["params"]["backbone"] = jax.tree.map(jnp.asarray, variables["params"])
    # From uniform noise, as in the paper, prototypes of a class end as the same patches, and the training takes longer.
    initial = drawn_patches(model, initial, inputs[kept], labels[kept], named(key, "prototypes")).variables
    plain = {name: plain_accuracy(whole, measured[name], options.fine_tune)}
    train = Examples(inputs[kept], labels[kept], Shown(pictures, kept))
    return Task(model, initial, train, drawn_from, augment, measured, _names(pictures.class_names), plain)


def activations(
    options: Options,
    completion: CompletionOptions,
    pictures: Pictures,
    variables: Any,
    backbone: InceptionV3,
    name: str,
    view: int,
) -> np.ndarray:
    """The activations of Mixed_7c for one view, `[n, 8, 8, 2048]` float16, from the file or into it."""
    path = options.out / "activations" / f"{name}.npy"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        below = options.activations or options.completed / "activations"
        results.open_run(
            below, {"seed": completion.seed, "smallest_crop": completion.smallest_crop, "trunk": options.trunk.name}
        )
        earlier = cached(below / f"{name}.npy", pictures, jax.device_put(read_trunk(options.trunk)), completion, view)
        rest = InceptionV3(**{**_fields(backbone), "first": "Mixed_7b"})
        own = {"params": {block: variables["params"][block] for block in ("Mixed_7b", "Mixed_7c")}}
        run = compiled(rest.apply)
        found = [
            np.asarray(run(own, np.asarray(earlier[i : i + 50], np.float32))).astype(np.float16)
            for i in tqdm(range(0, len(earlier), 50), desc=f"Mixed_7c, {name}", leave=False)
        ]
        content = io.BytesIO()
        np.save(content, np.concatenate(found))
        results.write_bytes(path, content.getvalue())
    return np.load(path)


@dataclass(frozen=True)
class Dropped:
    """A function of minibatches: one of the views of each picture, some of its channels set to 0."""

    share: float

    def __call__(self, key: jax.Array, views: jax.Array) -> jax.Array:
        """`[batch, view, height, width, channel]` -> `[batch, height, width, channel]`."""
        which, drop = jax.random.split(key)
        chosen = jax.random.randint(which, (len(views),), 0, views.shape[1])
        one = jnp.take_along_axis(views, chosen[:, None, None, None, None], axis=1)[:, 0].astype(jnp.float32)
        kept = jax.random.bernoulli(drop, 1 - self.share, (len(one), 1, 1, one.shape[-1]))
        return jnp.where(kept, one / (1 - self.share), 0)


def mirrored_crops(key: jax.Array, images: jax.Array) -> jax.Array:
    """Each image cut to a random part of at least 0.7 of its sides and brought to its size, half of them mirrored."""

    def one(key: jax.Array, image: jax.Array) -> jax.Array:
        keys = jax.random.split(key, 4)
        side = jax.random.uniform(keys[0], (2,), minval=0.7, maxval=1.0)
        begin = jnp.stack([jax.random.uniform(keys[1]), jax.random.uniform(keys[2])]) * (1 - side)
        size = jnp.asarray(image.shape[:2])
        cut = jax.image.scale_and_translate(
            image, image.shape, (0, 1), 1 / side, -begin * size / side, "bilinear", antialias=False
        )
        return jnp.where(jax.random.bernoulli(keys[3]), cut[:, ::-1], cut)

    return jax.vmap(one)(jax.random.split(key, len(images)), images.astype(jnp.float32))


class Shown(Sequence[np.ndarray]):
    """The pictures as people see them, decoded when they are asked for: `shown[i]` in [0, 1]."""

    def __init__(self, pictures: Pictures, places: np.ndarray) -> None:
        self.pictures, self.places = pictures, places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, place: Any) -> Any:
        """One picture, `[height, width, 3]`."""
        picture = as_rgb(opened(self.pictures, int(self.places[place]))).resize((SHOWN_SIZE, SHOWN_SIZE))
        return np.asarray(picture, np.float32) / 255


def whole_pictures(pictures: Pictures, completion: CompletionOptions) -> np.ndarray:
    """All pictures as the network takes them, `[n, 299, 299, 3]` float16."""
    found = np.empty((len(pictures.sources), *IMAGE_SHAPE), np.float16)
    for place in tqdm(range(len(found)), desc="pictures", leave=False):
        found[place] = seen(pictures, place, 0, completion)
    return found


def plain_accuracy(whole: Any, examples: Examples, from_pixels: bool) -> float:
    """The accuracy of the completed network, from its last activation or from pixels."""
    first = "Conv2d_1a_3x3" if from_pixels else "Logits"
    head = InceptionV3(**{**_fields(whole.model), "first": first})
    params = whole.variables["params"]
    own = {"params": params if from_pixels else {"Logits": params["Logits"]}}
    run = compiled(head.apply)
    logits = [
        np.asarray(run(own, np.asarray(examples.inputs[i : i + 50], np.float32)))
        for i in range(0, len(examples.labels), 50)
    ]
    return float(np.mean(np.concatenate(logits).argmax(axis=1) == examples.labels))


def _fields(model: InceptionV3) -> dict[str, Any]:
    names = ("classes", "normalization", "padding_counts", "last_pool", "dropout", "first", "last")
    return {name: getattr(model, name) for name in names}


def _names(class_names: Sequence[str]) -> list[str]:
    """ "001.Black_footed_Albatross" as "Black footed Albatross"."""
    return [name.split(".")[-1].replace("_", " ") for name in class_names]


if __name__ == "__main__":
    run(main, tyro.cli(Options, description=__doc__), "protopnet_birds.py", __doc__, page="prototypes.html")
