"""Estimates of IntrinsicDimDeep, DADApy 0.3.4 and scikit-dimension 0.5.0 for five sets, in both precisions."""

from contextlib import nullcontext
from functools import cache

import dimension_by_hand as by_hand
import jax
import numpy as np
import pytest

from saliency_jax.dimension import gride, levina_bickel, nearest_neighbours, pca_dimension, two_nn

PRECISIONS = [pytest.param(np.float64, 1e-6, id="float64"), pytest.param(np.float32, 1e-4, id="float32")]
SETS = list(by_hand.GOLDEN_SETS)
WITHOUT_COPIES = [name for name in SETS if name != "dups_N500"]


def precision(dtype):
    return jax.enable_x64(True) if dtype == np.float64 else nullcontext()


def test_every_set_is_tested():
    assert set(by_hand.goldens()) == set(SETS)


@cache
def neighbours(name, dtype):
    """Searched once for all estimators."""
    with precision(dtype):
        return nearest_neighbours(by_hand.GOLDEN_SETS[name](), neighbours=20)


@pytest.mark.parametrize(("dtype", "bound"), PRECISIONS)
@pytest.mark.parametrize("name", SETS)
def test_two_nn_by_line_is_that_of_the_papers_code(name, dtype, bound):
    expected = by_hand.goldens()[name]
    with precision(dtype):
        found = two_nn(neighbours(name, dtype))
    np.testing.assert_allclose(found.value, expected["ansuini"], rtol=bound)
    np.testing.assert_allclose(found.fit, expected["ansuini_pearson_r"], rtol=bound)
    assert found.low < found.value < found.high
    if name in WITHOUT_COPIES:
        assert (found.points, found.duplicates) == (len(by_hand.GOLDEN_SETS[name]()), 0)
        np.testing.assert_allclose(found.value, expected["skdim_twonn"], rtol=bound)
        np.testing.assert_allclose(found.value, expected["dadapy_base"], rtol=bound)
        np.testing.assert_allclose(found.scale, expected["dadapy_scale"], rtol=bound)


@pytest.mark.parametrize(("dtype", "bound"), PRECISIONS)
@pytest.mark.parametrize("name", WITHOUT_COPIES)
def test_two_nn_by_likelihood_is_that_of_dadapy_and_censored_that_of_scikit_dimension(name, dtype, bound):
    expected = by_hand.goldens()[name]
    with precision(dtype):
        ml, censored = (two_nn(neighbours(name, dtype), method=method).value for method in ("ml", "censored_ml"))
    np.testing.assert_allclose(ml, expected["dadapy_ml"], rtol=bound)
    np.testing.assert_allclose(censored, expected["skdim_twonn_mle"], rtol=bound)


@pytest.mark.parametrize(("dtype", "bound"), PRECISIONS)
@pytest.mark.parametrize("name", WITHOUT_COPIES)
def test_levina_bickel_is_that_of_scikit_dimension(name, dtype, bound):
    expected = by_hand.goldens()[name]
    with precision(dtype):
        biased, unbiased = (levina_bickel(neighbours(name, dtype), unbiased=flag).value for flag in (False, True))
    np.testing.assert_allclose(biased, expected["skdim_mle_k20"], rtol=bound)
    np.testing.assert_allclose(unbiased, expected["skdim_mle_k20_unbiased"], rtol=bound)


@pytest.mark.parametrize("precise", [True, False])
@pytest.mark.parametrize("name", WITHOUT_COPIES)
@pytest.mark.slow
def test_gride_is_that_of_dadapy(name, precise):
    expected, points = by_hand.goldens()[name], by_hand.GOLDEN_SETS[name]()
    with jax.enable_x64(precise):
        found = gride(points)
    np.testing.assert_allclose(found.value, expected["gride_id"], rtol=1e-3)
    np.testing.assert_allclose(found.error, expected["gride_err"], rtol=1e-3)
    np.testing.assert_allclose(found.scale, expected["gride_rs"], rtol=1e-4)


@pytest.mark.parametrize("name", SETS)
def test_principal_components_are_counted_as_in_scikit_learn_and_from_0_as_in_the_papers_code(name):
    expected, points = by_hand.goldens()[name], by_hand.GOLDEN_SETS[name]()
    assert pca_dimension(points).value == expected["pca90_count"]
    assert pca_dimension(points, zero_based=True).value == expected["pca90_ansuini_index"]


def test_fifty_copies_are_counted_and_change_nothing_of_a_six_dimensional_gaussian():
    found = two_nn(by_hand.duplicated())
    assert abs(found.value - 6.00) < 0.005
    assert found.duplicates == 50
    # Of the others, those whose two nearest are copies have no ratio.
    assert found.points == len(by_hand.log_ratios(by_hand.duplicated()))
