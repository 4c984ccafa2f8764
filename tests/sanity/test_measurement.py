import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from small_models import apply, case

from saliency_jax import pearson, spearman
from saliency_jax.sanity.measurement import comparison, model_state


def normal(seed, shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("count", [1, 37])
def test_scores_equal_scipys_for_every_size_of_batch(count):
    a, b = normal(0, (2, count, 5, 4, 2))
    found = comparison({"spearman": spearman, "pearson": pearson})(a, a + b)
    assert found.scores.shape == (2, count)
    for i, (x, y) in enumerate(zip(np.asarray(a, np.float64), np.asarray(a + b, np.float64), strict=True)):
        want = [f(x.ravel(), y.ravel()).statistic for f in (scipy.stats.spearmanr, scipy.stats.pearsonr)]
        np.testing.assert_allclose(found.scores[:, i], want, atol=1e-6)


def test_constant_and_nonfinite_maps_of_the_second_batch_are_counted_and_score_nan():
    reference = normal(0, (6, 4, 4, 1))
    maps = reference.at[0].set(0.0).at[1].set(-3.5).at[2, 0, 0, 0].set(jnp.nan).at[3, 1].set(jnp.inf)
    found = comparison({"pearson": pearson})(reference, maps)
    assert (int(found.constant), int(found.nonfinite)) == (2, 2)
    np.testing.assert_array_equal(np.isnan(found.scores[0]), [True, True, True, True, False, False])
    np.testing.assert_allclose(found.scores[0, 4:], 1, atol=1e-6)


def test_a_map_that_is_constant_in_one_channel_is_not_constant():
    maps = jnp.stack([jnp.zeros((1, 4, 4)), jnp.ones((1, 4, 4))], axis=-1)
    assert int(comparison({"pearson": pearson})(maps, maps).constant) == 0


def test_blemishes_of_the_first_batch_are_not_counted():
    good = normal(0, (2, 4, 4, 1))
    found = comparison({"pearson": pearson})(good.at[0].set(1.0).at[1].set(jnp.nan), good)
    assert (int(found.constant), int(found.nonfinite)) == (0, 0)
    assert np.isnan(found.scores).all()


def test_a_metric_that_is_no_number_is_named():
    maps = jnp.ones((2, 4, 4, 1))
    with pytest.raises(ValueError, match=r"metric 'difference' must give a scalar .* got shape \(4, 4, 1\)"):
        comparison({"pearson": pearson, "difference": lambda a, b: a - b})(maps, maps)


@pytest.mark.parametrize("count", [1, 300])
def test_the_state_of_a_model_equals_a_direct_evaluation(count):
    given = case()
    images = normal(5, (count, 8, 8, 1))
    labels = jnp.asarray(np.random.default_rng(6).integers(0, 3, count))
    found = model_state(apply)(given.params, images, labels)
    logits = np.asarray(apply(given.params, images))
    np.testing.assert_array_equal(found.predicted, logits.argmax(1))
    assert float(found.accuracy) == pytest.approx(np.mean(logits.argmax(1) == np.asarray(labels)), abs=1e-6)
    np.testing.assert_allclose([found.logit_low, found.logit_high], [logits.min(), logits.max()], rtol=1e-5)


def test_a_model_of_nan_shows_it_in_its_logits():
    given = case()
    broken = jax.tree.map(lambda leaf: leaf * jnp.nan, given.params)
    found = model_state(apply)(broken, given.images, given.targets)
    assert np.isnan(found.logit_low) and np.isnan(found.logit_high)
