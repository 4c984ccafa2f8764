import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
import scipy.stats
from linear_model import SIDE, apply, images, init, params, targets, weights

import saliency_jax as sj
from saliency_jax.sanity.efficient_mprt import efficient_mprt

COUNT = 4
KEY = jax.random.key(5)


def broken_where_bright(score, image, key=None):
    return jnp.where(image[0, 0, 0] > 0, jnp.nan, image)


def signs(score, image, key=None):
    return jnp.sign(sj.gradient(score, image))


EXPLAINERS = {
    "gradient": sj.gradient,
    "signs": signs,
    "edges": sj.edges,
    "constant": sj.constant,
    "broken": broken_where_bright,
}


def run(explainers=EXPLAINERS, **options):
    settings = {"key": KEY, "seeds": [0, 2], "bins": 20} | options
    return efficient_mprt(apply, params(), init, images(COUNT), targets(COUNT), explainers, **settings)


@pytest.fixture(scope="module")
def found():
    return run()


def entropy(x):
    return scipy.stats.entropy(np.histogram(x, bins=20)[0])


def random_params(seed):
    """What the protocol "paper" draws for the last stage, which is the only layer's."""
    key = oracles.named(jax.random.fold_in(oracles.named(KEY, "fresh"), seed), "logits")
    return oracles.cut_normal_weights(key, params())


def test_the_dataset_has_the_documented_variables_and_dimensions(found):
    assert {name: found[name].dims for name in found.data_vars} == {
        "rise": ("explainer", "seed", "image"),
        "complexity": ("explainer", "model", "seed", "image"),
        "flat_maps": ("explainer", "model", "seed"),
        "nonfinite_maps": ("explainer", "model", "seed"),
        **dict.fromkeys(("accuracy", "logit_low", "logit_high", "logit_spread"), ("model", "seed")),
        "explained_class": ("stage", "seed", "image"),
    }
    assert found.model.values.tolist() == ["trained", "random"] and found.seed.values.tolist() == [0, 2]


def test_the_rise_is_that_of_the_entropy_of_the_maps_of_a_model_whose_weights_are_all_random(found):
    before = [entropy(x) for x in weights(params(), targets(COUNT))]
    for seed in (0, 2):
        after = [entropy(x) for x in weights(random_params(seed), targets(COUNT))]
        got = found.sel(explainer="gradient", seed=seed)
        # A value on the border of a bin may change it in float32.
        np.testing.assert_allclose(got.complexity.sel(model="trained"), before, atol=0.03)
        np.testing.assert_allclose(got.complexity.sel(model="random"), after, atol=0.03)
        np.testing.assert_allclose(got.rise, (np.array(after) - before) / before, atol=0.02)


def test_signs_count(found):
    # Two values have the entropy of a biased coin; their absolute values, all 1, would have none.
    positive = np.mean(weights(params(), targets(COUNT)) > 0, axis=(1, 2, 3))
    want = scipy.stats.entropy(np.stack([positive, 1 - positive]))
    np.testing.assert_allclose(found.complexity.sel(explainer="signs", model="trained", seed=0), want, atol=1e-5)


def test_a_map_that_ignores_the_model_does_not_rise(found):
    np.testing.assert_array_equal(found.rise.sel(explainer="edges"), 0)


def test_the_rise_from_no_entropy_at_all_is_nan_and_the_maps_are_counted(found):
    constant = found.sel(explainer="constant")
    assert np.isnan(constant.rise).all() and (constant.complexity == 0).all()
    np.testing.assert_array_equal(constant.flat_maps, COUNT)
    np.testing.assert_array_equal(found.flat_maps.drop_sel(explainer="constant"), 0)


def test_maps_that_are_not_finite_stay_nan_and_are_counted(found):
    bright = np.asarray(images(COUNT))[:, 0, 0, 0] > 0
    assert 0 < bright.sum() < COUNT
    broken = found.sel(explainer="broken")
    np.testing.assert_array_equal(broken.nonfinite_maps, bright.sum())
    np.testing.assert_array_equal(np.isnan(broken.complexity), np.broadcast_to(bright, (2, 2, COUNT)))
    np.testing.assert_array_equal(np.isnan(broken.rise), np.broadcast_to(bright, (2, COUNT)))


def test_the_state_of_the_random_model_is_reported(found):
    logits = np.asarray(images(COUNT)).reshape(COUNT, -1) @ np.asarray(random_params(2)["logits"]["kernel"])
    logits = logits + np.asarray(random_params(2)["logits"]["bias"])
    state = found.sel(model="random", seed=2)
    np.testing.assert_allclose([state.logit_low, state.logit_high], [logits.min(), logits.max()], rtol=1e-4)
    np.testing.assert_allclose(state.accuracy, np.mean(logits.argmax(1) == np.asarray(targets(COUNT))), atol=1e-6)


def test_a_rule_of_bins_is_handed_on_and_recorded():
    found = run({"gradient": sj.gradient}, bins="sturges", seeds=1)
    want = scipy.stats.entropy(np.histogram(weights(params(), [0])[0], bins="sturges")[0])
    assert float(found.complexity[0, 0, 0, 0]) == pytest.approx(want, abs=0.03)
    assert found.attrs == {"test": "efficient_mprt", "bins": "sturges"} and SIDE == 9
