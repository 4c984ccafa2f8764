"""How many prototypes are really different ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jax import Array
from jaxtyping import Float

from saliency_jax.checks import check_floating
from saliency_jax.prototypes.projection import Sources


class Duplicates(NamedTuple):
    """How many different training patches the prototypes are, and how many different vectors."""

    prototypes: int
    patches: int
    """Different places: (image, row, column)."""
    images: int
    """Different training images."""
    vectors: int
    """Different vectors: a blank patch of two images is one."""

    @property
    def unique(self) -> float:
        """The share of prototypes that are patches of their own, patches / prototypes."""
        return self.patches / self.prototypes


def duplicates(sources: Sources, vectors: Float[Array | np.ndarray, "prototype depth"]) -> Duplicates:
    """Count the different patches, images and vectors among projected prototypes.

    Args:
        sources: where the prototypes come from.
        vectors: the prototypes, `variables["params"]["prototype_vectors"]`.

    Raises:
        ValueError: the two are not of equally many prototypes.
        TypeError: sources are not those of a projection, or vectors not floating point.
    """
    if not isinstance(sources, Sources):
        raise TypeError(f"sources must be a projection's, got {type(sources).__name__}")
    check_floating(vectors, "vectors")
    vectors = np.asarray(vectors)
    if vectors.ndim != 2:
        raise ValueError(f"vectors must be [prototype, depth], got shape {vectors.shape}")
    if len(vectors) != len(sources.image):
        raise ValueError(f"vectors must be one for each of {len(sources.image)} prototypes, got {len(vectors)}")
    places = np.stack([sources.image, sources.row, sources.column], axis=1)
    return Duplicates(
        len(vectors), len(np.unique(places, axis=0)), len(np.unique(sources.image)), len(np.unique(vectors, axis=0))
    )
