"""Several networks as one: their logits summed."""

from __future__ import annotations

from collections.abc import Sequence

from jax import Array

from saliency_jax.checks import check_function
from saliency_jax.typing import Apply, Images, Params


def summed(applies: Sequence[Apply]) -> Apply:
    """A model whose logits are the sum of its members': each ProtoPNet adds its points to the classes.

    logits(x) = sum_m apply_m(params_m, x)

    Args:
        applies: the members, each `apply(params, images) -> logits` of the same classes.

    Returns:
        `apply(params, images) -> logits`, params a sequence of the members' parameters.

    Raises:
        TypeError: applies are no sequence of functions.
        ValueError: there is no member; when called, params are not one for each, or logits are of different shapes.

    Source: Chen et al. (2019), section 3.1 (combined models).
    """
    if not isinstance(applies, Sequence):
        raise TypeError(f"applies must be a sequence of models, got {type(applies).__name__}")
    members = tuple(applies)
    if not members:
        raise ValueError("applies must hold at least one model, got none")
    for member in members:
        check_function(member, "applies")

    def apply(params: Sequence[Params], images: Images) -> Array:
        if len(params) != len(members):
            raise ValueError(f"params must be one for each of {len(members)} models, got {len(params)}")
        logits = [member(held, images) for member, held in zip(members, params, strict=True)]
        if len({found.shape for found in logits}) > 1:
            raise ValueError(f"applies must give logits of the same shape, got {[found.shape for found in logits]}")
        return sum(logits[1:], logits[0])

    return apply
