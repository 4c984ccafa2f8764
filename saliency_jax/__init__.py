"""Saliency maps for any JAX function, and the tests that tell whether to believe them.

A model is a function `apply(params, images) -> logits`; a score is a function of one image; an explainer is
`explain(score, image, key=None) -> map`; a measurement is an `xarray.Dataset`.
"""

# Explainers
from saliency_jax.explainers import (
    EXPLAINERS,
    completed,
    completeness_gap,
    constant,
    edges,
    gradient,
    gradient_times_input,
    integrated_gradients,
    noise,
    sensitivity,
    smoothgrad,
    smoothgrad_squared,
    vargrad,
)

# Sanity checks
from saliency_jax.sanity import PROTOCOLS, cascade, parameter_randomization, randomize

# From a model to what is explained
from saliency_jax.scores import batched, class_score

# Similarity of maps
from saliency_jax.similarity import METRICS, cosine, hog_correlation, pearson, spearman, ssim

# The inside of a model
from saliency_jax.tracing import Layer, layers
from saliency_jax.version import __version__

__all__ = [
    "EXPLAINERS",
    "METRICS",
    "PROTOCOLS",
    "Layer",
    "__version__",
    "batched",
    "cascade",
    "class_score",
    "completed",
    "completeness_gap",
    "constant",
    "cosine",
    "edges",
    "gradient",
    "gradient_times_input",
    "hog_correlation",
    "integrated_gradients",
    "layers",
    "noise",
    "parameter_randomization",
    "pearson",
    "randomize",
    "sensitivity",
    "smoothgrad",
    "smoothgrad_squared",
    "spearman",
    "ssim",
    "vargrad",
]
