import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from map_kinds import map_kinds
from skimage.metrics import structural_similarity

from saliency_jax.similarity import ssim, ssim_paper, ssim_released_code

# Our options, and those of scikit-image for the same windows.
WINDOWS = {
    "uniform_5": (dict(size=5), dict(win_size=5)),
    "uniform_7_by_default": (dict(), dict()),
    "uniform_11": (dict(size=11), dict(win_size=11)),
    "gaussian_1.5_by_default": (dict(window="gaussian"), dict(gaussian_weights=True)),
    "gaussian_0.8": (dict(window="gaussian", sigma=0.8), dict(gaussian_weights=True, sigma=0.8)),
    "population_covariance": (dict(sample_covariance=False), dict(use_sample_covariance=False)),
    "other_constants": (dict(k1=0.05, k2=0.2, data_range=7.0), dict(K1=0.05, K2=0.2, data_range=7.0)),
}
every_window = pytest.mark.parametrize("window", WINDOWS)


@functools.cache
def compiled(window):
    return jax.jit(partial(ssim, **WINDOWS[window][0]))


paper, released_code = jax.jit(ssim_paper), jax.jit(ssim_released_code)
every_preset = pytest.mark.parametrize("metric", [paper, released_code], ids=["paper", "released_code"])
every_ssim = pytest.mark.parametrize(
    "metric", [compiled("uniform_7_by_default"), paper, released_code], ids=["raw", "paper", "released_code"]
)


def reference(a, b, **options):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    channel_axis = -1 if a.ndim == 3 else None
    return structural_similarity(a, b, channel_axis=channel_axis, **{"data_range": 2.0, **options})


def related(x, seed):
    return x + 0.3 * np.std(x) * np.random.default_rng(seed).normal(size=x.shape)


@every_window
@pytest.mark.parametrize("kind", [kind for kind in map_kinds((1,), 0) if kind != "offset"])
@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 3)])
def test_float32_equals_scikit_image_in_float64(window, kind, shape):
    theirs = WINDOWS[window][1]
    a = map_kinds(shape, 1)[kind]
    b = related(a, 2)
    got = compiled(window)(jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32))
    assert got.shape == () and got.dtype == jnp.float32
    np.testing.assert_allclose(got, reference(a, b, **theirs), atol=5e-6, rtol=0)


@every_window
def test_float64_equals_scikit_image(window):
    theirs = WINDOWS[window][1]
    with jax.enable_x64(True):
        a = map_kinds((28, 28, 3), 3)["heavy_tails"]
        b = related(a, 4)
        got = compiled(window)(jnp.asarray(a), jnp.asarray(b))
        assert got.dtype == jnp.float64
        np.testing.assert_allclose(got, reference(a, b, **theirs), atol=1e-12, rtol=0)


@every_window
def test_digits_and_photographs_equal_scikit_image(window, mnist, photographs):
    theirs = WINDOWS[window][1]
    for a, b in ((mnist[0], mnist[1]), photographs):
        got = compiled(window)(jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32))
        np.testing.assert_allclose(got, reference(a, b, **theirs), atol=5e-6, rtol=0)


def test_a_large_offset_does_not_cost_the_digits_of_the_variances():
    draw = np.random.default_rng(5)
    a, b = draw.integers(-100, 100, (2, 28, 28)) / 128 + 256.0
    got = compiled("uniform_7_by_default")(jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32))
    np.testing.assert_allclose(got, reference(a, b), atol=1e-5, rtol=0)


def test_an_explicit_size_cuts_the_gaussian_there():
    draw = np.random.default_rng(6)
    a, b = draw.normal(size=(2, 5, 5))
    weights = np.exp(-0.5 * (np.arange(-2, 3) / 1.5) ** 2)
    weights = np.outer(weights, weights) / weights.sum() ** 2
    mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
    var_a, var_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
    cov = (weights * (a - mean_a) * (b - mean_b)).sum()
    c1, c2, n = 0.02**2, 0.06**2, 25 / 24
    want = (2 * mean_a * mean_b + c1) * (2 * n * cov + c2)
    want /= (mean_a**2 + mean_b**2 + c1) * (n * var_a + n * var_b + c2)
    cut = jax.jit(partial(ssim, window="gaussian", size=5))
    got = cut(jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32))
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_the_papers_convention_equals_scikit_image_on_maps_over_their_largest_magnitude(photographs):
    for a, b in (map_pair((28, 28, 3)), map_pair((28, 28)), photographs):
        want = reference(a / abs(a).max(), b / abs(b).max(), win_size=5, data_range=2.0)
        got = paper(jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32))
        np.testing.assert_allclose(got, want, atol=5e-6, rtol=0)


def test_the_released_codes_convention_equals_scikit_image_on_maps_from_0_to_1(photographs):
    for a, b in (map_pair((28, 28, 3)), map_pair((28, 28)), photographs):
        unit_a, unit_b = ((x - x.min()) / np.ptp(x) for x in (a, b))
        want = reference(unit_a, unit_b, gaussian_weights=True, data_range=2.0)
        got = released_code(jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32))
        np.testing.assert_allclose(got, want, atol=5e-6, rtol=0)


def map_pair(shape):
    a = map_kinds(shape, 7)["heavy_tails"]
    return a, related(a, 8)


def test_independent_maps_look_alike_where_their_tails_are_heavy():
    draw = np.random.default_rng(9)
    heavy = jnp.asarray(draw.standard_t(3, size=(2, 224, 224, 3)), jnp.float32)
    light = jnp.asarray(draw.normal(size=(2, 224, 224, 3)), jnp.float32)
    assert released_code(*heavy) > 0.7 and paper(*heavy) > 0.5
    assert released_code(*light) < 0.3 and paper(*light) < 0.05


@every_ssim
@pytest.mark.parametrize("kind", map_kinds((1,), 0))
def test_a_map_agrees_fully_with_itself(metric, kind):
    a = jnp.asarray(map_kinds((28, 28, 3), 10)[kind], jnp.float32)
    np.testing.assert_allclose(metric(a, a), 1.0, atol=1e-6, rtol=0)


@every_preset
def test_presets_do_not_feel_the_scale_of_a_map(metric):
    a, b = (jnp.asarray(x, jnp.float32) for x in map_pair((20, 20)))
    np.testing.assert_allclose(metric(a * 1e-20, b * 1e20), metric(a, b), atol=1e-6)


def test_an_axis_of_one_channel_changes_nothing():
    a, b = (jnp.asarray(x, jnp.float32) for x in map_pair((20, 20)))
    metric = compiled("uniform_7_by_default")
    np.testing.assert_allclose(metric(a, b), metric(a[:, :, None], b[:, :, None]), atol=1e-6, rtol=0)


def test_equal_constants_are_similar_and_cannot_be_scaled():
    constant = jnp.full((20, 20), 0.25)
    assert compiled("uniform_7_by_default")(constant, constant) == 1.0
    assert jnp.isnan(released_code(constant, constant))
    assert jnp.isnan(paper(jnp.zeros((20, 20)), constant))


@every_ssim
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_make_the_result_nan(metric, value):
    a, b = (jnp.asarray(x, jnp.float32) for x in map_pair((20, 20)))
    assert jnp.isnan(metric(a.at[19, 19].set(value), b))


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((6, 9), {}, "a window of 7 by 7 pixels and a map of 6 by 9"),
        ((9, 10, 3), dict(window="gaussian"), "a window of 11 by 11 pixels and a map of 9 by 10"),
        ((9, 9), dict(size=4), "size must be odd and at least 3, found 4"),
        ((9, 9), dict(window="gaussian", sigma=0.1), "at least one pixel to each side, found sigma=0.1"),
        ((9, 9), dict(data_range=0.0), "must be positive, found 1.5 and 0.0"),
        ((2, 9, 9, 3), {}, r"found \(2, 9, 9, 3\); batches go through jax.vmap"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_reason(shape, options, message):
    with pytest.raises(ValueError, match=message):
        ssim(jnp.ones(shape), jnp.ones(shape), **options)


def test_an_unknown_window_is_refused():
    from saliency_jax.similarity.structure import _window_weights

    with pytest.raises(ValueError, match="'uniform' or 'gaussian', found 'hann'"):
        _window_weights("hann", None, 1.5)


@every_ssim
def test_different_shapes_are_refused_and_named(metric):
    with pytest.raises(ValueError, match=r"same shape, found \(20, 20, 3\) and \(20, 20\)"):
        metric(jnp.ones((20, 20, 3)), jnp.ones((20, 20)))
