"""Residual networks; that their logits are torchvision's is tested with the weights."""

import jax
import numpy as np
import pytest
from drawn_weights import count, drawn, image

from saliency_jax import blocks, class_score, composites, gradient, gradient_times_input, guided_backprop, layers, lrp
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
    explainers = {
        "gradient": gradient,
        "guided_backprop": guided_backprop,
        "lrp": lrp,
        "lrp_zero": lambda score, x: lrp(score, x, composite=composites.zero),
        "product": gradient_times_input,
    }

    @jax.jit
    def explain_all(variables, x):
        score = class_score(model.apply, variables, 2)
        return {name: explain(score, x) for name, explain in explainers.items()}

    maps = jax.tree.map(np.asarray, explain_all(variables, x))
    for name, found in maps.items():
        assert np.isfinite(found).all(), name
        assert np.abs(found).max() > 0, name
    assert np.abs(maps["guided_backprop"] - maps["gradient"]).max() > 0
    tolerance = 1e-4 * np.abs(maps["product"]).max()
    np.testing.assert_allclose(maps["lrp_zero"], maps["product"], rtol=0, atol=tolerance)


def test_what_is_no_batch_of_floating_images_is_refused(key):
    model = ResNet(**SMALL[0])
    with pytest.raises(ValueError, match=r"images must be .*, got 3 axes"):
        model.init(key, np.zeros((32, 32, 3), np.float32))
    with pytest.raises(TypeError, match="images must be floating point"):
        model.init(key, np.zeros((1, 32, 32, 3), np.uint8))
