"""Integrated gradients against closed forms, SciPy's quadrature and the released code's sum re-derived in NumPy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

from saliency_jax import completed, completeness_gap, gradient_times_input, integrated_gradients
from saliency_jax.explainers.quadrature import QUADRATURES, quadrature

SHAPE = (4, 3, 2)


def drawn(seed=0):
    random = np.random.default_rng(seed)
    return tuple(random.normal(size=SHAPE) for _ in range(3))


def test_linear_score_gives_weights_times_difference_from_one_point_on():
    with jax.enable_x64(True):
        w, x, x0 = map(jnp.asarray, drawn())
        for steps in (1, 2, 17):
            found = integrated_gradients(lambda z: jnp.vdot(w, z), x, baseline=x0, steps=steps)
            np.testing.assert_allclose(found, (x - x0) * w, rtol=1e-12)


def test_polynomial_path_is_exact_as_gauss_promises():
    # f = sum x^6 / 6: the gradient x0 + a (x - x0) to the fifth is of degree 5 = 2 * 3 - 1 in a.
    with jax.enable_x64(True):
        _, x, x0 = map(jnp.asarray, drawn(1))
        found = integrated_gradients(lambda z: jnp.sum(z**6) / 6, x, baseline=x0, steps=3)
        np.testing.assert_allclose(found, (x**6 - x0**6) / 6, rtol=1e-11)


def test_smooth_score_is_complete_and_agrees_with_adaptive_quadrature():
    with jax.enable_x64(True):
        w, x, x0 = map(jnp.asarray, drawn(2))

        def score(z):
            return jnp.tanh(jnp.vdot(w, z)) + jnp.sum(jnp.sin(z))

        found = integrated_gradients(score, x, baseline=x0, steps=64)
        assert abs(completeness_gap(score, x, found, baseline=x0)) < 1e-6
        slope = jax.jit(jax.grad(score))
        place = (2, 1, 0)
        exact, _ = integrate.quad(lambda a: float(slope(x0 + a * (x - x0))[place]), 0, 1, epsabs=1e-12)
        np.testing.assert_allclose(found[place], (x - x0)[place] * exact, rtol=1e-8)


@pytest.mark.parametrize("rule", sorted(QUADRATURES))
@pytest.mark.parametrize("steps", [2, 5, 64])
def test_points_and_weights_are_those_of_the_rule(rule, steps):
    points, weights = quadrature(rule, steps)
    f = np.exp(points)
    grid = np.linspace(0, 1, steps)
    expected = {
        "gauss_legendre": integrate.fixed_quad(np.exp, 0, 1, n=steps)[0],
        "midpoint": np.mean(np.exp((np.arange(steps) + 0.5) / steps)),
        "left": np.mean(np.exp(np.arange(steps) / steps)),
        "right": np.mean(np.exp(np.arange(1, steps + 1) / steps)),
        "trapezoid": integrate.trapezoid(np.exp(grid), grid),
        "paper": np.mean(np.exp(grid)),
    }[rule]
    np.testing.assert_allclose(weights @ f, expected, rtol=1e-12)
    np.testing.assert_allclose(weights.sum(), 1, rtol=1e-12)


def test_released_code_gives_both_ends_full_weight():
    # f = sum x^2 / 2 from zero: the exact map is x^2 / 2, and so is the mean over linspace(0, 1, n); for x^3 / 3 the
    # mean of a^2 over that grid is (2n - 1) / (6 (n - 1)), above the true 1/3: the bias of that sum.
    with jax.enable_x64(True):
        x = jnp.asarray(drawn(3)[0])
        n = 50
        found = integrated_gradients(lambda z: jnp.sum(z**3) / 3, x, steps=n, rule="paper")
        np.testing.assert_allclose(found, x**3 * (2 * n - 1) / (6 * (n - 1)), rtol=1e-12)


def test_local_form_leaves_the_difference_out():
    with jax.enable_x64(True):
        w, x, x0 = map(jnp.asarray, drawn(4))

        def score(z):
            return jnp.sum(jnp.sin(w * z))

        local = integrated_gradients(score, x, baseline=x0, multiply_by_input=False)
        np.testing.assert_allclose(local * (x - x0), integrated_gradients(score, x, baseline=x0), rtol=1e-12)


@pytest.mark.parametrize("at_once", [1, 3, 7, 64, 100])
def test_chunks_do_not_change_the_map(at_once):
    with jax.enable_x64(True):
        w, x, _ = map(jnp.asarray, drawn(5))

        def score(z):
            return jnp.sum(jnp.sin(w * z) ** 2)

        expected = integrated_gradients(score, x, steps=50, at_once=5)
        np.testing.assert_allclose(integrated_gradients(score, x, steps=50, at_once=at_once), expected, rtol=1e-12)


def test_bias_free_relu_network_gives_gradient_times_input():
    # Homogeneous of degree one: the gradient does not change along a path from zero.
    with jax.enable_x64(True):
        random = np.random.default_rng(6)
        first, second = jnp.asarray(random.normal(size=(24, 30))), jnp.asarray(random.normal(size=30))
        x = jnp.asarray(random.normal(size=SHAPE))

        def score(z):
            return jax.nn.relu(z.ravel() @ first) @ second

        np.testing.assert_allclose(integrated_gradients(score, x, steps=5), gradient_times_input(score, x), rtol=1e-10)


def test_image_equal_to_its_baseline_has_an_empty_map():
    x = jnp.asarray(drawn(7)[0], jnp.float32)
    assert (integrated_gradients(lambda z: jnp.sum(jnp.cos(z)), x, baseline=x) == 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "simpson"}, r"rule must be one of .*'simpson'"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"steps": 1, "rule": "paper"}, "steps must be at least 2"),
        ({"at_once": 0}, "at_once must be at least 1"),
        ({"baseline": np.zeros((2, 2))}, r"baseline must be a number or shaped like the image"),
        ({"baseline": np.nan}, "baseline must be finite"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        integrated_gradients(jnp.sum, jnp.ones(SHAPE), **options)


def test_gap_of_a_map_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="attribution must be shaped like the image"):
        completeness_gap(jnp.sum, jnp.ones(SHAPE), jnp.ones((2, 2)))


@pytest.mark.slow
def test_completed_map_sums_to_the_change_and_is_nearer_to_the_exact_one():
    with jax.enable_x64(True):
        random = np.random.default_rng(8)
        first, second = jnp.asarray(random.normal(size=(24, 200))), jnp.asarray(random.normal(size=200))
        shift = jnp.asarray(random.normal(size=200))

        def score(z):
            return jax.nn.relu(z.ravel() @ first + shift) @ second

        exact_steps = 20_000
        for seed in range(5):
            _, x, x0 = map(jnp.asarray, drawn(seed))
            exact = integrated_gradients(score, x, baseline=x0, steps=exact_steps, rule="midpoint", at_once=exact_steps)
            coarse = partial(integrated_gradients, baseline=x0, steps=8)
            plain, found = coarse(score, x), completed(coarse, baseline=x0)(score, x)
            assert abs(completeness_gap(score, x, found, baseline=x0)) < 1e-10
            assert abs(completeness_gap(score, x, plain, baseline=x0)) > 1e-4
            # The distance in which the projection is taken: that of the average gradients, R / (x - x0).
            errors = [jnp.linalg.norm((r - exact) / (x - x0)) for r in (found, plain)]
            assert errors[0] <= errors[1] * (1 + 1e-9)


def test_completed_map_of_an_image_equal_to_its_baseline_is_kept():
    x = jnp.asarray(drawn(9)[0], jnp.float32)
    found = completed(partial(integrated_gradients, baseline=x), baseline=x)(lambda z: jnp.sum(jnp.cos(z)), x)
    assert (found == 0).all()
