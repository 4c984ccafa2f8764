"""A published 8-bit graph read in float, and the same file damaged field by field."""

import sys

import numpy as np
import pytest

from saliency_jax.models.mobilenet import MobileNetV2
from saliency_jax.models.weights.published_names import mobilenet_leaves
from saliency_jax.models.weights.tflite_file import read_tflite


def read(data):
    return read_tflite(bytes(data), source="net.tflite")


@pytest.fixture(scope="module")
def data(mobilenet_file):
    return mobilenet_file.read_bytes()


@pytest.fixture(scope="module")
def operations(data):
    return read(data)


def test_the_operations_are_mobilenet_v2_s_in_order(operations):
    """Table 2 of Sandler et al. (2018): 1 + 2 + 16 * 3 + 1 convolutions and the classifier."""
    assert len(operations) == 53
    kinds = [operation.kind for operation in operations]
    assert kinds == ["convolution", *["depthwise_convolution", "convolution"], *kinds[3:]]
    assert kinds[3:51] == ["convolution", "depthwise_convolution", "convolution"] * 16
    assert kinds[51:] == ["convolution"] * 2
    # The image is halved five times, and the narrow layers are linear.
    assert [i for i, operation in enumerate(operations) if operation.stride == 2] == [0, 4, 10, 19, 40]
    assert [i for i, operation in enumerate(operations) if operation.activation == "none"] == [*range(2, 51, 3), 52]
    # torchvision's has 3,504,872; here 17,056 scales of BatchNorm are folded in, and there is a class more.
    assert sum(operation.kernel.size + operation.bias.size for operation in operations) == 3_504_872 - 17_056 + 1_281


def test_values_are_dequantized_channel_by_channel(data, operations):
    """Against the file's own integers and scales, one value at a time."""
    tflite = pytest.importorskip("tflite")
    model = tflite.Model.GetRootAs(data, 0)
    graph = model.Subgraphs(0)
    for number, kernel_at, channels, place in (
        (1, 0, 32, lambda q, c: q[c, 2, 1, 0]),
        (2, 1, 32, lambda q, c: q[0, 2, 1, c]),
    ):
        _, kernel, bias = (graph.Tensors(int(i)) for i in graph.Operators(number).InputsAsNumpy())
        stored = np.frombuffer(model.Buffers(kernel.Buffer()).DataAsNumpy(), np.int8).reshape(kernel.ShapeAsNumpy())
        biases = np.frombuffer(model.Buffers(bias.Buffer()).DataAsNumpy(), np.int32)
        for c in range(channels):
            expected = float(kernel.Quantization().Scale(c)) * int(place(stored, c))
            found = operations[kernel_at].kernel
            assert found[2, 1, 0, c] == pytest.approx(expected, rel=1e-6, abs=1e-12)
            expected = float(bias.Quantization().Scale(c)) * int(biases[c])
            assert operations[kernel_at].bias[c] == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_a_file_that_is_none_or_truncated_is_an_error(data):
    with pytest.raises(ValueError, match=r"net\.tflite must be a TensorFlow Lite file"):
        read(b"PK\x03\x04 and so on")
    for end in (0, 4, 8, 64, 1000, 50_000, len(data) // 2, len(data) - 100_000):
        with pytest.raises(ValueError, match=r"net\.tflite"):
            read(data[:end])


def field(tflite, table, slot):
    """Where a table of the file has the value of a field."""
    offset = table._tab.Offset(slot)
    assert offset, "the field has its default and is not in the file"
    return table._tab.Pos + offset


def first_convolution(tflite, data):
    model = tflite.Model.GetRootAs(data, 0)
    operator = model.Subgraphs(0).Operators(1)
    options = tflite.Conv2DOptions()
    options.Init(operator.BuiltinOptions().Bytes, operator.BuiltinOptions().Pos)
    kernel = model.Subgraphs(0).Tensors(int(operator.InputsAsNumpy()[1]))
    code = model.OperatorCodes(operator.OpcodeIndex())
    return options, kernel, code


DAMAGES = {
    "stride": (lambda o, k, c: (o, 6), 1, r"operation 1 \(CONV_2D\) must be padded SAME, strided alike"),
    "activation": (lambda o, k, c: (o, 10), 2, "must have no activation, ReLU or ReLU6, found RELU_N1_TO_1"),
    "type": (lambda o, k, c: (k, 6), 4, "must have weights of .*, found INT64"),
    "operation": (lambda o, k, c: (c, 4), 18, r"operation 1 \(MUL\) is not known here"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_the_reader_does_not_know_is_refused_by_name(data, name):
    tflite = pytest.importorskip("tflite")
    where, value, message = DAMAGES[name]
    table, slot = where(*first_convolution(tflite, data))
    damaged = bytearray(data)
    damaged[field(tflite, table, slot)] = value
    if name == "operation":
        model = tflite.Model.GetRootAs(bytes(damaged), 0)
        newer = model.OperatorCodes(model.Subgraphs(0).Operators(1).OpcodeIndex())
        if newer._tab.Offset(10):
            damaged[field(tflite, newer, 10)] = value
    with pytest.raises(ValueError, match=message):
        read(damaged)


def test_another_architecture_is_refused(operations):
    model = MobileNetV2()
    with pytest.raises(ValueError, match=r"must have 53 operations with weights, found 52"):
        mobilenet_leaves(operations[:-1], model, source="net.tflite")
    swapped = (operations[1], operations[0], *operations[2:])
    with pytest.raises(
        ValueError, match=r"stem must be \('convolution', 2, 'relu6'\), found \('depthwise_convolution', 1"
    ):
        mobilenet_leaves(swapped, model, source="net.tflite")


def test_a_missing_package_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "tflite", None)
    with pytest.raises(ModuleNotFoundError, match=r"saliency-jax\[weights\]"):
        read(b"\x00\x00\x00\x00TFL3")
