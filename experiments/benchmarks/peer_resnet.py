"""ResNet-50 on both sides of the comparison, its ReLUs and sums there as the modules that Captum and Zennit need."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import torch
from torch_sides import fill, fill_norm, zennit


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


def drawn(key: jax.Array) -> Any:
    """Random weights, and BatchNorm statistics that are neither 0 nor 1, as after training."""
    initial = jax.jit(ResNet50().init)(key, jnp.zeros((1, 224, 224, 3)))
    keys = iter(jax.random.split(key, 1000))
    statistics = jax.tree.map(
        lambda v: v * jax.random.uniform(next(keys), v.shape, minval=0.5, maxval=1.5), initial["batch_stats"]
    )
    return {**initial, "batch_stats": statistics}


class TorchBottleneck(torch.nn.Module):
    """The same block."""

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


def torch_resnet50(params: Any) -> torch.nn.Sequential:
    """The same network with the same weights."""
    p, s = params["params"], params["batch_stats"]
    stem = torch.nn.Conv2d(3, 64, 7, 2, 3, bias=False), torch.nn.BatchNorm2d(64)
    fill(stem[0], p["conv"])
    fill_norm(stem[1], p["norm"], s["norm"])
    inputs, blocks = 64, []
    for i, (features, stride) in enumerate(_blocks()):
        block, ours = TorchBottleneck(inputs, features, stride), p[f"block{i}"]
        for j in range(1, 5 if hasattr(block, "conv4") else 4):
            fill(getattr(block, f"conv{j}"), ours[f"conv{j}"])
            fill_norm(getattr(block, f"norm{j}"), ours[f"norm{j}"], s[f"block{i}"][f"norm{j}"])
        blocks.append(block)
        inputs = 4 * features
    logits = torch.nn.Linear(2048, 1000)
    fill(logits, p["logits"])
    pools = torch.nn.MaxPool2d(3, 2, 1), torch.nn.AdaptiveAvgPool2d(1)
    return torch.nn.Sequential(*stem, torch.nn.ReLU(), pools[0], *blocks, pools[1], torch.nn.Flatten(), logits)
