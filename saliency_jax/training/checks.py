"""What a training asks of its data and parameters, and of its course."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Shaped

from saliency_jax.checks import check_images, check_targets
from saliency_jax.presets import Training
from saliency_jax.tracing.layers import leaf_paths
from saliency_jax.typing import Apply, Images, Params

Labels = Shaped[Array, "..."] | Shaped[np.ndarray, "..."]
"""One integer class for each image, `[n]`: kind, length and range are checked on entry."""


def check_data(apply: Apply, params: Params, images: Images, labels: Labels) -> None:
    """Raise unless images are a batch, the model gives logits for them, and labels are classes among those."""
    check_images(images)
    one = jax.ShapeDtypeStruct((1, *images.shape[1:]), jnp.asarray(images[:1]).dtype)
    logits = jax.eval_shape(apply, params, one)
    if getattr(logits, "ndim", None) != 2:
        raise ValueError(f"apply must give logits [batch, class] for images {one.shape}, got {logits}")
    check_targets(labels, batch=len(images), classes=logits.shape[1], argument="labels")


def check_fit(params: Params, config: Training, images: int) -> None:
    """Raise unless all parameters can be trained, those to be decayed exist, and a minibatch can be filled."""
    for path, leaf in zip(leaf_paths(params), jax.tree.leaves(params), strict=True):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise TypeError(f"params must be floating point, got {jnp.result_type(leaf)} at {path!r}")
    for name in config.decayed:
        if not any(f"/{path}".endswith(f"/{name}") for path in leaf_paths(params)):
            raise ValueError(f"decayed names {name!r}, which ends no parameter's path: {leaf_paths(params)}")
    if config.batch_size > images:
        raise ValueError(f"batch_size must not exceed the {images} images, got {config.batch_size}")


def check_course(losses: np.ndarray, finite: bool, epoch: int, config: Training) -> None:
    """Raise FloatingPointError, naming the step, where a loss or the last parameters of an epoch are not finite."""
    bad = np.flatnonzero(~np.isfinite(losses))
    if bad.size:
        raise FloatingPointError(
            f"the loss is {losses[bad[0]]} at step {bad[0] + 1} of epoch {epoch}, with learning_rate="
            f"{config.learning_rate}: training stopped"
        )
    if not finite:
        raise FloatingPointError(
            f"a parameter is not finite after step {losses.size} of epoch {epoch}, with learning_rate="
            f"{config.learning_rate}: training stopped"
        )
