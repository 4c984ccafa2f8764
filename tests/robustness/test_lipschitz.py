"""The local Lipschitz estimate against NumPy, a constant that is known, and a jump across a kink."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import relu_by_hand as hand

import saliency_jax as sj
from saliency_jax.robustness import lipschitz_estimate, perturbed_images

TARGETS = jnp.array([0, 2, 1])


def estimated(explain, *, apply=hand.apply, params=None, **options):
    """The estimate of one explainer on the images made by hand, its axis dropped."""
    params = hand.params() if params is None else params
    given = {"images": hand.images(), "targets": TARGETS, "key": jax.random.key(0)} | options
    found = lipschitz_estimate(apply, params, explainers={"one": explain}, **given)
    return found.isel(explainer=0, drop=True)


@pytest.mark.slow
@pytest.mark.parametrize(("map_norm", "image_norm"), [("l2", "l2"), ("l1", "linf")])
def test_draws_give_what_numpy_gives_for_the_same_points(map_norm, image_norm):
    orders = {"l1": 1, "l2": 2, "linf": np.inf}
    images, params = hand.images(), hand.params()
    options = {"key": jax.random.key(3), "radius": 0.4, "samples": 6}
    points = np.asarray(perturbed_images(images, norm="l2", **options), np.float64)
    by_hand = np.zeros((6, 3))
    for s, row in enumerate(points):
        for i, (x, t) in enumerate(zip(row, np.asarray(TARGETS), strict=True)):
            image = np.asarray(images[i], np.float64)
            change = hand.gradient(params, x, t) * x - hand.gradient(params, image, t) * image
            by_hand[s, i] = np.linalg.norm(change.ravel(), orders[map_norm])
            by_hand[s, i] /= np.linalg.norm((x - image).ravel(), orders[image_norm])
    norms = {"map_norm": map_norm, "image_norm": image_norm}
    found = estimated(sj.gradient_times_input, kinks=0, ascent=0, **norms, **options)
    np.testing.assert_allclose(found.lipschitz_estimate, by_hand.max(axis=0), rtol=1e-4)


@pytest.mark.slow
def test_ascent_comes_to_the_constant_of_a_linear_model():
    # R = w x has the constant max |w|, along the pixel of that weight.
    params = hand.weights()
    found = estimated(sj.gradient_times_input, apply=hand.linear, params=params, radius=0.5, ascent=60)
    constants = np.abs(np.asarray(params["weights"], np.float64)).max(axis=0)[np.asarray(TARGETS)]
    assert (found.lipschitz_estimate <= constants * (1 + 1e-5)).all()
    np.testing.assert_allclose(found.lipschitz_estimate, constants, rtol=0.01)
    assert (found.by_search.sel(search="samples") < 0.9 * constants).all()


@pytest.mark.slow
def test_the_jump_of_a_gradient_is_found_across_the_nearest_kink_where_draws_miss_it():
    params, images = hand.params(), hand.images()
    found = estimated(sj.gradient, radius=2.0, gap=1e-3, samples=3, ascent=0)
    inputs = np.array([hand.before(params, image) for image in images])
    first, second = (np.asarray(params[name], np.float64) for name in ("first", "second"))
    steep = np.linalg.norm(first, axis=0)
    # Of all ReLUs the one whose jump is largest for its way; the pair is taken a little past the kink. Where other
    # kinks lie on this way their jumps are added, in any direction.
    way = np.maximum(1.02 * np.abs(inputs) / steep, 1e-3)
    best = (np.abs(second[:, np.asarray(TARGETS)]).T * steep / way).max(axis=1)
    kinks = found.by_search.sel(search="kinks")
    np.testing.assert_allclose(kinks, best, rtol=0.02)
    assert (kinks > found.by_search.sel(search="samples")).all()


@pytest.mark.slow
def test_kinks_nearer_than_the_gap_make_pairs_that_are_as_far_apart_as_it_in_the_norm_of_the_images():
    params, images = hand.params(), hand.images()
    gap = 0.3
    found = estimated(sj.gradient, radius=4.0, gap=gap, image_norm="linf", samples=1, ascent=0)
    first = np.asarray(params["first"], np.float64)
    steep, pairs = np.linalg.norm(first, axis=0), 0
    for i, (image, target) in enumerate(zip(np.asarray(images, np.float64), np.asarray(TARGETS), strict=True)):
        slopes, inputs = [], hand.before(params, image)
        for relu in range(hand.HIDDEN):
            normal = (-np.sign(inputs[relu]) * first[:, relu] / steep[relu]).reshape(hand.SHAPE)
            way = max(1.02 * abs(inputs[relu]) / steep[relu], gap / np.abs(normal).max())
            pairs += way * np.abs(normal).max() <= 1.01 * gap
            change = hand.gradient(params, image + way * normal, target) - hand.gradient(params, image, target)
            slopes.append(np.linalg.norm(change) / (way * np.abs(normal).max()))
        np.testing.assert_allclose(found.by_search.sel(search="kinks")[i], max(slopes), rtol=1e-3)
    assert pairs > 0


@pytest.mark.slow
def test_pairs_closer_than_the_gap_do_not_count():
    # A map that jumps at the image itself has no finite constant: the bound is the jump over the gap.
    def jumping(score, image, key=None):
        return jnp.where(image == 0.5, 0.0, 1.0)

    linear = {"apply": hand.linear, "params": hand.weights()}
    one = {"images": jnp.full((1, *hand.SHAPE), 0.5), "targets": jnp.array([0])}
    gaps = np.array([0.1, 0.01])
    bounds = [
        estimated(jumping, radius=0.5, gap=float(gap), ascent=40, **linear, **one).lipschitz_estimate.item()
        for gap in gaps
    ]
    np.testing.assert_allclose(bounds, np.sqrt(12) / gaps, rtol=0.1)
