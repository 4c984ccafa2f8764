"""Training of classifiers: an epoch is one program on the device, and the same key gives the same bits."""

from saliency_jax.training.classifier import History, Progress, Trained, train
from saliency_jax.training.evaluation import evaluate

__all__ = ["History", "Progress", "Trained", "evaluate", "train"]
