import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from map_kinds import map_kinds

from saliency_jax.similarity import ranks
from saliency_jax.similarity.pairs import floating


@pytest.mark.parametrize("kind", map_kinds((1,), 0))
@pytest.mark.parametrize("shape", [(1,), (2,), (7,), (8,), (33, 17, 3)])
def test_ranks_equal_scipy_rankdata(kind, shape):
    x = map_kinds(shape, 1)[kind].astype(np.float32)
    got = jax.jit(ranks)(jnp.asarray(x))
    assert got.shape == shape and got.dtype == jnp.float32
    np.testing.assert_array_equal(got, scipy.stats.rankdata(x).reshape(shape))


def test_ranks_equal_rankdata_on_digits(mnist):
    x = mnist.astype(np.float32)
    got = jax.vmap(ranks)(jnp.asarray(x))
    np.testing.assert_array_equal(got, [scipy.stats.rankdata(digit).reshape(28, 28) for digit in x])


def test_ranks_are_exact_for_every_pixel_of_a_large_map():
    x = np.random.default_rng(0).normal(size=(299, 299, 3)).astype(np.float32)
    x[:150] = 0.0
    np.testing.assert_array_equal(ranks(jnp.asarray(x)).ravel(), scipy.stats.rankdata(x))


def test_ranks_in_float64_see_differences_below_float32():
    with jax.enable_x64(True):
        x = 1.0 + np.random.default_rng(0).permutation(50) * 1e-15
        got = ranks(jnp.asarray(x))
        assert got.dtype == jnp.float64
        np.testing.assert_array_equal(got, scipy.stats.rankdata(x))


def test_zeros_of_both_signs_tie():
    np.testing.assert_array_equal(ranks(jnp.asarray([0.0, -0.0, 1.0, -1.0])), [2.5, 2.5, 4.0, 1.0])


def test_infinities_are_the_extremes_and_tie_with_themselves():
    x = np.asarray([np.inf, 1.0, -np.inf, np.inf, 3e38], np.float32)
    np.testing.assert_array_equal(ranks(jnp.asarray(x)), scipy.stats.rankdata(x))


def test_subnormal_numbers_keep_their_order():
    x = np.asarray([0.0, 3e-45, -3e-45, 1.4e-45, -0.0, 1e-40], np.float32)
    assert (np.unique(x).size, x.min() < 0) == (5, True)
    np.testing.assert_array_equal(ranks(jnp.asarray(x)), scipy.stats.rankdata(x))


@pytest.mark.parametrize("nan", [np.nan, -np.nan])
def test_one_nan_makes_all_ranks_nan_as_in_scipy(nan):
    x = np.asarray([1.0, nan, 0.0], np.float32)
    assert np.isnan(scipy.stats.rankdata(x)).all()
    assert jnp.isnan(ranks(jnp.asarray(x))).all()


def test_half_precision_is_widened_because_it_cannot_hold_ranks():
    x = np.random.default_rng(0).normal(size=5000).astype(np.float16)
    got = ranks(jnp.asarray(x))
    assert got.dtype == jnp.float32
    np.testing.assert_array_equal(got, scipy.stats.rankdata(x.astype(np.float64)))


@pytest.mark.parametrize("values", [[1, 2], [True, False], [1j, 0]])
def test_arrays_of_anything_but_floats_are_refused(values):
    with pytest.raises(TypeError, match="maps must be an array of floats, found dtype"):
        floating(jnp.asarray(values), "maps")


def test_an_empty_array_is_refused():
    with pytest.raises(ValueError, match=r"at least one element, found shape \(0, 3\)"):
        ranks(jnp.zeros((0, 3)))
