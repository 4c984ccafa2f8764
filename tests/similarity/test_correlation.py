from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial.distance
import scipy.stats
from map_kinds import map_kinds

from saliency_jax.similarity import cosine, pearson, spearman

METRICS = {
    "spearman": jax.jit(spearman),
    "spearman_abs": jax.jit(partial(spearman, absolute=True)),
    "pearson": jax.jit(pearson),
    "cosine": jax.jit(cosine),
}
SCIPY = {
    "spearman": lambda a, b: scipy.stats.spearmanr(a.ravel(), b.ravel()).statistic,
    "spearman_abs": lambda a, b: scipy.stats.spearmanr(abs(a).ravel(), abs(b).ravel()).statistic,
    "pearson": lambda a, b: scipy.stats.pearsonr(a.ravel(), b.ravel()).statistic,
    "cosine": lambda a, b: 1 - scipy.spatial.distance.cosine(a.ravel(), b.ravel()),
}
every_metric = pytest.mark.parametrize("name", METRICS)


def related(x, seed):
    """A map that shares half of its pixels' values with `x`, so that correlations are far from zero."""
    draw = np.random.default_rng(seed)
    return np.where(draw.random(x.shape) < 0.5, x, draw.permutation(x.ravel()).reshape(x.shape))


def same_map_in_float32(x):
    """The values that float32 can hold, in float64: what both sides are then given."""
    return x.astype(np.float32).astype(np.float64)


@every_metric
@pytest.mark.parametrize("kind", map_kinds((1,), 0))
@pytest.mark.parametrize("shape", [(50,), (28, 28), (32, 31, 3)])
def test_float32_equals_scipy_in_float64(name, kind, shape):
    a = same_map_in_float32(map_kinds(shape, 1)[kind])
    b = related(a, 2)
    # Scale-free metrics: scipy would lose the squares of the tiny maps.
    want = SCIPY[name](a / abs(a).max(), b / abs(b).max())
    got = METRICS[name](jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32))
    assert got.shape == () and got.dtype == jnp.float32
    np.testing.assert_allclose(got, want, atol=1e-6, rtol=0)


@every_metric
@pytest.mark.parametrize("kind", map_kinds((1,), 0))
def test_float64_equals_scipy(name, kind):
    with jax.enable_x64(True):
        a = map_kinds((20, 21), 3)[kind]
        b = related(a, 4)
        got = METRICS[name](jnp.asarray(a), jnp.asarray(b))
        assert got.dtype == jnp.float64
        np.testing.assert_allclose(got, SCIPY[name](a / abs(a).max(), b / abs(b).max()), atol=1e-12, rtol=0)


@every_metric
@pytest.mark.parametrize("kind", ["normal", "heavy_tails", "sparse", "tied", "offset"])
def test_float32_is_enough_for_the_pixels_of_an_inception_map(name, kind):
    a = same_map_in_float32(map_kinds((299, 299, 3), 5)[kind])
    b = related(a, 6)
    got = METRICS[name](jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32))
    np.testing.assert_allclose(got, SCIPY[name](a, b), atol=1e-6, rtol=0)


@every_metric
def test_digits_equal_scipy(name, mnist):
    digits = same_map_in_float32(mnist)
    got = jax.vmap(METRICS[name])(jnp.asarray(digits[:16], jnp.float32), jnp.asarray(digits[16:], jnp.float32))
    want = [SCIPY[name](a, b) for a, b in zip(digits[:16], digits[16:], strict=True)]
    np.testing.assert_allclose(got, want, atol=1e-6, rtol=0)


@every_metric
def test_a_gradient_like_map_of_a_photograph_equals_scipy(name, photographs):
    # Differences of 8-bit pixels: signed, two thirds of them tied.
    a, b = (same_map_in_float32(np.diff(photograph, axis=0)) for photograph in photographs)
    got = METRICS[name](jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32))
    np.testing.assert_allclose(got, SCIPY[name](a, b), atol=1e-6, rtol=0)


@every_metric
@pytest.mark.parametrize("kind", map_kinds((1,), 0))
def test_a_map_agrees_fully_with_itself(name, kind):
    a = jnp.asarray(map_kinds((30, 31), 7)[kind], jnp.float32)
    np.testing.assert_allclose(METRICS[name](a, a), 1.0, atol=3e-7, rtol=0)


def test_sign_flip_turns_the_signed_correlations_and_leaves_the_absolute_one():
    a, b = (jnp.asarray(map_kinds((30, 30), seed)["sparse"], jnp.float32) for seed in (8, 9))
    b = a + 0.5 * b
    for name in ("spearman", "pearson", "cosine"):
        np.testing.assert_allclose(METRICS[name](a, -b), -METRICS[name](a, b), atol=1e-6, rtol=0)
    assert METRICS["spearman_abs"](a, -b) == METRICS["spearman_abs"](a, b)


def test_strictly_monotone_maps_leave_spearman_unchanged():
    a, b = (jnp.asarray(map_kinds((30, 30), seed)["tied"], jnp.float32) for seed in (10, 11))
    signed, absolute = METRICS["spearman"], METRICS["spearman_abs"]
    assert signed(jnp.exp(a), b) == signed(a, b) == signed(a, b**3)
    assert absolute(a * jnp.abs(a), b) == absolute(a, b)


@pytest.mark.parametrize("scale", [1e-32, 1e-20, 1e20, 1e37])
def test_correlations_do_not_feel_the_scale_of_a_map(scale):
    a, b = (jnp.asarray(map_kinds((30, 30), seed)["normal"], jnp.float32) for seed in (12, 13))
    b = a + b
    for metric in METRICS.values():
        np.testing.assert_allclose(metric(a * jnp.float32(scale), b), metric(a, b), atol=1e-6, rtol=0)


def test_pearson_does_not_feel_an_offset_a_thousand_times_the_contrast():
    # Multiples of 1/1024, so that the offset itself rounds nothing away.
    draw = np.random.default_rng(14)
    a, b = draw.integers(-1000, 1000, (2, 40, 40)) / 1024
    b = a + b
    got = METRICS["pearson"](jnp.asarray(a + 2048, jnp.float32), jnp.asarray(b, jnp.float32))
    np.testing.assert_allclose(got, SCIPY["pearson"](a, b), atol=1e-6, rtol=0)


@pytest.mark.parametrize("value", [0.0, 0.1, -3e38, 1e-30])
def test_a_constant_map_has_no_centred_correlation(value):
    constant = jnp.full((13, 17, 3), value, jnp.float32)
    b = jnp.asarray(map_kinds((13, 17, 3), 15)["normal"], jnp.float32)
    for name in ("spearman", "spearman_abs", "pearson"):
        for pair in ((constant, b), (b, constant), (constant, constant)):
            assert jnp.isnan(METRICS[name](*pair)), name


def test_scipy_calls_a_constant_map_undefined_too():
    with pytest.warns(scipy.stats.ConstantInputWarning):
        assert np.isnan(scipy.stats.spearmanr(np.ones(5), np.arange(5)).statistic)


def test_a_map_of_one_magnitude_has_no_absolute_rank_correlation():
    a = jnp.asarray([1.0, -1.0, 1.0, -1.0])
    b = jnp.asarray([1.0, 2.0, 3.0, 4.0])
    assert jnp.isnan(spearman(a, b, absolute=True)) and jnp.isfinite(spearman(a, b))


def test_the_cosine_of_a_zero_map_is_undefined_and_of_a_constant_one_is_not():
    b = jnp.asarray(map_kinds((5, 5), 16)["normal"], jnp.float32)
    assert jnp.isnan(cosine(jnp.zeros((5, 5)), b))
    assert cosine(jnp.ones((5, 5)), jnp.full((5, 5), 3.0)) == 1.0


@every_metric
def test_one_nan_in_either_map_makes_the_result_nan(name):
    a, b = (jnp.asarray(map_kinds((9, 9), seed)["normal"], jnp.float32) for seed in (17, 18))
    assert jnp.isnan(METRICS[name](a.at[3, 4].set(jnp.nan), b))
    assert jnp.isnan(METRICS[name](a, b.at[8, 8].set(-jnp.nan)))


def test_infinities_rank_as_extremes_and_have_no_linear_correlation():
    a, b = (map_kinds((9, 9), seed)["normal"].astype(np.float32) for seed in (19, 20))
    a[0, :3], b[1, 2] = [np.inf, -np.inf, np.inf], -np.inf
    for name in ("spearman", "spearman_abs"):
        np.testing.assert_allclose(METRICS[name](jnp.asarray(a), jnp.asarray(b)), SCIPY[name](a, b), atol=1e-6)
    assert jnp.isnan(pearson(jnp.asarray(a), jnp.asarray(b)))
    assert jnp.isnan(cosine(jnp.asarray(a), jnp.asarray(b)))


@every_metric
def test_different_shapes_are_refused_and_named_even_if_they_would_broadcast(name):
    with pytest.raises(ValueError, match=r"same shape, found \(4, 4, 3\) and \(4, 4, 1\)"):
        METRICS[name](jnp.ones((4, 4, 3)), jnp.ones((4, 4, 1)))


@every_metric
def test_empty_maps_are_refused(name):
    with pytest.raises(ValueError, match=r"a must have at least one element, found shape \(0, 4\)"):
        METRICS[name](jnp.ones((0, 4)), jnp.ones((0, 4)))


@every_metric
def test_the_wider_dtype_of_the_two_maps_decides(name):
    with jax.enable_x64(True):
        a, b = (map_kinds((9, 9), seed)["normal"] for seed in (21, 22))
        got = METRICS[name](jnp.asarray(a, jnp.float32), jnp.asarray(b))
        assert got.dtype == jnp.float64
        np.testing.assert_allclose(got, SCIPY[name](same_map_in_float32(a), b), atol=1e-12)
