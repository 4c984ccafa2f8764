"""The networks of prototypes.py with their data: digits, coloured squares, and stored activations."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import data
from saliency_jax.models import CNN
from saliency_jax.models.resnet import RESNETS, ResNet
from saliency_jax.prototypes import ProtoPNet, Recipe, Trunk
from saliency_jax.prototypes.schedule import Kind


class Network(NamedTuple):
    """A network with its data; labels go through the classes again and again."""

    model: ProtoPNet
    variables: Any
    images: np.ndarray
    labels: np.ndarray
    recipe: Recipe
    stages: tuple[Kind, ...]


def digits(count: int) -> Network:
    """MNIST with the paper's CNN up to its second pooling: 7x7 places."""
    found = data.load("mnist", "train", source="embedded")
    every = [np.flatnonzero(np.asarray(found.labels) == c)[: -(-count // 10)] for c in range(10)]
    chosen = np.stack(every, axis=1).ravel()[:count]
    model = ProtoPNet(classes=10, prototypes=100, backbone=Trunk(CNN()), depth=64)
    return _network(model, np.asarray(found.images)[chosen], 80, ("warm", "joint", "last_layer"))


def resnet18(count: int, size: int) -> Network:
    """Coloured squares with ResNet-18 up to its last block: 7x7 places of 224x224 pixels."""
    rng = np.random.default_rng(0)
    squares = rng.normal(size=(count, 7, 7, 3))
    places = np.arange(size) * 7 // size
    images = squares[:, places][:, :, places] + 0.1 * rng.normal(size=(count, size, size, 3))
    model = ProtoPNet(classes=50, prototypes=500, backbone=Trunk(ResNet(**RESNETS["resnet18"])), depth=128)
    network = _network(model, images, 16, ("warm", "joint", "last_layer"))
    return network._replace(variables=_as_if_trained(network.variables))


def activations(count: int) -> Network:
    """Stored activations, as of a trunk that stays as it is; joint epochs are warm ones."""
    rng = np.random.default_rng(0)
    images = np.maximum(rng.standard_normal((count, 8, 8, 1280), np.float32), 0)
    model = ProtoPNet(classes=50, prototypes=500, depth=128)
    return _network(model, images, 80, ("warm", "last_layer"))


def _network(model: ProtoPNet, images: np.ndarray, batch_size: int, stages: tuple[Kind, ...]) -> Network:
    images = images.astype(np.float32)
    variables = jax.jit(model.init)(jax.random.key(0), jnp.asarray(images[:1]))
    labels = np.arange(len(images)) % model.classes
    return Network(model, variables, images, labels, Recipe(batch_size=min(batch_size, len(images))), stages)


def _as_if_trained(variables: Any) -> Any:
    """BatchNorm with statistics that are neither 0 nor 1, and blocks that add little, as in a trained network.

    Otherwise activations grow with every block, and the sigmoids of the add-on layers are all 0 or 1.
    """
    keys = iter(jax.random.split(jax.random.key(1), 1000))

    def changed(path: Any, leaf: jax.Array) -> jax.Array:
        *_, module, name = (part.key for part in path)
        if name == "mean":
            return 0.1 * jax.random.normal(next(keys), leaf.shape)
        if name == "var":
            return jax.random.uniform(next(keys), leaf.shape, minval=0.5, maxval=1.5)
        return 0.2 * leaf if (module, name) == ("bn2", "scale") else leaf

    return jax.tree_util.tree_map_with_path(changed, variables)
