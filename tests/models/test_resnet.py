"""Residual networks; that their logits are torchvision's is tested with the weights."""

import jax
import numpy as np
import pytest
from drawn_weights import count, drawn, image
from relu_network_maps import check_maps_of_a_relu_network

from saliency_jax import blocks, layers
from saliency_jax.models.resnet import RESNETS, ResNet

SMALL = [{"depths": (1, 1), "bottleneck": bottleneck, "classes": 5} for bottleneck in (False, True)]


def test_parameters_are_as_many_as_torchvision_s_documentation_says():
    counts = {name: count(ResNet(**settings), (32, 32, 3)) for name, settings in RESNETS.items()}
    assert counts == {"resnet18": 11_689_512, "resnet34": 21_797_672, "resnet50": 25_557_032}


def test_stages_are_the_stem_the_blocks_and_the_logits_and_have_every_leaf():
    model = ResNet(**RESNETS["resnet50"])
    variables = drawn(model, (33, 33, 3))
    stages = blocks(layers(model.apply, variables, image(1, 33, 33, 3)))
    expected = [f"layer{stage}_{i}" for stage, depth in enumerate((3, 4, 6, 3), start=1) for i in range(depth)]
    assert [stage.name for stage in stages] == ["conv1", *expected, "logits"]
    assert sum(len(stage.paths) for stage in stages) == len(jax.tree.leaves(variables))
    assert {path.rpartition("/")[0] for path in stages[0].paths} == {
        "params/conv1/conv",
        "params/conv1/bn",
        "batch_stats/conv1/bn",
    }


@pytest.mark.slow
@pytest.mark.parametrize("settings", SMALL, ids=["basic", "bottleneck"])
def test_maps_are_finite_and_lrp_zero_is_gradient_times_input(settings):
    model, x = ResNet(**settings), image(33, 38, 3)
    variables = drawn(model, x.shape)
    check_maps_of_a_relu_network(model, variables, x)


def test_what_is_no_batch_of_floating_images_is_refused(key):
    model = ResNet(**SMALL[0])
    with pytest.raises(ValueError, match=r"images must be .*, got 3 axes"):
        model.init(key, np.zeros((32, 32, 3), np.float32))
    with pytest.raises(TypeError, match="images must be floating point"):
        model.init(key, np.zeros((1, 32, 32, 3), np.uint8))
