"""saliency_jax.sanity.initializers; tests/models/test_initializers.py is about the models' own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from small_models import init

from saliency_jax.sanity import own_initializer, permutation, truncated_normal, uniform

SOURCES = {"truncated_normal": truncated_normal(), "uniform": uniform(), "permutation": permutation()}
CUT_NORMAL = scipy.stats.truncnorm(-2, 2)


def params():
    draw = np.random.default_rng(3)
    shared = jnp.asarray(draw.normal(size=(40, 30)), jnp.float32)
    return {
        "batch_stats": {"norm": {"steps": jnp.arange(5), "seen": jnp.array([True, False])}},
        "params": {"a": {"kernel": shared}, "b": {"kernel": shared}, **conv(jnp.float32)},
    }


def conv(dtype):
    return {"conv": {"kernel": jnp.asarray(np.random.default_rng(4).normal(size=(1, 1, 6, 7)), dtype)}}


every_source = pytest.mark.parametrize("fresh", SOURCES.values(), ids=SOURCES)


def distance(draws, distribution):
    """Kolmogorov and Smirnov's, times the root of the number: above 2.5 once in 10^5 draws."""
    draws = np.asarray(draws, np.float64).ravel()
    return scipy.stats.kstest(draws, distribution.cdf).statistic * np.sqrt(draws.size)


@every_source
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float64])
def test_structure_shapes_and_dtypes_are_kept(fresh, dtype):
    with jax.enable_x64(dtype == jnp.float64):
        given = {**conv(dtype), "steps": jnp.arange(5)}
        drawn = fresh(jax.random.key(0), given)
        assert jax.tree.structure(drawn) == jax.tree.structure(given)
        assert jax.tree.map(lambda x: (x.shape, x.dtype), drawn) == jax.tree.map(lambda x: (x.shape, x.dtype), given)


@every_source
def test_leaves_that_are_not_floating_point_stay_bit_for_bit(fresh, key):
    given = params()
    drawn = fresh(key, given)
    jax.tree.map(np.testing.assert_array_equal, drawn["batch_stats"], given["batch_stats"])


@every_source
def test_equal_leaves_get_different_values(fresh, key):
    given = params()["params"]
    drawn = fresh(key, params())["params"]
    np.testing.assert_array_equal(given["a"]["kernel"], given["b"]["kernel"])
    a, b = (np.asarray(drawn[name]["kernel"]).ravel() for name in "ab")
    # The correlation of 1200 independent pairs has a standard deviation of 1 / sqrt(1200).
    assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(1200)


@every_source
def test_the_same_key_gives_the_same_bits_and_another_key_others(fresh):
    given = params()
    one, again, other = (fresh(jax.random.key(seed), given) for seed in (7, 7, 8))
    jax.tree.map(np.testing.assert_array_equal, one, again)
    assert np.all(np.any(one["params"]["a"]["kernel"] != other["params"]["a"]["kernel"], axis=0))


@every_source
def test_a_leafs_draw_does_not_depend_on_the_other_leaves(fresh, key):
    given = params()
    alone = {"params": conv(jnp.float32)}
    np.testing.assert_array_equal(
        fresh(key, alone)["params"]["conv"]["kernel"], fresh(key, given)["params"]["conv"]["kernel"]
    )


@pytest.mark.parametrize("fresh", [SOURCES["uniform"], SOURCES["permutation"]])
def test_raw_keys_and_compilation_give_the_same_draws(fresh):
    given = {"params": conv(jnp.float32)}
    want = fresh(jax.random.key(1), given)
    jax.tree.map(np.testing.assert_array_equal, fresh(jax.random.PRNGKey(1), given), want)
    jax.tree.map(np.testing.assert_array_equal, jax.jit(fresh)(jax.random.key(1), given), want)


def test_truncated_normal_has_the_distribution_of_scipys(key):
    stddev = 3.0
    drawn = np.asarray(truncated_normal(stddev)(key, {"kernel": jnp.zeros((500, 400))})["kernel"], np.float64)
    assert np.abs(drawn).max() <= 2 * np.float32(stddev)
    assert np.abs(drawn).max() > 1.99 * stddev
    assert distance(drawn / stddev, CUT_NORMAL) < 2.5
    assert CUT_NORMAL.std() == pytest.approx(0.8796, abs=5e-5)
    # The standard deviation of a sample's variance over its square is sqrt((kurtosis + 2) / n), kurtosis in excess.
    spread = np.sqrt((CUT_NORMAL.stats("k") + 2) / drawn.size) / 2
    assert np.std(drawn) / (stddev * CUT_NORMAL.std()) == pytest.approx(1, abs=5 * spread)
    assert abs(np.mean(drawn)) < 5 * stddev / np.sqrt(drawn.size)


def test_uniform_has_the_distribution_of_scipys(key):
    drawn = np.asarray(uniform(0.2)(key, {"kernel": jnp.zeros((500, 400))})["kernel"], np.float64)
    assert np.abs(drawn).max() <= np.float32(0.2)
    assert distance(drawn, scipy.stats.uniform(-0.2, 0.4)) < 2.5


def test_the_papers_scale_is_a_hundredth_where_none_is_given(key):
    for name, distribution in (("truncated_normal", CUT_NORMAL), ("uniform", scipy.stats.uniform(-1, 2))):
        drawn = SOURCES[name](key, params())["params"]
        assert distance(drawn["a"]["kernel"] / 0.01, distribution) < 2.5


@pytest.mark.parametrize("shape", [(1, 1, 6, 7), (3, 3, 2, 4), (40, 30), (64,)])
def test_permutation_keeps_the_values_of_a_leaf_and_moves_them_over_all_axes(shape, key):
    given = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    drawn = np.asarray(permutation()(key, {"kernel": jnp.asarray(given)})["kernel"])
    np.testing.assert_array_equal(np.sort(drawn, axis=None), given.ravel())
    before, after = np.unravel_index(np.arange(given.size), shape), np.unravel_index(drawn.astype(int).ravel(), shape)
    for length, old, new in zip(shape, before, after, strict=True):
        if length > 1:
            # A value stays at its place along an axis with probability 1 / length; all axes but one fixed would be 1.
            assert np.mean(old == new) < 1 / length + 5 * np.sqrt(1 / length / given.size)


def test_permutation_is_uniform_over_places(key):
    given = {"kernel": jnp.arange(6, dtype=jnp.float32).reshape(2, 3)}
    keys = jax.random.split(key, 3000)
    drawn = np.asarray(jax.vmap(lambda k: permutation()(k, given)["kernel"])(keys)).reshape(3000, 6)
    counts = np.array([[np.sum(drawn[:, place] == value) for value in range(6)] for place in range(6)])
    # 25 degrees of freedom: 36 counts, each row and column of which sums to 3000.
    statistic = np.sum((counts - 500) ** 2 / 500) * 5 / 6
    assert scipy.stats.chi2.sf(statistic, 25) > 1e-4


@pytest.mark.parametrize("make, argument", [(truncated_normal, "stddev"), (uniform, "scale")])
@pytest.mark.parametrize("scale", [0.0, -0.1, float("nan"), float("inf")])
def test_a_scale_that_is_not_positive_and_finite_is_refused(make, argument, scale):
    with pytest.raises(ValueError, match=f"{argument} must be positive and finite, got {scale}"):
        make(scale)


def test_the_models_own_initializer_is_called_with_the_key(key):
    given = init(jax.random.key(1))
    jax.tree.map(np.testing.assert_array_equal, own_initializer(init)(key, given), init(key))


def test_an_initializer_of_another_structure_is_refused(key):
    with pytest.raises(ValueError, match=r"init\(key\) must give the structure of params"):
        own_initializer(lambda key: {"kernel": jnp.zeros(3)})(key, init(key))


def test_an_initializer_of_another_shape_is_refused_with_the_leafs_path(key):
    given = init(key)
    wrong = {**given, "dense": {**given["dense"], "bias": jnp.zeros(2)}}
    with pytest.raises(ValueError, match=r"dense/bias is \(2,\) and not \(6,\)"):
        own_initializer(lambda key: wrong)(key, given)


def test_an_initializer_of_another_dtype_is_refused_with_the_leafs_path(key):
    given = init(key)
    wrong = {**given, "dense": {**given["dense"], "bias": given["dense"]["bias"].astype(jnp.bfloat16)}}
    with pytest.raises(ValueError, match="dense/bias is bfloat16 and not float32"):
        own_initializer(lambda key: wrong)(key, given)


def test_trained_arrays_of_numpy_are_as_good_as_those_of_jax(key):
    trained = init(jax.random.key(1))
    jax.tree.map(
        np.testing.assert_array_equal, own_initializer(init)(key, jax.tree.map(np.asarray, trained)), init(key)
    )
    for fresh in SOURCES.values():
        given = params()
        as_numpy = jax.tree.map(np.asarray, given)
        jax.tree.map(np.testing.assert_array_equal, fresh(key, as_numpy), fresh(key, given))
