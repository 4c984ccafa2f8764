"""Saliency maps of one image: `explain(score, image, key=None) -> map`."""

from saliency_jax.explainers.cam import grad_cam, guided_grad_cam
from saliency_jax.explainers.controls import constant, edges, noise
from saliency_jax.explainers.deep_lift import deep_lift
from saliency_jax.explainers.gradients import gradient, gradient_times_input, sensitivity, simple_taylor
from saliency_jax.explainers.lrp import Conservation, composites, conservation, lrp, rules
from saliency_jax.explainers.path import completed, completeness_gap, integrated_gradients
from saliency_jax.explainers.rectifiers import deconvnet, guided_backprop, relus
from saliency_jax.explainers.registry import EXPLAINERS
from saliency_jax.explainers.smoothing import smoothgrad, smoothgrad_squared, vargrad
from saliency_jax.explainers.together import together

__all__ = [
    "EXPLAINERS",
    "Conservation",
    "completed",
    "completeness_gap",
    "composites",
    "conservation",
    "constant",
    "deconvnet",
    "deep_lift",
    "edges",
    "grad_cam",
    "gradient",
    "gradient_times_input",
    "guided_backprop",
    "guided_grad_cam",
    "integrated_gradients",
    "lrp",
    "noise",
    "relus",
    "rules",
    "sensitivity",
    "simple_taylor",
    "smoothgrad",
    "smoothgrad_squared",
    "together",
    "vargrad",
]
