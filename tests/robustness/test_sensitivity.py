"""Max- and average sensitivity against NumPy, against closed forms of a linear model, and at what is not defined."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import relu_by_hand as hand

import saliency_jax as sj
from saliency_jax.robustness import average_sensitivity, max_sensitivity, perturbed_images

RADIUS = 0.3
TARGETS = jnp.array([0, 2, 1])


@pytest.fixture(scope="module")
def drawn():
    images = hand.images()
    found = perturbed_images(images, key=jax.random.key(5), radius=RADIUS, samples=7, image_range=(0.0, 1.0))
    return images, np.asarray(found)


def maps_by_hand(points):
    """Gradient times input in float64, `[sample, image, ...]`."""
    p = hand.params()
    return np.array(
        [
            [hand.gradient(p, x, t) * np.asarray(x, np.float64) for x, t in zip(row, TARGETS, strict=True)]
            for row in points
        ]
    )


@pytest.mark.slow
def test_both_sensitivities_are_those_of_numpy_on_the_same_points(drawn):
    images, points = drawn
    assert points.shape == (7, *images.shape)
    assert points.min() >= 0 and points.max() <= 1 and np.abs(points - images[None]).max() <= RADIUS + 1e-6
    reference = maps_by_hand([images])[0]
    moved = np.linalg.norm((maps_by_hand(points) - reference[None]).reshape(7, 3, -1), axis=2)
    lengths = np.linalg.norm(reference.reshape(3, -1), axis=1)
    explainers = {"gxi": sj.gradient_times_input}
    options = {"key": jax.random.key(5), "radius": RADIUS, "samples": 7, "image_range": (0.0, 1.0)}
    found = max_sensitivity(hand.apply, hand.params(), images, TARGETS, explainers, kinks=0, ascent=0, **options).sel(
        explainer="gxi"
    )
    np.testing.assert_allclose(found.max_sensitivity, moved.max(axis=0), rtol=1e-4)
    np.testing.assert_allclose(found.relative_max_sensitivity, moved.max(axis=0) / lengths, rtol=1e-4)
    np.testing.assert_allclose(found.map_length, lengths, rtol=1e-5)
    assert np.isnan(found.by_search.sel(search=["kinks", "ascent"])).all()
    mean = average_sensitivity(hand.apply, hand.params(), images, TARGETS, explainers, **options).sel(explainer="gxi")
    np.testing.assert_allclose(mean.average_sensitivity, moved.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(mean.standard_error, moved.std(axis=0, ddof=1) / np.sqrt(7), rtol=1e-3)
    np.testing.assert_allclose(mean.relative_average_sensitivity, moved.mean(axis=0) / lengths, rtol=1e-4)


@pytest.mark.slow
def test_ascent_finds_the_corner_that_is_the_maximum_of_a_linear_model_and_batches_change_nothing():
    # R = w x moves by w d: farthest in a corner of the cube, by radius |w|, while draws fall short of it.
    params, images = hand.weights(), hand.images()
    options = {"key": jax.random.key(0), "radius": 0.1, "samples": 20, "ascent": 30}
    explainers = {"gxi": sj.gradient_times_input}
    found = max_sensitivity(hand.linear, params, images, TARGETS, explainers, **options).isel(explainer=0)
    weights = np.asarray(params["weights"], np.float64)[:, np.asarray(TARGETS)]
    largest = 0.1 * np.linalg.norm(weights, axis=0)
    np.testing.assert_allclose(found.max_sensitivity, largest, rtol=1e-4)
    assert (found.by_search.sel(search="samples") < 0.9 * largest).all()
    alone = max_sensitivity(hand.linear, params, images, TARGETS, explainers, batch_size=1, **options)
    np.testing.assert_allclose(alone.by_search.isel(explainer=0), found.by_search, rtol=1e-5)


@pytest.mark.slow
def test_maps_that_do_not_move_have_0_and_a_nan_stays_one():
    def broken(score, image, key=None):
        # One pixel's map is NaN as soon as the pixel is not exactly what it was.
        return jnp.where(image == 0.5, 1.0, jnp.nan) * jnp.ones_like(image)

    def zeros(score, image, key=None):
        return jnp.zeros_like(image)

    images = jnp.full((2, *hand.SHAPE), 0.5)
    explainers = {"constant": sj.constant, "noise": sj.noise, "zeros": zeros, "broken": broken}
    found = max_sensitivity(
        hand.linear,
        hand.weights(),
        images,
        jnp.array([0, 1]),
        explainers,
        key=jax.random.key(0),
        radius=0.1,
        samples=3,
        ascent=2,
    )
    np.testing.assert_array_equal(found.max_sensitivity.sel(explainer=["constant", "noise", "zeros"]), 0)
    np.testing.assert_array_equal(found.relative_max_sensitivity.sel(explainer="constant"), 0)
    assert np.isnan(found.relative_max_sensitivity.sel(explainer="zeros")).all()
    assert np.isnan(found.max_sensitivity.sel(explainer="broken")).all()


def test_maps_are_scaled_each_by_itself():
    def scaled(x):
        return x / jnp.abs(x).max()

    images = hand.images() * jnp.array([1.0, 1.0, 1e-3]).reshape(3, 1, 1, 1)
    options = {"key": jax.random.key(0), "radius": 1e-4, "samples": 3}
    arguments = (hand.linear, hand.weights(), {"gxi": sj.gradient_times_input})
    apply, params, explainers = arguments
    together = average_sensitivity(apply, params, images, TARGETS, explainers, scaling=scaled, **options)
    np.testing.assert_allclose(
        together.map_length.isel(explainer=0),
        [
            np.linalg.norm(np.ravel(m) / np.abs(m).max())
            for m in (
                np.ravel(x) * np.asarray(params["weights"])[:, t]
                for x, t in zip(np.asarray(images), TARGETS, strict=True)
            )
        ],
        rtol=1e-5,
    )


def test_bad_arguments_are_named():
    def call(measure=max_sensitivity, images=None, apply=hand.linear, explainers=None, **changes):
        options = {"key": jax.random.key(0), "radius": 0.1} | changes
        images = hand.images() if images is None else images
        explainers = {"gradient": sj.gradient} if explainers is None else explainers
        return measure(apply, hand.weights(), images, TARGETS, explainers, **options)

    with pytest.raises(ValueError, match=r"radius must be one positive number, got 0\.0"):
        call(radius=0.0)
    with pytest.raises(ValueError, match="radius must be large enough to change the images in float32, got 1e-30"):
        call(radius=1e-30)
    with pytest.raises(ValueError, match=r"images must lie in image_range \[0, 0\.5\]"):
        call(image_range=(0.0, 0.5))
    with pytest.raises(ValueError, match=r"the score must depend on the image.*within the radius 0\.1"):
        call(apply=lambda p, x: jnp.ones((len(x), 3)))
    with pytest.raises(ValueError, match="explainers must map at least one name to a function"):
        call(explainers={})
    with pytest.raises(ValueError, match="samples must be an integer of at least 1, got 0"):
        call(measure=average_sensitivity, samples=0)
    with pytest.raises(ValueError, match="explain must give a map shaped like the image"):
        call(explainers={"wrong": lambda score, image, key=None: image[0]}, kinks=0, ascent=0)


def test_names_that_do_not_exist_are_refused(as_a_user):
    arguments = (hand.linear, hand.weights(), hand.images(), TARGETS, {"gradient": sj.gradient})
    with pytest.raises(ValueError, match=r"norm must be one of \['l2', 'linf'\], got 'l7'"):
        max_sensitivity(*arguments, key=jax.random.key(0), radius=0.1, norm="l7")
    with pytest.raises(ValueError, match="max_sensitivity draws random numbers: pass key"):
        max_sensitivity(*arguments, key=None, radius=0.1)
