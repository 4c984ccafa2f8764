"""Scores of a model's units: one neuron, a channel, or a direction among the channels of any activation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from saliency_jax.checks import check_finite, check_floating, check_function, check_integer, dtype_of, is_concrete
from saliency_jax.tracing import activations
from saliency_jax.typing import Apply, Params, Score


@dataclass(frozen=True, eq=False)
class ScoreOfParams:
    """A score that says which parameters it is made of, so that they need not be constants of a compiled program."""

    of_params: Callable[[Any, Any], Array]
    params: Any

    def __call__(self, image: Any) -> Array:
        """The score of one image."""
        return self.of_params(self.params, image)


def of_params(score: Score) -> ScoreOfParams:
    """Any score as a function of its parameters and the image; one that does not name its parameters has none."""
    if hasattr(score, "of_params") and hasattr(score, "params"):
        return ScoreOfParams(score.of_params, score.params)
    return ScoreOfParams(lambda _, image: score(image), ())


def channel_score(apply: Apply, params: Params, tap: str | int, channel: Any) -> Score:
    """The mean of one channel of an activation A over its places: score(x) = mean_p A_p,channel(x).

    Args:
        apply: the model, `apply(params, images) -> logits`.
        params: its parameters.
        tap: which activation, by its name, further address or index in `saliency_jax.taps`: "conv1" is a convolution
            before its ReLU, "conv1/relu" after it.
        channel: which entry of the last axis, an integer or an integer array of no axes (one for each unit of a vmap).

    Returns:
        `score(image) -> scalar`.

    Raises:
        TypeError: channel is no integer, apply no function, or tap no name and no number.
        ValueError: when called, there is no such tap (the near ones are listed) or channel, or the tap stands in a
            scan.

    Source: Olah, Mordvintsev and Schubert 2017, "Feature visualization", channel objective.
    """
    _check_tap(apply, tap)
    _check_integer(channel)

    def read(activation: Array) -> Array:
        return jnp.mean(_of_channel(activation, channel))

    return _tap_score(apply, params, tap, read)


def neuron_score(
    apply: Apply, params: Params, tap: str | int, channel: Any, *, place: Sequence[int] | None = None
) -> Score:
    """One entry of an activation A: score(x) = A_place,channel(x).

    Args:
        apply, params, tap, channel: as `channel_score`.
        place: its place along the axes between batch and channel, for a convolution (row, column); the middle of each,
            size // 2, where None. Empty for a dense layer.

    Returns:
        `score(image) -> scalar`.

    Raises:
        TypeError, ValueError: as `channel_score`, and where place is outside of the activation.

    Source: Erhan et al. 2009, section 3.2.
    """
    _check_tap(apply, tap)
    _check_integer(channel)
    if place is not None:
        if isinstance(place, str) or not isinstance(place, Sequence):
            raise TypeError(f"place must be a sequence of integers, got {place!r}")
        for one in place:
            check_integer(one, "place")

    def read(activation: Array) -> Array:
        sizes = activation.shape[:-1]
        found = tuple(size // 2 for size in sizes) if place is None else tuple(place)
        if len(found) != len(sizes) or not all(0 <= i < size for i, size in zip(found, sizes, strict=True)):
            raise ValueError(f"place must be inside of the activation's places {sizes}, got {found}")
        return _of_channel(activation, channel)[found]

    return _tap_score(apply, params, tap, read)


def direction_score(apply: Apply, params: Params, tap: str | int, direction: Any) -> Score:
    """The mean over the places of an activation A along a direction d: score(x) = mean_p sum_c d_c A_p,c(x).

    Args:
        apply, params, tap: as `channel_score`.
        direction: `[channel]`, floating point.

    Returns:
        `score(image) -> scalar`.

    Raises:
        TypeError: direction is not floating point, apply no function, or tap no name and no number.
        ValueError: as `channel_score`, or direction is not finite or not one number a channel.

    Source: Olah, Mordvintsev and Schubert 2017, "Feature visualization", interaction between neurons.
    """
    _check_tap(apply, tap)
    check_floating(direction, "direction")
    check_finite(direction, "direction")

    def read(activation: Array) -> Array:
        if jnp.shape(direction) != activation.shape[-1:]:
            raise ValueError(
                f"direction must be one number for each of the {activation.shape[-1]} channels, got shape "
                f"{jnp.shape(direction)}"
            )
        return jnp.mean(activation @ jnp.asarray(direction, activation.dtype))

    return _tap_score(apply, params, tap, read)


def _tap_score(apply: Apply, params: Params, tap: str | int, read: Callable[[Array], Array]) -> ScoreOfParams:
    def score(params: Params, image: Any) -> Array:
        # Under any address the answer is the one entry.
        [activation] = activations(apply, params, image[None], [tap]).values()
        if activation.shape[0] != 1 or activation.ndim < 2:
            raise ValueError(
                f"tap must be an activation [batch, ..., channel] outside of any scan, got {tap!r} with shape "
                f"{activation.shape} for one image"
            )
        return read(activation[0])

    return ScoreOfParams(score, params)


def _check_tap(apply: Apply, tap: Any) -> None:
    check_function(apply, "apply")
    if isinstance(tap, bool) or not isinstance(tap, str | int):
        raise TypeError(f"tap must be the name or the number of an activation, got {tap!r}")


def _check_integer(channel: Any) -> None:
    if not jnp.issubdtype(dtype_of(channel, "channel"), jnp.integer) or np.ndim(channel):
        raise TypeError(f"channel must be one integer, got {channel!r}")


def _of_channel(activation: Array, channel: Any) -> Array:
    count = activation.shape[-1]
    if is_concrete(channel) and not 0 <= int(np.asarray(channel)) < count:
        raise ValueError(f"channel must be in [0, {count}), got {int(np.asarray(channel))}")
    return jnp.take(activation, channel, axis=-1)
