"""Layer-wise relevance propagation for any JAX function."""

from saliency_jax.explainers.lrp import composites, rules
from saliency_jax.explainers.lrp.conservation import Conservation, conservation
from saliency_jax.explainers.lrp.propagation import lrp

__all__ = ["Conservation", "composites", "conservation", "lrp", "rules"]
