"""From a model to what is explained: the score of one class as a function of one image, and logits of many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from saliency_jax.checks import check_images, check_targets, is_concrete
from saliency_jax.tracing import canonical_convolutions
from saliency_jax.tracing.memory import memory_to_use, peak_bytes
from saliency_jax.typing import Apply, Images, Params, Score

Kind = Literal["logit", "log_softmax", "softmax"]

_KINDS: dict[str, Callable[[Array], Array]] = {
    "logit": lambda logits: logits,
    "log_softmax": jax.nn.log_softmax,
    "softmax": jax.nn.softmax,
}


def class_score(apply: Apply, params: Params, target: Any, *, kind: Kind = "logit") -> Score:
    """The score of one class as a function of one image: `score(x) = kind(apply(params, x[None])[0])[target]`.

    Args:
        apply: the model, `apply(params, images) -> logits`.
        params: its parameters.
        target: the class, an integer or an integer array of no axes.
        kind: "logit", "log_softmax" or "softmax" of the logits over the classes.

    Returns:
        `score(image) -> scalar`.

    Raises:
        ValueError: kind is unknown; when the score is called, the logits are not `[1, class]` or target is no class.
        TypeError: target is not an integer.
    """
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError(f"kind must be one of {sorted(_KINDS)}, got {kind!r}")
    dtype = np.dtype(int) if type(target) is int else getattr(target, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jnp.integer) or jnp.shape(target) != ():
        raise TypeError(f"target must be one integer class, got {target!r}")
    return ClassScore(apply, params, target, kind)


@dataclass(frozen=True, eq=False)
class ClassScore:
    """What `class_score` returns: a function of the image that also says which parameters it is made of.

    Explainers that look inside the model name its layers after these.
    """

    apply: Apply
    params: Params
    target: Any
    kind: Kind

    def __call__(self, image: Any) -> Array:
        """The score of one image, `[height, width, channel]` -> scalar."""
        return self.of_params(self.params, image)

    def of_params(self, params: Params, image: Any) -> Array:
        """The score of one image under other parameters of the same model."""
        logits = self.apply(params, image[None])
        _check_logits(logits, f"one image {image.shape}")
        if is_concrete(self.target):
            # NumPy: under somebody's jit jnp would turn a known class into one that cannot be looked at.
            check_targets(np.asarray(self.target)[None], batch=1, classes=logits.shape[1], argument="target")
        return _KINDS[self.kind](logits[0])[self.target]


def class_count(apply: Apply, params: Params, images: Array) -> int:
    """The number of classes, without running the model."""
    one = jax.ShapeDtypeStruct((1, *images.shape[1:]), images.dtype)
    try:
        logits = jax.eval_shape(apply, params, one)
    except Exception as error:
        error.add_note(f"while tracing apply(params, images) with images {one.shape}: do params fit the model?")
        raise
    _check_logits(logits, one.shape)
    return logits.shape[1]


def _check_logits(logits: Any, given: Any) -> None:
    """Raise ValueError unless this, or what has its shape, are the logits of one image."""
    shape = getattr(logits, "shape", None)
    if shape is None or len(shape) != 2 or shape[0] != 1:
        found = type(logits).__name__ if shape is None else shape
        raise ValueError(f"apply(params, images) must give logits [batch, class], got {found} for {given}")


def argmax_class(apply: Apply, params: Params, images: Images, *, batch_size: int | None = None) -> Array:
    """The class that the model gives each image, `[batch]` integers."""
    return jnp.argmax(logits_of(apply, params, images, batch_size=batch_size), axis=-1)


def logits_of(apply: Apply, params: Params, images: Images, *, batch_size: int | None = None) -> Array:
    """The logits of a batch, `[batch, class]`, computed `batch_size` images at a time: 256 or as many as fit."""
    if is_concrete(images):
        check_images(images)
    images = jnp.asarray(images)
    if batch_size is None:
        one = peak_bytes(apply, params, jax.ShapeDtypeStruct((1, *images.shape[1:]), images.dtype))
        batch_size = max(1, min(memory_to_use() // max(one, 1), 256))
    at_once = min(batch_size, len(images))
    whole = len(images) - len(images) % at_once
    chunks = images[:whole].reshape(-1, at_once, *images.shape[1:])
    forward = canonical_convolutions(apply)
    logits = jax.lax.map(lambda chunk: forward(params, chunk), chunks)
    logits = logits.reshape(whole, *logits.shape[2:])
    return logits if whole == len(images) else jnp.concatenate([logits, forward(params, images[whole:])])
