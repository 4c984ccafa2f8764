"""Vision transformers with patches of 16 pixels, as timm publishes them."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import initializers
from jaxtyping import Float

from saliency_jax.checks import check_images
from saliency_jax.typing import Images

_kernel_init = initializers.truncated_normal(0.02)


class ViT(nn.Module):
    """A transformer over patches of an image and a class token: ViT-B/16 for images of 224 pixels by default.

    x_0 = [class token, E patch_1, ..., E patch_n] + positions; x <- x + Attention(LayerNorm(x)) and
    x <- x + W_2 gelu(W_1 LayerNorm(x) + b_1) + b_2 in each block; logits = W LayerNorm(x)[class token] + b.

    Its stages are embedding, block0, block1, ..., norm and logits. GELU is the exact one, by the error function, and
    there is no dropout.

    Args:
        width: length of a token.
        heads: heads of each attention; width must be a multiple of them.
        depth: number of blocks.
        patch: height and width of a patch, in pixels.
        image_size: height and width of the images, in pixels, which the learned positions are for; a multiple of patch.
        classes: number of logits.

    Source: Dosovitskiy et al. (2021), section 3.1 and table 1; Ti and S from Touvron et al. (2021), table 1; the rest
    as in timm 1.0, `timm.models.vision_transformer`.
    """

    width: int = 768
    heads: int = 12
    depth: int = 12
    patch: int = 16
    image_size: int = 224
    classes: int = 1000

    @nn.compact
    def __call__(self, images: Images) -> Float[Array, "batch class"]:
        """The logits of a batch of images.

        Raises:
            ValueError: images are no batch of images or not of image_size, image_size is no multiple of patch, or
                width none of heads.
            TypeError: images are not floating point.
        """
        check_images(images)
        for name, whole, part in (("image_size", self.image_size, self.patch), ("width", self.width, self.heads)):
            if whole % part:
                raise ValueError(f"{name} must be a multiple of {part}, got {whole}")
        if images.shape[1:3] != (self.image_size, self.image_size):
            raise ValueError(
                f"images must be {self.image_size} pixels high and wide, which the positions of this ViT are for, "
                f"got {images.shape}"
            )
        tokens = _Embedding(self.width, self.patch, name="embedding")(images)
        for i in range(self.depth):
            tokens = _Block(self.heads, name=f"block{i}")(tokens)
        # LayerNorm sees one token at a time, and the class token's is the only one that is needed.
        return _dense(self.classes, "logits")(_layer_norm("norm")(tokens[:, 0]))


VITS: dict[str, dict[str, Any]] = {
    "vit_tiny_patch16_224": {"width": 192, "heads": 3},
    "vit_small_patch16_224": {"width": 384, "heads": 6},
    "vit_base_patch16_224": {"width": 768, "heads": 12},
}
"""Name in timm -> the settings of ViT: `ViT(**VITS["vit_tiny_patch16_224"])`."""


class _Embedding(nn.Module):
    """The class token and one token for each patch, with their positions."""

    width: int
    patch: int

    @nn.compact
    def __call__(self, images: Array) -> Array:
        size = (self.patch, self.patch)
        patches = nn.Conv(self.width, size, strides=size, padding="VALID", kernel_init=_kernel_init, name="patches")
        tokens = patches(images).reshape(images.shape[0], -1, self.width)
        class_token = self.param("class_token", initializers.normal(1e-6), (1, 1, self.width))
        positions = self.param("positions", initializers.normal(0.02), (1, 1 + tokens.shape[1], self.width))
        first = jnp.broadcast_to(class_token, (images.shape[0], 1, self.width))
        return jnp.concatenate([first, tokens], axis=1) + positions


class _Block(nn.Module):
    """Attention and two dense layers, each after a LayerNorm and beside a shortcut."""

    heads: int

    @nn.compact
    def __call__(self, tokens: Array) -> Array:
        width = tokens.shape[-1]
        tokens = tokens + _Attention(self.heads, name="attention")(_layer_norm("norm1")(tokens))
        hidden = jax.nn.gelu(_dense(4 * width, "mlp1")(_layer_norm("norm2")(tokens)), approximate=False)
        return tokens + _dense(width, "mlp2")(hidden)


class _Attention(nn.Module):
    """softmax(Q K^T / sqrt(d)) V in each head, and a dense layer over the heads together."""

    heads: int

    @nn.compact
    def __call__(self, tokens: Array) -> Array:
        batch, count, width = tokens.shape
        each = width // self.heads
        # Queries of all heads come first, then keys, then values: one dense layer, as the published weights have it.
        together = _dense(3 * width, "qkv")(tokens).reshape(batch, count, 3, self.heads, each)
        queries, keys, values = (together[:, :, i] for i in range(3))
        weights = jax.nn.softmax(jnp.einsum("bqnd,bknd->bnqk", queries * each**-0.5, keys))
        mixed = jnp.einsum("bnqk,bknd->bqnd", weights, values)
        return _dense(width, "out")(mixed.reshape(batch, count, width))


def _dense(units: int, name: str) -> nn.Dense:
    return nn.Dense(units, kernel_init=_kernel_init, name=name)


def _layer_norm(name: str) -> nn.LayerNorm:
    # The fast variance, E[x^2] - E[x]^2, loses digits where a token's mean is large.
    return nn.LayerNorm(epsilon=1e-6, use_fast_variance=False, name=name)
