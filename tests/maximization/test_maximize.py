"""Maxima that are known in closed form, prototypes of a trained network, bits, units at once, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.optimize import brentq
from scipy.special import expit

from saliency_jax import class_score, data
from saliency_jax import maximization as mx
from saliency_jax.models import CNN
from saliency_jax.presets import Training
from saliency_jax.tracing import compiled
from saliency_jax.training import train

SHAPE = (4, 5, 2)


def linear(seed=0, classes=2):
    weights, bias = np.random.default_rng(seed).standard_normal((classes, 41)).astype(np.float32)[:, :40], [0.3, -0.2]
    return (lambda params, x: x.reshape(len(x), -1) @ params["w"].T + params["b"][None]), {
        "w": jnp.asarray(weights),
        "b": jnp.asarray(bias[:classes]),
    }


def test_two_class_softmax_is_maximized_along_the_difference_of_its_weights(key):
    """x = a d with d = w_c - w_o and 2 lambda a = 1 - sigmoid(a ||d||^2 + b_c - b_o), solved by scipy."""
    apply, params = linear()
    weight = 0.05
    score = class_score(apply, params, 0, kind="log_softmax")
    adam = optax.adam(optax.cosine_decay_schedule(0.05, 400))
    found = mx.maximize_activation(score, SHAPE, key, steps=400, terms=(mx.l2(weight),), optimizer=adam)
    difference = np.asarray(params["w"][0] - params["w"][1], np.float64)
    bias, squared = 0.5, difference @ difference
    length = brentq(lambda a: 1 - expit(a * squared + bias) - 2 * weight * a, 0, 100)
    image = np.asarray(found.image, np.float64).reshape(-1)
    cosine = image @ difference / np.linalg.norm(image) / np.linalg.norm(difference)
    assert cosine > 0.99999
    np.testing.assert_allclose(image, length * difference, atol=1e-4)
    trace = found.trace
    assert trace.gradient_norm[-1] < 1e-4
    np.testing.assert_allclose(
        trace.objective[-1], np.log(expit(length * squared + bias)) - weight * length**2 * squared, rtol=1e-4
    )
    # The last entry is that of the image which is returned.
    np.testing.assert_allclose(trace.score[-1], score(found.image), rtol=1e-5)
    assert trace.objective.shape == (401,)


def test_line_searches_of_optax_are_given_what_they_need(key):
    apply, params = linear()
    score = class_score(apply, params, 1, kind="log_softmax")
    found = mx.maximize_activation(score, SHAPE, key, steps=12, terms=(mx.l2(0.05),), optimizer=optax.lbfgs())
    difference = np.asarray(params["w"][1] - params["w"][0])
    image = np.asarray(found.image).reshape(-1)
    assert image @ difference / np.linalg.norm(image) / np.linalg.norm(difference) > 0.99999
    assert found.trace.gradient_norm[-1] < 1e-4


def bumps(image):
    """A score with one maximum in every pixel, at sin = 1."""
    return jnp.sum(jnp.sin(image))


@pytest.mark.slow
def test_the_same_key_gives_the_same_bits_and_another_key_other_ones(key):
    transform = mx.compose(mx.jitter(1), mx.noise(0.1))

    @jax.jit
    def run(key):
        return mx.maximize_activation(
            bumps, (6, 5, 1), key, steps=5, parameterization=mx.fourier(), transform=transform, copies=3
        )

    first, again, other = run(key), run(key), run(jax.random.key(1))
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first.image, other.image)
    # The transformations are drawn anew at every step.
    assert len(set(np.asarray(first.trace.score).tolist())) == 6


@pytest.mark.slow
def test_many_units_at_once_are_the_units_one_by_one(key):
    apply, params = linear()
    keys = jax.random.split(key, 2)

    def one(target, key):
        score = class_score(apply, params, target)
        return mx.maximize_activation(score, SHAPE, key, steps=8, terms=(mx.l2(0.1), mx.total_variation(0.01)))

    together = jax.vmap(one)(jnp.arange(2), keys)
    mx.check_alive(together)
    for target in range(2):
        alone = one(target, keys[target])
        for many, single in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(many[target], single, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("redirected_steps", [0, 2])
def test_transparency_is_the_sum_of_the_magnitudes_of_the_gradient_over_all_entries(redirected_steps, key):
    weights = jnp.asarray(np.random.default_rng(1).standard_normal((3, 3, 1)), jnp.float32)
    options = {"steps": 6, "redirected_steps": redirected_steps}
    found = mx.maximize_activation(lambda x: jnp.sum(weights * x), (3, 3, 1), key, **options)
    assert found.trace.score.shape == (7,)
    np.testing.assert_allclose(found.trace.transparency, 7 * np.abs(weights), rtol=1e-5)


def test_an_image_to_begin_with_is_where_the_first_entry_is_taken(key):
    start = np.full((2, 3, 1), 0.4, np.float32)
    for parameterization in (None, mx.fourier(), mx.bounded(mx.pixels(), 0, 1)):
        found = mx.maximize_activation(bumps, start, key, steps=1, parameterization=parameterization)
        np.testing.assert_allclose(found.trace.score[0], 6 * np.sin(0.4), rtol=1e-5)


@pytest.fixture(scope="module")
def digits():
    """A small CNN trained for seconds, its function and parameters."""
    split = data.load("mnist", "train", source="embedded")
    model = CNN(channels=(6, 12), units=64)
    params = model.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    config = Training(steps=250, learning_rate=3e-3, schedule="cosine")
    return model.apply, train(
        model.apply, params, split.images, split.labels, key=jax.random.key(1), config=config
    ).params


@pytest.fixture(scope="module")
def prototypes(digits):
    """weight -> the maxima of log p(c|x) - weight ||x||^2 of three classes, refined."""
    apply, params = digits

    def one(target, key, weight):
        score, terms = class_score(apply, params, target, kind="log_softmax"), (mx.l2(weight),)
        near = mx.maximize_activation(score, (28, 28, 1), key, steps=100, terms=terms)
        return mx.refine(score, near.image, steps=250, terms=terms, sharpness=(10.0, 100.0))

    run = compiled(jax.vmap(one, in_axes=(0, 0, None)))
    keys = jax.random.split(jax.random.key(2), 3)
    return {weight: run(jnp.arange(3), keys, weight) for weight in (3e-4, 1e-3, 3e-3)}


@pytest.mark.slow
def test_prototypes_are_stationary_surely_of_their_class_and_smaller_for_a_larger_penalty(digits, prototypes):
    apply, params = digits
    norms = []
    for weight, found in prototypes.items():
        assert np.all(found.trace.gradient_norm[:, -1] < 1e-4)
        # What the gradients of score and penalty are there, which cancel: 2 lambda ||x||.
        norms.append(np.linalg.norm(np.asarray(found.image).reshape(3, -1), axis=1))
        np.testing.assert_allclose(found.trace.score_gradient_norm[:, -1], 2 * weight * norms[-1], rtol=0.05)
        probability = jax.nn.softmax(apply(params, found.image))[np.arange(3), np.arange(3)]
        assert np.all(probability > 0.99)
    assert np.all(np.diff(norms, axis=0) < 0)


@pytest.mark.slow
def test_refined_prototypes_are_higher_on_the_sharp_network_too(digits, prototypes, key):
    apply, params = digits
    weight = 1e-3
    score, terms = class_score(apply, params, 0, kind="log_softmax"), (mx.l2(weight),)

    def sharp(image):
        return float(score(image) - weight * jnp.sum(image**2))

    adam = optax.adam(optax.cosine_decay_schedule(0.1, 300))
    unrefined = mx.maximize_activation(score, (28, 28, 1), key, steps=300, terms=terms, optimizer=adam)
    assert sharp(prototypes[weight].image[0]) > sharp(unrefined.image)
    # Where linear pieces meet, the sharp network's gradient does not settle.
    assert unrefined.trace.gradient_norm[-1] > 10 * prototypes[weight].trace.gradient_norm[0, -1]


@pytest.mark.slow
def test_three_channels_at_224_pixels_work_as_one_at_28(key):
    for shape in ((28, 28, 1), (224, 224, 3)):
        kernel = jax.random.normal(key, (5, 5, shape[-1], 4)) / 5

        def apply(params, images):
            features = jax.lax.conv_general_dilated(
                images, params, (4, 4), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            return jax.nn.relu(features).mean((1, 2))

        matrix = np.eye(shape[-1], dtype=np.float32) + 0.5
        parameterization = mx.bounded(mx.recoloured(mx.fourier(), matrix), -1, 1)
        found = mx.maximize_activation(
            class_score(apply, kernel, 2),
            shape,
            key,
            steps=12,
            parameterization=parameterization,
            transform=mx.compose(mx.jitter(2), mx.rotate(5.0)),
            terms=(mx.total_variation(1e-6),),
        )
        assert found.image.shape == shape
        assert np.abs(found.image).max() < 1
        assert found.trace.score[-1] > 3 * found.trace.score[0]


def test_a_dead_unit_is_said_and_the_redirected_gradient_leads_to_it(key):
    def unit(image, bias=-1.0):
        return jax.nn.relu(jnp.sum(image) + bias)

    with pytest.raises(ValueError, match=r"the unit must be dead.*redirected_steps=16"):
        mx.maximize_activation(unit, (4, 4, 1), key, steps=20)
    found = mx.maximize_activation(unit, (4, 4, 1), key, steps=20, redirected_steps=16)
    assert found.trace.score[0] == 0 and found.trace.score[-1] > 1
    assert found.trace.objective.shape == (21,)
    with pytest.raises(ValueError, match="even after 16 redirected steps"):
        mx.maximize_activation(lambda x: unit(x, -1e6), (4, 4, 1), key, steps=20, redirected_steps=16)


def test_of_many_units_the_dead_ones_are_named(key):
    def one(bias):
        return mx.maximize_activation(lambda x: jax.nn.relu(jnp.sum(x) + bias), (2, 2, 1), key, steps=3)

    found = jax.vmap(one)(jnp.array([1.0, -9.0, 2.0]))
    with pytest.raises(ValueError, match=r"of 3 units \[1\] must be dead"):
        mx.check_alive(found)


def test_a_weight_of_no_number_stays_no_number(key):
    found = mx.maximize_activation(lambda x: jnp.sum(x) * jnp.nan, (2, 2, 1), key, steps=2)
    assert np.isnan(found.image).all() and np.isnan(found.trace.objective).all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"score": lambda x: jnp.float32(3)}, ValueError, "score must depend on the image"),
        ({"score": lambda x: jax.lax.stop_gradient(x).sum()}, ValueError, "score must depend on the image"),
        ({"score": lambda x: x}, TypeError, "score must give one real"),
        (
            {"shape_or_image": (4, 0, 1)},
            ValueError,
            r"shape_or_image must have positive sizes .*, got \(4, 0, 1\)",
        ),
        ({"shape_or_image": np.zeros((2, 2, 1), int)}, TypeError, "image must be floating point"),
        ({"shape_or_image": np.full((2, 2, 1), np.nan, np.float32)}, ValueError, "image must be finite"),
        ({"steps": 0}, ValueError, "steps must be at least 1"),
        ({"steps": 5, "redirected_steps": 5}, ValueError, "more than redirected_steps, got 5 and 5"),
        ({"copies": 2}, ValueError, "copies must be at least 1, and more only with a transformation, got 2"),
        ({"terms": (mx.l2(1.0), lambda x: x)}, ValueError, "terms must be functions image -> scalar, but number 1"),
        ({"key": None}, ValueError, "pass key="),
        ({"parameterization": mx.decoder(lambda z: z, (3,))}, ValueError, "must give an image of shape"),
        (
            {"parameterization": mx.decoder(lambda z: z, (3,)), "shape_or_image": np.zeros((3,), np.float32)},
            ValueError,
            "no code for a given image",
        ),
    ],
)
def test_bad_input_is_named(arguments, error, message, key):
    given = {"score": bumps, "shape_or_image": (2, 2, 1), "key": key, "steps": 2} | arguments
    score, shape_or_image, key = (given.pop(name) for name in ("score", "shape_or_image", "key"))
    with pytest.raises(error, match=message):
        mx.maximize_activation(score, shape_or_image, key, **given)


def test_refinement_in_a_code_finds_the_maximum_over_what_the_code_can_make():
    # Images are basis @ z + centre. max of -|image - target|^2 - w |z|^2: z = (B^T B + w I)^{-1} B^T (target - centre).
    drawn = np.random.default_rng(0)
    basis, centre, target = (drawn.normal(size=size) for size in ((6, 2), 6, 6))
    weight = 0.3
    code = np.linalg.solve(basis.T @ basis + weight * np.eye(2), basis.T @ (target - centre))
    of_code = mx.decoder(lambda z: (jnp.asarray(basis) @ z + centre).reshape(2, 3, 1), (2,), penalty=weight)
    inverse = np.linalg.pinv(basis)
    both_ways = of_code._replace(code=lambda image: jnp.asarray(inverse) @ (image.reshape(-1) - centre))

    def score(image):
        return -jnp.sum(jnp.square(image.reshape(-1) - target))

    begun = np.asarray(both_ways.image(jnp.ones(2), (2, 3, 1)))
    found = mx.refine(score, begun, parameterization=both_ways, steps=400)
    np.testing.assert_allclose(found.image.reshape(-1), basis @ code + centre, atol=1e-4)
    assert found.trace.gradient_norm[-1] < 1e-4 < found.trace.gradient_norm[0]
    # Pixels, of which the code is a part, are led to the target itself.
    np.testing.assert_allclose(mx.refine(score, begun, steps=400).image.reshape(-1), target, atol=1e-4)
    with pytest.raises(ValueError, match="no code for a given image"):
        mx.refine(score, begun, parameterization=of_code)


def test_refinement_names_bad_input(key):
    image = np.zeros((2, 2, 1), np.float32)
    for arguments in ({"steps": 0}, {"sharpness": ()}, {"sharpness": (1.0, -1.0)}):
        with pytest.raises(ValueError, match="steps and every sharpness must be positive"):
            mx.refine(bumps, image, **arguments)
    with pytest.raises(ValueError, match="score must depend on the image"):
        mx.refine(lambda x: jnp.float32(1), image)
