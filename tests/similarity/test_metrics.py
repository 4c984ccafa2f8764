"""What holds for every metric of the table."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from map_kinds import map_kinds

from saliency_jax.similarity import METRICS

every_metric = pytest.mark.parametrize("name", METRICS)


def batch(shape=(48, 50, 3)):
    kinds = map_kinds(shape, 1)
    a = np.stack([kinds[kind] for kind in ("normal", "heavy_tails", "sparse", "tied")])
    b = a + np.stack([map_kinds(shape, seed)["normal"] for seed in range(2, 6)])
    return jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32)


def test_the_table_holds_the_names_that_sweeps_use():
    assert {"spearman", "spearman_abs", "pearson", "cosine", "ssim", "hog"} <= set(METRICS)


@every_metric
def test_vmap_and_jit_give_what_a_loop_gives(name):
    a, b = batch()
    metric = METRICS[name]
    loop = [metric(x, y) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(jax.vmap(metric)(a, b), loop, atol=5e-7, rtol=0)
    np.testing.assert_allclose(jax.jit(jax.vmap(metric))(a, b), loop, atol=5e-7, rtol=0)


@every_metric
def test_one_map_is_compared_with_many_under_vmap(name):
    a, b = batch()
    metric = METRICS[name]
    got = jax.vmap(metric, in_axes=(None, 0))(a[0], b)
    np.testing.assert_allclose(got, [metric(a[0], y) for y in b], atol=5e-7, rtol=0)


@every_metric
def test_the_order_of_the_two_maps_does_not_matter(name):
    a, b = batch()
    metric = jax.vmap(METRICS[name])
    np.testing.assert_allclose(metric(a, b), metric(b, a), atol=5e-7, rtol=0)


@every_metric
def test_scores_lie_between_minus_one_and_one_and_tell_maps_apart(name):
    a, b = batch()
    scores = jax.vmap(METRICS[name])(a, b)
    assert (scores >= -1).all() and (scores < 0.999).all()


@every_metric
def test_independent_maps_score_far_below_a_map_with_itself(name):
    a, b = (jnp.asarray(map_kinds((64, 64, 3), seed)["normal"], jnp.float32) for seed in (7, 8))
    assert METRICS[name](a, b) < METRICS[name](a, a) - 0.5


@every_metric
def test_a_positive_scale_of_either_map_does_not_matter(name):
    a, b = batch()
    metric = jax.vmap(METRICS[name])
    np.testing.assert_allclose(metric(1e-6 * a, 1e3 * b), metric(a, b), atol=1e-5, rtol=0)


@every_metric
def test_a_map_of_zeros_scores_nan_in_its_place_of_the_batch_only(name):
    a, b = batch()
    scores = jax.vmap(METRICS[name])(a.at[1].set(0.0), b)
    np.testing.assert_array_equal(jnp.isnan(scores), [False, True, False, False])


@every_metric
def test_float64_stays_float64(name):
    with jax.enable_x64(True):
        a, b = (jnp.asarray(np.asarray(x[0], np.float64)) for x in batch())
        got = METRICS[name](a, b)
        assert got.dtype == jnp.float64
    low = METRICS[name](a.astype(jnp.float32), b.astype(jnp.float32))
    np.testing.assert_allclose(low, got, atol=5e-6, rtol=0)


@every_metric
def test_bfloat16_maps_are_compared_in_float32(name):
    a, b = (x[0].astype(jnp.bfloat16) for x in batch())
    metric = METRICS[name]
    got = metric(a, b)
    assert got.dtype == jnp.float32
    np.testing.assert_array_equal(got, metric(a.astype(jnp.float32), b.astype(jnp.float32)))


@pytest.mark.parametrize("name", ["hog", "hog_released_code"])
def test_cells_of_8_pixels_make_hog_fit_a_digit(name, mnist):
    metric = partial(METRICS[name], cell=8)
    digits = jnp.asarray(mnist, jnp.float32)
    scores = jax.vmap(metric)(digits[:16], digits[16:])
    assert jnp.isfinite(scores).all() and (scores < 1).all()
