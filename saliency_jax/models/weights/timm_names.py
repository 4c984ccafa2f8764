"""The names of timm's published weights: ViT, VGG, ResNet and Inception v3."""

from __future__ import annotations

import flax.linen as nn
import numpy as np

from saliency_jax.models.inception import InceptionV3
from saliency_jax.models.resnet import ResNet
from saliency_jax.models.vgg import VGG
from saliency_jax.models.vit import ViT
from saliency_jax.models.weights import torchvision_names
from saliency_jax.models.weights.torch_names import Naming, Tensors, renamed

_TRANSFORMER_MODULES = {
    r"patch_embed\.proj": "embedding/patches",
    r"blocks\.(\d+)\.norm([12])": r"block\1/norm\2",
    r"blocks\.(\d+)\.attn\.qkv": r"block\1/attention/qkv",
    r"blocks\.(\d+)\.attn\.proj": r"block\1/attention/out",
    r"blocks\.(\d+)\.mlp\.fc([12])": r"block\1/mlp\2",
    "norm": "norm",
    "head": "logits",
}
_TRANSFORMER_LEAVES = {
    "cls_token": "params/embedding/class_token",
    "pos_embed": "params/embedding/positions",
}


def vit(tensors: Tensors, model: nn.Module) -> dict[str, np.ndarray]:
    """A ViT's tensors by leaf paths."""
    return renamed(tensors, _TRANSFORMER_MODULES, _TRANSFORMER_LEAVES)


def vgg(tensors: Tensors, model: VGG) -> dict[str, np.ndarray]:
    """A VGG's tensors by leaf paths: timm's first two dense layers are convolutions, the first of 7x7 places."""
    dense = {r"pre_logits\.fc1": "fc6", r"pre_logits\.fc2": "fc7", r"head\.fc": "logits"}
    arrays = renamed(tensors, torchvision_names.convolution_modules(model) | dense)
    windows = {f"params/{name}/kernel" for name in ("fc6", "fc7")}
    return {
        path: values.reshape(-1, values.shape[-1]) if path in windows and values.ndim == 4 else values
        for path, values in arrays.items()
    }


NAMINGS: dict[type[nn.Module], Naming] = {
    ResNet: torchvision_names.resnet,
    VGG: vgg,
    ViT: vit,
    InceptionV3: torchvision_names.inception,
}
"""Network -> the naming of its weights in timm; those of ResNet and Inception v3 are torchvision's."""
