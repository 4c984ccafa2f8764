"""The VGG networks; that their logits are torchvision's is tested with the weights."""

import math

import jax
import numpy as np
import pytest
from drawn_weights import count, drawn, image, shapes
from relu_network_maps import check_maps_of_a_relu_network

from saliency_jax import blocks, layers
from saliency_jax.models.vgg import VGG, VGGS, adaptive_average_pool


def test_parameters_are_as_many_as_torchvision_s_documentation_says():
    assert {name: count(VGG(**settings), (32, 32, 3)) for name, settings in VGGS.items()} == {
        "vgg11": 132_863_336,
        "vgg13": 133_047_848,
        "vgg16": 138_357_544,
        "vgg19": 143_667_240,
        "vgg11_bn": 132_868_840,
        "vgg13_bn": 133_053_736,
        "vgg16_bn": 138_365_992,
        "vgg19_bn": 143_678_248,
    }


@pytest.mark.parametrize("batch_norm", [False, True])
def test_stages_are_the_convolutions_by_group_and_the_dense_layers(batch_norm):
    model = VGG(depths=(1, 1, 2, 1, 1), batch_norm=batch_norm, units=8, classes=3)
    variables = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes(model, (32, 32, 3)))
    stages = blocks(layers(model.apply, variables, image(1, 32, 32, 3)))
    names = ["conv1_1", "conv2_1", "conv3_1", "conv3_2", "conv4_1", "conv5_1", "fc6", "fc7", "logits"]
    assert [stage.name for stage in stages] == names
    assert sum(len(stage.paths) for stage in stages) == len(jax.tree.leaves(variables))


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"batch_norm": False}, {"batch_norm": True}], ids=["plain", "batch_norm"])
def test_maps_are_finite_and_lrp_zero_is_gradient_times_input(settings):
    # 2 x 1 places after the last pool: some bins repeat one, some have two.
    model, x = VGG(depths=(1, 1, 1, 1, 1), units=8, classes=3, **settings), image(64, 32, 3)
    variables = drawn(model, x.shape)
    check_maps_of_a_relu_network(model, variables, x)


@pytest.mark.parametrize("shape", [(1, 2), (3, 7), (7, 7), (8, 13), (14, 21)])
def test_adaptive_pool_is_the_mean_of_each_bin(shape):
    x = np.random.default_rng(0).normal(size=(2, *shape, 3)).astype(np.float32)
    expected = np.empty((2, 7, 7, 3))
    (top, bottom), (left, right) = (
        ([math.floor(i * n / 7) for i in range(7)], [math.ceil((i + 1) * n / 7) for i in range(7)]) for n in shape
    )
    for i in range(7):
        for j in range(7):
            expected[:, i, j] = x[:, top[i] : bottom[i], left[j] : right[j]].mean((1, 2), dtype=np.float64)
    np.testing.assert_allclose(jax.jit(lambda x: adaptive_average_pool(x, 7))(x), expected, rtol=0, atol=1e-6)


def test_images_that_the_pools_leave_nothing_of_are_refused(key):
    with pytest.raises(ValueError, match=r"images must be at least 32 pixels high and wide .*\(1, 31, 64, 3\)"):
        VGG().init(key, np.zeros((1, 31, 64, 3), np.float32))
    with pytest.raises(TypeError, match="images must be floating point"):
        VGG().init(key, np.zeros((1, 32, 32, 3), np.uint8))
