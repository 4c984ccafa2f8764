"""Saliency maps of one image: `explain(score, image, key=None) -> map`."""

from saliency_jax.explainers.controls import constant, edges, noise
from saliency_jax.explainers.gradients import gradient, gradient_times_input, sensitivity
from saliency_jax.explainers.path import completed, completeness_gap, integrated_gradients
from saliency_jax.explainers.registry import EXPLAINERS
from saliency_jax.explainers.smoothing import smoothgrad, smoothgrad_squared, vargrad

__all__ = [
    "EXPLAINERS",
    "completed",
    "completeness_gap",
    "constant",
    "edges",
    "gradient",
    "gradient_times_input",
    "integrated_gradients",
    "noise",
    "sensitivity",
    "smoothgrad",
    "smoothgrad_squared",
    "vargrad",
]
