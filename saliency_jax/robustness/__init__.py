"""How good a map is as an explanation: whether it moves with its image, and whether it finds what the score needs."""

from saliency_jax.robustness.continuity import continuity
from saliency_jax.robustness.infidelity import gaussian_noise, infidelity, perturbations, square_removal
from saliency_jax.robustness.kinks import Kinks, nearest_kinks
from saliency_jax.robustness.lipschitz import lipschitz_estimate
from saliency_jax.robustness.points import perturbed_images
from saliency_jax.robustness.selectivity import selectivity
from saliency_jax.robustness.sensitivity import average_sensitivity, max_sensitivity

__all__ = [
    "Kinks",
    "average_sensitivity",
    "continuity",
    "gaussian_noise",
    "infidelity",
    "lipschitz_estimate",
    "max_sensitivity",
    "nearest_kinks",
    "perturbations",
    "perturbed_images",
    "selectivity",
    "square_removal",
]
