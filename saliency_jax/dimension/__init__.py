"""The intrinsic dimension of points and of a network's layers.

Above about 20 every common estimator is a lower bound; see `experiments/dimension_bias.py` for how much each misses.
"""

from saliency_jax.dimension.gride import gride
from saliency_jax.dimension.layers import layer_dimensions, layer_dimensions_along
from saliency_jax.dimension.levina_bickel import levina_bickel
from saliency_jax.dimension.neighbours import Neighbours, among, nearest_neighbours
from saliency_jax.dimension.points import NoDimension
from saliency_jax.dimension.result import Dimension
from saliency_jax.dimension.spectrum import Spectrum, gaussian_control, pca_dimension, spectrum
from saliency_jax.dimension.subsamples import Decimation, decimation, resampled
from saliency_jax.dimension.two_nn import two_nn

__all__ = [
    "Decimation",
    "Dimension",
    "Neighbours",
    "NoDimension",
    "Spectrum",
    "among",
    "decimation",
    "gaussian_control",
    "gride",
    "layer_dimensions",
    "layer_dimensions_along",
    "levina_bickel",
    "nearest_neighbours",
    "pca_dimension",
    "resampled",
    "spectrum",
    "two_nn",
]
