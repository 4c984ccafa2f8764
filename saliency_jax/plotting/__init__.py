"""Figures drawn from the Datasets of measurements alone."""

from saliency_jax.plotting.bars import similarity_bars
from saliency_jax.plotting.curves import similarity_curves
from saliency_jax.plotting.dimension import dimension_profiles, dimension_spectra
from saliency_jax.plotting.evidence import evidence_table
from saliency_jax.plotting.map_colours import map_overlay
from saliency_jax.plotting.maps import explainer_maps, map_grid, show_map, show_overlay
from saliency_jax.plotting.prototype_pictures import patches_of_network, prototype_patches
from saliency_jax.plotting.prototypes import points_table, prototype_gallery
from saliency_jax.plotting.style import COLOURS, CONTROLS, MARKERS, TITLES, readable, save

__all__ = [
    "COLOURS",
    "CONTROLS",
    "MARKERS",
    "TITLES",
    "dimension_profiles",
    "dimension_spectra",
    "evidence_table",
    "explainer_maps",
    "map_grid",
    "map_overlay",
    "patches_of_network",
    "points_table",
    "prototype_gallery",
    "prototype_patches",
    "readable",
    "save",
    "show_map",
    "show_overlay",
    "similarity_bars",
    "similarity_curves",
]
