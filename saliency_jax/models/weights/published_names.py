"""The names in the published files of EfficientNet-Lite0, SqueezeNet and MobileNet v2, as leaf paths here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from saliency_jax.models.inverted_residual import strided
from saliency_jax.models.mobilenet import MobileNetV2
from saliency_jax.models.weights.tflite_file import WeightedOperation
from saliency_jax.models.weights.torch_names import renamed

_BLOCK = r"_blocks\.(\d+)\."
_EFFICIENTNET_MODULES = {
    "_conv_stem": "stem/conv",
    "_bn0": "stem/bn",
    _BLOCK + "_expand_conv": r"block\1/expand/conv",
    _BLOCK + "_bn0": r"block\1/expand/bn",
    _BLOCK + "_depthwise_conv": r"block\1/depthwise/conv",
    _BLOCK + "_bn1": r"block\1/depthwise/bn",
    _BLOCK + "_project_conv": r"block\1/project/conv",
    _BLOCK + "_bn2": r"block\1/project/bn",
    "_conv_head": "head/conv",
    "_bn1": "head/bn",
    "_fc": "logits",
}


def efficientnet_leaves(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors of the package efficientnet-lite-pytorch as leaves of EfficientNetLite.

    Args:
        tensors: name in the state dict -> tensor: "_blocks.0._depthwise_conv.weight", ...

    Returns:
        Leaf path -> array: "params/block0/depthwise/conv/kernel", ...; what is not known keeps its name.
    """
    return renamed(tensors, _EFFICIENTNET_MODULES)


def squeezenet_leaves(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of the package ndf as leaves of SqueezeNet; the layout is the same.

    Args:
        arrays: name -> array, a layer's kernel and then its bias: "conv1/0", "conv1/1", "fire2/squeeze1x1/0", ...

    Returns:
        Leaf path -> array: "params/fire2/squeeze1x1/kernel", ...; what is not known keeps its name.
    """
    leaves = {"0": "kernel", "1": "bias"}
    split = [(name.rpartition("/"), name, array) for name, array in arrays.items()]
    return {
        f"params/{layer}/{leaves[place]}" if layer and place in leaves else name: array
        for (layer, _, place), name, array in split
    }


def mobilenet_leaves(
    operations: Sequence[WeightedOperation], model: MobileNetV2, *, source: str
) -> dict[str, np.ndarray]:
    """The weights of a graph's operations as leaves of MobileNetV2, by the order in which the graph runs them.

    Args:
        operations: those with weights, in order of execution.
        model: the network that they are for.
        source: what they were read from, for the messages.

    Returns:
        Leaf path -> array: "params/block0/depthwise/kernel", ...

    Raises:
        ValueError: other operations than those of the network, in number, kind, stride or activation.
    """
    plan = _operations(model)
    if len(operations) != len(plan):
        raise ValueError(
            f"{source} is of another architecture than this MobileNetV2: it must have {len(plan)} operations with "
            f"weights, found {len(operations)}"
        )
    leaves = {}
    for (name, expected), operation in zip(plan.items(), operations, strict=True):
        found = (operation.kind, operation.stride, operation.activation)
        if found != expected:
            raise ValueError(
                f"{source} is of another architecture than this MobileNetV2: {name} must be {expected}, found {found}"
            )
        kernel = operation.kernel
        # The file's classifier is a 1x1 convolution of the one place that is left.
        leaves[f"params/{name}/kernel"] = kernel.reshape(kernel.shape[-2:]) if name == "logits" else kernel
        leaves[f"params/{name}/bias"] = operation.bias
    return leaves


def _operations(model: MobileNetV2) -> dict[str, tuple[str, int, str]]:
    """Module -> kind, stride and activation of its operation, in order of execution."""
    plan = {"stem": ("convolution", 2, "relu6")}
    for i, (stage, stride) in enumerate(strided(model.stages)):
        if stage.expansion != 1:
            plan[f"block{i}/expand"] = ("convolution", 1, "relu6")
        plan[f"block{i}/depthwise"] = ("depthwise_convolution", stride, "relu6")
        plan[f"block{i}/project"] = ("convolution", 1, "none")
    return plan | {"head": ("convolution", 1, "relu6"), "logits": ("convolution", 1, "none")}
