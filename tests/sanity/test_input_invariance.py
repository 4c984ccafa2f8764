from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import saliency_jax as sj
from saliency_jax.sanity.input_invariance import input_invariance, shifted_model

COUNT, SIDE, CLASSES = 4, 6, 3
SHIFT = -1.0


def params():
    draw = np.random.default_rng(0)
    shapes = {"hidden": (SIDE * SIDE, 20), "logits": (20, CLASSES)}
    return {
        name: {
            "kernel": jnp.asarray(draw.normal(size=shape) / np.sqrt(shape[0]), jnp.float32),
            "bias": jnp.asarray(draw.normal(size=shape[1]), jnp.float32),
        }
        for name, shape in shapes.items()
    }


def apply(params, images):
    hidden = images.reshape(len(images), -1) @ params["hidden"]["kernel"] + params["hidden"]["bias"][None]
    return jax.nn.relu(hidden) @ params["logits"]["kernel"] + params["logits"]["bias"][None]


def images():
    """Multiples of 1/256, to which a shift by such a multiple can be added and taken off again without rounding."""
    return jnp.asarray(np.random.default_rng(1).integers(0, 257, size=(COUNT, SIDE, SIDE, 1)) / 256, jnp.float32)


TARGETS = jnp.arange(COUNT) % CLASSES
EXPLAINERS = {
    "gradient": sj.gradient,
    "guided_backprop": sj.guided_backprop,
    "gradient_times_input": sj.gradient_times_input,
    "integrated_gradients": sj.integrated_gradients,
    "moved": sj.integrated_gradients,
}
MOVED = {"moved": partial(sj.integrated_gradients, baseline=SHIFT)}


def run(explainers=EXPLAINERS, **options):
    settings = {"shift": SHIFT, "key": jax.random.key(0), "metrics": {"pearson": sj.pearson}} | options
    return input_invariance(apply, params(), images(), TARGETS, explainers, **settings)


@pytest.fixture(scope="module")
def found():
    return run(shifted_explainers=MOVED)


def gradients():
    """By hand, in float64."""
    p = jax.tree.map(lambda x: np.asarray(x, np.float64), params())
    x = np.asarray(images(), np.float64).reshape(COUNT, -1)
    on = x @ p["hidden"]["kernel"] + p["hidden"]["bias"] > 0
    back = p["logits"]["kernel"].T[np.asarray(TARGETS)] * on
    return (back @ p["hidden"]["kernel"].T).reshape(images().shape)


def bias_moved(shift):
    """The same function of the shifted image, with another first bias: b - W shift."""
    moved = params()
    pixels = jnp.broadcast_to(jnp.asarray(shift, jnp.float32), (SIDE, SIDE, 1)).ravel()
    moved["hidden"]["bias"] = moved["hidden"]["bias"] - pixels @ moved["hidden"]["kernel"]
    return apply, moved


def test_both_models_are_one_function(found):
    assert float(found.logit_difference.max()) < 1e-6
    want = bias_moved(SHIFT)
    shifted = shifted_model(apply, SHIFT)(params(), images() + SHIFT)
    np.testing.assert_allclose(shifted, want[0](want[1], images() + SHIFT), atol=1e-5)


@pytest.mark.parametrize("explainer", ["gradient", "guided_backprop"])
def test_gradients_and_guided_backprop_do_not_feel_the_shift(found, explainer):
    assert float(found.largest_difference.sel(explainer=explainer).max()) < 1e-5
    np.testing.assert_allclose(found.similarity.sel(explainer=explainer), 1, atol=1e-5)


def test_gradient_times_input_changes_by_the_gradient_times_the_shift(found):
    x, g = np.asarray(images(), np.float64), gradients()
    want = np.abs(SHIFT * g).max((1, 2, 3)) / np.abs(x * g).max((1, 2, 3))
    got = found.sel(explainer="gradient_times_input", stage="shifted_input", seed=0)
    np.testing.assert_allclose(got.largest_difference, want, rtol=1e-4)
    pairs = zip(x * g, (x + SHIFT) * g, strict=True)
    want = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs]
    np.testing.assert_allclose(got.similarity.sel(metric="pearson"), want, atol=1e-5)


def test_integrated_gradients_are_invariant_where_their_baseline_moves_along_and_only_there(found):
    differences = found.largest_difference.max(["stage", "seed", "image"])
    assert float(differences.sel(explainer="moved")) < 1e-5
    assert float(differences.sel(explainer="integrated_gradients")) > 0.1


@pytest.fixture(scope="module")
def by_bias():
    """With an image for a shift, and the model that makes up for it in its first bias."""
    shift = np.linspace(-1, 1, SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE, 1)
    lrp = partial(sj.lrp, composite=sj.composites.epsilon)
    explainers = {"gradient": sj.gradient, "lrp": lrp}
    return [run(explainers, shift=shift, shifted=shifted) for shifted in (None, bias_moved(shift))]


def test_a_model_with_another_first_bias_is_the_same_function_with_the_same_gradient(by_bias):
    for found in by_bias:
        assert float(found.logit_difference.max()) < 1e-5
        assert float(found.largest_difference.sel(explainer="gradient").max()) < 1e-5


def test_lrp_feels_the_shift_in_the_first_bias_and_not_one_that_is_taken_off_before(by_bias):
    before, in_bias = (float(found.largest_difference.sel(explainer="lrp").max()) for found in by_bias)
    assert before < 1e-4 and in_bias > 0.1


def test_maps_of_zeros_have_no_relative_difference():
    def zeros(score, image, key=None):
        return jnp.zeros_like(image)

    found = run({"zeros": zeros})
    assert np.isnan(found.largest_difference).all() and (found.constant_maps == COUNT).all()


def test_what_does_not_fit_is_named():
    with pytest.raises(
        ValueError, match=r"shifted_explainers must have names of explainers \['gradient'\], got \['lrp'\]"
    ):
        run({"gradient": sj.gradient}, shifted_explainers={"lrp": sj.lrp})
    with pytest.raises(ValueError, match="shift must be a number or shaped like the image"):
        run({"gradient": sj.gradient}, shift=np.zeros((SIDE, SIDE)))
    with pytest.raises(ValueError, match="shift must be finite"):
        run({"gradient": sj.gradient}, shift=np.inf)
