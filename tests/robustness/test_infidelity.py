"""Infidelity against NumPy on the same perturbations, and where it has to be 0."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import relu_by_hand as hand

import saliency_jax as sj
from saliency_jax.robustness import gaussian_noise, infidelity, perturbations, square_removal

TARGETS = jnp.array([0, 2, 1])
KEY = jax.random.key(11)


@pytest.mark.slow
@pytest.mark.parametrize("perturbation", [gaussian_noise(0.2), square_removal(2, fill=0.3)])
def test_it_is_what_numpy_gives_for_the_same_perturbations(perturbation):
    images, params = hand.images(), hand.params()
    taken = np.asarray(perturbations(images, perturbation, key=KEY, samples=9), np.float64)
    explainers = {"gradient": sj.gradient, "gxi": sj.gradient_times_input}
    predicted, change = np.zeros((2, 3, 9)), np.zeros((3, 9))
    for i, (image, target) in enumerate(zip(np.asarray(images, np.float64), np.asarray(TARGETS), strict=True)):
        gradient = hand.gradient(params, image, target)
        for s in range(9):
            change[i, s] = (hand.logits(params, image) - hand.logits(params, image - taken[s, i]))[target]
            predicted[:, i, s] = (gradient * taken[s, i]).sum(), (gradient * image * taken[s, i] / image).sum()
    found = infidelity(
        hand.apply,
        params,
        images,
        TARGETS,
        explainers,
        key=KEY,
        perturbation=perturbation,
        samples=9,
        in_score_units=("gxi",),
    )
    squares = (predicted - change[None]) ** 2
    np.testing.assert_allclose(found.infidelity, squares.mean(axis=2), rtol=1e-3, atol=1e-8)
    np.testing.assert_allclose(found.standard_error, squares.std(axis=2, ddof=1) / 3, rtol=1e-3, atol=1e-8)
    for e in range(2):
        for i in range(3):
            scale, error, _, _ = np.linalg.lstsq(predicted[e, i, :, None], change[i])
            np.testing.assert_allclose(found.scale[e, i], scale[0], rtol=1e-3)
            np.testing.assert_allclose(found.scaled_infidelity[e, i], error[0] / 9, rtol=1e-2, atol=1e-8)


@pytest.mark.slow
def test_squares_stand_inside_the_image_and_have_all_sides_up_to_the_largest():
    images = 1 + hand.images(40)
    taken = np.asarray(perturbations(images, square_removal(2), key=KEY, samples=5)).reshape(-1, 3, 4)
    sides = set()
    for one in taken:
        rows, columns = np.flatnonzero(one.any(axis=1)), np.flatnonzero(one.any(axis=0))
        assert len(rows) == len(columns) == np.ptp(rows) + 1 == np.ptp(columns) + 1
        assert (one[np.ix_(rows, columns)] != 0).all()
        sides.add(len(rows))
    assert sides == {1, 2}
    # What is left is the fill.
    left = (
        np.asarray(images)[0, ..., 0]
        - np.asarray(perturbations(images, square_removal(2), key=KEY, samples=1))[0, 0, ..., 0]
    )
    assert ((left == 0) | (left == np.asarray(images)[0, ..., 0])).all() and (left == 0).any()


def test_the_map_of_an_affine_score_has_none_and_maps_that_predict_nothing_no_scale():
    def doubled(score, image, key=None):
        return 2 * sj.gradient(score, image)

    def zeros(score, image, key=None):
        return jnp.zeros_like(image)

    def broken(score, image, key=None):
        return jnp.full_like(image, jnp.nan)

    explainers = {"gradient": sj.gradient, "doubled": doubled, "zeros": zeros, "broken": broken}
    found = infidelity(
        hand.linear,
        hand.weights(),
        hand.images(),
        TARGETS,
        explainers,
        key=KEY,
        perturbation=gaussian_noise(0.5),
        samples=6,
    )
    np.testing.assert_allclose(found.infidelity.sel(explainer="gradient"), 0, atol=1e-10)
    np.testing.assert_allclose(found.scaled_infidelity.sel(explainer="doubled"), 0, atol=1e-10)
    np.testing.assert_allclose(found.scale.sel(explainer="doubled"), 0.5, rtol=1e-4)
    assert (found.infidelity.sel(explainer="doubled") > 0.01).all()
    assert np.isnan(found.scaled_infidelity.sel(explainer="zeros")).all()
    assert (found.infidelity.sel(explainer="zeros") > 0).all()
    assert np.isnan(found.infidelity.sel(explainer="broken")).all()


def test_perturbations_are_traced_once():
    traced = []

    def counted(image, key):
        traced.append(image)
        return jnp.zeros_like(image)

    for _ in range(2):
        perturbations(hand.images(), counted, key=KEY, samples=2)
    assert len(traced) == 1


def test_bad_arguments_are_named():
    def call(apply=hand.linear, **changes):
        options = {"key": KEY, "perturbation": gaussian_noise(0.1), "samples": 2} | changes
        return infidelity(apply, hand.weights(), hand.images(), TARGETS, {"gradient": sj.gradient}, **options)

    with pytest.raises(ValueError, match=r"deviation must be one positive number, got 0\.0"):
        gaussian_noise(0.0)
    with pytest.raises(ValueError, match="perturbation must leave a part of every image of 3 x 4 pixels"):
        call(perturbation=square_removal(3))
    with pytest.raises(ValueError, match=r"in_score_units must be names of explainers \['gradient'\], got \['lrp'\]"):
        call(in_score_units=("lrp",))
    with pytest.raises(ValueError, match="the score must depend on the image"):
        call(apply=lambda p, x: jnp.ones((len(x), 3)))
    with pytest.raises(ValueError, match="perturbation must give an array shaped like the image"):
        call(perturbation=lambda image, key: image[0])
