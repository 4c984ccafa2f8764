"""Tensors that PyTorch named and laid out, under the names and in the layout of the networks here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import flax.linen as nn
import numpy as np

Tensors = Mapping[str, np.ndarray]
Naming = Callable[[Tensors, nn.Module], dict[str, np.ndarray]]
"""`naming(tensors, model) -> arrays`: a file's tensors as arrays by the model's leaf paths. What the naming does not
know keeps its name, and `fit` refuses it."""

BATCH_COUNTER = "num_batches_tracked"
"""How many batches a BatchNorm was trained on, which inference does not use."""

_LEAVES = {
    "weight": "params/{}/scale",
    "bias": "params/{}/bias",
    "running_mean": "batch_stats/{}/mean",
    "running_var": "batch_stats/{}/var",
}


def renamed(
    tensors: Tensors, modules: Mapping[str, str], leaves: Mapping[str, str] | None = None
) -> dict[str, np.ndarray]:
    """Tensors by leaf paths: "layer1.0.conv1.weight" -> "params/layer1_0/conv1/kernel".

    Kernels of convolutions go from [out, in, height, width] to [height, width, in, out], those of dense layers from
    [out, in] to [in, out]. The counters of BatchNorm are left out.

    Args:
        tensors: name in the file -> values.
        modules: pattern of a module's path in PyTorch -> its path here, as `re.sub` writes them.
        leaves: full name of a parameter that is none of weight, bias, running_mean and running_var -> its leaf path.

    Returns:
        Leaf path -> values; what no pattern fits has its name in the file.
    """
    leaves = {} if leaves is None else leaves
    compiled = [(re.compile(pattern), path) for pattern, path in modules.items()]
    arrays: dict[str, np.ndarray] = {}
    for name, values in tensors.items():
        owner, _, parameter = name.rpartition(".")
        found = next((match.expand(path) for pattern, path in compiled if (match := pattern.fullmatch(owner))), None)
        if name in leaves:
            arrays[leaves[name]] = values
        elif found is None or parameter not in (*_LEAVES, BATCH_COUNTER):
            arrays[name] = values
        elif parameter == "weight" and values.ndim > 1:
            arrays[f"params/{found}/kernel"] = _inputs_before_outputs(values)
        elif parameter != BATCH_COUNTER:
            arrays[_LEAVES[parameter].format(found)] = values
    return arrays


def _inputs_before_outputs(kernel: np.ndarray) -> np.ndarray:
    """[out, in, *window] as [*window, in, out]."""
    return kernel.transpose(*range(2, kernel.ndim), 1, 0)
