"""Tests of whether an explainer's maps depend on the model and on the data."""

from saliency_jax.sanity.initializers import own_initializer, permutation, truncated_normal, uniform
from saliency_jax.sanity.nulls import NULLS
from saliency_jax.sanity.parameter_test import parameter_randomization
from saliency_jax.sanity.protocols import PROTOCOLS, Protocol
from saliency_jax.sanity.randomization import Stage, cascade, randomize, stages

__all__ = [
    "NULLS",
    "PROTOCOLS",
    "Protocol",
    "Stage",
    "cascade",
    "own_initializer",
    "parameter_randomization",
    "permutation",
    "randomize",
    "stages",
    "truncated_normal",
    "uniform",
]
