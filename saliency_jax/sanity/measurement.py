"""The compiled steps of a randomization test: scores of two batches of maps, and the state of a randomized model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from saliency_jax.batches import images_at_once
from saliency_jax.scores import logits_of
from saliency_jax.tracing import compiled
from saliency_jax.typing import Apply, Metric, Params


class Comparison(NamedTuple):
    """Two batches of maps compared.

    Attributes:
        scores: `[metric, image]`, in the order of the metrics.
        constant: how many maps of the second batch are constant: they have no rank correlation.
        nonfinite: how many maps of the second batch hold a NaN or infinite value.
    """

    scores: Array
    constant: Array
    nonfinite: Array


class ModelState(NamedTuple):
    """What a model says of a labelled batch.

    Attributes:
        accuracy: the share of images whose largest logit is that of their label.
        logit_low, logit_high: the range of all logits.
        logit_spread: the widest range of one logit over the images: 0 if the model does not look at them.
        predicted: the class of each image.
    """

    accuracy: Array
    logit_low: Array
    logit_high: Array
    logit_spread: Array
    predicted: Array


def comparison(metrics: Mapping[str, Metric]) -> Callable[[Array, Array], Comparison]:
    """All metrics of two batches of maps `[batch, height, width, channel]`, in one compiled program.

    Raises:
        ValueError: when called, a metric does not give a scalar.
    """

    def score(name: str, pair: tuple[Array, Array]) -> Array:
        found = metrics[name](*pair)
        if jnp.shape(found) != ():
            raise ValueError(f"metric {name!r} must give a scalar for two maps, got shape {jnp.shape(found)}")
        return found

    def compare_pair(pair: tuple[Array, Array]) -> Array:
        return jnp.stack([score(name, pair) for name in metrics])

    @jax.jit
    def compare(reference: Array, maps: Array) -> Comparison:
        scores = jax.lax.map(compare_pair, (reference, maps), batch_size=min(images_at_once(), len(maps)))
        pixels = maps.reshape(len(maps), -1)
        constant = jnp.sum(pixels.max(axis=1) == pixels.min(axis=1))
        return Comparison(scores.T, constant, jnp.sum(~jnp.isfinite(pixels).all(axis=1)))

    return compare


def model_state(apply: Apply) -> Callable[[Params, Array, Array], ModelState]:
    """What a model says of `(images, labels)`, in one compiled program."""

    @compiled
    def state(params: Params, images: Array, labels: Any) -> ModelState:
        logits = logits_of(apply, params, images)
        predicted = jnp.argmax(logits, axis=1)
        spread = jnp.ptp(logits, axis=0).max()
        return ModelState(jnp.mean(predicted == labels), logits.min(), logits.max(), spread, predicted)

    return state
