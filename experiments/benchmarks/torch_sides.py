"""What the PyTorch sides of the comparisons share: weights in PyTorch's layout, and Zennit without torchvision."""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

import numpy as np
import torch


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


def torch_layout(leaf: Any) -> np.ndarray:
    """A kernel as PyTorch lays it out: `[out, in, height, width]` of a convolution, `[out, in]` of a dense layer."""
    leaf = np.asarray(leaf)
    return leaf.transpose(3, 2, 0, 1) if leaf.ndim == 4 else leaf.T


def tensor(values: Any) -> torch.Tensor:
    """A copy."""
    return torch.tensor(np.array(values))


@torch.no_grad()
def fill(layer: Any, ours: Any) -> None:
    """Give a convolution or a dense layer our kernel and, where it has one, our bias."""
    layer.weight.copy_(tensor(torch_layout(ours["kernel"])))
    if layer.bias is not None:
        layer.bias.copy_(tensor(ours["bias"]))


@torch.no_grad()
def fill_norm(norm: Any, affine: Any, statistics: Any = None) -> None:
    """Give a BatchNorm or, without statistics, a LayerNorm our scale and shift."""
    norm.weight.copy_(tensor(affine["scale"]))
    norm.bias.copy_(tensor(affine["bias"]))
    if statistics is not None:
        norm.running_mean.copy_(tensor(statistics["mean"]))
        norm.running_var.copy_(tensor(statistics["var"]))
