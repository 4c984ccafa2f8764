"""Closed forms against the explainers, autodiff and loops in NumPy; rank correlations of products against SciPy."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from saliency_jax import EXPLAINERS, composites, data, deep_lift, gradient_times_input, integrated_gradients, lrp
from saliency_jax.sanity.theory import (
    activation_pattern,
    input_dominance,
    linear_maps,
    linear_score,
    sparse_product_correlation,
    sum_pool_gradient,
    sum_pool_score,
)
from tests import oracles

RANDOM = np.random.default_rng(0)
SHAPE = (4, 5, 2)
WEIGHTS, IMAGE, BASELINE = RANDOM.normal(size=(3, *SHAPE))
BIAS = 0.7


# The linear model


LIBRARY = {**EXPLAINERS, "lrp_zero": partial(lrp, composite=composites.zero)}
CLOSED_FORMS = (
    "gradient",
    "smoothgrad",
    "smoothgrad_squared",
    "vargrad",
    "sensitivity",
    "gradient_times_input",
    "simple_taylor",
    "integrated_gradients",
    "deep_lift",
    "lrp_zero",
    "lrp",
)


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_an_explainer_of_a_linear_model_gives_its_closed_form(name, key):
    with jax.enable_x64(True):
        expected = linear_maps(WEIGHTS, BIAS, IMAGE)[name]
        found = LIBRARY[name](linear_score(jnp.asarray(WEIGHTS), BIAS), jnp.asarray(IMAGE), key)
        assert found.dtype == jnp.float64
        # The flat rule stabilizes its denominator, the number of values, by 1e-6.
        np.testing.assert_allclose(found, expected, rtol=1e-7 if name == "lrp" else 1e-12, atol=1e-25)


def test_the_closed_forms_are_the_textbook_ones():
    with jax.enable_x64(True):
        maps = linear_maps(WEIGHTS, BIAS, IMAGE, baseline=BASELINE)
        maps = {name: np.asarray(found) for name, found in maps.items()}
    assert tuple(maps) == CLOSED_FORMS
    np.testing.assert_array_equal(maps["gradient"], WEIGHTS)
    np.testing.assert_array_equal(maps["vargrad"], np.zeros(SHAPE))
    np.testing.assert_allclose(maps["smoothgrad_squared"], WEIGHTS**2, rtol=1e-15)
    np.testing.assert_allclose(maps["gradient_times_input"].sum(), (WEIGHTS * IMAGE).sum(), rtol=1e-12)
    np.testing.assert_allclose(maps["lrp"].sum(), (WEIGHTS * IMAGE).sum() + BIAS, rtol=1e-12)


@pytest.mark.parametrize("explain", [integrated_gradients, deep_lift])
def test_integrated_gradients_of_a_linear_model_has_no_factor_one_half(explain):
    """The paper's section 5.3 prints (x - x0) w / 2, which sums to half of what completeness asks for."""
    with jax.enable_x64(True):
        score = linear_score(jnp.asarray(WEIGHTS), BIAS)
        found = explain(score, jnp.asarray(IMAGE), baseline=jnp.asarray(BASELINE))
        change = float(score(jnp.asarray(IMAGE)) - score(jnp.asarray(BASELINE)))
        closed = linear_maps(WEIGHTS, BIAS, IMAGE, baseline=BASELINE)["integrated_gradients"]
    np.testing.assert_allclose(found, WEIGHTS * (IMAGE - BASELINE), rtol=1e-12)
    np.testing.assert_allclose(found, closed, rtol=1e-12)
    found = np.asarray(found)
    np.testing.assert_allclose(found.sum(), change, rtol=1e-12)
    assert abs((found / 2).sum() - change) > 0.49 * abs(change) > 0.1


def test_a_shift_of_the_input_that_the_bias_takes_back_moves_only_the_maps_that_multiply_by_the_input():
    """Kindermans et al. 2017: the two models are one function of the unshifted image."""
    shift = 2.0
    with jax.enable_x64(True):
        before = linear_maps(WEIGHTS, BIAS, IMAGE)
        after = linear_maps(WEIGHTS, BIAS - shift * WEIGHTS.sum(), IMAGE + shift)
        moved_along = linear_maps(WEIGHTS, BIAS - shift * WEIGHTS.sum(), IMAGE + shift, baseline=shift)
    # One score, so also one map of LRP's flat rule, which shares the score out equally.
    for name in ("gradient", "smoothgrad", "smoothgrad_squared", "vargrad", "sensitivity", "lrp"):
        np.testing.assert_allclose(after[name], before[name], rtol=1e-9)
    for name in ("gradient_times_input", "integrated_gradients", "deep_lift", "lrp_zero"):
        np.testing.assert_allclose(after[name] - before[name], shift * WEIGHTS, rtol=1e-9)
    np.testing.assert_allclose(moved_along["integrated_gradients"], before["integrated_gradients"], rtol=1e-9)


def test_a_linear_model_refuses_an_image_of_another_shape_and_of_integers(as_a_user):
    with pytest.raises(ValueError, match=r"image must be shaped like the weights \(4, 5, 2\), got \(5, 4, 2\)"):
        linear_maps(WEIGHTS, BIAS, IMAGE.reshape(5, 4, 2))
    with pytest.raises(TypeError, match="image must be floating point"):
        linear_maps(WEIGHTS, BIAS, np.ones(SHAPE, int))


# One convolution, ReLU, sum


def pads(kernel, padding):
    return [((k - 1) // 2, k // 2) if padding == "SAME" else (0, 0) for k in kernel.shape[:2]]


def looped_convolution(image, kernel, bias, padding):
    """(w_f * x)_ij + b_f, one place, filter and weight after another."""
    rows, columns, _, filters = kernel.shape
    padded = np.pad(image, [*pads(kernel, padding), (0, 0)])
    places = (padded.shape[0] - rows + 1, padded.shape[1] - columns + 1)
    found = np.zeros((*places, filters))
    for i, j, f in np.ndindex(*found.shape):
        found[i, j, f] = (padded[i : i + rows, j : j + columns] * kernel[..., f]).sum() + bias[f]
    return found


def looped_gradient(image, kernel, bias, padding):
    """Every place that is on gives its filter to the pixels that it sees."""
    rows, columns, _, _ = kernel.shape
    found = np.pad(np.zeros_like(image), [*pads(kernel, padding), (0, 0)])
    convolved = looped_convolution(image, kernel, bias, padding)
    for i, j, f in np.ndindex(*convolved.shape):
        if convolved[i, j, f] > 0:
            found[i : i + rows, j : j + columns] += kernel[..., f]
    (top, _), (left, _) = pads(kernel, padding)
    return found[top : top + image.shape[0], left : left + image.shape[1]]


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(
    ("window", "channels", "filters"), [((3, 3), 1, 1), ((3, 3), 3, 4), ((5, 5), 2, 3), ((2, 4), 2, 3), ((1, 1), 3, 2)]
)
def test_the_closed_form_of_the_convolution_is_its_gradient(window, channels, filters, padding):
    random = np.random.default_rng(1)
    image = random.normal(size=(9, 11, channels))
    kernel, bias = random.normal(size=(*window, channels, filters)), random.normal(size=filters)
    with jax.enable_x64(True):
        image, kernel, bias = map(jnp.asarray, (image, kernel, bias))
        found = sum_pool_gradient(image, kernel, bias, padding=padding)
        value, expected = jax.value_and_grad(sum_pool_score(kernel, bias, padding=padding))(image)
        pattern = activation_pattern(image, kernel, bias, padding=padding)
    looped = looped_convolution(*map(np.asarray, (image, kernel, bias)), padding)
    np.testing.assert_allclose(value, np.maximum(looped, 0).sum(), rtol=1e-12)
    np.testing.assert_array_equal(pattern, looped > 0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        found, looped_gradient(*map(np.asarray, (image, kernel, bias)), padding), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_a_unit_at_exactly_zero_is_off_in_the_closed_form_and_in_the_gradient(padding):
    """Small integers are exact in any order of summation: the two agree bit for bit, blanks and ties included."""
    random = np.random.default_rng(2)
    image = random.integers(-2, 3, (10, 10, 2)).astype(np.float32)
    image[:5] = 0
    kernel = random.integers(-2, 3, (3, 3, 2, 4)).astype(np.float32)
    bias = np.zeros(4, np.float32)
    convolved = looped_convolution(image, kernel, bias, padding)
    assert (convolved[6:] == 0).any() and (convolved[:3] == 0).all()
    found = sum_pool_gradient(image, jnp.asarray(kernel), jnp.asarray(bias), padding=padding)
    np.testing.assert_array_equal(found, jax.grad(sum_pool_score(kernel, bias, padding=padding))(image))
    np.testing.assert_array_equal(found, looped_gradient(image, kernel, bias, padding))
    assert (found[:3] == 0).all() and (found != 0).any()


def flat_patches():
    """Four uniform regions of other colours, 12 pixels wide."""
    colours = np.array([[[1.0, -0.5], [-1.0, 0.25]], [[-0.5, -1.0], [0.75, 1.0]]])
    return colours.repeat(12, 0).repeat(12, 1)


def one_layer(filters=5):
    random = np.random.default_rng(3)
    return random.normal(size=(3, 3, 2, filters)), random.normal(size=filters)


def test_the_map_of_a_convolution_is_constant_inside_of_uniform_regions_and_marks_their_edges():
    kernel, bias = one_layer()
    with jax.enable_x64(True):
        found = np.asarray(jax.grad(sum_pool_score(jnp.asarray(kernel), bias, padding="VALID"))(flat_patches()))
    of_patch = []
    for i, j in itertools.product((0, 12), (0, 12)):
        # Two pixels from the edge all windows lie in the region; at the border of the image fewer windows count.
        inside = found[i + 2 : i + 10, j + 2 : j + 10]
        np.testing.assert_allclose(inside, np.broadcast_to(inside[:1, :1], inside.shape), rtol=0, atol=1e-12)
        of_patch.append(inside[0, 0])
    change = np.abs(np.diff(found[2:-2, 2:-2], axis=0)).max((0, 2)), np.abs(np.diff(found[2:-2, 2:-2], axis=1)).max()
    assert min(change[0].max(), change[1]) > 0.1
    assert len(np.unique(np.round(of_patch, 9), axis=0)) > 1


@pytest.mark.parametrize("picture", ["patches", "digit"])
def test_the_map_of_a_convolution_changes_only_where_its_activation_pattern_changes(picture):
    image = flat_patches() if picture == "patches" else data.load("mnist", "test").images[7].repeat(2, -1)
    kernel, bias = one_layer()
    with jax.enable_x64(True):
        image, kernel, bias = map(jnp.asarray, (image.astype(float), kernel, bias))
        found = np.asarray(jax.grad(sum_pool_score(kernel, bias))(image)).reshape(-1, 2)
        pattern = np.pad(activation_pattern(image, kernel, bias), ((1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(pattern, (3, 3), (0, 1)).reshape(len(found), -1)
    _, group = np.unique(windows, axis=0, return_inverse=True)
    groups = [found[group.ravel() == g] for g in range(group.max() + 1)]
    assert 1 < len(groups) < len(found) / 2
    for rows in groups:
        np.testing.assert_allclose(rows, np.broadcast_to(rows[:1], rows.shape), rtol=0, atol=1e-12)
    assert np.ptp([rows[0] for rows in groups], axis=0).min() > 0.1


def test_the_image_enters_the_map_through_the_pattern_alone():
    kernel, _ = one_layer()
    image, bias = RANDOM.normal(size=(8, 8, 2)), np.zeros(5)
    with jax.enable_x64(True):
        kernel, bias = jnp.asarray(kernel), jnp.asarray(bias)
        once, thrice, turned = (sum_pool_gradient(scale * image, kernel, bias) for scale in (1.0, 3.0, -1.0))
    np.testing.assert_array_equal(once, thrice)
    assert not np.allclose(once, turned)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"image": np.ones((4, 4))}, r"image must be \[height, width, channel\]"),
        ({"kernel": np.ones((3, 3, 1, 5))}, "with the 2 channels of the image"),
        ({"bias": np.ones(4)}, "one number for each of the 5 filters"),
        ({"padding": "FULL"}, r"padding must be one of \['SAME', 'VALID'\], got 'FULL'"),
        ({"kernel": np.ones((9, 3, 2, 5)), "padding": "VALID"}, "kernel must not be larger than the image"),
        ({"image": np.full((4, 4, 2), np.nan)}, "image must be finite"),
    ],
)
def test_the_convolution_names_what_does_not_fit(changed, message, as_a_user):
    given = {"image": np.ones((4, 4, 2)), "kernel": np.ones((3, 3, 2, 5)), "bias": np.ones(5), "padding": "SAME"}
    given = {
        name: value.astype(np.float32) if name != "padding" else value for name, value in (given | changed).items()
    }
    with pytest.raises(ValueError, match=message):
        sum_pool_gradient(given["image"], given["kernel"], given["bias"], padding=given["padding"])


# Input dominance


def flat_images(densities, size=64):
    """Images of zeros and ones, so many of them ones."""
    random = np.random.default_rng(4)
    ones = [random.permutation(size * size) < density * size * size for density in densities]
    return np.stack(ones).reshape(-1, size, size, 1).astype(np.float32)


@pytest.mark.slow
def test_input_dominance_is_scipy_s_correlation_of_the_two_products_and_none_of_a_blank_image(key):
    images = np.concatenate([flat_images([0.3], 12), RANDOM.normal(size=(1, 12, 12, 1)), np.zeros((1, 12, 12, 1))])
    images = images.astype(np.float32)
    found = input_dominance(images, key, seeds=2)
    assert dict(found.sizes) == {"null_kind": 3, "explainer": 2, "metric": 2, "seed": 2, "image": 3}
    np.testing.assert_allclose(found.density, [44 / 144, 1, 0], rtol=1e-6)
    # What an image draws depends on the seed and its place alone, not on how many there are.
    for seed, image in np.ndindex(2, 2):
        keys = [jax.random.fold_in(jax.random.fold_in(oracles.named(key, n), seed), image) for n in ("first", "second")]
        u, v = (np.asarray(jax.random.normal(k, images[0].shape)).ravel() for k in keys)
        pairs = {"noise": (u, v), "noise_times_input": (u * images[image].ravel(), v * images[image].ravel())}
        for name, (a, b) in pairs.items():
            of = found.similarity.sel(explainer=name, seed=seed, image=image)
            np.testing.assert_allclose(of.sel(metric="spearman"), scipy.stats.spearmanr(a, b)[0], atol=1e-6)
            expected = scipy.stats.spearmanr(abs(a), abs(b))[0]
            np.testing.assert_allclose(of.sel(metric="spearman_abs"), expected, atol=1e-6)
    blank = found.similarity.sel(image=2)
    assert np.isnan(blank.sel(explainer="noise_times_input")).all() and np.isfinite(blank.sel(explainer="noise")).all()


@pytest.mark.slow
def test_absolute_values_of_sparse_products_agree_and_their_signs_do_not(key):
    densities = [0.02, 0.11, 0.3, 0.6, 1.0]
    found = input_dominance(flat_images(densities), key, seeds=8).similarity.mean("seed")
    products = found.sel(explainer="noise_times_input")
    absolute = products.sel(metric="spearman_abs").values
    np.testing.assert_allclose(absolute, sparse_product_correlation(jnp.asarray(densities)), atol=0.015)
    assert (np.diff(absolute) < 0).all() and absolute[0] > 0.999 and abs(absolute[-1]) < 0.02
    # Eight seeds of the 82 values that the sparsest image has: a standard error of 0.04.
    assert np.abs(products.sel(metric="spearman")).max() < 0.12
    assert np.abs(found.sel(explainer="noise")).max() < 0.03


def test_the_closed_form_gives_the_value_that_was_measured_before():
    """0.996 of an image of grey values that covers 11%; grey values are a little more alike than flat ones."""
    assert abs(float(sparse_product_correlation(0.11)) - 0.996) < 1e-3
    np.testing.assert_array_equal(sparse_product_correlation(jnp.array([1.0])), 0.0)


@pytest.mark.slow
def test_real_digits_dominate_the_product_of_any_map_with_them(key):
    digits = data.load("mnist", "test").images[:50]
    found = input_dominance(digits, key, seeds=2)
    assert 0.05 < found.density.mean() < 0.3
    means = found.similarity.sel(explainer="noise_times_input").mean(("seed", "image"))
    assert means.sel(metric="spearman_abs") > 0.985
    assert abs(means.sel(metric="spearman")) < 0.03
    assert (found.similarity.sel(explainer="noise_times_input", metric="spearman_abs") > 0.95).all()
    strangers = found["null"].sel(explainer="noise_times_input", metric="spearman_abs").mean("image")
    assert strangers.sel(null_kind="other_image") < 0.5 and abs(strangers.sel(null_kind="permuted_pixels")) < 0.05


@pytest.mark.parametrize(
    ("options", "message"), [({"seeds": 0}, "seeds must be at least 1, got 0"), ({"key": None}, "pass key=")]
)
def test_input_dominance_names_what_is_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        input_dominance(flat_images([0.5], 8), **({"key": jax.random.key(0)} | options))


# Ancona's equality


def mlp(params, x):
    for layer in params[:-1]:
        x = jax.nn.relu(x.reshape(-1) @ layer["kernel"] + layer["bias"])
    return x @ params[-1]["kernel"] + params[-1]["bias"]


def cnn(params, x):
    for layer in params[:-1]:
        x = jax.lax.conv_general_dilated(
            x[None], layer["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )[0]
        x = jax.nn.relu(x + layer["bias"][None, None])
        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (2, 2, 1), (2, 2, 1), "VALID")
    return x.reshape(-1) @ params[-1]["kernel"] + params[-1]["bias"]


NETWORKS = {
    "mlp": (mlp, [(128, 20), (20, 10), (10, 1)]),
    "cnn with max pools": (cnn, [(3, 3, 2, 6), (3, 3, 6, 5), (20, 1)]),
}


def relu_network(name, bias_scale, dtype):
    """The score of a network of He's weights, and an image with a blank border, so that some units are at 0."""
    random = np.random.default_rng(5)
    forward, shapes = NETWORKS[name]
    params = [
        {
            "kernel": jnp.asarray(random.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1])), dtype),
            "bias": jnp.asarray(bias_scale * random.normal(size=shape[-1]), dtype),
        }
        for shape in shapes
    ]
    image = np.pad(random.normal(size=(6, 5, 2)), ((1, 1), (2, 1), (0, 0)))
    return lambda x: forward(params, x)[0], jnp.asarray(image, dtype)


def explained(score, image, *explainers):
    return [np.asarray(found) for found in jax.jit(lambda x: [explain(score, x) for explain in explainers])(image)]


@pytest.mark.parametrize(("dtype", "bound"), [(np.float32, 1e-5), (np.float64, 1e-9)])
@pytest.mark.parametrize("name", NETWORKS)
def test_without_biases_lrp_zero_and_deep_lift_are_gradient_times_input(name, dtype, bound):
    """Ancona et al. 2018, propositions 1 and 2: f(z) / z is relu's derivative, and z is 0 at the baseline."""
    with jax.enable_x64(dtype == np.float64):
        score, image = relu_network(name, 0.0, dtype)
        expected, *found = explained(score, image, gradient_times_input, LIBRARY["lrp_zero"], deep_lift)
    scale = np.abs(expected).max()
    assert expected.dtype == dtype and scale > 1e-3
    for other in found:
        np.testing.assert_allclose(other, expected, rtol=0, atol=bound * scale)


@pytest.mark.parametrize("name", NETWORKS)
def test_lrp_epsilon_comes_to_gradient_times_input_as_epsilon_goes_to_zero(name):
    with jax.enable_x64(True):
        score, image = relu_network(name, 0.0, np.float64)
        small = [partial(lrp, composite=composites.epsilon(epsilon=e)) for e in (1e-1, 1e-5, 1e-6, 1e-12)]
        expected, *found = explained(score, image, gradient_times_input, *small)
    gaps = [np.abs(other - expected).max() / np.abs(expected).max() for other in found]
    assert gaps[0] > 1e-2 and gaps[-1] < 1e-9
    # Of first order in epsilon, where epsilon is small beside the activations.
    np.testing.assert_allclose(gaps[1] / gaps[2], 10, rtol=0.05)


@pytest.mark.parametrize("name", NETWORKS)
def test_biases_part_deep_lift_from_gradient_times_input_and_lrp_only_where_it_leaves_them_out(name):
    """LRP-0 divides by z with its bias: f(z) / z is 1 all the same, and the bias keeps its share of the relevance."""
    with jax.enable_x64(True):
        score, image = relu_network(name, 0.5, np.float64)
        without = partial(lrp, composite=composites.epsilon(epsilon=1e-12, bias=False))
        expected, zero, *others = explained(score, image, gradient_times_input, LIBRARY["lrp_zero"], deep_lift, without)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(zero, expected, rtol=0, atol=1e-9 * scale)
    for other in others:
        assert np.abs(other - expected).max() > 0.05 * scale
