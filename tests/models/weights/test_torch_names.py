"""Names of torchvision and timm become ours, each with its own place in the layout."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from saliency_jax.models.inception import InceptionV3
from saliency_jax.models.resnet import RESNETS, ResNet
from saliency_jax.models.vgg import VGG, VGGS
from saliency_jax.models.vit import VITS, ViT
from saliency_jax.models.weights import timm_names, torchvision_names
from saliency_jax.tracing.layers import leaf_paths

with np.load(Path(__file__).resolve().parents[1] / "goldens" / "torch_networks.npz") as file:
    SHAPES = json.loads(str(file["shapes"]))
NAMINGS = {"torchvision": torchvision_names.NAMINGS, "timm": timm_names.NAMINGS}


def network(architecture):
    for settings, module in ((RESNETS, ResNet), (VGGS, VGG), (VITS, ViT)):
        if architecture in settings:
            return module(**settings[architecture])
    return {"vit_b_16": ViT(), "inception_v3": InceptionV3()}[architecture]


def named(library, architecture, tensors):
    model = network(architecture)
    return NAMINGS[library][type(model)](tensors, model)


def empty_tensors(name):
    """Zeros in the shapes of a network's tensors: a view of one number, so that they take no memory."""
    return {tensor: np.broadcast_to(np.float32(0), shape) for tensor, shape in SHAPES[name].items()}


@pytest.mark.parametrize("name", SHAPES)
def test_names_are_exactly_the_leaves_and_shapes_of_the_network(name):
    library, architecture = name.split("/")
    found = {path: array.shape for path, array in named(library, architecture, empty_tensors(name)).items()}
    # Inception v3 takes no image under 75 pixels; the shapes are the same for every size but a ViT's.
    wanted = jax.eval_shape(
        network(architecture).init, jax.random.key(0), jax.ShapeDtypeStruct((1, 224, 224, 3), np.float32)
    )
    leaves = jax.tree.leaves(wanted)
    assert found == {path: leaf.shape for path, leaf in zip(leaf_paths(wanted), leaves, strict=True)}


def test_kernels_have_inputs_before_outputs_and_counters_are_left_out():
    random = np.random.default_rng(0)
    tensors = {
        "layer3.5.conv2.weight": random.normal(size=(4, 3, 2, 5)),
        "layer3.5.downsample.1.running_var": random.normal(size=4),
        "bn1.num_batches_tracked": np.array(3),
        "bn1.weight": random.normal(size=4),
        "fc.weight": random.normal(size=(6, 4)),
    }
    found = named("torchvision", "resnet50", tensors)
    assert set(found) == {
        "params/layer3_5/conv2/kernel",
        "batch_stats/layer3_5/downsample_bn/var",
        "params/conv1/bn/scale",
        "params/logits/kernel",
    }
    for height, width, i, o in np.ndindex(2, 5, 3, 4):
        assert (
            found["params/layer3_5/conv2/kernel"][height, width, i, o]
            == (tensors["layer3.5.conv2.weight"][o, i, height, width])
        )
    np.testing.assert_array_equal(found["params/logits/kernel"], tensors["fc.weight"].T)


@pytest.mark.parametrize(
    ("library", "name", "shape"),
    [("torchvision", "classifier.0.weight", (2, 25088)), ("timm", "pre_logits.fc1.weight", (2, 512, 7, 7))],
)
def test_first_dense_kernel_of_a_vgg_sees_places_before_channels(library, name, shape):
    kernel = np.random.default_rng(0).normal(size=shape)
    activations = np.random.default_rng(1).normal(size=(7, 7, 512))
    expected = kernel.reshape(2, -1) @ activations.transpose(2, 0, 1).ravel()
    found = named(library, "vgg16", {name: kernel})["params/fc6/kernel"]
    np.testing.assert_allclose(activations.ravel() @ found, expected, rtol=1e-12)


def test_inception_s_names_become_its_blocks_and_the_auxiliary_classifier_is_left_out():
    kernel = np.zeros((2, 3, 1, 1))
    tensors = {
        "Mixed_5b.branch1x1.conv.weight": kernel,
        "AuxLogits.conv0.conv.weight": kernel,
        "AuxLogits.fc.bias": np.zeros(2),
        "fc.weight": np.zeros((2, 3)),
        "Conv2d_1a_3x3.bn.running_mean": np.zeros(2),
    }
    assert set(named("torchvision", "inception_v3", tensors)) == {
        "params/Mixed_5b/branch1x1/conv/kernel",
        "params/Logits/kernel",
        "batch_stats/Conv2d_1a_3x3/bn/mean",
    }


def test_first_files_of_torchvision_s_vit_count_the_dense_layers():
    later = empty_tensors("torchvision/vit_b_16")
    first = {name.replace("mlp.0", "mlp.linear_1").replace("mlp.3", "mlp.linear_2"): x for name, x in later.items()}
    assert set(first) != set(later)
    assert set(named("torchvision", "vit_b_16", first)) == set(named("torchvision", "vit_b_16", later))


@pytest.mark.parametrize("name", ["layer1.0.conv1.gain", "layer1.conv1.weight", "head.weight", "weight", "fc"])
def test_what_is_not_known_keeps_its_name(name):
    values = np.zeros((2, 2))
    found = named("torchvision", "resnet18", {name: values})
    assert list(found) == [name]
    assert found[name] is values
