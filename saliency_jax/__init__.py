"""Saliency maps for any JAX function, and the tests that tell whether to believe them.

A model is a function `apply(params, images) -> logits`; a score is a function of one image; an explainer is
`explain(score, image, key=None) -> map`; a measurement is an `xarray.Dataset`.
"""

# Batches of explanations
from saliency_jax.batches import batched

# What every explainer owes, as one call
from saliency_jax.contract import check_explainer

# The intrinsic dimension of data in a network's layers
from saliency_jax.dimension import (
    Dimension,
    gride,
    layer_dimensions,
    layer_dimensions_along,
    levina_bickel,
    nearest_neighbours,
    pca_dimension,
    two_nn,
)

# Explainers
from saliency_jax.explainers import (
    EXPLAINERS,
    Conservation,
    completed,
    completeness_gap,
    composites,
    conservation,
    constant,
    deconvnet,
    deep_lift,
    edges,
    grad_cam,
    gradient,
    gradient_times_input,
    guided_backprop,
    guided_grad_cam,
    integrated_gradients,
    lrp,
    noise,
    relus,
    rules,
    sensitivity,
    simple_taylor,
    smoothgrad,
    smoothgrad_squared,
    together,
    vargrad,
)

# The input that a unit answers to most
from saliency_jax.maximization import Maximum, maximize_activation

# A model in another precision
from saliency_jax.precision import in_precision

# How good a map is as an explanation
from saliency_jax.robustness import (
    average_sensitivity,
    continuity,
    infidelity,
    lipschitz_estimate,
    max_sensitivity,
    selectivity,
)

# Sanity checks
from saliency_jax.sanity import PROTOCOLS, cascade, data_randomization, parameter_randomization, randomize, verdicts

# From a model to what is explained
from saliency_jax.scores import class_score

# Similarity of maps
from saliency_jax.similarity import METRICS, cosine, hog_correlation, pearson, spearman, ssim

# The inside of a model
from saliency_jax.tracing import Layer, Site, Tap, activations, block_outputs, blocks, layers, override, taps
from saliency_jax.version import __version__

__all__ = [
    "EXPLAINERS",
    "METRICS",
    "PROTOCOLS",
    "Conservation",
    "Dimension",
    "Layer",
    "Maximum",
    "Site",
    "Tap",
    "__version__",
    "activations",
    "average_sensitivity",
    "batched",
    "block_outputs",
    "blocks",
    "cascade",
    "check_explainer",
    "class_score",
    "completed",
    "completeness_gap",
    "composites",
    "conservation",
    "constant",
    "continuity",
    "cosine",
    "data_randomization",
    "deconvnet",
    "deep_lift",
    "edges",
    "grad_cam",
    "gradient",
    "gradient_times_input",
    "gride",
    "guided_backprop",
    "guided_grad_cam",
    "hog_correlation",
    "in_precision",
    "infidelity",
    "integrated_gradients",
    "layer_dimensions",
    "layer_dimensions_along",
    "layers",
    "levina_bickel",
    "lipschitz_estimate",
    "lrp",
    "max_sensitivity",
    "maximize_activation",
    "nearest_neighbours",
    "noise",
    "override",
    "parameter_randomization",
    "pca_dimension",
    "pearson",
    "randomize",
    "relus",
    "rules",
    "selectivity",
    "sensitivity",
    "simple_taylor",
    "smoothgrad",
    "smoothgrad_squared",
    "spearman",
    "ssim",
    "taps",
    "together",
    "two_nn",
    "vargrad",
    "verdicts",
]
