"""What every estimator of dimension returns, and where its neighbours come from."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from saliency_jax.dimension.neighbours import Neighbours, nearest_neighbours
from saliency_jax.dimension.points import NoDimension, as_matrix, first_copies


class Dimension(NamedTuple):
    """An estimate of the dimension of the set that points lie on.

    Above about 20 no estimator keeps up with the true dimension: a value there is a lower bound.

    Attributes:
        value: the estimate; for Gride one for each range, `[range]`, and so are the others.
        low: the lower end of its interval.
        high: the upper end.
        points: how many points it is made of.
        duplicates: how many points have a copy, at distance 0.
        fit: how well the points follow the estimator's model, 1 being best; what it is, each estimator says.
        error: the standard error if points were independent, which other programs report; they are not, and it is too
            small. NaN where there is none.
        scale: the mean distance of the neighbours that it looks at, in the unit of the points; NaN where there is none.
    """

    value: Any
    low: Any
    high: Any
    points: Any
    duplicates: int
    fit: Any
    error: Any = float("nan")
    scale: Any = float("nan")


def neighbours_of(points: Any, neighbours: int) -> Neighbours:
    """The neighbours of points, or those that were found before.

    Raises:
        ValueError: there are fewer than `neighbours`, or some of a point are missing.
    """
    if not isinstance(points, Neighbours):
        return nearest_neighbours(points, neighbours=neighbours)
    if points.distances.shape[1] < neighbours:
        raise ValueError(
            f"the Neighbours given must hold at least {neighbours} for each point, got {points.distances.shape[1]}"
        )
    missing = np.count_nonzero(~np.isfinite(np.asarray(points.distances)[:, :neighbours]).all(1))
    if missing:
        raise ValueError(f"the Neighbours given must hold {neighbours} of every point, but {missing} points have fewer")
    return points


def distinct_neighbours_of(points: Any, neighbours: int) -> tuple[Neighbours, int]:
    """The neighbours among distinct points, of equal ones the first, and how many points have a copy.

    Copies of one point would be all of its nearest neighbours, and much of those of the points around.

    Raises:
        ValueError: Neighbours are given that were found among copies.
        NoDimension: too few points are distinct.
    """
    found = neighbours_of(points, neighbours)
    has_copy = np.asarray(found.distances)[:, 0] == 0
    copies = int(has_copy.sum())
    if not copies:
        return found, 0
    if isinstance(points, Neighbours):
        raise ValueError(f"the Neighbours given must be among distinct points, but {copies} have a copy: pass points")
    matrix = as_matrix(points)
    kept = matrix[first_copies(matrix, has_copy)]
    if len(kept) <= neighbours:
        raise NoDimension(
            f"points must hold more than {neighbours} distinct ones to have {neighbours} neighbours, got {len(kept)} "
            f"({copies} of {len(matrix)} have a copy)"
        )
    return nearest_neighbours(kept, neighbours=neighbours), copies
