"""Published networks give PyTorch's logits: weights drawn by name, written to a file, read and run.

The logits are those of torchvision 0.28.0 and timm 1.0.31 in torch 2.13.0 on the CPU (tools/make_torch_goldens.py).
"""

import json
import runpy
from pathlib import Path

import jax
import numpy as np
import pytest

from saliency_jax.models.inception import INCEPTIONS, InceptionV3
from saliency_jax.models.resnet import RESNETS, ResNet
from saliency_jax.models.vgg import VGG, VGGS
from saliency_jax.models.vit import VITS, ViT
from saliency_jax.models.weights.safetensors_file import load_safetensors

safetensors_numpy = pytest.importorskip("safetensors.numpy")

MADE = runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "make_torch_goldens.py"))
SLOW = ("vgg13", "vgg16", "vgg19", "inception", "vit_b")


def network(architecture):
    for settings, module in ((RESNETS, ResNet), (VGGS, VGG), (VITS, ViT)):
        if architecture in settings:
            return module(**settings[architecture])
    return {"vit_b_16": ViT(), "inception_v3": InceptionV3(**INCEPTIONS["torchvision"])}[architecture]


def golden(case):
    """The shapes of a network's tensors, and its logits."""
    with np.load(MADE["GOLDENS"]) as file:
        return json.loads(str(file["shapes"]))[f"{case.library}/{case.architecture}"], file[case.label]


def marked(case):
    slow = case.architecture.startswith(SLOW)
    return pytest.param(case, id=case.label, marks=pytest.mark.slow if slow else ())


@pytest.mark.slow
@pytest.mark.parametrize("case", [marked(case) for case in MADE["CASES"]])
def test_logits_are_pytorch_s(case, tmp_path):
    shapes, expected = golden(case)
    path, model = tmp_path / "model.safetensors", network(case.architecture)
    tensors = {name: MADE["seeded_tensor"](name, tuple(shape)) for name, shape in shapes.items()}
    safetensors_numpy.save_file(tensors, path)
    del tensors
    variables = load_safetensors(path, model, names=case.library)
    path.unlink()
    found = jax.jit(model.apply)(variables, MADE["seeded_images"](case.size))
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())
    # The bound says something: the two images are told apart by far more.
    assert np.abs(expected[0] - expected[1]).max() > 0.02 * np.abs(expected).max()
