"""A BatchNorm that no longer learns is part of the convolution before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from saliency_jax.typing import Params


def folded(variables: Mapping[str, Any], *, epsilon: float = 1e-3) -> Params:
    """The variables of the same network without BatchNorm: each multiplied into the convolution beside it.

    kernel' = kernel * g, bias' = bn.bias + (bias - mean) * g with g = bn.scale / sqrt(var + epsilon), in float64.

    Args:
        variables: "params" and "batch_stats" of a Linen model in which a module with the children "conv" and "bn"
            normalizes that convolution, as in InceptionV3(normalization="batch").
        epsilon: that of the BatchNorms.

    Returns:
        {"params": ...} of InceptionV3(normalization="folded"), NumPy arrays; without BatchNorm the params as they were.

    Raises:
        ValueError: a BatchNorm has no convolution beside it, or no statistics.
    """
    return {"params": _folded(variables["params"], variables.get("batch_stats", {}), epsilon, "params")}


def _folded(params: Mapping[str, Any], statistics: Mapping[str, Any], epsilon: float, path: str) -> dict[str, Any]:
    if "bn" not in params:
        return {
            name: _folded(child, statistics.get(name, {}), epsilon, f"{path}/{name}")
            if isinstance(child, Mapping)
            else np.asarray(child)
            for name, child in params.items()
        }
    if params.keys() != {"conv", "bn"} or not {"mean", "var"} <= statistics.get("bn", {}).keys():
        raise ValueError(
            f"variables must have a convolution 'conv' and statistics for every BatchNorm, {path}/bn has beside it "
            f"{sorted(params.keys() - {'bn'})} and the statistics {sorted(statistics.get('bn', {}))}"
        )
    conv, bn, running = (
        {name: np.asarray(leaf, np.float64) for name, leaf in each.items()}
        for each in (params["conv"], params["bn"], statistics["bn"])
    )
    gain = bn.get("scale", 1.0) / np.sqrt(running["var"] + epsilon)
    bias = bn.get("bias", 0.0) + (conv.get("bias", 0.0) - running["mean"]) * gain
    dtype = np.asarray(params["conv"]["kernel"]).dtype
    return {"conv": {"kernel": (conv["kernel"] * gain).astype(dtype), "bias": bias.astype(dtype)}}
