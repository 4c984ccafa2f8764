"""Tests of whether an explainer's maps depend on the model and on the data."""

from saliency_jax.sanity.initializers import own_initializer, permutation, truncated_normal, uniform
from saliency_jax.sanity.label_test import Fit, data_randomization, permuted_labels
from saliency_jax.sanity.nulls import NULLS
from saliency_jax.sanity.parameter_test import parameter_randomization
from saliency_jax.sanity.protocols import PROTOCOLS, Protocol
from saliency_jax.sanity.randomization import Stage, cascade, randomize, stages
from saliency_jax.sanity.verdicts import verdicts

__all__ = [
    "NULLS",
    "PROTOCOLS",
    "Fit",
    "Protocol",
    "Stage",
    "cascade",
    "data_randomization",
    "own_initializer",
    "parameter_randomization",
    "permutation",
    "permuted_labels",
    "randomize",
    "stages",
    "truncated_normal",
    "uniform",
    "verdicts",
]
