"""The rule whose weights come from the score's values, against broken lines, a cubic and paths of 20,000 points."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saliency_jax import completeness_gap, integrated_gradients

SHAPE = (4, 3, 2)
one_kink = partial(integrated_gradients, rule="one_kink")


def drawn(seed=0):
    random = np.random.default_rng(seed)
    return tuple(jnp.asarray(random.normal(size=SHAPE)) for _ in range(2))


def hidden_layer(seed, width=200):
    """A ReLU layer with shifts, whose kinks lie anywhere on a path."""
    random = np.random.default_rng(seed)
    first, second = jnp.asarray(random.normal(size=(24, width))), jnp.asarray(random.normal(size=width))
    shift = jnp.asarray(random.normal(size=width))
    return lambda z: jax.nn.relu(z.ravel() @ first + shift) @ second


@partial(jax.jit, static_argnames="steps")
def maps_of_a_kink(x, x0, w, v, threshold, steps):
    def score(z):
        return jax.nn.relu(jnp.vdot(w, z) - threshold) + jnp.vdot(v, z)

    explain = partial(one_kink, score, x, baseline=x0, steps=steps)
    return explain(), explain(multiply_by_input=False)


@pytest.mark.parametrize("kink", [0.03, 0.25, 0.5, 0.77, 0.999])
@pytest.mark.parametrize("steps", [2, 5, 64])
def test_one_kink_anywhere_is_found_to_rounding(kink, steps):
    with jax.enable_x64(True):
        x, x0 = drawn(0)
        w, v = drawn(1)
        # Its argument is 0 at x0 + kink (x - x0), and rises along the path.
        w = w * jnp.sign(jnp.vdot(w, x - x0))
        threshold = jnp.vdot(w, x0 + kink * (x - x0))
        times_input, alone = maps_of_a_kink(x, x0, w, v, threshold, steps)
        np.testing.assert_allclose(times_input, (x - x0) * ((1 - kink) * w + v), rtol=1e-10)
        np.testing.assert_allclose(alone, (1 - kink) * w + v, rtol=1e-10)


def test_quadratic_score_is_exact_and_the_error_of_a_cubic_one_falls_about_as_the_square_of_the_step():
    with jax.enable_x64(True):
        x, x0 = drawn(2)
        found = one_kink(lambda z: jnp.sum(z**2), x, baseline=x0, steps=2)
        np.testing.assert_allclose(found, x**2 - x0**2, rtol=1e-12, atol=1e-14)

        def error(x, x0, steps):
            found = one_kink(lambda z: jnp.sum(z**3), x, baseline=x0, steps=steps)
            return float(jnp.abs(found - (x**3 - x0**3)).max())

        # The step in which the slope turns round is cut anywhere, so that single ratios jump.
        orders = [np.log2(error(*drawn(seed), 9) / error(*drawn(seed), 2049)) / 8 for seed in range(2, 8)]
        assert np.mean(orders) > 1.7, orders


def test_many_kinks_leave_less_of_the_sum_missing_than_fixed_weights():
    with jax.enable_x64(True):
        squares = dict.fromkeys(("one_kink", "gauss_legendre", "midpoint", "trapezoid"), 0.0)
        for seed in range(16):
            score, (x, x0) = hidden_layer(seed), drawn(seed)
            for rule in squares:
                found = integrated_gradients(score, x, baseline=x0, rule=rule)
                squares[rule] += float(completeness_gap(score, x, found, baseline=x0)) ** 2
    # Two or three of the 200 kinks share a step: only steps whose two slopes do not bracket its own miss anything.
    assert squares.pop("one_kink") < 0.5**2 * min(squares.values()), squares


def test_what_is_missing_is_that_of_the_steps_whose_slopes_do_not_bracket_their_rise():
    with jax.enable_x64(True):
        score, (x, x0) = hidden_layer(3), drawn(3)
        steps = 64
        path = [x0 + a * (x - x0) for a in np.linspace(0, 1, steps)]
        value = np.array([score(z) for z in path])
        slope = np.array([jnp.vdot(jax.grad(score)(z), x - x0) for z in path])
        missing = 0.0
        for i in range(steps - 1):
            low, high = sorted(slope[i : i + 2] / (steps - 1))
            rise = value[i + 1] - value[i]
            missing += np.clip(rise, low, high) - rise
        gap = completeness_gap(score, x, one_kink(score, x, baseline=x0, steps=steps), baseline=x0)
        assert abs(missing) > 1e-3
        np.testing.assert_allclose(gap, missing, rtol=1e-7)


@pytest.mark.parametrize("seed", range(4))
def test_few_kinks_leave_nothing_missing_and_the_exact_map(seed):
    with jax.enable_x64(True):
        score, (x, x0) = hidden_layer(seed, width=3), drawn(seed)
        exact = integrated_gradients(score, x, baseline=x0, steps=20_000, rule="midpoint", at_once=20_000)
        found = one_kink(score, x, baseline=x0, steps=512)
        assert abs(completeness_gap(score, x, found, baseline=x0)) < 1e-11
        np.testing.assert_allclose(found, exact, atol=2e-3 * float(jnp.abs(exact).max()))


@pytest.mark.parametrize("at_once", [1, 3, 7, 64, 100])
def test_chunks_do_not_change_the_map(at_once):
    with jax.enable_x64(True):
        score, (x, x0) = hidden_layer(5), drawn(5)
        expected = one_kink(score, x, baseline=x0, steps=50, at_once=50)
        found = one_kink(score, x, baseline=x0, steps=50, at_once=at_once)
        np.testing.assert_allclose(found, expected, rtol=1e-11)


def test_flat_score_and_image_equal_to_its_baseline_have_empty_maps():
    x = jnp.ones(SHAPE, jnp.float32)
    assert (one_kink(lambda z: jnp.sum(0 * z) + 3, x) == 0).all()
    assert (one_kink(lambda z: jnp.sum(jnp.cos(z)), x, baseline=x) == 0).all()


def test_maps_are_the_same_under_jit_and_vmap_and_have_derivatives():
    score = hidden_layer(6)
    images = jnp.stack([x.astype(jnp.float32) for x in drawn(6)])
    explain = partial(one_kink, score, steps=16)
    expected = jnp.stack([explain(x) for x in images])
    np.testing.assert_allclose(jax.jit(jax.vmap(explain))(images), expected, rtol=1e-4, atol=1e-5)
    # The exact map of a square is x^2, whose sum has the derivative 2x; the slopes do not bend where x is blank.
    for x in (images[0], jnp.zeros(SHAPE)):
        derivative = jax.grad(lambda z: one_kink(lambda y: jnp.sum(y**2), z, steps=16).sum())(x)
        np.testing.assert_allclose(derivative, 2 * x, rtol=1e-4, atol=1e-5)


def test_a_score_that_is_not_finite_gives_no_number_and_one_point_is_refused():
    assert jnp.isnan(one_kink(lambda z: jnp.sum(z) * jnp.nan, jnp.ones(SHAPE))).all()
    with pytest.raises(ValueError, match=r"steps must be at least 2 .*got 1"):
        one_kink(jnp.sum, jnp.ones(SHAPE), steps=1)
    with pytest.raises(TypeError, match="steps"):
        one_kink(jnp.sum, jnp.ones(SHAPE), steps=2.5)
