"""The networks of the comparison with PyTorch's libraries, on both sides with the same weights."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import torch

from saliency_jax.models import CNN
from saliency_jax.models.inception import INCEPTIONS, InceptionV3
from saliency_jax.tracing.layers import leaf_paths


def zennit(name: str) -> Any:
    """A module of Zennit, such as "composites", on a machine with torchvision or without."""
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError):
        # Not every build of PyTorch has its torchvision. Zennit asks it for the names of its networks and no more.
        asked_for = {"": (), ".models": (), ".models.resnet": ("Bottleneck", "BasicBlock"), ".models.vgg": ("VGG",)}
        for path, classes in asked_for.items():
            module = types.ModuleType(f"torchvision{path}")
            module.__dict__.update({network: type(network, (torch.nn.Module,), {}) for network in classes})
            sys.modules[module.__name__] = module
    return importlib.import_module(f"zennit.{name}")


class Network(NamedTuple):
    """One network on both sides.

    Attributes:
        apply: the JAX function.
        params: its parameters.
        torch_model: makes the PyTorch module with the same weights.
        image_shape: of one image, channels last.
        classes: how many logits.
        batch: how many images are explained at once by default.
        chunk: how many of them `batched` takes together.
        explainers: which are compared, by their names in peers.OURS.
    """

    apply: Callable
    params: Any
    torch_model: Callable[[], torch.nn.Module]
    image_shape: tuple[int, int, int]
    classes: int
    batch: int
    chunk: int | None
    explainers: tuple[str, ...] = ("gradient", "guided_backprop", "lrp")


def mnist_cnn() -> Network:
    """The paper's CNN."""
    model = CNN()
    params = model.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))

    def torch_model() -> torch.nn.Module:
        p = params["params"]
        layers = torch.nn.Sequential(
            torch.nn.Conv2d(1, 32, 5, padding="same"),
            torch.nn.ReLU(),
            torch.nn.MaxPool2d(2),
            torch.nn.Conv2d(32, 64, 5, padding="same"),
            torch.nn.ReLU(),
            torch.nn.MaxPool2d(2),
            torch.nn.Flatten(),
            torch.nn.Linear(3136, 1024),
            torch.nn.ReLU(),
            torch.nn.Linear(1024, 10),
        )
        # Flattened features stand channels first there and channels last here.
        dense = np.asarray(p["dense"]["kernel"]).reshape(7, 7, 64, 1024).transpose(3, 2, 0, 1).reshape(1024, -1)
        kernels = [_oihw(p["conv1"]["kernel"]), _oihw(p["conv2"]["kernel"]), dense, np.asarray(p["logits"]["kernel"]).T]
        with torch.no_grad():
            for place, name, kernel in zip((0, 3, 7, 9), ("conv1", "conv2", "dense", "logits"), kernels, strict=True):
                layers[place].weight.copy_(_tensor(kernel))
                layers[place].bias.copy_(_tensor(p[name]["bias"]))
        return layers

    return Network(model.apply, params, torch_model, (28, 28, 1), 10, batch=32, chunk=16)


class Bottleneck(nn.Module):
    """The block of ResNet-50."""

    features: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Activations to activations."""
        y = nn.relu(_norm("norm1")(nn.Conv(self.features, (1, 1), use_bias=False, name="conv1")(x)))
        y = nn.Conv(self.features, (3, 3), (self.stride,) * 2, [(1, 1), (1, 1)], use_bias=False, name="conv2")(y)
        y = nn.relu(_norm("norm2")(y))
        y = _norm("norm3")(nn.Conv(4 * self.features, (1, 1), use_bias=False, name="conv3")(y))
        if x.shape != y.shape:
            x = nn.Conv(4 * self.features, (1, 1), (self.stride,) * 2, "VALID", use_bias=False, name="conv4")(x)
            x = _norm("norm4")(x)
        return nn.relu(x + y)


class ResNet50(nn.Module):
    """ResNet-50 for inference."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """A batch of images to its logits."""
        x = nn.relu(_norm("norm")(nn.Conv(64, (7, 7), (2, 2), [(3, 3), (3, 3)], use_bias=False, name="conv")(x)))
        x = nn.max_pool(x, (3, 3), (2, 2), [(1, 1), (1, 1)])
        for i, (features, stride) in enumerate(_blocks()):
            x = Bottleneck(features, stride, name=f"block{i}")(x)
        return nn.Dense(1000, name="logits")(x.mean(axis=(1, 2)))


def _blocks() -> list[tuple[int, int]]:
    stages = zip((64, 128, 256, 512), (3, 4, 6, 3), (1, 2, 2, 2), strict=True)
    return [(features, stride if i == 0 else 1) for features, count, stride in stages for i in range(count)]


def _norm(name: str) -> nn.BatchNorm:
    return nn.BatchNorm(use_running_average=True, epsilon=1e-5, name=name)


class TorchBottleneck(torch.nn.Module):
    """The same block, its ReLUs and its sum as modules, which Captum and Zennit need."""

    def __init__(self, inputs: int, features: int, stride: int):
        super().__init__()
        conv, norm = torch.nn.Conv2d, torch.nn.BatchNorm2d
        self.conv1, self.norm1 = conv(inputs, features, 1, bias=False), norm(features)
        self.relu1 = torch.nn.ReLU()
        self.conv2, self.norm2 = conv(features, features, 3, stride, 1, bias=False), norm(features)
        self.relu2 = torch.nn.ReLU()
        self.conv3, self.norm3 = conv(features, 4 * features, 1, bias=False), norm(4 * features)
        if stride != 1 or inputs != 4 * features:
            self.conv4, self.norm4 = conv(inputs, 4 * features, 1, stride, bias=False), norm(4 * features)
        self.sum, self.relu3 = zennit("layer").Sum(), torch.nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Activations to activations."""
        y = self.relu1(self.norm1(self.conv1(x)))
        y = self.relu2(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        x = self.norm4(self.conv4(x)) if hasattr(self, "conv4") else x
        return self.relu3(self.sum(torch.stack([x, y], dim=-1)))


def resnet50() -> Network:
    """A ResNet-50 with random weights and BatchNorm statistics."""
    model = ResNet50()
    initial = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 224, 224, 3)))
    keys = iter(jax.random.split(jax.random.key(1), 1000))
    # Statistics that a BatchNorm has after training are neither 0 nor 1.
    params = {
        **initial,
        "batch_stats": jax.tree.map(
            lambda v: v * jax.random.uniform(next(keys), v.shape, minval=0.5, maxval=1.5), initial["batch_stats"]
        ),
    }

    def torch_model() -> torch.nn.Module:
        inputs, blocks = 64, []
        for features, stride in _blocks():
            blocks.append(TorchBottleneck(inputs, features, stride))
            inputs = 4 * features
        stem = torch.nn.Conv2d(3, 64, 7, 2, 3, bias=False), torch.nn.BatchNorm2d(64)
        logits = torch.nn.Linear(2048, 1000)
        p, s = params["params"], params["batch_stats"]
        with torch.no_grad():
            _fill(*stem, p["conv"], p["norm"], s["norm"])
            for i, block in enumerate(blocks):
                for j in range(1, 5 if hasattr(block, "conv4") else 4):
                    of_block, norm = p[f"block{i}"], f"norm{j}"
                    conv = getattr(block, f"conv{j}")
                    _fill(conv, getattr(block, norm), of_block[f"conv{j}"], of_block[norm], s[f"block{i}"][norm])
            logits.weight.copy_(_tensor(np.asarray(p["logits"]["kernel"]).T))
            logits.bias.copy_(_tensor(p["logits"]["bias"]))
        pool = torch.nn.MaxPool2d(3, 2, 1), torch.nn.AdaptiveAvgPool2d(1)
        return torch.nn.Sequential(*stem, torch.nn.ReLU(), pool[0], *blocks, pool[1], torch.nn.Flatten(), logits)

    return Network(model.apply, params, torch_model, (224, 224, 3), 1000, batch=8, chunk=8)


def inception_v3() -> Network:
    """The library's Inception v3 with BatchNorm and random weights, and torchvision's."""
    model = InceptionV3(**INCEPTIONS["torchvision"])
    initial = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 299, 299, 3)))
    # Means other than 0 and variances other than 1, so that a mistake in either would show.
    params = {
        **initial,
        "batch_stats": jax.tree.map(lambda v: v * 0.9 + 0.1 * jnp.linspace(-1, 1, v.size), initial["batch_stats"]),
    }

    def torch_model() -> torch.nn.Module:
        from torchvision.models import inception_v3

        network = inception_v3(weights=None, init_weights=False, aux_logits=False, transform_input=False)
        ours = {path: np.asarray(leaf) for path, leaf in zip(leaf_paths(params), jax.tree.leaves(params), strict=True)}
        state = {torch_name(path): _tensor(_torch_layout(leaf)) for path, leaf in ours.items()}
        left_over = network.load_state_dict(state, strict=False)
        assert not left_over.unexpected_keys
        assert all(name.endswith("num_batches_tracked") for name in left_over.missing_keys)
        return network

    explainers = ("gradient", "integrated_gradients", "smoothgrad")
    return Network(model.apply, params, torch_model, (299, 299, 3), 1000, batch=4, chunk=None, explainers=explainers)


def torch_name(path: str) -> str:
    """A leaf's name in torchvision: "params/Mixed_5b/branch1x1/conv/kernel" as "Mixed_5b.branch1x1.conv.weight"."""
    _, *modules, leaf = path.split("/")
    names = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
    return ".".join([*("fc" if module == "Logits" else module for module in modules), names.get(leaf, leaf)])


def _torch_layout(leaf: np.ndarray) -> np.ndarray:
    return _oihw(leaf) if leaf.ndim == 4 else leaf.T


def _fill(conv: Any, norm: Any, kernel: Any, affine: Any, statistics: Any) -> None:
    conv.weight.copy_(_tensor(_oihw(kernel["kernel"])))
    norm.weight.copy_(_tensor(affine["scale"]))
    norm.bias.copy_(_tensor(affine["bias"]))
    norm.running_mean.copy_(_tensor(statistics["mean"]))
    norm.running_var.copy_(_tensor(statistics["var"]))


def _oihw(kernel: Any) -> np.ndarray:
    return np.asarray(kernel).transpose(3, 2, 0, 1)


def _tensor(values: Any) -> torch.Tensor:
    return torch.tensor(np.array(values))


NETWORKS: dict[str, Callable[[], Network]] = {
    "mnist_cnn": mnist_cnn,
    "resnet50": resnet50,
    "inception_v3": inception_v3,
}
