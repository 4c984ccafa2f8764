"""The entropy of a map's histogram against NumPy's histogram and SciPy's entropy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from saliency_jax.sanity.complexity import BIN_RULES, histogram_entropy

NUMPY_RULES = {
    "freedman_diaconis": "fd",
    "scott": "scott",
    "sturges": "sturges",
    "rice": "rice",
    "square_root": "sqrt",
}


def drawn():
    draw = np.random.default_rng(0)
    normal = draw.normal(size=(14, 13, 2))
    return {
        "normal": normal,
        "heavy tails": draw.standard_t(2, size=normal.shape),
        "mostly zero": normal * (draw.random(normal.shape) < 0.1),
        "seven values": draw.integers(-3, 4, size=normal.shape).astype(float),
        "large offset": normal + 1000,
        "tiny": normal * 1e-30,
    }


MAPS = drawn()


def expected(x, bins):
    return scipy.stats.entropy(np.histogram(x, bins=bins)[0])


@pytest.mark.parametrize("bins", [1, 2, 10, 100, 1000])
def test_entropy_is_scipys_of_numpys_histogram(bins):
    with jax.enable_x64(True):
        found = jax.jit(jax.vmap(lambda x: histogram_entropy(x, bins=bins)))(jnp.asarray([*MAPS.values()]))
    np.testing.assert_allclose(found, [expected(x, bins) for x in MAPS.values()], atol=1e-12)


@pytest.mark.parametrize("rule", BIN_RULES)
def test_a_rule_gives_the_number_of_bins_that_numpy_gives(rule):
    assert BIN_RULES.keys() == NUMPY_RULES.keys()
    with jax.enable_x64(True):
        found = jax.jit(jax.vmap(lambda x: histogram_entropy(x, bins=rule)))(jnp.asarray([*MAPS.values()]))
    np.testing.assert_allclose(found, [expected(x, NUMPY_RULES[rule]) for x in MAPS.values()], atol=1e-12)


def test_maps_in_float32_have_nearly_the_same_entropy():
    for x in MAPS.values():
        x = x.astype(np.float32)
        # A value on a border may change its bin.
        assert float(histogram_entropy(jnp.asarray(x))) == pytest.approx(expected(x.astype(float), 100), abs=5e-3)


def test_a_constant_map_has_exactly_no_entropy():
    for value in (0.0, -3.0, 1e30):
        assert histogram_entropy(jnp.full((5, 5), value)) == 0
        assert all(histogram_entropy(jnp.full((5, 5), value), bins=rule) == 0 for rule in BIN_RULES)


def test_two_values_in_equal_shares_have_the_entropy_of_a_coin():
    x = jnp.asarray([-1.0, 3.0] * 8)
    assert float(histogram_entropy(x)) == pytest.approx(np.log(2), abs=1e-6)
    assert float(histogram_entropy(-x, bins=2)) == pytest.approx(np.log(2), abs=1e-6)


def test_a_map_whose_range_no_float_can_hold_is_measured_all_the_same():
    assert float(histogram_entropy(jnp.asarray([-3e38, 0.0, 3e38, 3e38]))) == pytest.approx(1.5 * np.log(2), abs=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_map_that_is_not_finite_has_no_complexity(bad):
    x = jnp.ones((4, 4)).at[1, 1].set(bad)
    assert jnp.isnan(histogram_entropy(x)) and jnp.isnan(histogram_entropy(x, bins="scott"))


@pytest.mark.parametrize(
    "bins, message",
    [
        (0, "bins must be at least 1, got 0"),
        ("doane", r"bins must be a number or one of \['freedman_diaconis'.*'doane'"),
    ],
)
def test_bad_bins_are_named(bins, message):
    with pytest.raises(ValueError, match=message):
        histogram_entropy(jnp.ones(3), bins=bins)
