"""The outputs of blocks: where branches meet, after pooling where they do not, and what the last layer reads."""

import jax
import jax.numpy as jnp
import pytest

import saliency_jax as sj
from saliency_jax import models


def outputs(model, size, channels):
    images = jnp.zeros((1, size, size, channels))
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return sj.block_outputs(sj.taps(model.apply, params, images))


def test_a_plain_network_has_one_for_each_layer_after_activation_and_pooling():
    names = [tap.name for tap in outputs(models.CNN(), 28, 1)]
    assert names == ["conv1/max_pool", "conv2/max_pool", "dense/relu", "logits"]


@pytest.mark.slow
def test_branches_count_where_they_meet():
    found = outputs(models.InceptionV3(**models.INCEPTIONS["graph_2015"]), 107, 3)
    mixed = [tap for tap in found if tap.kind == "concatenation"]
    assert len(mixed) == 11, "one for each of the eleven mixed blocks"
    assert [tap.shape[-1] for tap in mixed] == [256, 288, 288, 768, 768, 768, 768, 768, 1280, 2048, 2048]
    assert found[-1].name == "Logits" and found[-2].shape == (1, 2048)


@pytest.mark.slow
def test_residual_blocks_end_in_their_sum():
    found = outputs(models.MobileNetV2(**models.MOBILENETS["mobilenet_v2"]), 64, 3)
    by_block = {tap.name.split("/")[0]: tap for tap in found}
    assert by_block["block2"].kind == "sum" and by_block["block1"].kind != "sum"
    assert len([name for name in by_block if name.startswith("block")]) == 17
    assert found[-2].shape == (1, 1280), "what the last layer reads"


def test_depth_divides_further_and_must_be_positive():
    images = jnp.zeros((1, 28, 28, 1))
    params = models.CNN().init(jax.random.key(0), images)
    taps = sj.taps(models.CNN().apply, params, images)
    assert sj.block_outputs(taps, depth=2) == taps
    with pytest.raises(ValueError, match="depth must be at least 1, got 0"):
        sj.block_outputs(taps, depth=0)
