"""The score of a class against closed forms of a linear model, and logits of a batch in chunks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from saliency_jax import class_score, gradient
from saliency_jax.scores import argmax_class, logits_of

draw = np.random.default_rng(0).normal
WEIGHTS = draw(size=(12, 5))
IMAGES = draw(size=(7, 2, 3, 2))
LOGITS = IMAGES.reshape(7, 12) @ WEIGHTS
PROBABILITIES = scipy.special.softmax(LOGITS, axis=1)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def apply(params, images):
    return images.reshape(len(images), -1) @ params


def closed_form(kind, image, target):
    """Score and gradient of the linear model: d log p_t = w_t - sum_c p_c w_c."""
    p, centred = PROBABILITIES[image], WEIGHTS[:, target] - WEIGHTS @ PROBABILITIES[image]
    value, slope = {
        "logit": (LOGITS[image, target], WEIGHTS[:, target]),
        "log_softmax": (scipy.special.log_softmax(LOGITS[image])[target], centred),
        "softmax": (p[target], p[target] * centred),
    }[kind]
    return value, slope.reshape(IMAGES.shape[1:])


@pytest.mark.parametrize("kind", ["logit", "log_softmax", "softmax"])
@pytest.mark.parametrize("as_target", [int, np.uint8, jnp.int32, np.array])
def test_every_kind_is_its_closed_form_in_value_and_gradient(kind, as_target):
    for image, target in ((0, 0), (3, 4)):
        score = class_score(apply, WEIGHTS, as_target(target), kind=kind)
        value, slope = closed_form(kind, image, target)
        found = jax.value_and_grad(score)(jnp.asarray(IMAGES[image]))
        np.testing.assert_allclose(found[0], value, rtol=1e-12)
        np.testing.assert_allclose(found[1], slope, rtol=1e-12, atol=1e-14)


def test_logits_are_explained_unless_another_kind_is_asked_for():
    found = class_score(apply, WEIGHTS, 2)(jnp.asarray(IMAGES[0]))
    np.testing.assert_allclose(found, LOGITS[0, 2], rtol=1e-12)


def test_log_softmax_of_large_logits_does_not_overflow():
    score = class_score(apply, 1e4 * WEIGHTS, 1, kind="log_softmax")
    value, slope = jax.value_and_grad(score)(jnp.asarray(IMAGES[0]))
    np.testing.assert_allclose(value, scipy.special.log_softmax(1e4 * LOGITS[0])[1], rtol=1e-12)
    assert np.isfinite(slope).all()


def test_classes_may_be_traced():
    def scores(targets):
        return jax.vmap(lambda image, target: class_score(apply, WEIGHTS, target)(image))(IMAGES, targets)

    targets = np.arange(7) % 5
    np.testing.assert_allclose(jax.jit(scores)(targets), LOGITS[np.arange(7), targets], rtol=1e-12)


@pytest.mark.parametrize("kind", ["logits", "", "Softmax", None])
def test_an_unknown_kind_is_named(as_a_user, kind):
    with pytest.raises(ValueError, match=rf"kind must be one of .*log_softmax.*, got {kind!r}"):
        class_score(apply, WEIGHTS, 0, kind=kind)


@pytest.mark.parametrize("target", [1.0, True, np.float32(2), [1], np.array([1, 2]), np.zeros((), bool)], ids=repr)
def test_a_target_that_is_not_one_integer_is_named(target):
    with pytest.raises(TypeError, match="target must be one integer class"):
        class_score(apply, WEIGHTS, target)


RUNS = {
    "called": lambda score, image: score(image),
    "jit": lambda score, image: jax.jit(score)(image),
    "grad": lambda score, image: jax.grad(score)(image),
    "explained": lambda score, image: gradient(score, image),
    "explained in jit": lambda score, image: jax.jit(lambda x: gradient(score, x))(image),
}


@pytest.mark.parametrize("target", [5, -1, np.int64(99), jnp.int32(5)], ids=repr)
@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_a_class_that_the_model_does_not_have_is_named_wherever_the_score_runs(run, target):
    with pytest.raises(ValueError, match=rf"target must be classes in \[0, 5\), found \[{int(target)}\]"):
        run(class_score(apply, WEIGHTS, target), jnp.asarray(IMAGES[0]))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda params, images: apply(params, images)[0],
        lambda params, images: apply(params, images)[..., None],
        lambda params, images: apply(params, jnp.concatenate([images, images])),
        lambda params, images: apply(params, images).sum(),
    ],
    ids=["no batch", "three axes", "two images", "scalar"],
)
def test_logits_of_another_shape_are_named(wrong):
    with pytest.raises(ValueError, match=r"must give logits \[batch, class\], got .* for one image \(2, 3, 2\)"):
        class_score(wrong, WEIGHTS, 0)(IMAGES[0])


@pytest.mark.parametrize("batch_size", [1, 3, 7, 256])
def test_logits_and_classes_do_not_depend_on_the_chunks(batch_size):
    images = jnp.asarray(IMAGES)
    np.testing.assert_allclose(logits_of(apply, WEIGHTS, images, batch_size=batch_size), LOGITS, rtol=1e-12)
    found = argmax_class(apply, WEIGHTS, images, batch_size=batch_size)
    np.testing.assert_array_equal(found, LOGITS.argmax(1))
