"""The names of torchvision's published weights: ResNet, VGG, ViT-B/16 and Inception v3."""

from __future__ import annotations

import re

import flax.linen as nn
import numpy as np

from saliency_jax.models.inception import InceptionV3
from saliency_jax.models.resnet import ResNet
from saliency_jax.models.vgg import CHANNELS, POOLED, VGG
from saliency_jax.models.vit import ViT
from saliency_jax.models.weights.torch_names import Naming, Tensors, renamed

RESIDUAL_MODULES = {
    r"(conv|bn)1": r"conv1/\1",
    r"layer(\d+)\.(\d+)\.((?:conv|bn)\d)": r"layer\1_\2/\3",
    r"layer(\d+)\.(\d+)\.downsample\.0": r"layer\1_\2/downsample_conv",
    r"layer(\d+)\.(\d+)\.downsample\.1": r"layer\1_\2/downsample_bn",
    "fc": "logits",
}
_ENCODER = r"encoder\.layers\.encoder_layer_(\d+)\."
_TRANSFORMER_MODULES = {
    "conv_proj": "embedding/patches",
    _ENCODER + r"ln_([12])": r"block\1/norm\2",
    _ENCODER + r"self_attention\.in_proj": r"block\1/attention/qkv",
    _ENCODER + r"self_attention\.out_proj": r"block\1/attention/out",
    # The files of torchvision's first years count the dense layers, the later ones all modules, Dropout among them.
    _ENCODER + r"mlp\.(?:0|linear_1)": r"block\1/mlp1",
    _ENCODER + r"mlp\.(?:3|linear_2)": r"block\1/mlp2",
    r"encoder\.ln": "norm",
    r"heads\.head": "logits",
}
_TRANSFORMER_LEAVES = {
    "class_token": "params/embedding/class_token",
    "encoder.pos_embedding": "params/embedding/positions",
}


def resnet(tensors: Tensors, model: nn.Module) -> dict[str, np.ndarray]:
    """A ResNet's tensors by leaf paths."""
    return renamed(tensors, RESIDUAL_MODULES)


def vgg(tensors: Tensors, model: VGG) -> dict[str, np.ndarray]:
    """A VGG's tensors by leaf paths.

    torchvision numbers convolutions, BatchNorms, ReLUs and pools as one sequence, so their numbers follow from the
    model's settings. Its first dense layer sees the channels one by one, ours the places: the rows are put in order.
    """
    dense = {r"classifier\.0": "fc6", r"classifier\.3": "fc7", r"classifier\.6": "logits"}
    arrays = renamed(tensors, convolution_modules(model) | dense)
    kernel = arrays.get("params/fc6/kernel")
    if kernel is not None and kernel.ndim == 2 and len(kernel) == CHANNELS[-1] * POOLED**2:
        by_channel = kernel.reshape(CHANNELS[-1], POOLED, POOLED, -1)
        arrays["params/fc6/kernel"] = by_channel.transpose(1, 2, 0, 3).reshape(kernel.shape)
    return arrays


def convolution_modules(model: VGG) -> dict[str, str]:
    """The convolutions and BatchNorms of a VGG: "features.0" -> "conv1_1/conv"."""
    names: dict[str, str] = {}
    place = 0
    for group, depth in enumerate(model.depths, start=1):
        for i in range(1, depth + 1):
            parts = ("conv", "bn") if model.batch_norm else ("conv",)
            names |= {rf"features\.{place + j}": f"conv{group}_{i}/{part}" for j, part in enumerate(parts)}
            place += len(parts) + 1
        place += 1
    return names


def vit(tensors: Tensors, model: nn.Module) -> dict[str, np.ndarray]:
    """A ViT's tensors by leaf paths."""
    split = re.compile(r"(.*self_attention\.in_proj)_(weight|bias)")
    dotted = {split.sub(r"\1.\2", name): values for name, values in tensors.items()}
    return renamed(dotted, _TRANSFORMER_MODULES, _TRANSFORMER_LEAVES)


def inception(tensors: Tensors, model: nn.Module) -> dict[str, np.ndarray]:
    """An Inception v3's tensors by leaf paths.

    Left out is AuxLogits, the auxiliary classifier, which helps to train the network and is no part of it afterwards.
    """
    modules = {
        r"(Conv2d_\w+)\.(conv|bn)": r"\1/\2",
        r"(Mixed_\w+)\.(branch\w+)\.(conv|bn)": r"\1/\2/\3",
        "fc": "Logits",
    }
    return renamed({name: values for name, values in tensors.items() if not name.startswith("AuxLogits.")}, modules)


NAMINGS: dict[type[nn.Module], Naming] = {ResNet: resnet, VGG: vgg, ViT: vit, InceptionV3: inception}
"""Network -> the naming of its weights in torchvision."""
