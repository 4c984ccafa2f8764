from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_models import CLASSES

import saliency_jax as sj
from saliency_jax.sanity.completeness import completeness_along_cascade

POINTS = 11
COUNT = 4


def init(key):
    return {"only": {"kernel": 0.1 * jax.random.normal(key, (12, CLASSES))}}


def cubic(params, images):
    """f_c(x) = sum_j W_jc x_j^3, whose integrated gradients by every rule are known."""
    return images.reshape(len(images), -1) ** 3 @ params["only"]["kernel"]


def images():
    drawn = np.random.default_rng(0).normal(size=(COUNT, 4, 3, 1))
    drawn[2] = 0
    return jnp.asarray(drawn, jnp.float32)


EXPLAINERS = {
    "paper": partial(sj.integrated_gradients, rule="paper", steps=POINTS),
    "gauss": partial(sj.integrated_gradients, steps=2),
    "gradient": sj.gradient,
}


@pytest.fixture(scope="module")
def found():
    arguments = (cubic, init(jax.random.key(1)), init, images(), jnp.arange(COUNT) % CLASSES, EXPLAINERS)
    return completeness_along_cascade(*arguments, key=jax.random.key(2), seeds=2, protocol="released_code")


def test_the_dataset_has_the_documented_variables_and_dimensions(found):
    whole = ("explainer", "stage", "seed", "image")
    assert {name: found[name].dims for name in found.data_vars} == {
        **dict.fromkeys(("gap", "score_change", "relative_gap"), whole),
        **dict.fromkeys(("accuracy", "logit_low", "logit_high", "logit_spread"), ("model", "seed")),
    }
    assert found.stage.values.tolist() == found.model.values.tolist() == ["trained", "only"]


def test_the_papers_sum_is_too_large_by_the_bias_of_its_rule_at_every_stage(found):
    # The mean of a^2 over linspace(0, 1, n) is (2n - 1) / (6 (n - 1)) and not 1/3: the map is 1 + 1 / (2 (n - 1)) of
    # what it should be, whatever the weights.
    paper = found.sel(explainer="paper").drop_sel(image=2)
    np.testing.assert_allclose(paper.relative_gap * np.sign(paper.score_change), 1 / (2 * (POINTS - 1)), rtol=1e-3)
    np.testing.assert_allclose(paper.gap, paper.score_change / (2 * (POINTS - 1)), rtol=1e-3)


def test_two_points_of_gauss_integrate_a_parabola_at_every_stage(found):
    # The rounding of the terms, whose sum is the change.
    assert np.abs(found.gap.sel(explainer="gauss")).max() < 1e-5


def test_the_scores_change_is_the_stages_own_models(found):
    x = np.asarray(images(), np.float64).reshape(COUNT, -1)
    trained = (x**3 @ np.asarray(init(jax.random.key(1))["only"]["kernel"]))[range(COUNT), [0, 1, 2, 0]]
    change = found.score_change.sel(explainer="paper")
    np.testing.assert_allclose(change.sel(stage="trained"), np.tile(trained, (2, 1)), atol=1e-5)
    random = change.sel(stage="only").values[:, [0, 1, 3]]
    assert np.all(np.abs(random - trained[[0, 1, 3]]) > 1e-3) and np.all(np.abs(random[0] - random[1]) > 1e-3)


def test_what_is_not_complete_shows_it(found):
    x = np.asarray(images(), np.float64).reshape(COUNT, -1)
    kernel = np.asarray(init(jax.random.key(1))["only"]["kernel"])[:, [0, 1, 2, 0]].T
    want = (3 * x**2 * kernel - x**3 * kernel).sum(1)
    np.testing.assert_allclose(found.gap.sel(explainer="gradient", stage="trained", seed=0), want, atol=1e-5)


def test_an_image_equal_to_the_baseline_changes_nothing_and_has_no_relative_gap(found):
    blank = found.sel(image=2)
    np.testing.assert_array_equal(blank.score_change, 0)
    np.testing.assert_array_equal(blank.gap, 0)
    assert np.isnan(blank.relative_gap).all() and np.isfinite(found.relative_gap.drop_sel(image=2)).all()


def test_the_baseline_may_be_an_image():
    start = np.full((4, 3, 1), 0.5, np.float32)
    explain = {"gauss": partial(sj.integrated_gradients, steps=2, baseline=start)}
    arguments = (cubic, init(jax.random.key(1)), init, images(), jnp.arange(COUNT) % CLASSES, explain)
    found = completeness_along_cascade(*arguments, key=jax.random.key(2), seeds=1, baseline=start)
    assert np.abs(found.gap).max() < 1e-5
    with pytest.raises(ValueError, match="baseline must be a number or shaped like the image"):
        completeness_along_cascade(*arguments, key=jax.random.key(2), baseline=start[0])
