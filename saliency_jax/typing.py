"""The types that every module speaks in: arrays by shape, and the four callable contracts of the library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jax import Array
from jaxtyping import Float, Key, PyTree, Shaped

Image = Shaped[Array, "*image"] | Shaped[np.ndarray, "*image"]
"""One input without its batch axis, usually `[height, width, channel]`: floating point, which every entry checks."""

Map = Float[Array, "*image"]
"""One explanation, shaped like its image."""

Images = Shaped[Array, "..."] | Shaped[np.ndarray, "..."]
"""A batch of images `[batch, height, width, channel]`: floating point and of that rank, which every entry checks."""

PRNGKey = Key[Array, ""] | Shaped[Array, "2"]
"""A JAX random key, typed (`jax.random.key`) or raw (`jax.random.PRNGKey`)."""

Params = PyTree
"""Any pytree of arrays: Linen variables, an NNX state, an Equinox model, a plain dict."""

Apply = Callable[[Any, Any], Array]
"""A model: `apply(params, images) -> logits`, images `[batch, height, width, channel]`, logits `[batch, class]`."""

Score = Callable[[Any], Array]
"""What is explained: `score(image) -> scalar`, differentiable in the image."""

Metric = Callable[[Any, Any], Array]
"""A similarity of two maps: `metric(a, b) -> scalar`."""

Init = Callable[[Any], Any]
"""Fresh parameters from a key: `init(key) -> params`."""


@runtime_checkable
class Explainer(Protocol):
    """`explain(score, image, key=None) -> map`, the map shaped like the image."""

    def __call__(self, score: Score, image: Any, key: Any = None) -> Array:
        """Explain one image."""
        ...
