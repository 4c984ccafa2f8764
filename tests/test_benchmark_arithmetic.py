"""The operations that the benchmarks count: against sums by hand, one product at a time."""

import itertools

import jax
import jax.numpy as jnp
import pytest
from test_experiments import EXPERIMENTS


@pytest.fixture
def arithmetic(monkeypatch):
    monkeypatch.syspath_prepend(EXPERIMENTS / "benchmarks")
    import arithmetic

    return arithmetic


def test_a_product_takes_two_operations_for_each_row_column_and_entry_between(arithmetic):
    a, b = jnp.ones((3, 5)), jnp.ones((5, 7))
    assert arithmetic.operations(lambda a, b: a @ b, a, b) == 2 * 3 * 5 * 7
    assert (
        arithmetic.operations(
            lambda a, b: jnp.einsum("nij,njk->nik", a, b), a[None] * jnp.ones((4, 1, 1)), b[None] * jnp.ones((4, 1, 1))
        )
        == 2 * 4 * 3 * 5 * 7
    )


def convolution_by_hand(image, kernel, *, stride, before, after, image_step, kernel_step):
    """Along one axis, the pairs of an output and a place of the kernel that meet a pixel, found one by one."""
    spread = [None] * ((image - 1) * image_step + 1)
    spread[::image_step] = range(image)
    padded = [None] * before + spread + [None] * after
    reach = (kernel - 1) * kernel_step + 1
    starts = range(0, len(padded) - reach + 1, stride)
    return sum(padded[start + k * kernel_step] is not None for start, k in itertools.product(starts, range(kernel)))


@pytest.mark.parametrize(
    ("stride", "padding", "image_step", "kernel_step"),
    [(1, (0, 0), 1, 1), (2, (1, 1), 1, 1), (1, (2, 1), 2, 1), (1, (2, 2), 1, 2), (3, (0, 2), 1, 1)],
)
def test_a_convolution_counts_what_meets_a_pixel_and_neither_padding_nor_holes(
    arithmetic, stride, padding, image_step, kernel_step
):
    x, kernel = jnp.ones((2, 9, 8, 4)), jnp.ones((3, 2, 2, 6))

    def convolved(x):
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            (padding, padding),
            (image_step, image_step),
            (kernel_step, kernel_step),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=2,
        )

    rows, columns = (
        convolution_by_hand(
            size,
            of_kernel,
            stride=stride,
            before=padding[0],
            after=padding[1],
            image_step=image_step,
            kernel_step=kernel_step,
        )
        for size, of_kernel in ((9, 3), (8, 2))
    )
    assert arithmetic.operations(convolved, x) == 2 * 2 * 6 * 2 * rows * columns


def test_loops_count_every_turn_and_gradients_their_backward_products(arithmetic):
    square = jnp.ones((4, 4))

    def looped(x):
        return jax.lax.scan(lambda y, _: (jnp.sin(y @ square), None), x, None, length=6)[0].sum()

    assert arithmetic.operations(looped, square) == 6 * 2 * 4**3
    assert arithmetic.operations(jax.jit(jax.grad(looped)), square) == 2 * 6 * 2 * 4**3


def test_the_least_time_is_that_of_what_takes_longer(arithmetic):
    machine = arithmetic.Machine(operations=100.0, bytes=10.0)
    assert arithmetic.floor(machine, operations=500.0, moved=20.0) == 5
    assert arithmetic.floor(machine, operations=500.0, moved=80.0) == 8
