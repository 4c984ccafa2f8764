"""The library's ViT-S in PyTorch, with the same weights."""

from __future__ import annotations

from typing import Any

import torch
from torch_sides import fill, fill_norm, tensor

HEADS = 6
NORM = {"eps": 1e-6}


class TorchBlock(torch.nn.Module):
    """Attention and two dense layers, each after a LayerNorm and beside a shortcut."""

    def __init__(self, width: int):
        super().__init__()
        self.norm1, self.norm2 = torch.nn.LayerNorm(width, **NORM), torch.nn.LayerNorm(width, **NORM)
        self.qkv, self.out = torch.nn.Linear(width, 3 * width), torch.nn.Linear(width, width)
        self.mlp1, self.mlp2 = torch.nn.Linear(width, 4 * width), torch.nn.Linear(4 * width, width)
        self.gelu = torch.nn.GELU()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """`[batch, token, width]` to the same."""
        batch, count, width = tokens.shape
        parts = self.qkv(self.norm1(tokens)).reshape(batch, count, 3, HEADS, width // HEADS)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = torch.nn.functional.scaled_dot_product_attention(queries, keys, values)
        tokens = tokens + self.out(mixed.transpose(1, 2).reshape(batch, count, width))
        return tokens + self.mlp2(self.gelu(self.mlp1(self.norm2(tokens))))


class TorchViT(torch.nn.Module):
    """Patches and a class token through blocks."""

    def __init__(self, width: int, depth: int, tokens: int):
        super().__init__()
        self.patches = torch.nn.Conv2d(3, width, 16, 16)
        self.class_token = torch.nn.Parameter(torch.zeros(1, 1, width))
        self.positions = torch.nn.Parameter(torch.zeros(1, tokens, width))
        self.blocks = torch.nn.Sequential(*[TorchBlock(width) for _ in range(depth)])
        self.norm, self.logits = torch.nn.LayerNorm(width, **NORM), torch.nn.Linear(width, 1000)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """A batch of images, channels first, to its logits."""
        patches = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(images), -1, -1), patches], dim=1) + self.positions
        return self.logits(self.norm(self.blocks(tokens)[:, 0]))


def torch_vit(params: Any) -> TorchViT:
    """The network with our weights."""
    p = params["params"]
    depth = sum(name.startswith("block") for name in p)
    _, tokens, width = p["embedding"]["positions"].shape
    network = TorchViT(width, depth, tokens)
    fill(network.patches, p["embedding"]["patches"])
    with torch.no_grad():
        network.class_token.copy_(tensor(p["embedding"]["class_token"]))
        network.positions.copy_(tensor(p["embedding"]["positions"]))
    for i, block in enumerate(network.blocks):
        ours = p[f"block{i}"]
        fill_norm(block.norm1, ours["norm1"])
        fill_norm(block.norm2, ours["norm2"])
        fill(block.qkv, ours["attention"]["qkv"])
        fill(block.out, ours["attention"]["out"])
        fill(block.mlp1, ours["mlp1"])
        fill(block.mlp2, ours["mlp2"])
    fill_norm(network.norm, p["norm"])
    fill(network.logits, p["logits"])
    return network
