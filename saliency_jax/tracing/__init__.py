"""The inside of any JAX function, read from its jaxpr."""

from saliency_jax.tracing.acceleration import accelerated_gradient, accelerated_value_and_gradient, fast_pooling
from saliency_jax.tracing.block_outputs import block_outputs
from saliency_jax.tracing.canonical import canonical_convolutions
from saliency_jax.tracing.compilation import compiled
from saliency_jax.tracing.interpreter import rewrite
from saliency_jax.tracing.layers import Layer, blocks, layers
from saliency_jax.tracing.override import Site, override
from saliency_jax.tracing.pooling import max_pool
from saliency_jax.tracing.taps import Tap, activations, taps

__all__ = [
    "Layer",
    "Site",
    "Tap",
    "accelerated_gradient",
    "accelerated_value_and_gradient",
    "activations",
    "block_outputs",
    "blocks",
    "canonical_convolutions",
    "compiled",
    "fast_pooling",
    "layers",
    "max_pool",
    "override",
    "rewrite",
    "taps",
]
