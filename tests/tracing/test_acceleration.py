"""The accelerated gradient against jax.grad of the score as it stands, in float64 and at every depth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from saliency_jax.tracing import accelerated_gradient, fast_pooling
from saliency_jax.tracing.compat import opened, trace

draw = np.random.default_rng(0).normal
KERNEL, BIAS = 0.3 * draw(size=(3, 3, 2, 2)), draw(size=2)
IMAGE = draw(size=(6, 5, 2))
IMAGE[:3] = 0.0  # a blank part: equal activations in every window of it
IMAGE[4, :, 1] = -1.0


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def maximum(x, stride=1):
    window, strides = (1, 2, 2, 1), (1, stride, stride, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, strides, "SAME")


def block(x, bias=None):
    """A convolution, a bias, a ReLU and a maximum, that keep the shape."""
    numbers = ("NHWC", "HWIO", "NHWC")
    y = lax.conv_general_dilated(x, jnp.asarray(KERNEL, x.dtype), (1, 1), "SAME", dimension_numbers=numbers)
    bias = jnp.asarray(BIAS if bias is None else bias, x.dtype)
    return maximum(jax.nn.relu(y + bias.reshape(1, 1, 1, -1)))


@jax.custom_vjp
def clipped(x):
    return block(x)


clipped.defvjp(lambda x: (block(x), x), lambda x, cotangent: (jnp.clip(cotangent, -0.1, 0.1) * jnp.cos(x),))

MODELS = {
    "plain": block,
    "jit": jax.jit(lambda x: jax.jit(block)(jnp.cos(x))),
    "remat": jax.checkpoint(lambda x: block(jnp.cos(x))),
    "scan": lambda x: lax.scan(lambda y, bias: (block(y, bias), y.sum()), x, jnp.stack([BIAS, -BIAS]))[0],
    "fixed trips": lambda x: lax.fori_loop(0, 2, lambda i, y: block(y), x),
    "cond": lambda x: lax.cond(x.sum() > 0, block, lambda x: maximum(-x), x),
    "vmap": lambda x: jax.vmap(lambda one: block(one[None])[0])(jnp.concatenate([x, -x])),
    "custom_vjp": lambda x: clipped(x) + x,
}


def score_of(model):
    def score(image):
        y = model(image[None])
        return jnp.sum(jnp.cos(jnp.arange(y.size).astype(y.dtype)).reshape(y.shape) * y**2)

    return score


def primitives(jaxpr):
    """The names of all primitives at every depth."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        bodies = jax.tree.leaves(list(equation.params.values()), is_leaf=lambda p: hasattr(opened(p)[0], "eqns"))
        for body in bodies:
            if hasattr(opened(body)[0], "eqns"):
                yield from primitives(opened(body)[0])


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_the_gradient_is_that_of_the_score_as_it_stands(model):
    score = score_of(model)
    expected, found = jax.jit(jax.grad(score)), jax.jit(accelerated_gradient(score))
    for image in (IMAGE, np.zeros(IMAGE.shape), np.full(IMAGE.shape, 0.3)):
        np.testing.assert_allclose(found(image), expected(image), rtol=1e-12, atol=1e-12)
    assert np.any(expected(IMAGE))
    np.testing.assert_array_equal(jax.jit(fast_pooling(score))(IMAGE), jax.jit(score)(IMAGE))


@pytest.mark.parametrize("depth", sorted(MODELS.keys() - {"custom_vjp"}))
def test_no_windowed_maximum_keeps_its_slow_gradient(depth):
    score = score_of(MODELS[depth])
    slow = "select_and_scatter_add"
    assert slow in set(primitives(trace(jax.grad(score), IMAGE).jaxpr))
    assert slow not in set(primitives(trace(accelerated_gradient(score), IMAGE).jaxpr))


def test_forward_over_reverse_is_that_of_the_score_as_it_stands():
    # Without ties: XLA's own forward derivative of a maximum is not its reverse one where there are any.
    image, v = draw(size=IMAGE.shape), draw(size=IMAGE.shape)
    score = score_of(lambda x: jnp.tanh(MODELS["remat"](x + 1)))

    def product(gradient):
        return jax.jit(lambda x, v: jax.jvp(gradient, (x,), (v,))[1])(image, v)

    found, expected = product(accelerated_gradient(score)), product(jax.grad(score))
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)
    assert np.any(expected)


def test_it_can_be_mapped_and_differentiated_in_what_the_score_closes_over():
    images = np.stack([IMAGE, -IMAGE, 0 * IMAGE])

    def loss(bias, gradient_of):
        score = score_of(lambda x: jax.checkpoint(block)(x, bias))
        return jnp.sum(jnp.sin(jax.vmap(gradient_of(score))(images)))

    found, expected = (
        jax.jit(jax.grad(lambda bias, g=gradient_of: loss(bias, g)))(jnp.asarray(BIAS))
        for gradient_of in (accelerated_gradient, jax.grad)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_the_gradient_of_relu_at_exactly_zero_stays_zero():
    def score(image):
        return jnp.sum(jax.nn.relu(maximum(image[None])))

    np.testing.assert_array_equal(accelerated_gradient(score)(jnp.zeros((4, 4, 1))), np.zeros((4, 4, 1)))


def test_images_may_be_pytrees():
    def score(tree):
        return score_of(block)(tree["x"]) * tree["more"][0].sum()

    tree = {"x": IMAGE, "more": [np.ones(3)]}
    found, expected = jax.jit(accelerated_gradient(score))(tree), jax.jit(jax.grad(score))(tree)
    assert jax.tree.structure(found) == jax.tree.structure(tree)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), found, expected)


def test_low_precision_images_keep_their_type():
    score = score_of(block)
    expected = jax.jit(jax.grad(score))(IMAGE)
    for dtype in (jnp.bfloat16, jnp.float16):
        found = jax.jit(accelerated_gradient(score))(jnp.asarray(IMAGE, dtype))
        assert found.dtype == dtype
        tolerance = 32 * float(jnp.finfo(dtype).eps * jnp.abs(expected).max())
        np.testing.assert_allclose(found.astype(float), expected, rtol=0, atol=tolerance)


def random_convolution(seed):
    """Shapes and options of a convolution over 1 to 3 axes, any layout, strides, dilations, padding and groups."""
    rng = np.random.default_rng(seed)
    axes = int(rng.integers(1, 4))
    letters = "XYZ"[:axes]
    groups = int(rng.choice([1, 1, 2]))
    lhs = {"N": 2, "C": 2 * groups} | {letter: int(rng.integers(5, 8)) for letter in letters}
    rhs = {"O": 2 * groups, "I": 2} | {letter: int(rng.integers(1, 4)) for letter in letters}
    layouts = ["".join(rng.permutation(list(names))) for names in ("NC" + letters, "OI" + letters, "NC" + letters)]
    options = {
        "window_strides": rng.integers(1, 4, axes).tolist(),
        "padding": [tuple(pair) for pair in rng.integers(0, 3, (axes, 2)).tolist()],
        "rhs_dilation": rng.integers(1, 3, axes).tolist(),
        "dimension_numbers": tuple(layouts),
        "feature_group_count": groups,
    }
    shapes = [tuple(sizes[letter] for letter in layout) for sizes, layout in ((lhs, layouts[0]), (rhs, layouts[1]))]
    return *(rng.normal(size=shape) for shape in shapes), options


@pytest.mark.parametrize("seed", range(6))
def test_convolutions_of_every_layout_have_their_gradient(seed):
    lhs, rhs, options = random_convolution(seed)

    def score(operands):
        out = lax.conv_general_dilated(*operands, **options)
        return jnp.sum(jnp.sin(jnp.arange(out.size).astype(out.dtype)).reshape(out.shape) * out**2)

    found, expected = (jax.jit(g(score))((lhs, rhs)) for g in (accelerated_gradient, jax.grad))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12 * np.abs(other).max())


@pytest.mark.parametrize("policy", [None, jax.checkpoint_policies.dots_saveable], ids=["all", "but products"])
def test_what_a_rematerialized_block_computes_again_is_still_computed_again(policy):
    """Without the barrier in front of it XLA would merge it with the first computation and keep its memory."""
    score = score_of(jax.checkpoint(lambda x: block(jnp.cos(x)), policy=policy))
    texts = [jax.jit(g(score)).lower(IMAGE).as_text() for g in (jax.grad, accelerated_gradient)]
    barriers = [text.count("optimization_barrier") for text in texts]
    assert barriers[0] > 0
    assert barriers[1] == barriers[0]
