"""Weights from .safetensors files: values, number formats, and every file that is refused."""

import json
import struct
import sys

import jax
import numpy as np
import pytest

from saliency_jax.models import MLP
from saliency_jax.models.resnet import RESNETS, ResNet
from saliency_jax.models.vit import ViT
from saliency_jax.models.weights.safetensors_file import load_safetensors, read_safetensors

safetensors_numpy = pytest.importorskip("safetensors.numpy")

SETTINGS = {"width": 6, "heads": 2, "depth": 1, "patch": 4, "image_size": 8, "classes": 3}
IMAGE_SHAPE = (8, 8, 3)


def tensors_of_timm(**other):
    """A ViT of one block by timm's names."""
    shapes = {
        "cls_token": (1, 1, 6),
        "pos_embed": (1, 5, 6),
        "patch_embed.proj.weight": (6, 3, 4, 4),
        "patch_embed.proj.bias": (6,),
        "blocks.0.norm1.weight": (6,),
        "blocks.0.norm1.bias": (6,),
        "blocks.0.attn.qkv.weight": (18, 6),
        "blocks.0.attn.qkv.bias": (18,),
        "blocks.0.attn.proj.weight": (6, 6),
        "blocks.0.attn.proj.bias": (6,),
        "blocks.0.norm2.weight": (6,),
        "blocks.0.norm2.bias": (6,),
        "blocks.0.mlp.fc1.weight": (24, 6),
        "blocks.0.mlp.fc1.bias": (24,),
        "blocks.0.mlp.fc2.weight": (6, 24),
        "blocks.0.mlp.fc2.bias": (6,),
        "norm.weight": (6,),
        "norm.bias": (6,),
        "head.weight": (3, 6),
        "head.bias": (3,),
    }
    random = np.random.default_rng(0)
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()} | other


@pytest.fixture
def written(tmp_path):
    def write(tensors, name="model.safetensors"):
        safetensors_numpy.save_file(tensors, tmp_path / name)
        return tmp_path / name

    return write


def load(path, **settings):
    return load_safetensors(path, ViT(**(SETTINGS | settings)), names="timm", image_shape=IMAGE_SHAPE)


def by_hand(path, code, shape, data):
    """A file as the format's description has it: length of the header, header, numbers."""
    header = json.dumps({"weight": {"dtype": code, "shape": shape, "data_offsets": [0, len(data)]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)
    return path


def test_values_are_those_of_the_file(written):
    tensors = tensors_of_timm()
    found = load(written(tensors))["params"]
    np.testing.assert_array_equal(found["logits"]["kernel"], tensors["head.weight"].T)
    np.testing.assert_array_equal(found["embedding"]["positions"], tensors["pos_embed"])
    np.testing.assert_array_equal(
        found["embedding"]["patches"]["kernel"][1, 2], tensors["patch_embed.proj.weight"][:, :, 1, 2].T
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        # 1, -2, 0.15625 = 5 / 32 and 0, by their bits: sign, exponent (5 bits of 16, or 8), fraction.
        ("F16", [0x3C00, 0xC000, 0x3100, 0x0000]),
        ("BF16", [0x3F80, 0xC000, 0x3E20, 0x0000]),
    ],
)
def test_half_precision_becomes_float32(tmp_path, code, words):
    path = by_hand(tmp_path / "half.safetensors", code, [2, 2], struct.pack("<4H", *words))
    found = read_safetensors(path)["weight"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[1, -2], [0.15625, 0]])


def test_weights_in_half_precision_are_loaded(written):
    tensors = {name: values.astype(np.float16) for name, values in tensors_of_timm().items()}
    found = load(written(tensors))["params"]["logits"]["bias"]
    np.testing.assert_array_equal(found, tensors["head.bias"].astype(np.float32))


def test_number_format_that_is_not_read_is_refused(tmp_path):
    path = by_hand(tmp_path / "eight.safetensors", "F8_E4M3", [4], bytes(4))
    with pytest.raises(ValueError, match=r"eight.safetensors: tensor 'weight' must hold numbers .* found F8_E4M3"):
        read_safetensors(path)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_truncated_file_is_refused(written, kept):
    path = written(tensors_of_timm())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"model.safetensors must be a whole .safetensors file"):
        load(path)


@pytest.mark.parametrize("content", [b"PK\x03\x04" + bytes(400), b"\x80\x02}q\x00." * 80, b"<!DOCTYPE html>" * 40])
def test_file_of_another_kind_is_refused(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"must be a whole .safetensors file"):
        load(path)


def test_missing_file_and_folder_are_refused(tmp_path):
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(FileNotFoundError, match=r"path must be a .safetensors file, there is none at"):
            load(path)


def test_missing_tensor_is_refused(written):
    tensors = tensors_of_timm()
    del tensors["blocks.0.mlp.fc1.bias"]
    with pytest.raises(ValueError, match=r"1 of 20 are missing, first 'params/block0/mlp1/bias'"):
        load(written(tensors))


def test_tensor_of_another_shape_is_refused(written):
    with pytest.raises(ValueError, match=r"'params/block0/mlp1/kernel' must have shape \(6, 24\), found \(6, 20\)"):
        load(written(tensors_of_timm(**{"blocks.0.mlp.fc1.weight": np.zeros((20, 6), np.float32)})))


def test_head_for_other_classes_is_refused(written):
    with pytest.raises(ValueError, match=r"'params/logits/bias' must have shape \(4,\), found \(3,\)"):
        load(written(tensors_of_timm()), classes=4)


def test_tensor_that_is_not_finite_is_refused(written):
    with pytest.raises(ValueError, match=r"'params/norm/bias' must be finite, found 1 NaN"):
        load(written(tensors_of_timm(**{"norm.bias": np.array([0, 0, np.nan, 0, 0, 0], np.float32)})))


def test_weights_of_another_architecture_are_refused(written):
    path = written(tensors_of_timm())
    with pytest.raises(ValueError, match=r"must have every tensor of ResNet: 102 of 102 are missing"):
        load_safetensors(path, ResNet(**RESNETS["resnet18"]), names="timm")
    with pytest.raises(ValueError, match=r"must have every tensor of ViT: 20 of 20 are missing"):
        load_safetensors(path, ViT(**SETTINGS), names="torchvision", image_shape=IMAGE_SHAPE)


def test_deeper_network_of_the_same_kind_is_refused(written):
    deeper = {name.replace("blocks.0", "blocks.1"): x for name, x in tensors_of_timm().items() if "blocks" in name}
    path = written(tensors_of_timm(**deeper))
    with pytest.raises(ValueError, match=r"is of another architecture than this ViT: it has 12 tensors more"):
        load(path)


def test_unknown_tensor_is_named_as_the_file_names_it(written):
    with pytest.raises(ValueError, match=r"1 tensors more, first 'blocks.0.ls1.gamma'"):
        load(written(tensors_of_timm(**{"blocks.0.ls1.gamma": np.ones(6, np.float32)})))


def test_unknown_names_and_networks_are_refused(written):
    path = written(tensors_of_timm())
    with pytest.raises(ValueError, match="names must be one of torchvision, timm; got 'keras'"):
        load_safetensors(path, ViT(**SETTINGS), names="keras")
    with pytest.raises(TypeError, match=r"model must be one of ResNet, VGG, ViT, InceptionV3, .*; got MLP"):
        load_safetensors(path, MLP(), names="timm")


def test_missing_package_is_named_with_its_extra(written, monkeypatch):
    path = written(tensors_of_timm())
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'saliency-jax\[weights\]'"):
        read_safetensors(path)
