"""ProtoPNet: this part of the image looks like that part of a training image."""

from saliency_jax.prototypes import losses
from saliency_jax.prototypes.analysis import explain, patch_boxes
from saliency_jax.prototypes.backbone import Trunk, trunk_activation
from saliency_jax.prototypes.duplicates import Duplicates, duplicates
from saliency_jax.prototypes.ensemble import summed
from saliency_jax.prototypes.fitting import Epoch, Fitted, fit
from saliency_jax.prototypes.initialization import drawn_patches
from saliency_jax.prototypes.maps import class_evidence, nearest_prototype
from saliency_jax.prototypes.misalignment import Misalignment, misalignment
from saliency_jax.prototypes.nearest import NearestImages, nearest_images
from saliency_jax.prototypes.network import Comparison, ProtoPNet, own_class, prototype_classes
from saliency_jax.prototypes.parts import Parts, Score, consistency, part_hits, stability, with_noise
from saliency_jax.prototypes.projection import Projection, Sources, project
from saliency_jax.prototypes.pruning import Pruned, keep, prune
from saliency_jax.prototypes.schedule import Recipe, Stage, schedule
from saliency_jax.prototypes.upsampling import high_activation_box, high_activation_boxes, upsampled

__all__ = [
    "Comparison",
    "Duplicates",
    "Epoch",
    "Fitted",
    "Misalignment",
    "NearestImages",
    "Parts",
    "Projection",
    "ProtoPNet",
    "Pruned",
    "Recipe",
    "Score",
    "Sources",
    "Stage",
    "Trunk",
    "class_evidence",
    "consistency",
    "drawn_patches",
    "duplicates",
    "explain",
    "fit",
    "high_activation_box",
    "high_activation_boxes",
    "keep",
    "losses",
    "misalignment",
    "nearest_images",
    "nearest_prototype",
    "own_class",
    "part_hits",
    "patch_boxes",
    "project",
    "prototype_classes",
    "prune",
    "schedule",
    "stability",
    "summed",
    "trunk_activation",
    "upsampled",
    "with_noise",
]
