"""Can a network explain itself by prototypes, and what does it cost in accuracy? ProtoPNet on digits.

    python experiments/protopnet.py

trains a convolutional classifier on the embedded part of MNIST, makes its trunk the backbone of a ProtoPNet with five
prototypes a class, trains that through its stages (warm, joint, projection, last layer), prunes it, and trains the last
layer again. Two to three minutes on two cores. It should show test accuracies within 3.5 points of the classifier's,
and prototypes that are all different patches.

In the folder --out: table.txt (the accuracy at every turn), history.csv (a row an epoch), points-*.png (why an image is
of its class), prototypes.png and prototypes.html (all of them, on one page). A run that was broken off goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from digits import set_up
from jax.nn import initializers
from prototype_study import Examples, Studied, Task, share, study
from unfinished import run

from saliency_jax import data
from saliency_jax.keys import named
from saliency_jax.models import CNN
from saliency_jax.presets import Training
from saliency_jax.prototypes import ProtoPNet, Recipe, Stage, Trunk, drawn_patches
from saliency_jax.training import evaluate, train

CLASSIFIER = Training(steps=600, batch_size=80, learning_rate=1e-3, schedule="cosine")
"""How the classifier is trained, whose trunk becomes the backbone."""
LAYER = "conv3/relu"
"""The activation that prototypes are compared with: 7 x 7 places, each of which sees 18 x 18 pixels."""


@dataclass(frozen=True)
class Options:
    """Can a network explain itself by prototypes, and what does it cost in accuracy? ProtoPNet on digits."""

    dataset: Literal["mnist", "fashion_mnist"] = "mnist"
    """What it is trained on."""
    source: Literal["embedded", "idx", "tfds"] = "embedded"
    """Where the data comes from: the 6,000 digits in the package, the four IDX .gz files, or TensorFlow Datasets."""
    data_dir: Path | None = None
    """The folder of the IDX files or of the prepared TensorFlow Datasets."""
    prototypes: int = 5
    """Prototypes a class."""
    distance: Literal["cosine", "l2"] = "cosine"
    """What similarity is made of; the paper's is l2."""
    depth: int = 64
    """Length of a prototype."""
    joint: int = 10
    """Epochs in which all but the last layer is trained."""
    last_layer: int = 5
    """Epochs of the last layer after the projection, and after pruning."""
    held_out: float = 0.0
    """Share of the training images that is measured on instead of the test images, to choose settings by."""
    shown: int = 10
    """How many images are explained on the page."""
    seed: int = 0
    """The seed of everything that is drawn."""
    out: Path = Path("runs/protopnet")
    """The folder for the results; the same options again go on with what is there."""
    compilation_cache: Path | None = Path(".jax_cache")
    """Where compiled programs are kept for the next run; None to keep none."""


def main(options: Options) -> Studied:
    """Train the classifier and the ProtoPNet, and write what they do."""
    set_up((), (), options.out, options.compilation_cache)
    key = jax.random.key(options.seed)
    return study(
        digits(options, key),
        key=key,
        stages=stages(options),
        recipe=recipe(),
        last_layer=options.last_layer,
        folder=options.out,
        shown=options.shown,
    )


def stages(options: Options) -> tuple[Stage, ...]:
    """One epoch with the backbone held, then all but the last layer, and projection in the end."""
    return (
        Stage("warm", 1),
        Stage("joint", options.joint),
        Stage("project"),
        Stage("last_layer", options.last_layer),
    )


def recipe() -> Recipe:
    """Small minibatches, as there are few images, and a larger rate for a small backbone."""
    return Recipe(batch_size=20, backbone_rate=1e-3, last_layer_rate=1e-3, decay_every=7)


def digits(
    options: Options,
    key: jax.Array,
    *,
    labels: np.ndarray | None = None,
    images: int | None = None,
    training: Training | None = None,
) -> Task:
    """The digits, a classifier trained on them, and a ProtoPNet on its trunk, not trained yet.

    Args:
        options: which data.
        key: draws first weights and the order of the images.
        labels: other labels of the training images than the true ones.
        images: how many of the training images, evenly spread; all where None.
        training: how the classifier is trained; CLASSIFIER where None.
    """
    split = data.load(options.dataset, "train", source=options.source, data_dir=options.data_dir)
    known = np.asarray(split.labels) if labels is None else labels
    kept, held = share(np.asarray(split.labels), options.held_out, options.seed)
    if images is not None:
        kept = kept[np.linspace(0, len(kept) - 1, images).astype(int)]
    examples = Examples(split.images[kept], known[kept], split.images[kept])
    if options.held_out:
        measured = {"held out": Examples(split.images[held], known[held], split.images[held])}
    else:
        test = data.load(options.dataset, "test", source=options.source, data_dir=options.data_dir)
        measured = {"test": Examples(test.images, np.asarray(test.labels), test.images)}
    network, variables = classifier(
        examples, named(key, "classifier"), options.out / "classifier", training or CLASSIFIER
    )
    plain = {name: evaluate(network.apply, variables, e.inputs, e.labels) for name, e in measured.items()}
    model = ProtoPNet(
        classes=10,
        prototypes=10 * options.prototypes,
        backbone=Trunk(network, LAYER),
        depth=options.depth,
        distance=options.distance,
    )
    initial = jax.jit(model.init)(named(key, "init"), jnp.asarray(split.images[:1]))
    initial["params"]["backbone"] = {"model": variables["params"]}
    # From uniform noise, as in the paper, the training takes several times as long.
    initial = drawn_patches(model, initial, examples.inputs, examples.labels, named(key, "prototypes")).variables
    return Task(model, initial, examples, examples.inputs, None, measured, [str(i) for i in range(10)], plain)


def classifier(examples: Examples, key: jax.Array, folder: Path, training: Training) -> tuple[CNN, dict]:
    """Three convolutions of 3 x 3 with ReLU and max pooling, trained in a minute: the backbone and the comparison."""
    network = CNN(
        channels=(32, 64, 128),
        kernel_size=(3, 3),
        units=128,
        kernel_init=initializers.he_normal(),
        bias_init=initializers.zeros,
    )
    trained = train(
        network.apply,
        network.init(named(key, "init"), jnp.asarray(examples.inputs[:1])),
        examples.inputs,
        examples.labels,
        key=named(key, "training"),
        config=training,
        folder=folder,
    )
    return network, trained.params


if __name__ == "__main__":
    run(main, tyro.cli(Options, description=__doc__), "protopnet.py", __doc__, page="prototypes.html")
