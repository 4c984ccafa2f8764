"""Selectivity against slow NumPy, on an additive model whose best order is known, and at ties, blanks and NaNs."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import relu_by_hand as hand

import saliency_jax as sj
from saliency_jax.robustness import selectivity

TARGETS = jnp.array([0, 2, 1])
KEY = jax.random.key(7)
GXI = {"gxi": sj.gradient_times_input}


def hidden_patches(order, count, patch):
    """The pixels of the first patches of an order, in an image of 3 x 4."""
    pixels = np.zeros((3, 4), bool)
    across = -(-4 // patch)
    for place in order[:count]:
        down, right = divmod(int(place), across)
        pixels[down * patch : (down + 1) * patch, right * patch : (right + 1) * patch] = True
    return pixels[..., None]


def relevance_of(found, patch):
    sums = []
    for down in range(0, 3, patch):
        sums += [found[down : down + patch, right : right + patch].sum() for right in range(0, 4, patch)]
    return np.array(sums)


def trapezoid(curve):
    return np.trapezoid(curve, np.linspace(0, 1, curve.shape[-1]), axis=-1)


@pytest.mark.parametrize(("patch", "direction"), [(2, "deletion"), (1, "insertion")])
def test_curves_are_those_of_a_slow_loop(patch, direction):
    params, images = hand.params(), hand.images()
    fill = 0.2
    found = selectivity(
        hand.apply, params, images, TARGETS, GXI, key=KEY, patch=patch, direction=direction, fill=fill
    ).isel(explainer=0)
    for i, (image, target) in enumerate(zip(np.asarray(images, np.float64), np.asarray(TARGETS), strict=True)):
        order = np.argsort(-relevance_of(hand.gradient(params, image, target) * image, patch), kind="stable")
        curve = []
        for count in range(len(order) + 1):
            taken = hidden_patches(order, count, patch)
            hidden = taken if direction == "deletion" else ~taken
            curve.append(hand.logits(params, np.where(hidden, fill, image))[target])
        np.testing.assert_allclose(found.curve[i], curve, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.area[i], trapezoid(np.array(curve)), rtol=1e-4)
    np.testing.assert_allclose(found.fraction, np.linspace(0, 1, len(order) + 1))


def test_recomputed_curves_explain_what_is_left_at_every_step():
    params, images = hand.params(), hand.images()
    found = selectivity(
        hand.apply,
        params,
        images,
        TARGETS,
        GXI,
        key=KEY,
        patch=1,
        recompute=True,
        fill=0.1,
        patches_in_step=5,
        kind="softmax",
    ).isel(explainer=0)
    np.testing.assert_allclose(found.fraction, np.array([0, 5, 10, 12]) / 12)
    for i, (image, target) in enumerate(zip(np.asarray(images, np.float64), np.asarray(TARGETS), strict=True)):
        taken, now, curve = [], image, []
        for _ in range(4):
            logits = hand.logits(params, now)
            curve.append((np.exp(logits) / np.exp(logits).sum())[target])
            relevance = (hand.gradient(params, now, target) * now).ravel()
            left = [place for place in np.argsort(-relevance) if place not in taken]
            taken += left[:5]
            now = np.where(hidden_patches(taken, len(taken), 1), 0.1, image)
        np.testing.assert_allclose(found.curve[i], curve, rtol=1e-4)


@pytest.mark.parametrize(("direction", "best"), [("deletion", min), ("insertion", max)])
def test_on_an_additive_model_the_true_parts_attain_the_best_area_of_all_orders(direction, best):
    params, images = hand.weights(), hand.images()
    found = selectivity(hand.linear, params, images, TARGETS, GXI, key=KEY, patch=2, direction=direction).isel(
        explainer=0
    )
    for i, (image, target) in enumerate(zip(np.asarray(images, np.float64), np.asarray(TARGETS), strict=True)):
        parts = relevance_of(np.asarray(params["weights"], np.float64)[:, target].reshape(hand.SHAPE) * image, 2)
        shown = np.array([np.append(0, np.cumsum(parts[list(order)])) for order in itertools.permutations(range(4))])
        areas = trapezoid(shown if direction == "insertion" else parts.sum() - shown)
        np.testing.assert_allclose(found.area[i], best(areas), rtol=1e-4, atol=1e-5)


def test_explaining_an_additive_model_again_gains_nothing():
    # What is left of it has the same parts.
    arguments = (hand.linear, hand.weights(), hand.images(), TARGETS, GXI)
    once, again = (selectivity(*arguments, key=KEY, patch=2, recompute=recompute) for recompute in (False, True))
    np.testing.assert_allclose(again.curve, once.curve, rtol=1e-4, atol=1e-5)


def test_ties_go_in_an_order_drawn_for_each_image_and_a_blank_image_keeps_its_score():
    images = jnp.concatenate([jnp.broadcast_to(hand.images()[:1], (2, *hand.SHAPE)), jnp.zeros((1, *hand.SHAPE))])
    arguments = (hand.linear, hand.weights(), images, jnp.zeros(3, int), {"constant": sj.constant})
    one, same, other = (
        selectivity(*arguments, key=jax.random.key(seed), patch=1).curve[0].to_numpy() for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert np.abs(one[0] - one[1]).max() > 0.01 and np.abs(one[0] - other[0]).max() > 0.01
    # Whatever the order, the first and the last step are the same images.
    np.testing.assert_allclose(one[0, [0, -1]], other[0, [0, -1]], atol=1e-6)
    np.testing.assert_array_equal(one[2], 0)


@pytest.mark.parametrize("recompute", [False, True])
def test_a_map_that_is_not_finite_has_no_order_and_only_its_own_image_none(recompute):
    def broken(score, image, key=None):
        return jnp.where(image.sum() > 3, jnp.nan, image)

    images = jnp.stack([jnp.full(hand.SHAPE, 0.9), jnp.full(hand.SHAPE, 0.1), jnp.full(hand.SHAPE, 0.2)])
    found = selectivity(
        hand.linear, hand.weights(), images, TARGETS, {"broken": broken}, key=KEY, patch=2, recompute=recompute
    ).isel(explainer=0)
    np.testing.assert_array_equal(np.isnan(found.area), [True, False, False])
    assert np.isfinite(found.curve[1:]).all()


def test_absolute_relevance_and_fills_of_every_shape():
    params, images = hand.weights(), hand.images()
    arguments = (hand.linear, params, images, TARGETS, {"minus": lambda s, x, key=None: -sj.gradient(s, x)})
    absolute = selectivity(*arguments, key=KEY, patch=1, ranking="absolute")
    plus = selectivity(*arguments[:4], {"plus": sj.gradient}, key=KEY, patch=1, ranking="absolute")
    np.testing.assert_array_equal(absolute.curve, plus.curve)
    for fill in (jnp.array([0.5]), jnp.full(hand.SHAPE, 0.5), jnp.full((3, *hand.SHAPE), 0.5)):
        of_fill = selectivity(*arguments, key=KEY, patch=1, fill=fill)
        np.testing.assert_allclose(
            of_fill.curve[0, :, -1], 0.5 * np.asarray(params["weights"]).sum(axis=0)[np.asarray(TARGETS)], rtol=1e-5
        )


def test_bad_arguments_are_named(as_a_user):
    def call(apply=hand.linear, images=None, **changes):
        images = hand.images() if images is None else images
        return selectivity(apply, hand.weights(), images, TARGETS, GXI, **({"key": KEY, "patch": 2} | changes))

    with pytest.raises(ValueError, match="patch must be smaller than the image of 3 x 4 pixels, which one patch of 4"):
        call(patch=4)
    with pytest.raises(ValueError, match="patch must be an integer of at least 1, got 0"):
        call(patch=0)
    with pytest.raises(ValueError, match="direction must be 'deletion' or 'insertion', got 'sideways'"):
        call(direction="sideways")
    with pytest.raises(ValueError, match=r"the score must depend on the image.*replaced by the fill"):
        call(apply=lambda p, x: jnp.ones((len(x), 3)))
    with pytest.raises(ValueError, match=r"fill must lie in image_range \(0\.0, 1\.0\), found values -1 to -1"):
        call(fill=-1.0, image_range=(0.0, 1.0))
    with pytest.raises(ValueError, match=r"images must lie in image_range \(0\.0, 1\.0\), found values .* to 1\."):
        call(images=2 * hand.images(), image_range=(0.0, 1.0))
    with pytest.raises(ValueError, match="fill must be finite"):
        call(fill=np.nan)
    with pytest.raises(ValueError, match="kind must be one of"):
        call(kind="odds")
