"""Any classifier as the backbone of ProtoPNet: its last spatial activation, read from its jaxpr."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.errors import FlaxError
from jax import Array
from jaxtyping import Float

from saliency_jax.checks import check_function, check_images
from saliency_jax.tracing import activations, taps
from saliency_jax.typing import Apply, Images, Params


class Trunk(nn.Module):
    """One activation of a Linen model as a module of its own: `ProtoPNet(backbone=Trunk(ResNet50(), "stage4"))`.

    The model keeps all its variables, so that published weights fit as they are; what comes after the activation is
    not computed, and its parameters have a gradient of 0.

    Args:
        model: a Linen module, `apply(variables, images) -> logits`.
        layer: the activation, by its name or further address in `saliency_jax.taps`; the last spatial one where None.

    Raises:
        ValueError: when called, the layer does not exist or is not `[batch, height, width, channel]`, or images have a
            size that the model cannot take.
    """

    model: nn.Module
    layer: str | None = None

    @nn.compact
    def __call__(self, images: Images) -> Float[Array, "batch height width channel"]:
        """The activation for a batch of images."""
        check_images(images)
        if self.is_initializing():
            self.model(images)
        model, variables = self.model.unbind()
        return trunk_activation(model.apply, variables, images, self.layer)


def trunk_activation(
    apply: Apply, params: Params, images: Images, layer: str | None = None
) -> Float[Array, "batch height width channel"]:
    """One spatial activation of any model, as a function of its parameters and images, differentiable in both.

    Args:
        apply: the model, `apply(params, images) -> logits`.
        params: its parameters.
        images: `[batch, height, width, channel]`.
        layer: its name in `saliency_jax.taps`; where None the last one of four axes with more than one place.

    Raises:
        ValueError: the layer does not exist, or it is not spatial; or the model cannot take images of this size.
        TypeError: apply is no function, images are not floating point, or the layer is no name.
    """
    check_function(apply, "apply")
    check_images(images)
    if layer is not None and not isinstance(layer, str):
        raise TypeError(f"layer must be the name of an activation or None, got {type(layer).__name__}")
    if layer is None:
        name = last_spatial(apply, params, images)
    else:
        _check_size(apply, params, images)
        name = layer
    found = activations(apply, params, images, [name])[name]
    if found.ndim != 4:
        raise ValueError(f"layer must be [batch, height, width, channel], got {name!r} with shape {found.shape}")
    return found


def last_spatial(apply: Apply, params: Params, images: Images) -> str:
    """The name of the last activation `[batch, height, width, channel]` that has more than one place.

    Raises:
        ValueError: there is none, or the model cannot take images of this size.
    """
    _check_size(apply, params, images)
    spatial = [tap.name for tap in taps(apply, params, images) if len(tap.shape) == 4 and max(tap.shape[1:3]) > 1]
    if not spatial:
        raise ValueError(
            f"layer must be given: the backbone has no activation [batch, height, width, channel] of more than one "
            f"place for images {images.shape}"
        )
    return spatial[-1]


def _check_size(apply: Apply, params: Params, images: Images) -> None:
    """Raise ValueError unless the model can take one of the images; a dense layer tells Flax alone of a wrong size."""
    one = jax.ShapeDtypeStruct((1, *images.shape[1:]), jnp.result_type(images))
    try:
        jax.eval_shape(apply, params, one)
    except (TypeError, ValueError, ZeroDivisionError, FlaxError) as error:
        raise ValueError(f"images must have a size that the backbone can take, got {images.shape}: {error}") from error
