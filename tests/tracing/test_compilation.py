import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from saliency_jax.tracing import compat, compiled

IMAGE, KERNEL = jnp.arange(2 * 9 * 9 * 3, dtype=jnp.float32).reshape(2, 9, 9, 3) % 7, jnp.ones((3, 3, 3, 8))


def convolve(image, kernel):
    return lax.conv_general_dilated(image, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


EXPECTED = convolve(IMAGE, KERNEL)


def shared(f):
    mesh = jax.sharding.Mesh(jax.devices(), ("image",))
    spec = jax.sharding.PartitionSpec("image")
    specs = {"in_specs": (spec, jax.sharding.PartitionSpec()), "out_specs": spec}
    return jax.shard_map(f, mesh=mesh, check_vma=False, **specs)


AROUND = {
    "alone": lambda f: f,
    "jit": jax.jit,
    "jit of constants": lambda f: jax.jit(lambda *_: f(IMAGE, KERNEL)),
    "vmap": lambda f: lambda x, w: jax.vmap(lambda one: f(one[None], w)[0])(x),
    "jvp": lambda f: lambda x, w: jax.jvp(f, (jnp.zeros_like(x), w), (x, w))[1],
    "grad": lambda f: (
        lambda x, w: jax.grad(lambda y: jnp.sum(f(y, w) * f(x, w)) + 0 * y.sum())(x) * 0 + f(x, w)[..., :3]
    ),
    "remat": jax.checkpoint,
    "scan": lambda f: lambda x, w: lax.scan(lambda c, one: (c, f(one[None], w)[0]), 0, x)[1],
    "shard_map": shared,
}


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_a_compiled_function_stands_wherever_a_jitted_one_does(around):
    actual = around(compiled(convolve))(IMAGE, KERNEL)
    np.testing.assert_array_equal(actual, EXPECTED[..., : actual.shape[-1]])


def test_shapes_and_jaxprs_can_be_had():
    f = compiled(convolve)
    assert jax.eval_shape(f, IMAGE, KERNEL).shape == EXPECTED.shape
    assert "conv_general_dilated" in str(jax.make_jaxpr(f)(IMAGE, KERNEL))


def test_it_compiles_once():
    traced = []
    f = compiled(lambda x: (traced.append(x), x)[1] + 1)
    assert [float(f(x)) for x in (1.0, 2.0, 3.0)] == [2, 3, 4]
    assert len(traced) == 1


def test_options_of_jit_are_passed_on():
    f = compiled(lambda x, times: sum([x] * times), static_argnames="times")
    assert f(jnp.float32(2), times=3) == 6


@pytest.mark.skipif(
    not compat.CONVOLUTIONS_ON_ALL_CORES, reason="nothing is to be switched off: this JAX's own kernels take all cores"
)
def test_jax_knows_the_options_and_follows_them():
    lowered = jax.jit(convolve).lower(jnp.ones((32, 14, 14, 32)), jnp.ones((5, 5, 32, 64)))
    assert "ynn" in lowered.compile().as_text(), "or there is nothing to switch off"
    assert "ynn" not in lowered.compile(compiler_options=compat.CONVOLUTIONS_ON_ALL_CORES).as_text()
