"""Tests of whether an explainer's maps depend on the model and on the data."""

from saliency_jax.sanity.completeness import completeness_along_cascade
from saliency_jax.sanity.cosine_convergence import cosine_convergence, layer_cosine_convergence
from saliency_jax.sanity.edge_test import edge_similarity
from saliency_jax.sanity.efficient_mprt import efficient_mprt
from saliency_jax.sanity.engineered_test import mass_share, task_dependence
from saliency_jax.sanity.evidence import evidence
from saliency_jax.sanity.initializers import own_initializer, permutation, truncated_normal, uniform
from saliency_jax.sanity.input_invariance import input_invariance
from saliency_jax.sanity.label_test import Fit, data_randomization, permuted_labels
from saliency_jax.sanity.masked import masked_randomization, masked_similarity, masked_spearman
from saliency_jax.sanity.nulls import NULLS
from saliency_jax.sanity.parameter_test import parameter_randomization
from saliency_jax.sanity.protocols import PROTOCOLS, Protocol
from saliency_jax.sanity.random_logit import random_logit
from saliency_jax.sanity.randomization import Stage, cascade, randomize, stages
from saliency_jax.sanity.removal import remove_pixels
from saliency_jax.sanity.roar import roar
from saliency_jax.sanity.smooth_mprt import smooth_mprt
from saliency_jax.sanity.verdicts import verdicts

__all__ = [
    "NULLS",
    "PROTOCOLS",
    "Fit",
    "Protocol",
    "Stage",
    "cascade",
    "completeness_along_cascade",
    "cosine_convergence",
    "data_randomization",
    "edge_similarity",
    "efficient_mprt",
    "evidence",
    "input_invariance",
    "layer_cosine_convergence",
    "masked_randomization",
    "masked_similarity",
    "masked_spearman",
    "mass_share",
    "own_initializer",
    "parameter_randomization",
    "permutation",
    "permuted_labels",
    "random_logit",
    "randomize",
    "remove_pixels",
    "roar",
    "smooth_mprt",
    "stages",
    "task_dependence",
    "truncated_normal",
    "uniform",
    "verdicts",
]
