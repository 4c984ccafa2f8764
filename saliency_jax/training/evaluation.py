"""The accuracy of a classifier."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Int

from saliency_jax.tracing import compiled
from saliency_jax.training.checks import Labels, check_data
from saliency_jax.typing import Apply, Images, Params


def evaluate(apply: Apply, params: Params, images: Images, labels: Labels, *, batch_size: int = 500) -> float:
    """The share of images whose largest logit is that of their label.

    Args:
        apply: the model, hashable.
        params: its parameters.
        images: `[n, height, width, channel]`, floating point.
        labels: `[n]` integer classes.
        batch_size: images at a time; the rest that does not fill a batch is one more batch.

    Returns:
        The accuracy in [0, 1], every image counted once; of equal logits the first counts.

    Raises:
        ValueError: images, labels and params do not fit each other, or batch_size is less than 1.
        TypeError: images are not floating point, or labels not integer.
        FloatingPointError: a logit is not finite.
    """
    check_data(apply, params, images, labels)
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    size = min(batch_size, len(images))
    correct, finite = _count_correct(apply, params, jnp.asarray(images), jnp.asarray(labels), size=size)
    if not finite:
        raise FloatingPointError("the logits are not finite: no accuracy can be told from them")
    return int(correct) / len(images)


@partial(compiled, static_argnames=("apply", "size"))
def _count_correct(
    apply: Apply, params: Params, images: Array, labels: Array, *, size: int
) -> tuple[Int[Array, ""], Bool[Array, ""]]:
    """How many images are classified correctly, and whether all logits are finite."""

    def count(batch: tuple[Array, Array]) -> tuple[Array, Array]:
        logits = apply(params, batch[0])
        return jnp.sum(jnp.argmax(logits, axis=-1) == batch[1]), jnp.isfinite(logits).all()

    whole = len(images) // size
    head, rest = (
        (images[: whole * size], labels[: whole * size]),
        (images[whole * size :], labels[whole * size :]),
    )
    correct, finite = lax.map(count, jax.tree.map(lambda x: x.reshape(whole, size, *x.shape[1:]), head))
    if len(rest[0]) == 0:
        return correct.sum(), finite.all()
    rest_correct, rest_finite = count(rest)
    return correct.sum() + rest_correct, finite.all() & rest_finite
