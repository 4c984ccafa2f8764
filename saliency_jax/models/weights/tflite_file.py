"""The weights of a TensorFlow Lite graph in float, operation by operation in the order in which it runs them."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

MAGIC = b"TFL3"
"""At byte 4 of every file."""


class Unknown(ValueError):
    """A whole file has something that is not known here."""


class WeightedOperation(NamedTuple):
    """An operation that has weights.

    Attributes:
        kind: "convolution", "depthwise_convolution" or "dense".
        kernel: dequantized; HWIO, for a depthwise one `[height, width, 1, channel]`, for a dense one inputs first.
        bias: dequantized, one for each output channel.
        stride: in pixels, the same along height and width; 1 for a dense one.
        activation: "none", "relu" or "relu6".
    """

    kind: str
    kernel: Float32[np.ndarray, "..."]
    bias: Float32[np.ndarray, " output"]
    stride: int
    activation: str


_WITHOUT_WEIGHTS = ("QUANTIZE", "DEQUANTIZE", "ADD", "MEAN", "AVERAGE_POOL_2D", "RESHAPE", "SQUEEZE", "SOFTMAX")
_NUMBERS: dict[str, np.dtype] = {
    "FLOAT32": np.dtype("<f4"),
    "INT8": np.dtype("i1"),
    "UINT8": np.dtype("u1"),
    "INT32": np.dtype("<i4"),
}
_ACTIVATIONS = {"NONE": "none", "RELU": "relu", "RELU6": "relu6"}


def read_tflite(data: bytes, *, source: str) -> tuple[WeightedOperation, ...]:
    """The operations of a file's graph that have weights, in order of execution, in float.

    Dequantized, w = scale * (q - zero_point), per channel where the file has one scale a channel. The quantization of
    activations is left out, so logits differ from the file's own by its rounding.

    Args:
        data: the bytes of the file.
        source: what they were read from, for the messages.

    Returns:
        Kind, kernel, bias, stride and activation of each convolution and dense layer.

    Raises:
        ValueError: no TensorFlow Lite file, a truncated or damaged one, or an operation, a padding, a dilation or a
            type of values that is not known here.
        ModuleNotFoundError: the packages `tflite` and `flatbuffers` are missing (the extra `weights`).
    """
    tflite = _schema()
    if data[4:8] != MAGIC:
        raise ValueError(f"{source} must be a TensorFlow Lite file with {MAGIC!r} at byte 4, found {data[4:8]!r}")
    try:
        return _operations(tflite, data, source)
    except Unknown:
        raise
    # What the schema's readers do with offsets that lead nowhere.
    except (struct.error, IndexError, TypeError, AttributeError, OverflowError, ValueError) as error:
        raise ValueError(
            f"{source} must be a whole TensorFlow Lite file, it is truncated or damaged: {error}"
        ) from error


def _schema() -> Any:
    try:
        import tflite
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "TensorFlow Lite files are read by tflite and flatbuffers: pip install 'saliency-jax[weights]'"
        ) from error
    return tflite


def _operations(tflite: Any, data: bytes, source: str) -> tuple[WeightedOperation, ...]:
    model = tflite.Model.GetRootAs(data, 0)
    if model.SubgraphsLength() != 1:
        raise Unknown(f"{source} must have one graph, found {model.SubgraphsLength()}")
    graph = model.Subgraphs(0)
    found = []
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        code = model.OperatorCodes(operator.OpcodeIndex())
        # The first 127 codes stand in the older of two fields.
        kind = _named(tflite.BuiltinOperator, max(code.BuiltinCode(), code.DeprecatedBuiltinCode()))
        where = f"{source}: operation {i} ({kind})"
        if kind in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            found.append(_weighted(tflite, model, graph, operator, kind, where))
        elif kind not in _WITHOUT_WEIGHTS:
            raise Unknown(f"{where} is not known here")
    return tuple(found)


def _weighted(tflite: Any, model: Any, graph: Any, operator: Any, kind: str, where: str) -> WeightedOperation:
    numbers = np.atleast_1d(operator.InputsAsNumpy())
    if len(numbers) != 3 or numbers.min() < 0:
        raise Unknown(f"{where} must have an input, a kernel and a bias, found tensors {numbers.tolist()}")
    kernel, bias = (_dequantized(tflite, model, graph.Tensors(int(i)), where) for i in numbers[1:])
    options = {
        "CONV_2D": tflite.Conv2DOptions,
        "DEPTHWISE_CONV_2D": tflite.DepthwiseConv2DOptions,
        "FULLY_CONNECTED": tflite.FullyConnectedOptions,
    }[kind]()
    table = operator.BuiltinOptions()
    options.Init(table.Bytes, table.Pos)
    activation = _named(tflite.ActivationFunctionType, options.FusedActivationFunction())
    if activation not in _ACTIVATIONS:
        raise Unknown(f"{where} must have no activation, ReLU or ReLU6, found {activation}")
    axes = 2 if kind == "FULLY_CONNECTED" else 4
    if kernel.ndim != axes or bias.ndim != 1:
        raise Unknown(f"{where} must have a kernel of {axes} axes and a bias of 1, found {kernel.ndim}, {bias.ndim}")
    if kind == "FULLY_CONNECTED":
        return WeightedOperation("dense", kernel.T, bias, 1, _ACTIVATIONS[activation])
    geometry = (options.StrideH(), options.StrideW(), options.DilationHFactor(), options.DilationWFactor())
    if options.Padding() != tflite.Padding.SAME or geometry[0] != geometry[1] or geometry[2:] != (1, 1):
        raise Unknown(f"{where} must be padded SAME, strided alike both ways and not dilated, found {geometry}")
    depthwise = kind == "DEPTHWISE_CONV_2D"
    return WeightedOperation(
        "depthwise_convolution" if depthwise else "convolution",
        # Kernels are stored as 1HWC and as OHWI.
        kernel.transpose(1, 2, 0, 3) if depthwise else kernel.transpose(1, 2, 3, 0),
        bias,
        geometry[0],
        _ACTIVATIONS[activation],
    )


def _dequantized(tflite: Any, model: Any, tensor: Any, where: str) -> np.ndarray:
    """A constant tensor in float."""
    kind = _named(tflite.TensorType, tensor.Type())
    shape = tuple(map(int, tensor.ShapeAsNumpy()))
    stored = model.Buffers(tensor.Buffer()).DataAsNumpy()
    if kind not in _NUMBERS:
        raise Unknown(f"{where} must have weights of {', '.join(_NUMBERS)}, found {kind}")
    raw = stored.tobytes() if isinstance(stored, np.ndarray) else b""
    if len(raw) != np.prod(shape, dtype=np.int64) * _NUMBERS[kind].itemsize:
        raise Unknown(f"{where} must have all values of {shape} {kind}, found {len(raw)} bytes")
    values = np.frombuffer(raw, _NUMBERS[kind]).reshape(shape)
    if kind == "FLOAT32":
        return values
    quantization = tensor.Quantization()
    scale, zero = quantization.ScaleAsNumpy(), quantization.ZeroPointAsNumpy()
    axis = quantization.QuantizedDimension()
    if np.size(scale) not in (1, shape[axis]) or np.size(zero) not in (1, np.size(scale)):
        raise Unknown(f"{where} must have one scale, or one a channel of {shape}, found {np.size(scale)}")
    along = [1] * len(shape)
    along[axis] = -1
    shifted = values.astype(np.float64) - np.reshape(zero, along)
    return (shifted * np.reshape(scale, along).astype(np.float64)).astype(np.float32)


def _named(enumeration: Any, value: int) -> str:
    """The name of an enumeration's value in the schema."""
    names = [name for name, number in vars(enumeration).items() if number == value and not name.startswith("_")]
    return names[0] if names else f"number {value}"
