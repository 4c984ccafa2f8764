"""What the entry points refuse, and how they say it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saliency_jax.checks import check_finite, check_floating, check_image, check_images, check_key, check_targets


@pytest.mark.parametrize("dtype", [np.float32, np.float16, jnp.bfloat16, np.float64])
def test_real_floating_point_passes(dtype):
    check_image(np.ones((2, 2, 1)).astype(dtype))
    check_images(np.ones((1, 2, 2, 1)).astype(dtype))


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, bool, np.complex64])
def test_other_types_are_named_with_what_to_do(dtype):
    with pytest.raises(TypeError, match=rf"picture must be floating point.*got {np.dtype(dtype)}: convert it"):
        check_floating(np.ones(3, dtype), "picture")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("make", [np.asarray, jnp.asarray])
def test_values_that_are_not_finite_are_counted(bad, make):
    with pytest.raises(ValueError, match="image must be finite, found 2 NaN or infinite of 5 values"):
        check_image(make([1.0, bad, 2.0, bad, 0.0]))


def test_what_cannot_be_seen_under_a_trace_is_let_pass_and_what_can_is_not():
    jax.jit(lambda x: check_finite(x, "image"))(jnp.array([jnp.nan]))
    jax.vmap(lambda x: check_finite(x, "image"))(jnp.array([jnp.nan]))
    for known in (np.array([np.nan]), jnp.array([np.nan])):
        with pytest.raises(ValueError, match="known must be finite"):
            jax.jit(lambda x, known=known: check_finite(known, "known"))(jnp.zeros(1))
    # Type and shape are known under any trace.
    with pytest.raises(TypeError, match="floating point"):
        jax.jit(check_image)(jnp.zeros((2, 2, 1), int))
    with pytest.raises(ValueError, match="3 axes"):
        jax.jit(check_images)(jnp.zeros((2, 2, 1)))


@pytest.mark.parametrize("shape", [(0,), (3, 0, 1)])
def test_an_empty_image_is_refused(shape):
    with pytest.raises(ValueError, match="image must not be empty, got shape"):
        check_image(np.zeros(shape))


@pytest.mark.parametrize("shape", [(0, 2, 2, 1), (1, 0, 2, 1), (1, 2, 2, 0)])
def test_a_batch_without_a_pixel_is_refused(shape):
    with pytest.raises(ValueError, match="at least one image of at least one pixel, got shape"):
        check_images(np.zeros(shape))


@pytest.mark.parametrize("targets", [np.array([0, 2], np.uint8), np.array([0, 2]), jnp.array([0, 2])])
def test_classes_of_every_integer_type_pass(targets):
    check_targets(targets, batch=2, classes=3)


def test_the_first_few_targets_that_are_no_class_are_listed():
    with pytest.raises(ValueError, match=r"labels must be classes in \[0, 3\), found \[-1, 3, 7, 8, 9\]"):
        check_targets(np.array([0, -1, 3, 7, 8, 9, 10]), batch=7, classes=3, argument="labels")


def test_a_missing_key_is_asked_for_by_the_name_of_the_explainer():
    check_key(jax.random.key(0), "noise")
    with pytest.raises(ValueError, match=r"smoothgrad draws random numbers: pass key=jax.random.key\(seed\), got None"):
        check_key(None, "smoothgrad")
