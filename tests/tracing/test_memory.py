"""Memory read from a jaxpr: by hand for small programs, and beside what XLA sets aside for a network's gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saliency_jax import class_score, gradient, smoothgrad
from saliency_jax.batches import images_that_fit, more_where_they_stay_in_cache
from saliency_jax.models import CNN
from saliency_jax.tracing.memory import free_bytes, memory_to_use, peak_bytes

X = jax.ShapeDtypeStruct((1000,), np.float32)
VALUE = 4000


def test_a_chain_holds_one_value_and_the_one_it_makes():
    assert peak_bytes(lambda x: jnp.sin(jnp.cos(jnp.exp(x))), X) == 2 * VALUE


def test_what_is_read_again_at_the_end_stays_alive():
    def f(x):
        first = jnp.exp(x)
        return jnp.sin(jnp.cos(jnp.tan(first))) + first

    assert peak_bytes(f, X) == 3 * VALUE


def test_a_call_needs_what_its_body_needs_beside_what_waits_outside():
    def f(x):
        waiting = jnp.exp(x)
        return jax.jit(lambda y: jnp.sin(jnp.cos(jnp.tan(y))))(x) + waiting

    assert peak_bytes(f, X) == 3 * VALUE


def test_a_loop_needs_one_turn_however_long_it_is():
    def f(turns):
        return lambda x: jax.lax.fori_loop(0, turns, lambda _, y: jnp.sin(jnp.cos(y)), x)

    assert abs(peak_bytes(f(3), X) - peak_bytes(f(3000), X)) == 0


@pytest.mark.slow
def test_samples_of_one_chunk_add_up_and_chunks_do_not():
    model = CNN(channels=(4, 4), units=16)
    params = model.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    image = jax.ShapeDtypeStruct((28, 28, 1), np.float32)

    def peak(samples, at_once):
        explain = smoothgrad(gradient, samples=samples, noise=0.1, at_once=at_once)
        return peak_bytes(
            lambda p, x, k: explain(class_score(model.apply, p, 3), x, k), params, image, jax.random.key(0)
        )

    assert peak(40, 10) == pytest.approx(peak(20, 10), rel=0.02)
    assert peak(20, 10) > 4 * peak(20, 2)


def test_a_networks_gradient_takes_about_what_xla_sets_aside():
    model = CNN()
    params = model.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    image = jax.ShapeDtypeStruct((28, 28, 1), np.float32)

    def explain(params, image):
        return gradient(class_score(model.apply, params, 3), image)

    compiled = jax.jit(explain).lower(params, image).compile().memory_analysis()
    assert 0.5 < peak_bytes(explain, params, image) / compiled.temp_size_in_bytes < 2


def test_images_that_fit_grow_with_the_memory_and_are_never_none():
    model = CNN()
    params = model.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    image = jnp.zeros((28, 28, 1))
    counts = [images_that_fit(model.apply, params, image, memory) for memory in (0, 5_000_000, 10_000_000, 1 << 40)]
    assert counts[0] == 1 and counts[1] < counts[2] < counts[3] == 16


@pytest.mark.parametrize(("values", "images"), [((1 << 18) - 1, 32), (1 << 22, 16), (16, 64)])
def test_a_small_network_explains_as_many_images_as_stay_in_32_mebibytes(values, images):
    """One image makes `values` numbers of four bytes and their sum: 1 MiB, 16 MiB, next to nothing. 16 always fit."""
    item = jnp.zeros((40, values), np.float32)
    assert more_where_they_stay_in_cache(lambda x: jnp.sin(x).sum(), item, 16) == images


def test_free_memory_is_positive_and_devices_share_it():
    assert free_bytes() > 0
    assert memory_to_use(4) <= memory_to_use() <= 2 << 30
