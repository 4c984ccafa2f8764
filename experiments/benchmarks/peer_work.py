"""All that peers.py compares: what both sides compute, in float64 to see that it is the same, in float32 for time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import jax
import numpy as np
from arithmetic import operations
from peer_networks import NETWORKS, ONE_PASS, SAMPLED, Network

import saliency_jax as sj

INSTALLED = frozenset(
    name for name in ("captum", "zennit", "quantus", "skdim", "torchvision") if find_spec(name) is not None
)
"""Looked up before Zennit's import, which puts a stand-in for torchvision where that is missing."""
GRADIENTS = {"gradient": 1, "guided_backprop": 1, "integrated_gradients": 64, "smoothgrad": 50}
"""How many gradients an explainer's map is made of, where it is made of gradients."""
OF_MAPS = ("captum", "zennit")
OF_QUANTUS = (*OF_MAPS, "quantus")
CASCADES: dict[str, tuple[int, tuple[str, ...]]] = {
    "mnist_cnn": (100, ("gradient", "guided_backprop", "grad_cam", "integrated_gradients", "smoothgrad")),
    "squeezenet": (8, ("gradient", "guided_backprop", "grad_cam")),
    "resnet50": (2, ("gradient",)),
    "vit_s": (2, ("gradient",)),
    "inception_v3": (2, ("gradient",)),
}
"""Network -> how many images, and the explainers, of its cascade."""
UNTUNED = {"integrated_gradients": {"internal_batch_size": None}, "smoothgrad": {"nt_samples_batch_size": None}}
"""Captum's own defaults, where a few samples at a time are faster: all samples of all images at once."""
SMOOTH_IMAGES, SMOOTH_SAMPLES, SMOOTH_NOISE = 32, 50, 0.1
MEASURED = {"images": 32, "samples": 50, "compared": 3}
POINTS, FEATURES, DIMENSION = 2000, 784, 10


class Sides(NamedTuple):
    """One piece of work on both sides, set up.

    Attributes:
        difference: of what the two sides compute, over the largest value.
        ours, theirs: the work, in float32.
        operations: that the definition takes in products of matrices and convolutions, where they can be counted.
        bytes: of the parameters, images and maps.
    """

    difference: float
    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    operations: float | None = None
    bytes: float = 0.0


class Work(NamedTuple):
    """One row of the comparison.

    Attributes:
        name, network, batch: of the row; a batch counts images, or points.
        peer: the other library.
        needs: the packages that the other side imports.
        sides: sets up both sides.
        reason: why there is nothing to compare, where there is not.
        compiles: whether each call compiles anew.
    """

    name: str
    network: str
    batch: int
    peer: str
    needs: tuple[str, ...]
    sides: Callable[[], Sides]
    reason: str | None = None
    compiles: bool = False

    def missing(self) -> str | None:
        """Why this row is skipped, or None where it is not."""
        absent = [name for name in self.needs if name not in INSTALLED]
        return f"{', '.join(absent)} is not installed" if absent else self.reason


def all_work(
    networks: tuple[str, ...], batches: tuple[int, ...], explainers: tuple[str, ...], *, cascades: bool, measures: bool
) -> Iterator[Work]:
    """The rows, one network after another; both sides of a row are made when it is its turn.

    Args:
        networks: whose maps are compared.
        batches: how many images at once; explainers of many gradients take one image alone on large networks.
        explainers: which.
        cascades: whether whole randomization tests are compared too.
        measures: whether measures of maps and of dimension are compared too.
    """
    for name in networks:
        network = NETWORKS[name]()
        agreed: dict[str, float] = {}
        for batch in batches:
            for explainer in explainers:
                if explainer in ONE_PASS or batch == min(batches) or name == "mnist_cnn":
                    yield _map(network, name, explainer, batch, agreed)
                if explainer in SAMPLED and name == "mnist_cnn":
                    yield _map(network, name, explainer, batch, agreed, UNTUNED)
        if cascades:
            count, asked = CASCADES[name]
            sides = partial(_cascade, network, asked, count)
            yield Work("cascade", name, count, "Quantus", (*OF_QUANTUS, *network.needs), sides, compiles=True)
        if cascades and name == "mnist_cnn":
            sides = partial(_smooth_mprt, network)
            yield Work("smooth MPRT", name, SMOOTH_IMAGES, "Quantus", OF_QUANTUS, sides, compiles=True)
    if measures:
        for measure in ("continuity", "selectivity"):
            sides = partial(_measure, measure)
            yield Work(measure, "mnist_cnn", MEASURED["images"], "Quantus", OF_QUANTUS, sides)
        yield Work("TwoNN", f"{FEATURES} features", POINTS, "scikit-dimension", ("skdim",), _two_nn)


def drawn(network: Network, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of noise and their classes: nothing is said of what the maps show."""
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(count, *network.image_shape)).astype(np.float32)
    return images, rng.integers(0, network.classes, count)


def _map(
    network: Network,
    network_name: str,
    name: str,
    batch: int,
    agreed: dict[str, float],
    settings: Mapping[str, Mapping[str, Any]] = {},
) -> Work:
    def sides() -> Sides:
        import peer_maps as maps

        images, targets = drawn(network, batch)
        if name not in agreed:
            agreed[name] = maps.difference_in_double(network, name, images[:1], targets[:1])
        params = network.params
        weights = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
        count = batch * GRADIENTS[name] * _of_gradient(network) if name in GRADIENTS else None
        return Sides(
            agreed[name],
            maps.ours(network, params, maps.OURS[name], images, targets),
            maps.theirs(network, params, name, images, targets, **settings.get(name, {})),
            count,
            weights + 2.0 * images.nbytes,
        )

    peer = "Zennit" if name == "lrp" else "Captum as it comes" if settings else "Captum"
    return Work(name, network_name, batch, peer, (*OF_MAPS, *network.needs), sides, network.left_out.get(name))


def _of_gradient(network: Network) -> float:
    """The operations of one image's gradient."""
    image = jax.ShapeDtypeStruct(network.image_shape, np.float32)
    return operations(
        lambda params, x: jax.grad(sj.class_score(network.apply, params, 0))(x),
        jax.eval_shape(network.draw, jax.random.key(0)),
        image,
    )


def _cascade(network: Network, names: tuple[str, ...], count: int) -> Sides:
    import peer_cascades as cascades

    # Each side draws noise of its own; that SmoothGrad is the same is seen where its maps are compared.
    exact = tuple(name for name in names if name != "smoothgrad")
    few = drawn(network, 1)
    here = cascades.our_cascade(network, exact, *few)().to_numpy()
    there = cascades.their_cascade(network, exact, *few)()
    images = drawn(network, count)
    # A map of one value has no rank correlation on either side.
    apart = np.where(np.isnan(here) & np.isnan(there), 0, here - there)
    return Sides(
        float(np.abs(apart).max()),
        cascades.our_cascade(network, names, *images),
        cascades.their_cascade(network, names, *images),
    )


def _smooth_mprt(network: Network) -> Sides:
    import peer_cascades as cascades

    images, targets = drawn(network, SMOOTH_IMAGES)
    ours = partial(cascades.our_smooth_mprt, network, "gradient", images, targets)
    theirs = partial(cascades.their_smooth_mprt, network, "gradient", images, targets)
    # Each side draws noise of its own; without any they have to agree.
    apart = ours(samples=2, noise=0.0)().to_numpy() - theirs(samples=2, noise=0.0)()
    return Sides(
        float(np.abs(apart).max()),
        ours(samples=SMOOTH_SAMPLES, noise=SMOOTH_NOISE),
        theirs(samples=SMOOTH_SAMPLES, noise=SMOOTH_NOISE),
    )


def _measure(name: str) -> Sides:
    import robustness_measures as robustness

    measure = robustness.MEASURES[name]
    of = robustness.problem(MEASURED["images"], MEASURED["images"], MEASURED["samples"], np.float32)
    difference = robustness.difference_in_double(measure, **MEASURED)
    return Sides(difference, measure.ours(of), measure.theirs(of))


def _two_nn() -> Sides:
    import dimension_ways as ways

    points = ways.sampled(POINTS, FEATURES, DIMENSION, 0)
    here, there = ways.ours(points), ways.peer(points)
    # The lengths of all points, and the products of all pairs: what the nearest neighbours are chosen by.
    products = 2.0 * POINTS**2 * FEATURES
    return Sides(abs(here / there - 1), partial(ways.ours, points), partial(ways.peer, points), products)
