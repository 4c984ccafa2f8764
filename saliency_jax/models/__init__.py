"""Networks as Flax Linen modules: `model.apply(params, images) -> logits`."""

from saliency_jax.models.cnn import CNN
from saliency_jax.models.initializers import INITIALIZERS
from saliency_jax.models.mlp import MLP

__all__ = ["CNN", "INITIALIZERS", "MLP"]
