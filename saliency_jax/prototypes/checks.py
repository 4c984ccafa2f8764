"""What the functions on prototypes ask of their arguments before they trace: the model, counts, shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from saliency_jax.checks import check_integer, check_number
from saliency_jax.prototypes.network import ProtoPNet, prototype_classes


def check_variables(model: ProtoPNet, variables: Any) -> None:
    """Raise unless variables hold prototypes and a last layer of the model's sizes.

    Raises:
        TypeError: the model is no ProtoPNet, or variables are no mapping with params.
        ValueError: the sizes are others.
    """
    count = len(prototype_classes(model))
    params = variables.get("params") if isinstance(variables, Mapping) else None
    if not isinstance(params, Mapping) or not {"prototype_vectors", "last_layer"} <= set(params):
        raise TypeError(
            f"variables must be a ProtoPNet's, with params of prototype_vectors and last_layer, got "
            f"{type(variables).__name__}"
        )
    shape = jnp.shape(params["prototype_vectors"])
    if shape != (count, model.depth):
        raise ValueError(f"variables must hold {count} prototypes of depth {model.depth}, got shape {shape}")
    last = params["last_layer"]
    kernel = jnp.shape(last["kernel"]) if isinstance(last, Mapping) and "kernel" in last else None
    if kernel != (count, model.classes):
        raise ValueError(f"variables must hold a last layer's kernel of shape {(count, model.classes)}, got {kernel}")


def check_count(value: Any, argument: str, unit: str = "") -> None:
    """Raise unless a value is an integer of at least 1."""
    check_integer(value, argument)
    if value < 1:
        raise ValueError(f"{argument} must be at least 1{unit}, got {value}")


def check_percentile(percentile: Any) -> None:
    """Raise unless a percentile is a number in [0, 100]."""
    check_number(percentile, "percentile")
    if not 0 <= percentile <= 100:
        raise ValueError(f"percentile must be between 0 and 100, got {percentile}")


def check_size(shape: Any, argument: str) -> None:
    """Raise unless a shape is a height and a width of at least one pixel."""
    pair = isinstance(shape, tuple | list) and len(shape) == 2
    if not pair or not all(isinstance(side, int | np.integer) and side >= 1 for side in shape):
        raise ValueError(f"{argument} must be a height and a width of at least one pixel, got {shape}")
