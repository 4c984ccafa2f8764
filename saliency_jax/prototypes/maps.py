"""ProtoPNet's own maps as explainers: where the image resembles the prototypes that speak for a class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from saliency_jax.checks import check_image
from saliency_jax.prototypes.distances import similarity
from saliency_jax.prototypes.network import Comparison, ProtoPNet, prototype_classes
from saliency_jax.prototypes.upsampling import upsampled
from saliency_jax.scores import ClassScore
from saliency_jax.typing import Explainer, Image, Map, Params, Score


def class_evidence(model: ProtoPNet) -> Explainer:
    """An explainer: the similarity maps of all prototypes, weighted as the last layer weighs them for the class.

    R = enlarge(sum_j w_jc s_j(place)), the same for every channel; its largest terms are the points of `explain`.

    Args:
        model: the network of the scores that will be explained.

    Returns:
        `explain(score, image, key=None) -> map`; the score must be a `class_score` of `model.apply`.
    """

    def weigh(maps: Array, compared: Comparison, weights: Array) -> Array:
        return jnp.einsum("hwj,j->hw", maps, weights, precision="highest")

    return _explainer(model, weigh)


def nearest_prototype(model: ProtoPNet) -> Explainer:
    """An explainer: the similarity map of the one prototype of the class that the image resembles most.

    R = enlarge(s_j(place)), j = argmax of s_j over the prototypes of the class; the same for every channel. NaN for a
    class without prototypes.

    Args, Returns: as `class_evidence`.
    """

    def choose(maps: Array, compared: Comparison, weights: Array, own: Array) -> Array:
        best = jnp.argmax(jnp.where(own, compared.similarities[0], -jnp.inf))
        return jnp.where(own.any(), maps[:, :, best], jnp.nan)

    return _explainer(model, choose, own=True)


def _explainer(model: ProtoPNet, combine: Callable[..., Array], *, own: bool = False) -> Explainer:
    classes = np.asarray(prototype_classes(model))

    def explain(score: Score, image: Image, key: Any = None) -> Map:
        check_image(image)
        if not isinstance(score, ClassScore):
            raise TypeError(f"score must be a class_score of the ProtoPNet, got {type(score).__name__}")
        params: Params = score.params
        compared = model.apply(params, jnp.asarray(image)[None], method="compare")
        maps = similarity(compared.distance_maps[0], model.similarity, model.distance)
        weights = jnp.asarray(params["params"]["last_layer"]["kernel"])[:, score.target]
        given = (jnp.asarray(classes) == score.target,) if own else ()
        found = upsampled(combine(maps, compared, weights, *given), image.shape[:2])
        return jnp.broadcast_to(found[:, :, None], image.shape).astype(jnp.result_type(image))

    return explain
