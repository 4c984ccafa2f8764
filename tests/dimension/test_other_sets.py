"""Sets of other kinds than those that the estimators were written with, against the formulas in float64."""

from contextlib import nullcontext

import dimension_by_hand as by_hand
import jax
import numpy as np
import pytest

from saliency_jax.dimension import gride, levina_bickel, two_nn

COUNT = 400
random = np.random.default_rng(77)


def clifford_torus(circles):
    """A product of circles: flat, without a boundary, in twice as many dimensions as it has."""
    turns = random.uniform(0, 2 * np.pi, (COUNT, circles))
    return np.concatenate([np.cos(turns), np.sin(turns)], axis=1)


def swiss_roll():
    turn = 1.5 * np.pi * (1 + 2 * random.random(COUNT))
    roll = np.stack([turn * np.cos(turn), 21 * random.random(COUNT), turn * np.sin(turn)], axis=1)
    return by_hand.isometric(roll, 10)


def uniform_times_gaussian():
    return by_hand.isometric(
        np.concatenate([4 * random.random((COUNT, 3)), random.normal(size=(COUNT, 4))], axis=1), 10
    )


def with_fifty_copies():
    """Pairs, and many copies of two; as many distinct ones as the other sets have."""
    points = random.normal(size=(COUNT, 10))
    return np.concatenate([points, points[:30], np.tile(points[:1], (10, 1)), np.tile(points[70:71], (10, 1))])


SETS = {
    "torus": clifford_torus(5),
    "Swiss roll": swiss_roll(),
    "uniform times Gaussian": uniform_times_gaussian(),
    "copies": with_fifty_copies(),
}


@pytest.mark.slow
@pytest.mark.parametrize(("precise", "bound", "offset"), [(True, 1e-8, 0), (False, 2e-4, 100)])
@pytest.mark.parametrize("name", list(SETS))
def test_estimates_are_those_of_the_formulas(name, precise, bound, offset):
    points = SETS[name]
    points = points + offset * np.linalg.norm(points, axis=1).mean()
    # What the numbers are, before they are rounded to float32.
    logs = by_hand.log_ratios(points)
    with jax.enable_x64(True) if precise else nullcontext():
        line, ml = two_nn(points), two_nn(points, method="ml")
        bickel, scales = levina_bickel(points, neighbours=7), gride(points, ranges=[1, (2, 5)], outlier=None)
    np.testing.assert_allclose([line.value, line.fit], by_hand.two_nn_line(logs), rtol=bound)
    np.testing.assert_allclose(ml.value, by_hand.two_nn_likelihood(logs), rtol=bound)
    np.testing.assert_allclose(bickel.value, by_hand.levina_bickel_mean(points, 7), rtol=bound)
    copies = int((by_hand.all_distances(points).min(1) == 0).sum())
    assert line.duplicates == bickel.duplicates == scales.duplicates == copies
    assert line.points == len(logs)
    for value, pair in zip(scales.value, [(1, 2), (2, 5)], strict=True):
        ratios = by_hand.gride_logs(points, *pair, None)
        np.testing.assert_allclose(value, by_hand.gride_maximum(ratios, *pair), rtol=max(bound, 1e-6))
