"""The order of the stages, the numbers of the paper's program, and what they may not be; and sums of networks."""

import jax.numpy as jnp
import numpy as np
import pytest

from saliency_jax.prototypes import Recipe, Stage, schedule
from saliency_jax.prototypes.ensemble import summed
from saliency_jax.prototypes.losses import Weights
from saliency_jax.prototypes.schedule import PAPER, TRAINED


def test_the_papers_stages_are_those_of_its_program():
    # Epochs 0 to 4 warm, then joint up to the projection at epoch 10, 20 epochs of the last layer, every 10 again.
    once = (Stage("warm", 5), Stage("joint", 5), Stage("project"), Stage("last_layer", 20))
    assert schedule() == once
    assert schedule(cycles=3) == once + 2 * (Stage("joint", 10), Stage("project"), Stage("last_layer", 20))


def test_stages_of_no_epochs_are_left_out_and_a_projection_never_is():
    assert schedule(warm=0, joint=0, last_layer=0) == (Stage("project", 1),)
    assert schedule(warm=1, joint=0, last_layer=0, between=0, cycles=2) == (
        Stage("warm", 1),
        Stage("project"),
        Stage("project"),
    )


def test_the_papers_numbers_are_those_of_its_program():
    assert (PAPER.batch_size, PAPER.decay, PAPER.decay_every) == (80, 0.1, 5)
    assert (PAPER.backbone_rate, PAPER.add_on_rate, PAPER.prototype_rate, PAPER.last_layer_rate) == (
        1e-4,
        3e-3,
        3e-3,
        1e-4,
    )
    assert PAPER.weight_decay == 1e-3
    assert PAPER.weights == Weights(1.0, 0.8, -0.08, 1e-4)


def test_the_last_layer_is_trained_by_its_own_stage_alone():
    assert [kind for kind, groups in TRAINED.items() if "last_layer" in groups] == ["last_layer"]
    assert TRAINED["project"] == ()
    assert set(TRAINED["joint"]) - set(TRAINED["warm"]) == {"backbone"}


@pytest.mark.parametrize("name", ["warm", "joint", "between", "last_layer"])
def test_a_negative_number_of_epochs_is_named(name):
    with pytest.raises(ValueError, match=f"{name} must not be negative, got -1"):
        schedule(**{name: -1})


def test_no_cycle_is_refused():
    with pytest.raises(ValueError, match="cycles must be at least 1, got 0"):
        schedule(cycles=0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 0),
        ("decay_every", 0),
        ("backbone_rate", -1e-4),
        ("add_on_rate", float("nan")),
        ("prototype_rate", float("inf")),
        ("last_layer_rate", -1.0),
        ("weight_decay", -1e-3),
        ("decay", -0.1),
    ],
)
def test_a_field_of_the_recipe_out_of_its_range_is_named(name, value):
    with pytest.raises(ValueError, match=f"{name} must .* got {value}"):
        Recipe(**{name: value})


# Ensembles


def linear(params, images):
    return images.reshape(len(images), -1) @ params


def test_the_logits_of_an_ensemble_are_the_sum_of_its_members_logits():
    random = np.random.RandomState(0)
    images = jnp.float32(random.rand(4, 2, 2, 1))
    params = [jnp.float32(random.randn(4, 3)) for _ in range(3)]
    together = summed([linear, linear, linear])
    expected = sum(np.float64(images).reshape(4, 4) @ np.float64(one) for one in params)
    np.testing.assert_allclose(together(params, images), expected, atol=1e-5)
    np.testing.assert_array_equal(summed([linear])(params[:1], images), linear(params[0], images))


def test_members_that_do_not_fit_are_named():
    images = jnp.ones((2, 2, 2, 1))
    with pytest.raises(ValueError, match="applies must hold at least one"):
        summed([])
    with pytest.raises(ValueError, match="params must be one for each of 2 models, got 1"):
        summed([linear, linear])([jnp.ones((4, 3))], images)
    with pytest.raises(ValueError, match=r"logits of the same shape, got \[\(2, 3\), \(2, 1\)\]"):
        summed([linear, linear])([jnp.ones((4, 3)), jnp.ones((4, 1))], images)
