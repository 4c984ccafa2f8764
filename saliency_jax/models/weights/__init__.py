"""Readers of published weights: arrays out of a file and into a network, without running anything that is in it."""

from saliency_jax.models.weights.fitting import fit
from saliency_jax.models.weights.hub import hub_file
from saliency_jax.models.weights.safetensors_file import load_safetensors, read_safetensors

__all__ = ["fit", "hub_file", "load_safetensors", "read_safetensors"]
