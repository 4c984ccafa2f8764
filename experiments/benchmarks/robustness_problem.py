"""The images and weights of robustness.py, and what this library measures on them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from peer_networks import Network, mnist_cnn

import saliency_jax as sj
from saliency_jax.robustness import (
    continuity,
    gaussian_noise,
    infidelity,
    lipschitz_estimate,
    max_sensitivity,
    perturbations,
    perturbed_images,
    selectivity,
)

RADIUS = 0.1
KEY = 0
NOISE = gaussian_noise(RADIUS)
SHIFTS = tuple((0, d) for d in range(-26, 27, 2) if d)
"""The translations of Quantus' continuity at 27 steps of an image of 28 pixels; at 0 nothing moves."""
DRAWS_ALONE: dict[str, int] = {"kinks": 0, "ascent": 0}
"""Without the searches that the peers do not have."""

Values = Callable[[], np.ndarray]
"""`values() -> array`: a measure of every image, by one of the two sides."""


class Problem(NamedTuple):
    """The same images and weights on both sides.

    Attributes:
        network, params, images, targets: here.
        model, x, y: there, channels first.
        samples: perturbations of each image.
    """

    network: Network
    params: Any
    images: jax.Array
    targets: jax.Array
    model: torch.nn.Module
    x: np.ndarray
    y: np.ndarray
    samples: int


def problem(drawn: int, count: int, samples: int, dtype: Any) -> Problem:
    """The first `count` images of a fixed draw; digits are not needed, since nothing is said of the explainer."""
    network = mnist_cnn()
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(drawn, *network.image_shape)).astype(np.float32)[:count].astype(dtype)
    images[:, 0, 0] = 0
    targets = rng.integers(0, network.classes, drawn)[:count]
    params = jax.tree.map(lambda v: jnp.asarray(np.asarray(v), dtype), network.params)
    model = network.torch_model(network.params).eval().to(torch.float64 if dtype == np.float64 else torch.float32)
    return Problem(
        network,
        params,
        jnp.asarray(images),
        jnp.asarray(targets, jnp.int32),
        model,
        images.transpose(0, 3, 1, 2).copy(),
        targets,
        samples,
    )


def points(of: Problem, norm: Literal["l2", "linf"]) -> jax.Array:
    """The points that this library draws around every image, `[sample, batch, ...]`."""
    return perturbed_images(of.images, key=jax.random.key(KEY), radius=RADIUS, norm=norm, samples=of.samples)


def noise(of: Problem) -> jax.Array:
    """The noise that this library draws for infidelity, `[sample, batch, ...]`."""
    return perturbations(of.images, NOISE, key=jax.random.key(KEY), samples=of.samples)


def _among_draws(measure: Callable, value: Callable[[Any], Any]) -> Callable[[Problem], Values]:
    """A measure that searches balls, here among points that are drawn there alone."""
    return lambda of: _measured(of, measure, value, radius=RADIUS, samples=of.samples, **DRAWS_ALONE)


relative_max_sensitivity = _among_draws(max_sensitivity, lambda found: found.relative_max_sensitivity)
"""Max-sensitivity over the length of the map."""
local_lipschitz = _among_draws(lipschitz_estimate, lambda found: found.lipschitz_estimate)
"""The local Lipschitz estimate."""


def continuity_of_translations(of: Problem) -> Values:
    """Continuity among the translations alone."""
    return _measured(
        of,
        continuity,
        lambda found: found.by_search.sel(search="translations"),
        radius=RADIUS,
        translations=SHIFTS,
        samples=1,
        **DRAWS_ALONE,
    )


def patch_curve(of: Problem, **options: int) -> Values:
    """The curves of selectivity after the first value, that of the whole image."""
    return _measured(of, selectivity, lambda found: found.curve[:, 1:], **options)


def gaussian_infidelity(of: Problem) -> Values:
    """Infidelity under Gaussian noise."""
    return _measured(of, infidelity, lambda found: found.infidelity, perturbation=NOISE, samples=of.samples)


def _measured(of: Problem, measure: Callable, value: Callable[[Any], Any], **options: Any) -> Callable[[], np.ndarray]:
    """A measure by this library, and what of its Dataset is compared."""
    call = partial(
        measure,
        of.network.apply,
        of.params,
        of.images,
        of.targets,
        {"gradient": sj.gradient},
        key=jax.random.key(KEY),
        **options,
    )
    return lambda: np.asarray(value(call().isel(explainer=0)))
