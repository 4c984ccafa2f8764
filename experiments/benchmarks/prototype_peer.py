"""The original ProtoPNet's arithmetic in PyTorch, on weights of this library, for the benchmark beside it.

Written from the formulas of Chen et al. (2019) and from what its program does, step by step: squared distances by two
convolutions, max pooling of their negative, masks of the largest distance in the losses, one Adam with a rate for each
group, numbers for the log fetched at every step, and a projection that goes through the prototypes one by one in NumPy.
Only BatchNorm differs: it goes by its running averages here as there, where the original's drifts in frozen stages.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from saliency_jax.prototypes import Recipe

EPSILON = 1e-4


class BasicBlock(nn.Module):
    """The block of ResNet-18."""

    def __init__(self, inputs: int, features: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, features, 3, stride, 1, bias=False), nn.BatchNorm2d(features)
        self.conv2, self.bn2 = nn.Conv2d(features, features, 3, 1, 1, bias=False), nn.BatchNorm2d(features)
        self.relu = nn.ReLU(inplace=True)
        if stride != 1 or inputs != features:
            self.downsample_conv = nn.Conv2d(inputs, features, 1, stride, bias=False)
            self.downsample_bn = nn.BatchNorm2d(features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Activations to activations."""
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        x = self.downsample_bn(self.downsample_conv(x)) if hasattr(self, "downsample_conv") else x
        return self.relu(y + x)


def cnn(params: Any) -> nn.Module:
    """The paper's CNN up to its second pooling."""
    layers = nn.Sequential(
        nn.Conv2d(1, 32, 5, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
    )
    for place, name in ((0, "conv1"), (3, "conv2")):
        _fill_convolution(layers[place], params[name])
    return layers


def resnet18(params: Any, statistics: Any) -> nn.Module:
    """ResNet-18 up to its last block."""
    stem, norm = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
    _fill_convolution(stem, params["conv1"]["conv"])
    _fill_norm(norm, params["conv1"]["bn"], statistics["conv1"]["bn"])
    blocks, inputs = [], 64
    for stage, features in enumerate((64, 128, 256, 512), start=1):
        for i in range(2):
            block = BasicBlock(inputs, features, 2 if stage > 1 and i == 0 else 1)
            for name, module in block.named_children():
                own = params[f"layer{stage}_{i}"]
                if isinstance(module, nn.Conv2d):
                    _fill_convolution(module, own[name])
                elif isinstance(module, nn.BatchNorm2d):
                    _fill_norm(module, own[name], statistics[f"layer{stage}_{i}"][name])
            blocks.append(block)
            inputs = features
    return nn.Sequential(stem, norm, nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1), *blocks)


class ProtoPNet(nn.Module):
    """Backbone, add-on layers, prototypes and last layer."""

    def __init__(self, features: nn.Module, params: Any):
        super().__init__()
        self.features = features
        first, second = (_convolution(params["add_on"][name]) for name in ("conv1", "conv2"))
        self.add_on = nn.Sequential(first, nn.ReLU(), second, nn.Sigmoid())
        vectors = _tensor(params["prototype_vectors"])[:, :, None, None]
        self.prototype_vectors = nn.Parameter(vectors)
        self.ones = nn.Parameter(torch.ones_like(vectors), requires_grad=False)
        kernel = np.asarray(params["last_layer"]["kernel"])
        self.last_layer = nn.Linear(*kernel.shape, bias=False)
        with torch.no_grad():
            self.last_layer.weight.copy_(_tensor(kernel.T))
        own = np.repeat(np.eye(kernel.shape[1], dtype=np.float32), len(kernel) // kernel.shape[1], axis=0)
        self.own_class = nn.Parameter(_tensor(own), requires_grad=False)

    def push_forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The patches, and their squared distances to all prototypes."""
        z = self.add_on(self.features(x))
        squares = nn.functional.conv2d(z**2, self.ones)
        lengths = (self.prototype_vectors**2).sum(dim=(1, 2, 3)).view(-1, 1, 1)
        products = nn.functional.conv2d(z, self.prototype_vectors)
        return z, nn.functional.relu(squares + (lengths - 2 * products))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits, and the smallest distance of each image to each prototype."""
        _, distances = self.push_forward(x)
        size = distances.shape[2:]
        nearest = -nn.functional.max_pool2d(-distances, kernel_size=size)
        nearest = nearest.view(-1, self.prototype_vectors.shape[0])
        return self.last_layer(torch.log((nearest + 1) / (nearest + EPSILON))), nearest


class Peer:
    """One network and the images it is trained on; every method goes on from the weights as they are."""

    def __init__(
        self, features: nn.Module, params: Any, images: np.ndarray, labels: np.ndarray, recipe: Recipe, fast: bool
    ):
        """`fast`: activations with their channels last, which the original does not ask for."""
        layout = torch.channels_last if fast else torch.contiguous_format
        self.model = ProtoPNet(features, params).eval().to(memory_format=layout)
        self.images = _tensor(images.transpose(0, 3, 1, 2)).contiguous(memory_format=layout)
        self.labels = _tensor(labels.astype(np.int64))
        self.recipe = recipe
        self.optimizers: dict[str, torch.optim.Optimizer] = {}

    def _optimizer(self, kind: str) -> torch.optim.Optimizer:
        """The Adam of a kind of stage; everything else is held."""
        model, recipe = self.model, self.recipe
        decayed = {"weight_decay": recipe.weight_decay}
        groups: dict[str, dict[str, Any]] = {
            "backbone": {"params": list(model.features.parameters()), "lr": recipe.backbone_rate, **decayed},
            "add_on": {"params": list(model.add_on.parameters()), "lr": recipe.add_on_rate, **decayed},
            "prototypes": {"params": [model.prototype_vectors], "lr": recipe.prototype_rate},
            "last_layer": {"params": [model.last_layer.weight], "lr": recipe.last_layer_rate},
        }
        kinds = {
            "warm": ("add_on", "prototypes"),
            "joint": ("backbone", "add_on", "prototypes"),
            "last_layer": ("last_layer",),
        }
        for name, group in groups.items():
            for parameter in group["params"]:
                parameter.requires_grad = name in kinds[kind]
        if kind not in self.optimizers:
            chosen = [groups[name] for name in kinds[kind] if groups[name]["params"]]
            self.optimizers[kind] = torch.optim.Adam(chosen)
        return self.optimizers[kind]

    def epoch(self, kind: str) -> np.ndarray:
        """Train for one epoch; cross entropy, cluster, separation and L1, averaged over the minibatches."""
        optimizer, weights = self._optimizer(kind), self.recipe.weights
        model, size = self.model, self.recipe.batch_size
        max_distance = model.prototype_vectors.shape[1]
        order = torch.randperm(len(self.labels))
        sums, correct, steps = np.zeros(4), 0, len(order) // size
        for chosen in order[: steps * size].split(size):
            images, labels = self.images[chosen], self.labels[chosen]
            logits, nearest = model(images)
            own = model.own_class[:, labels].t()
            cross_entropy = nn.functional.cross_entropy(logits, labels)
            cluster = (max_distance - ((max_distance - nearest) * own).max(dim=1).values).mean()
            separation = (max_distance - ((max_distance - nearest) * (1 - own)).max(dim=1).values).mean()
            # The original's norm(p=1) may be 2e-4 off for 25,000 weights in float32; this sum is not.
            l1 = (model.last_layer.weight * (1 - model.own_class.t())).abs().sum()
            terms = (cross_entropy, cluster, separation, l1)
            loss = sum(weight * term for weight, term in zip(weights, terms, strict=True))
            correct += (logits.argmax(dim=1) == labels).sum().item()
            sums += [term.item() for term in terms]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return sums / steps

    def project(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Image, row and column of the nearest patch of the own class, `[prototype, 3]`; the patches; the distances."""
        own = self.model.own_class.numpy().argmax(axis=1)
        found = np.full((len(own), 3), -1)
        smallest = np.full(len(own), np.inf)
        vectors = np.zeros((len(own), self.model.prototype_vectors.shape[1]), np.float32)
        for start, labels, patches, distances in self._batches():
            for j, c in enumerate(own):
                images = np.flatnonzero(labels == c)
                if not len(images):
                    continue
                compared = distances[images, j]
                if compared.min() < smallest[j]:
                    smallest[j] = compared.min()
                    i, row, column = np.unravel_index(compared.argmin(), compared.shape)
                    found[j] = start + images[i], row, column
                    vectors[j] = patches[images[i], :, row, column]
        with torch.no_grad():
            self.model.prototype_vectors.copy_(_tensor(vectors)[:, :, None, None])
        return found, vectors, smallest

    def _batches(self) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        size = self.recipe.batch_size
        for start in range(0, len(self.labels), size):
            with torch.no_grad():
                z, distances = self.model.push_forward(self.images[start : start + size])
            yield start, self.labels[start : start + size].numpy(), z.numpy(), distances.numpy()


def _convolution(params: Any) -> nn.Conv2d:
    height, width, inputs, outputs = params["kernel"].shape
    convolution = nn.Conv2d(inputs, outputs, (height, width))
    _fill_convolution(convolution, params)
    return convolution


def _fill_convolution(convolution: Any, params: Any) -> None:
    with torch.no_grad():
        convolution.weight.copy_(_tensor(np.asarray(params["kernel"]).transpose(3, 2, 0, 1)))
        if "bias" in params:
            convolution.bias.copy_(_tensor(params["bias"]))


def _fill_norm(norm: Any, affine: Any, statistics: Any) -> None:
    with torch.no_grad():
        norm.weight.copy_(_tensor(affine["scale"]))
        norm.bias.copy_(_tensor(affine["bias"]))
        norm.running_mean.copy_(_tensor(statistics["mean"]))
        norm.running_var.copy_(_tensor(statistics["var"]))


def _tensor(values: Any) -> torch.Tensor:
    return torch.tensor(np.array(values))
