from functools import partial

import jax
import jax.numpy as jnp
import linear_model
import numpy as np
import pytest
import scipy.stats
import xarray as xr

import saliency_jax as sj
from saliency_jax.data import load
from saliency_jax.sanity.masked import masked_randomization, masked_similarity, masked_spearman

COMPILED = {absolute: jax.jit(lambda *x, a=absolute: masked_spearman(*x, absolute=a)) for absolute in (False, True)}


@pytest.fixture(scope="module")
def digits():
    """Test digits of MNIST with their blank borders, `[image, 28, 28, 1]`."""
    return np.asarray(load("mnist", "test", source="embedded").images[::50], np.float32)


def by_scipy(a, b, image, *, baseline=0.0, absolute=False):
    seen = image != baseline
    a, b = (np.abs(x[seen]) if absolute else x[seen] for x in (a, b))
    return scipy.stats.spearmanr(a, b).statistic


def drawn(seed, shape=(7, 6, 2)):
    draw = np.random.default_rng(seed)
    normal = draw.normal(size=shape)
    return {
        "normal": normal,
        "ties": draw.integers(-2, 3, size=shape).astype(float),
        "sparse": normal * (draw.random(shape) < 0.2),
        "infinite": np.where(draw.random(shape) < 0.1, np.inf, normal),
    }


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("baseline", [0.0, 1.0])
def test_the_score_is_scipys_on_the_values_that_differ_from_the_baseline(absolute, baseline):
    image = np.random.default_rng(2).integers(0, 3, size=(7, 6, 2)).astype(np.float32)
    a, b = (np.float32([*drawn(seed).values()]) for seed in (0, 1))
    compare = partial(masked_spearman, image=image, baseline=baseline, absolute=absolute)
    got = jax.jit(jax.vmap(jax.vmap(compare, in_axes=(None, 0)), in_axes=(0, None)))(a, b)
    want = [[by_scipy(x, y, image, baseline=baseline, absolute=absolute) for y in b] for x in a]
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_the_baseline_may_be_an_image():
    a, b = (jnp.asarray(drawn(seed)["normal"], jnp.float32) for seed in (0, 1))
    image, baseline = np.random.default_rng(2).integers(0, 3, size=(2, 7, 6, 2)).astype(np.float32)
    want = by_scipy(np.asarray(a), np.asarray(b), image, baseline=baseline)
    assert float(masked_spearman(a, b, image, baseline=baseline)) == pytest.approx(want, abs=1e-6)


@pytest.mark.parametrize("absolute", [False, True])
def test_maps_of_digits_are_compared_within_the_digit_alone(digits, absolute):
    draw = np.random.default_rng(3)
    u, v = draw.normal(size=(2, *digits.shape)).astype(np.float32)
    got = jax.vmap(COMPILED[absolute])(digits * u, digits * v, digits)
    want = [by_scipy(x * a, x * b, x, absolute=absolute) for x, a, b in zip(digits, u, v, strict=True)]
    np.testing.assert_allclose(got, want, atol=1e-6)
    assert all((x == 0).mean() > 0.5 for x in digits)


def test_blank_pixels_are_all_that_independent_maps_of_a_black_and_white_digit_have_in_common(digits):
    # Sundararajan and Taly's point: x * u and x * v have their zeros in common and nothing else.
    x = np.float32(digits > 0)
    u, v = np.random.default_rng(4).normal(size=(2, *x.shape)).astype(np.float32)
    unmasked = np.asarray(jax.vmap(lambda a, b: sj.spearman(a, b, absolute=True))(x * u, x * v))
    masked = np.asarray(jax.vmap(COMPILED[True])(x * u, x * v, x))
    assert unmasked.min() > 0.8
    # The rank correlation of n independent pairs has the variance 1 / (n - 1).
    assert np.all(np.abs(masked) < 5 / np.sqrt(x.sum((1, 2, 3)) - 1))


@pytest.mark.parametrize("absolute", [False, True])
def test_fewer_than_two_values_have_no_correlation(absolute):
    a, b = (jnp.asarray(drawn(seed)["normal"], jnp.float32) for seed in (0, 1))
    image = jnp.zeros(a.shape)
    assert jnp.isnan(COMPILED[absolute](a, b, image))
    assert jnp.isnan(COMPILED[absolute](a, b, image.at[2, 3, 1].set(1.0)))
    two = image.at[2, 3, 1].set(1.0).at[0, 0, 0].set(-1.0)
    assert float(jnp.abs(COMPILED[absolute](a, b, two))) == pytest.approx(1, abs=1e-6)


def test_a_map_that_is_constant_where_it_counts_has_no_correlation():
    a = jnp.asarray(drawn(0)["normal"], jnp.float32)
    image = jnp.ones(a.shape).at[0].set(0.0)
    assert jnp.isnan(masked_spearman(a, jnp.ones(a.shape).at[0].set(3.0), image))


def test_a_nan_counts_where_the_image_is_seen_and_nowhere_else():
    a, b = (jnp.asarray(drawn(seed)["normal"], jnp.float32) for seed in (0, 1))
    image = jnp.ones(a.shape).at[0].set(0.0)
    assert jnp.isnan(masked_spearman(a, b.at[1, 1, 1].set(jnp.nan), image))
    assert masked_spearman(a.at[0].set(jnp.nan), b, image) == masked_spearman(a, b, image)


def test_an_image_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"image must be shaped like its maps \(3, 3\), got \(2, 2\)"):
        masked_spearman(jnp.ones((3, 3)), jnp.ones((3, 3)), jnp.ones((2, 2)))


@pytest.fixture(scope="module")
def sweeps():
    """The masked test, and the parameter test with all its maps kept, of images with a blank border."""
    images = linear_model.images(3).at[:, :3].set(0.0).at[2].set(0.0)
    arguments = (linear_model.apply, linear_model.params(), linear_model.init, images, linear_model.targets(3))
    explainers = {"gradient_times_input": sj.gradient_times_input}
    options = dict(key=jax.random.key(6), seeds=[2, 5], kept_images=3)
    masked = masked_randomization(*arguments, explainers, **options)
    return masked, sj.parameter_randomization(*arguments, explainers, metrics={"pearson": sj.pearson}, **options)


def test_the_masked_test_is_the_parameter_test_with_other_metrics(sweeps):
    masked, plain = sweeps
    metric_free = [name for name in plain.data_vars if "metric" not in plain[name].dims]
    xr.testing.assert_equal(masked[metric_free], plain[metric_free])
    assert {name: masked[name].dims for name in ("similarity", "null")} == {
        name: plain[name].dims for name in ("similarity", "null")
    }
    assert masked.metric.values.tolist() == ["masked_spearman", "masked_spearman_abs"]
    assert masked.attrs == plain.attrs | {"test": "masked_randomization"}
    np.testing.assert_array_equal(masked.compared_values, [54, 54, 0])


def test_its_scores_are_scipys_of_the_maps_that_it_keeps(sweeps):
    masked, _ = sweeps
    for name in masked.explainer.values:
        trained, random = masked.maps.sel(explainer=name).values
        for i in range(2):
            for metric, absolute in (("masked_spearman", False), ("masked_spearman_abs", True)):
                want = by_scipy(trained[i], random[i], masked["images"].values[i], absolute=absolute)
                got = masked.similarity.sel(explainer=name, metric=metric, seed=2, image=i, stage="logits")
                assert float(got) == pytest.approx(want, abs=1e-6)
    # The blank image has nothing to compare.
    assert np.isnan(masked.similarity.sel(image=2)).all() and np.isfinite(masked.similarity.sel(image=[0, 1])).all()


def test_kept_maps_of_another_test_are_judged_as_if_it_had_been_this_one(sweeps):
    masked, plain = sweeps
    got = masked_similarity(plain)
    xr.testing.assert_allclose(got.similarity, masked.similarity.sel(seed=[2]), atol=1e-6)
    xr.testing.assert_equal(got.compared_values, masked.compared_values)


def test_a_dataset_without_maps_is_refused(sweeps):
    with pytest.raises(ValueError, match="dataset must keep maps"):
        masked_similarity(sweeps[1].drop_vars("maps"))
