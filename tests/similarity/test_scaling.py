"""saliency_jax.similarity.scaling against NumPy in float64 and scikit-image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from map_kinds import map_kinds
from skimage.metrics import structural_similarity

from saliency_jax import pearson, ssim
from saliency_jax.similarity.scaling import by_largest_magnitude, by_mean_square, scaled

KINDS = map_kinds((12, 11, 2), 0)
SCALINGS = pytest.mark.parametrize("scaling", [by_mean_square, by_largest_magnitude])


@pytest.mark.parametrize("kind", KINDS)
def test_a_map_is_divided_by_the_root_of_its_mean_square(kind):
    x = KINDS[kind].astype(np.float32)
    want = x.astype(np.float64) / np.sqrt(np.mean(x.astype(np.float64) ** 2))
    np.testing.assert_allclose(by_mean_square(jnp.asarray(x)), want, rtol=2e-6)


@pytest.mark.parametrize("scale", [1e-32, 1e-20, 1e20, 1e37])
def test_the_mean_square_does_not_overflow_or_vanish(scale):
    x = KINDS["normal"].astype(np.float32)
    got = np.asarray(by_mean_square(jnp.asarray(x * np.float32(scale))))
    assert np.mean(got.astype(np.float64) ** 2) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(got, by_mean_square(jnp.asarray(x)), rtol=1e-5)


@SCALINGS
def test_a_map_of_zeros_becomes_nan_and_a_constant_one_its_sign(scaling):
    assert jnp.isnan(scaling(jnp.zeros((3, 4)))).all()
    np.testing.assert_array_equal(scaling(jnp.full((3, 4), -7.0)), -1)


@SCALINGS
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_map_that_is_not_finite_does_not_become_finite(scaling, bad):
    assert not jnp.isfinite(scaling(jnp.ones((3, 4)).at[1, 2].set(bad))).all()


def test_ssim_of_maps_of_mean_square_one_is_that_of_scikit_image():
    a, b = KINDS["heavy_tails"], KINDS["heavy_tails"] + 0.5 * KINDS["normal"]
    unit = [x / np.sqrt(np.mean(x**2)) for x in (a, b)]
    want = structural_similarity(*unit, data_range=2.0, channel_axis=-1)
    found = jax.jit(scaled(ssim, by_mean_square))(jnp.asarray(30 * a, jnp.float32), jnp.asarray(b, jnp.float32))
    assert float(found) == pytest.approx(want, abs=1e-5)
    assert float(ssim(jnp.asarray(30 * a, jnp.float32), jnp.asarray(b, jnp.float32))) < want - 0.1


def test_scaled_maps_are_compared_in_the_wider_of_their_dtypes():
    a, b = (jnp.asarray(KINDS[kind], jnp.bfloat16) for kind in ("normal", "offset"))
    assert scaled(pearson, by_mean_square)(a, b).dtype == jnp.float32


def test_maps_that_are_no_pair_are_refused_before_they_are_scaled():
    with pytest.raises(ValueError, match=r"same shape, found \(3, 3\) and \(2, 2\)"):
        scaled(pearson, by_mean_square)(jnp.ones((3, 3)), jnp.ones((2, 2)))
