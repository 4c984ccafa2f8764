"""What LRP refuses, by name, and what it takes that looks unusual."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saliency_jax import class_score, composites, conservation, lrp, rules

IMAGE = jnp.asarray(np.random.default_rng(0).normal(size=(3, 3, 1)), jnp.float32)


def fourier(x):
    return jnp.abs(jnp.fft.fft2(x[..., 0])).sum()


def solved(x):
    return jnp.linalg.solve(jnp.eye(3) * 2 + x[..., 0], jnp.ones(3)).sum()


def looped(x):
    return jax.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, jnp.sin(c[1])), (0, x))[1].sum()


def scoped(x):
    with jax.named_scope("spectrum"):
        return fourier(x)


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (fourier, r"LRP has no rule for the fft at .*operation input/fft"),
        (scoped, r"LRP has no rule for the fft at .*spectrum"),
        (solved, r"(LRP has no rule for the|the) .*\(operation input/"),
        (looped, r"while .*\(operation input/loop\)"),
    ],
)
def test_operation_without_a_rule_is_named_with_its_place(score, message):
    for explain in (lrp, conservation):
        with pytest.raises(ValueError, match=message):
            explain(score, IMAGE)


def test_rule_of_ones_own_lets_an_unknown_operation_pass():
    def cumulative(x):
        return jax.lax.cumprod(x.ravel()).sum()

    with pytest.raises(ValueError, match="LRP has no rule for the cumprod"):
        lrp(cumulative, IMAGE)
    found = lrp(cumulative, IMAGE, composite=[("unknown", rules.pass_through), *composites.zero()])
    np.testing.assert_allclose(found.ravel(), jnp.cumprod(IMAGE.ravel()), rtol=1e-6)


@pytest.mark.parametrize("explain", [lrp, conservation])
@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (np.ones((2, 2, 1), int), TypeError, "image must be floating point"),
        (np.ones((0, 2, 1)), ValueError, "image must not be empty"),
        (np.array([[[1.0]], [[np.nan]]]), ValueError, "image must be finite, found 1"),
    ],
)
def test_what_is_no_image_is_refused(explain, bad, error, message):
    with pytest.raises(error, match=message):
        explain(jnp.sum, bad)


@pytest.mark.parametrize("score", [jnp.sin, lambda x: jnp.sum(x, keepdims=True), lambda x: (x > 0).sum()])
def test_score_that_is_no_real_scalar_is_refused(score):
    for explain in (lrp, conservation):
        with pytest.raises(TypeError, match="score must give one real floating-point number"):
            explain(score, IMAGE)


@pytest.mark.parametrize(("alpha", "beta"), [(2.0, 2.0), (0.5, -0.5), (-1.0, -2.0), (1.0, 1e-3)])
def test_alpha_and_beta_must_differ_by_one_and_be_no_less_than_zero(alpha, beta):
    composite = [("dense", partial(rules.alpha_beta, alpha=alpha, beta=beta))]
    with pytest.raises(ValueError, match=rf"alpha - beta = 1; got {alpha} and {beta}"):
        lrp(lambda x: jax.nn.relu(x.ravel() @ jnp.ones((9, 2))).sum(), IMAGE, composite=composite)


def model(params, images):
    h = jax.nn.relu(images.reshape(len(images), -1) @ params["hidden"]["kernel"] + params["hidden"]["bias"])
    return h @ params["head"]["kernel"]


def params(dtype=np.float32):
    random = np.random.default_rng(1)
    shapes = {"hidden": {"kernel": (9, 4), "bias": (1, 4)}, "head": {"kernel": (4, 2)}}
    leaves = {m: {n: random.normal(size=s) for n, s in layer.items()} for m, layer in shapes.items()}
    return jax.tree.map(lambda x: x.astype(dtype), leaves)


@pytest.mark.parametrize("composite", [composites.zero, composites.epsilon_plus_flat, composites.excitation_backprop])
def test_parameters_may_be_numpy_arrays(composite):
    held = lrp(class_score(model, params(), 0), np.asarray(IMAGE), composite=composite)
    expected = lrp(class_score(model, jax.tree.map(jnp.asarray, params()), 0), IMAGE, composite=composite)
    closed = lrp(lambda x: model(params(), x[None])[0, 0], IMAGE, composite=composite)
    np.testing.assert_array_equal(held, expected)
    np.testing.assert_allclose(closed, expected, rtol=1e-6)


def test_activation_that_is_not_finite_is_named():
    broken = params()
    broken["hidden"]["kernel"][0, 0] = np.inf
    for explain in (lrp, conservation):
        with pytest.raises(ValueError, match=r"every activation must be finite, but the dense at .*hidden.* is not"):
            explain(class_score(model, broken, 0), IMAGE)
