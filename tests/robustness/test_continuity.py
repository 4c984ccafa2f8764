"""Explanation continuity: the function max(x1, x2), whose constants are known, and translations by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import relu_by_hand as hand

import saliency_jax as sj
from saliency_jax.robustness import continuity

DEEP_TAYLOR = partial(sj.lrp, composite=((("convolution", "dense"), sj.rules.z_plus),))
GAPS = (1e-1, 1e-2, 1e-3)


@pytest.mark.slow
def test_the_constant_of_deep_taylor_on_the_maximum_is_root_2_and_the_others_grow_like_1_over_the_gap():
    with jax.enable_x64(True):
        params = {name: jnp.asarray(value, jnp.float64) for name, value in hand.MAXIMUM.items()}
        images = jnp.asarray(np.random.default_rng(0).uniform(0.3, 1, (32, 1, 2, 1)))
        explainers = {"sensitivity": sj.sensitivity, "simple_taylor": sj.simple_taylor, "deep_taylor": DEEP_TAYLOR}
        constants = np.array(
            [
                continuity(
                    hand.maximum,
                    params,
                    images,
                    jnp.zeros(32, int),
                    explainers,
                    key=jax.random.key(0),
                    radius=0.3,
                    gap=gap,
                    translations=((0, 1), (0, -1)),
                    image_range=(0.0, 2.0),
                ).continuity.max("image")
                for gap in GAPS
            ]
        )
    sensitivity, simple_taylor, deep_taylor = constants.T
    assert ((deep_taylor >= 1.410) & (deep_taylor <= 1.4143)).all()
    for growing in (sensitivity, simple_taylor):
        slope = np.polyfit(np.log(GAPS), np.log(growing), 1)[0]
        assert abs(slope + 1) < 0.05
    # The sensitivity jumps from (1, 0) to (0, 1), 2 in all; simple Taylor by 2x, here up to 2.
    np.testing.assert_allclose(sensitivity * GAPS, 2, rtol=0.02)
    assert (simple_taylor[1:] * GAPS[1:] <= 2).all()


@pytest.mark.slow
def test_translations_are_those_of_numpy_and_what_enters_is_the_fill():
    params, images, targets = hand.params(), hand.images(), jnp.array([0, 2, 1])
    shifts, fill = ((0, 1), (-2, 0), (1, -1)), 0.25
    slopes = []
    for image, target in zip(np.asarray(images, np.float64), np.asarray(targets), strict=True):
        reference, found = hand.gradient(params, image, target) * image, []
        for down, right in shifts:
            moved = np.full_like(image, fill)
            for r in range(3):
                for c in range(4):
                    if 0 <= r + down < 3 and 0 <= c + right < 4:
                        moved[r + down, c + right] = image[r, c]
            change = np.abs(hand.gradient(params, moved, target) * moved - reference).sum()
            found.append(change / np.linalg.norm(moved - image))
        slopes.append(max(found))
    found = continuity(
        hand.apply,
        params,
        images,
        targets,
        {"gxi": sj.gradient_times_input},
        key=jax.random.key(0),
        radius=0.1,
        translations=shifts,
        fill=fill,
        samples=1,
        kinks=0,
        ascent=0,
    )
    np.testing.assert_allclose(found.by_search.sel(explainer="gxi", search="translations"), slopes, rtol=1e-4)
    assert (found.continuity >= found.by_search.sel(search="translations")).all()


@pytest.mark.slow
def test_a_blank_image_has_no_translations_and_a_nan_stays_one():
    def broken(score, image, key=None):
        return jnp.full_like(image, jnp.nan)

    images = jnp.zeros((2, *hand.SHAPE)).at[1].set(hand.images()[0])
    found = continuity(
        hand.linear,
        hand.weights(),
        images,
        jnp.array([0, 1]),
        {"gradient": sj.gradient, "broken": broken},
        key=jax.random.key(0),
        radius=0.1,
        samples=2,
        ascent=1,
    )
    # Moved blank pixels are the same image: no pair. The gradient of a linear model is the same everywhere.
    translations = found.by_search.sel(search="translations", explainer="gradient")
    assert np.isnan(translations[0]) and translations[1] == 0
    np.testing.assert_array_equal(found.continuity.sel(explainer="gradient"), 0)
    assert np.isnan(found.continuity.sel(explainer="broken")).all()


def test_bad_translations_and_gaps_are_named(as_a_user):
    arguments = (hand.linear, hand.weights(), hand.images(), jnp.array([0, 1, 2]), {"gradient": sj.gradient})
    options = {"key": jax.random.key(0), "radius": 0.1}
    for shift in ((0, 0), (3, 0), (0, -4)):
        with pytest.raises(ValueError, match="translations must move an image of 3 x 4 pixels and leave a part"):
            continuity(*arguments, translations=(shift,), **options)
    for shift in (1, (1,), (0.5, 1), (np.nan, 1), "ab"):
        with pytest.raises(ValueError, match=r"translations must be pairs of whole pixels \(down, right\), got"):
            continuity(*arguments, translations=(shift,), **options)
    with pytest.raises(ValueError, match="gap must be at most the radius"):
        continuity(*arguments, gap=1.0, **options)
    with pytest.raises(ValueError, match="fill must be a number, one for each channel, an image"):
        continuity(*arguments, fill=jnp.zeros((7, 7)), **options)
