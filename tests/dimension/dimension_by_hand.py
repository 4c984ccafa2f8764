"""Estimates of dimension by the papers' formulas, slowly, in float64, from all distances."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize
from scipy.spatial.distance import pdist, squareform
from scipy.special import betaln

GOLDENS = (Path(__file__).resolve().parents[2] / "../shared/goldens/id_goldens.json").resolve()


def goldens():
    if not GOLDENS.exists():
        pytest.skip(f"the estimates of other programs are not here: no file {GOLDENS}")
    return json.loads(GOLDENS.read_text())


def duplicated():
    """50 of 500 points are one."""
    points = np.random.RandomState(4).randn(500, 6)
    points[::10] = points[0]
    return points


def curve():
    turn = np.random.RandomState(3).rand(2000) * 4 * np.pi
    return np.stack([np.cos(turn), np.sin(turn), turn / 5], axis=1)


def cube_in_100():
    random = np.random.RandomState(1)
    return random.rand(1000, 5) @ random.randn(5, 100)


GOLDEN_SETS = {
    "gauss10_N1000": lambda: np.random.RandomState(0).randn(1000, 10),
    "cube5_in_100_N1000": cube_in_100,
    "gauss20_N2000": lambda: np.random.RandomState(2).randn(2000, 20),
    "curve_N2000": curve,
    "dups_N500": duplicated,
}


def all_distances(points, *, period=None, groups=None):
    """`[point, point]`, infinite from a point to itself and between groups."""
    points = np.asarray(points, np.float64).reshape(len(points), -1)
    if period is None:
        found = squareform(pdist(points))
    else:
        coordinates = np.abs(points[:, None] - points) % period
        found = np.linalg.norm(np.minimum(coordinates, period - coordinates), axis=-1)
    np.fill_diagonal(found, np.inf)
    if groups is not None:
        found[np.asarray(groups)[:, None] != np.asarray(groups)] = np.inf
    return found


def sorted_neighbours(points, neighbours, **options):
    """Distances and indices, of equal distances the lower index first."""
    found = all_distances(points, **options)
    indices = np.argsort(found, axis=1, kind="stable")[:, :neighbours]
    return np.take_along_axis(found, indices, 1), indices


def distinct(points):
    points = np.asarray(points, np.float64).reshape(len(points), -1)
    return points[np.sort(np.unique(points, axis=0, return_index=True)[1])]


def log_ratios(points):
    """log(r2 / r1), sorted, of the points whose two neighbours are at two distances other than 0."""
    near, far = np.sort(all_distances(points), axis=1)[:, :2].T
    usable = (near != 0) & (near != far)
    return np.sort(np.log(far[usable] / near[usable]))


def two_nn_line(logs, kept_fraction=0.9):
    """The slope through 0, and Pearson's r, of -log(1 - i / N) against the first ratios' logarithms."""
    count = len(logs)
    # The last one's quantile is 1; the paper's code leaves out one more.
    kept = min(int(np.floor(round(kept_fraction * count, 6))), count - 2)
    x, y = logs[:kept], -np.log(1 - np.arange(1, kept + 1) / count)
    return np.sum(x * y) / np.sum(x * x), np.corrcoef(x, y)[0, 1]


def two_nn_likelihood(logs, kept_fraction=1.0):
    """The likelihood of the smallest ratios, and of the others that they are larger."""
    count = len(logs)
    kept = int(np.floor(round(kept_fraction * count, 6)))
    return (kept - 1) / (logs[:kept].sum() + (count - kept) * logs[kept - 1])


def gride_logs(points, near, far, outlier):
    found = np.sort(all_distances(distinct(points)), axis=1)
    ratios = found[:, far - 1] / found[:, near - 1]
    if outlier is not None:
        median, high = np.quantile(ratios, [0.5, 0.95])
        ratios = ratios[ratios < median + outlier * (high - median)]
    return np.log(ratios)


def gride_likelihood(d, logs, near, far):
    """The sum of log f(mu | d), f as Denti et al. write it."""
    shape = far - near
    constant = np.log(d) - betaln(shape, near)
    powers = (shape - 1) * np.log(np.expm1(d * logs)) if shape > 1 else 0 * logs
    return np.sum(constant + powers - ((far - 1) * d + 1) * logs)


def gride_maximum(logs, near, far):
    """The maximum of the likelihood less one log d, which takes the bias from TwoNN's."""
    return scipy.optimize.minimize_scalar(
        lambda d: np.log(d) - gride_likelihood(d, logs, near, far), bounds=(0.01, 200), options={"xatol": 1e-9}
    ).x


def gride_error(d, logs, near, far):
    """The inverse root of the likelihood's curvature."""
    step = 1e-4 * d
    low, middle, high = (gride_likelihood(x, logs, near, far) for x in (d - step, d, d + step))
    return (-(low - 2 * middle + high) / step**2) ** -0.5


def levina_bickel_mean(points, neighbours):
    """The inverse of the mean, over points, of eq. 8's inverse."""
    found = np.sort(all_distances(distinct(points)), axis=1)[:, :neighbours]
    return 1 / np.mean(np.log(found[:, -1:] / found[:, :-1]).mean(1))


def lattice(side, axes):
    return np.stack(np.meshgrid(*[np.arange(float(side))] * axes), -1).reshape(-1, axes)


def isometric(points, features, seed=0):
    """The points in a random subspace of more features, without a change of any distance."""
    basis, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(features, points.shape[1])))
    return points @ basis.T
