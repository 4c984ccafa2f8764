"""What holds for every metric of the table."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from map_kinds import map_kinds

from saliency_jax.similarity import METRICS

every_metric = pytest.mark.parametrize("name", METRICS)
COMPILED = {name: jax.jit(metric) for name, metric in METRICS.items()}
COMPILED_BATCH = {name: jax.jit(jax.vmap(metric)) for name, metric in METRICS.items()}


def batch(shape=(48, 50, 3)):
    kinds = map_kinds(shape, 1)
    a = np.stack([kinds[kind] for kind in ("normal", "heavy_tails", "sparse", "signed_zeros")])
    b = a + np.stack([map_kinds(shape, seed)["normal"] for seed in range(2, 6)])
    return jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32)


def test_the_table_holds_the_names_that_sweeps_use():
    assert {"spearman", "spearman_abs", "pearson", "cosine", "ssim", "hog"} <= set(METRICS)


@every_metric
def test_vmap_equals_a_loop(name):
    a, b = batch()
    loop = [COMPILED[name](x, y) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(COMPILED_BATCH[name](a, b), loop, atol=5e-7, rtol=0)


@pytest.mark.parametrize("name", ["spearman", "pearson", "cosine", "ssim", "hog"])
def test_jit_equals_eager(name):
    a, b = batch()
    np.testing.assert_allclose(COMPILED[name](a[0], b[0]), METRICS[name](a[0], b[0]), atol=5e-7, rtol=0)


@every_metric
def test_one_map_is_compared_with_many_under_vmap(name):
    a, b = batch()
    got = jax.jit(jax.vmap(METRICS[name], in_axes=(None, 0)))(a[0], b)
    np.testing.assert_allclose(got, [COMPILED[name](a[0], y) for y in b], atol=5e-7, rtol=0)


@every_metric
def test_the_order_of_the_two_maps_does_not_matter(name):
    a, b = batch()
    metric = COMPILED_BATCH[name]
    np.testing.assert_allclose(metric(a, b), metric(b, a), atol=5e-7, rtol=0)


@every_metric
def test_scores_lie_between_minus_one_and_one_and_tell_maps_apart(name):
    a, b = batch()
    scores = COMPILED_BATCH[name](a, b)
    assert (scores >= -1).all() and (scores < 0.999).all()


@every_metric
def test_independent_maps_score_far_below_a_map_with_itself(name):
    a, b = (jnp.asarray(map_kinds((48, 50, 3), seed)["normal"], jnp.float32) for seed in (7, 8))
    assert COMPILED[name](a, b) < COMPILED[name](a, a) - 0.5


@every_metric
def test_a_positive_scale_of_either_map_does_not_matter(name):
    a, b = batch()
    metric = COMPILED_BATCH[name]
    np.testing.assert_allclose(metric(1e-6 * a, 1e3 * b), metric(a, b), atol=1e-5, rtol=0)


@every_metric
def test_a_map_of_zeros_scores_nan_in_its_place_of_the_batch_only(name):
    a, b = batch()
    scores = COMPILED_BATCH[name](a.at[1].set(0.0), b)
    np.testing.assert_array_equal(jnp.isnan(scores), [False, True, False, False])


@every_metric
def test_float64_stays_float64(name):
    with jax.enable_x64(True):
        a, b = (jnp.asarray(np.asarray(x[0], np.float64)) for x in batch())
        got = COMPILED[name](a, b)
        assert got.dtype == jnp.float64
    low = COMPILED[name](a.astype(jnp.float32), b.astype(jnp.float32))
    np.testing.assert_allclose(low, got, atol=5e-6, rtol=0)


@every_metric
def test_bfloat16_maps_are_compared_in_float32(name):
    a, b = (x[0].astype(jnp.bfloat16) for x in batch())
    metric = COMPILED[name]
    got = metric(a, b)
    assert got.dtype == jnp.float32
    np.testing.assert_array_equal(got, metric(a.astype(jnp.float32), b.astype(jnp.float32)))


@pytest.mark.parametrize("name", ["hog", "hog_released_code"])
def test_cells_of_8_pixels_make_hog_fit_a_digit(name, mnist):
    metric = partial(METRICS[name], cell=8)
    digits = jnp.asarray(mnist, jnp.float32)
    scores = jax.jit(jax.vmap(metric))(digits[:16], digits[16:])
    assert jnp.isfinite(scores).all() and (scores < 1).all()
