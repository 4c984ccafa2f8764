"""Activation maximization: the image that a class, a neuron, a channel or a direction of any model answers to most."""

from saliency_jax.maximization.ascent import Trace
from saliency_jax.maximization.colours import colour_matrix, decorrelated
from saliency_jax.maximization.experts import gaussian_expert, kernel_density_expert
from saliency_jax.maximization.maco import maco, mean_magnitude
from saliency_jax.maximization.maximize import Maximum, check_alive, maximize_activation
from saliency_jax.maximization.parameterizations import (
    Parameterization,
    bounded,
    decoder,
    fourier,
    masked,
    pixels,
    recoloured,
)
from saliency_jax.maximization.refinement import refine
from saliency_jax.maximization.smoothing import smoothed
from saliency_jax.maximization.terms import l2, total_variation
from saliency_jax.maximization.transformations import compose, crop, jitter, noise, rotate, scale
from saliency_jax.maximization.units import channel_score, direction_score, neuron_score

__all__ = [
    "Maximum",
    "Parameterization",
    "Trace",
    "bounded",
    "channel_score",
    "check_alive",
    "colour_matrix",
    "compose",
    "crop",
    "decoder",
    "decorrelated",
    "direction_score",
    "fourier",
    "gaussian_expert",
    "jitter",
    "kernel_density_expert",
    "l2",
    "maco",
    "masked",
    "maximize_activation",
    "mean_magnitude",
    "neuron_score",
    "noise",
    "pixels",
    "recoloured",
    "refine",
    "rotate",
    "scale",
    "smoothed",
    "total_variation",
]
