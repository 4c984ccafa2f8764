"""Which network is explained on which images, digits or photographs, and by which explainers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from digits import Digits, prepare, set_up, trained_params
from photographs import Photographs
from photographs import prepare as prepare_photographs

import saliency_jax as sj
from saliency_jax import plotting
from saliency_jax.data.preprocessing import displayed
from saliency_jax.explainers import EXPLAINERS as NAMED
from saliency_jax.typing import Explainer

RANDOM = "noise"

# Five hundred images are explained by each: paths and averages are shorter than in the paper's settings.
EXPLAINERS: Mapping[str, Explainer] = {
    **NAMED,
    "integrated_gradients": partial(sj.integrated_gradients, steps=16),
    "smoothgrad": sj.smoothgrad(sj.gradient, samples=16, noise=0.15),
    "smoothgrad_squared": sj.smoothgrad_squared(sj.gradient, samples=16, noise=0.15),
    "vargrad": sj.vargrad(sj.gradient, samples=16, noise=0.15),
    "deep_taylor": partial(sj.lrp, composite=sj.composites.deep_taylor),
}


@dataclass(frozen=True)
class Explained(Digits):
    """Which network on which images: digits, or photographs where a folder of them is given."""

    images: int = 500
    """How many images are explained: the first ones, or of photographs as many, spread evenly."""
    photographs: tuple[Path, ...] = ()
    """Pictures in place of the digits: files, folders of files, or .npz archives."""
    network: str = "squeezenet1_1"
    """Of photographs: the published network, by its name in photographs.py."""
    weights: Path | None = None
    """Of photographs: the file of its weights, where no installed package brings them."""
    batch: int | None = None
    """How many images are explained at once; as many as the memory holds if not given."""


class Subject(NamedTuple):
    """What is explained.

    Attributes:
        apply, params: the network.
        images, targets: what it is asked about.
        pictures: the images as people see them, in [0, 1]: networks have units and an order of colours of their own.
        fill: what stands for a removed pixel, one number for each channel.
        image_range: the range of the images; None where their units have none.
        described: the network and the data, in a line.
    """

    apply: Any
    params: Any
    images: jax.Array
    targets: jax.Array
    pictures: np.ndarray
    fill: np.ndarray
    image_range: tuple[float, float] | None
    described: str


def subject(options: Explained, explainers: tuple[str, ...]) -> Subject:
    """The trained CNN and the first test digits with their labels, or a published network and photographs."""
    if options.photographs:
        set_up(explainers, EXPLAINERS, options.out, options.compilation_cache)
        chosen = Photographs(options.photographs, options.network, options.weights, limit=options.images)
        network, explained = prepare_photographs(chosen)
        images = jnp.asarray(explained.images)
        fill = np.asarray(images.mean(axis=(0, 1, 2)))
        described = f"{options.network}, {len(images)} photographs"
        predicted = jnp.asarray(explained.predicted)
        pictures = displayed(explained.images, network.preprocessing) / np.float32(255)
        return Subject(network.model.apply, network.params, images, predicted, pictures, fill, None, described)
    test = prepare(options, (), options.images)
    set_up(explainers, EXPLAINERS, options.out, options.compilation_cache)
    model, params = trained_params(options)
    images = jnp.asarray(test.images[: options.images])
    labels = jnp.asarray(test.labels[: options.images]).astype(jnp.int32)
    described = f"{options.model} on {options.dataset} ({options.source}), {len(images)} images"
    black, pictures = np.zeros(images.shape[-1]), np.asarray(images)
    return Subject(model.apply, params, images, labels, pictures, black, (0.0, 1.0), described)


def label(name: str) -> str:
    """The name of an explainer for people."""
    return {RANDOM: "random order", "deep_taylor": "deep Taylor"}.get(name, plotting.readable(name))
