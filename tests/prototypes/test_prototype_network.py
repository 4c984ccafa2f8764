"""The network: its first weights, its add-on layers, and fields that do not fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_prototypes as tiny

from saliency_jax.prototypes import ProtoPNet, own_class, prototype_classes


def shapes_of(model, channels, key):
    made = jax.eval_shape(model.init, key, jax.ShapeDtypeStruct((1, 2, 2, channels), jnp.float32))["params"]
    return {name: layer["kernel"].shape[-1] for name, layer in made.get("add_on", {}).items()}


def test_ten_prototypes_a_class_in_the_order_of_the_classes():
    classes = prototype_classes(ProtoPNet(classes=3))
    assert classes == tuple(j // 10 for j in range(30))
    np.testing.assert_array_equal(own_class(ProtoPNet(classes=2, prototypes=4)), [[1, 0], [1, 0], [0, 1], [0, 1]])
    np.testing.assert_array_equal(own_class(ProtoPNet(classes=3, class_of=(2, 0))), [[0, 0, 1], [1, 0, 0]])


def test_the_last_layer_begins_at_1_for_the_own_class_and_minus_a_half_for_others(key):
    model = ProtoPNet(classes=3, prototypes=6, depth=4)
    params = jax.jit(model.init)(key, jnp.ones((1, 2, 2, 5)))["params"]
    np.testing.assert_array_equal(params["last_layer"]["kernel"], 1.5 * own_class(model) - 0.5)
    assert set(params["last_layer"]) == {"kernel"}
    vectors = np.asarray(params["prototype_vectors"])
    assert vectors.shape == (6, 4)
    assert 0 <= vectors.min() < vectors.max() < 1


# The widths of the original: halved twice over until the depth is reached.
@pytest.mark.parametrize(
    ("channels", "depth", "widths"),
    [
        (512, 128, [256, 256, 128, 128]),
        (2048, 128, [1024, 1024, 512, 512, 256, 256, 128, 128]),
        (100, 128, [128, 128]),
        (128, 128, [128, 128]),
        (300, 128, [150, 150, 128, 128]),
    ],
)
def test_a_bottleneck_halves_the_channels_down_to_the_depth(channels, depth, widths, key):
    model = ProtoPNet(classes=2, prototypes=2, depth=depth, add_on="bottleneck")
    found = shapes_of(model, channels, key)
    assert [found[f"conv{i}"] for i in range(1, len(widths) + 1)] == widths
    assert len(found) == len(widths)


def test_add_on_layers_begin_with_the_deviation_of_hes_initialization_over_outputs(key):
    made = jax.jit(ProtoPNet(classes=2, prototypes=2, depth=128).init)
    params = made(key, jnp.ones((1, 1, 1, 512)))["params"]
    kernel = np.asarray(params["add_on"]["conv1"]["kernel"])
    assert kernel.shape == (1, 1, 512, 128)
    # 65536 draws: the deviation has an error of 0.3 percent.
    np.testing.assert_allclose(kernel.std(), np.sqrt(2 / 128), rtol=0.02)
    assert not np.any(params["add_on"]["conv1"]["bias"])


@pytest.mark.parametrize(
    ("add_on", "distance", "kind"),
    [("regular", "l2", "log"), ("bottleneck", "l2", "linear"), ("regular", "cosine", "log")],
)
def test_all_that_it_computes_is_that_by_hand(add_on, distance, kind):
    model = ProtoPNet(
        classes=3,
        prototypes=6,
        depth=3,
        backbone=tiny.Convolution(8),
        add_on=add_on,
        distance=distance,
        similarity=kind,
    )
    images = np.random.RandomState(0).rand(2, 4, 5, 3).astype(np.float32)
    with jax.enable_x64(True):
        variables = jax.tree.map(jnp.float64, tiny.drawn_variables(model, images))
        both = jax.jit(lambda v, x: (model.apply(v, x, method="compare"), model.apply(v, x)))
        found, logits = both(variables, np.float64(images))
    params = tiny.exact(variables["params"])
    expected = tiny.distances_by_hand(
        tiny.patches_by_hand(params, np.float64(images)), params["prototype_vectors"], distance
    )
    nearest = expected.reshape(2, 20, 6).min(axis=1)
    similarities = tiny.similarity_by_hand(nearest, kind)
    np.testing.assert_allclose(found.distance_maps, expected, atol=1e-6)
    np.testing.assert_allclose(found.distances, nearest, atol=1e-6)
    np.testing.assert_array_equal(found.places, expected.reshape(2, 20, 6).argmin(axis=1))
    np.testing.assert_allclose(found.similarities, similarities, rtol=1e-4)
    np.testing.assert_allclose(found.logits, similarities @ params["last_layer"]["kernel"], rtol=1e-4)
    np.testing.assert_allclose(logits, found.logits, atol=1e-9)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"classes": 3, "prototypes": 10}, "prototypes must be equally many for each of 3 classes, got 10"),
        ({"classes": 3, "prototypes": 0}, "prototypes must be .* got 0"),
        ({"classes": 0}, "classes must be at least 1, got 0"),
        ({"classes": 2, "depth": 0}, "depth must be at least 1, got 0"),
        ({"classes": 2, "add_on": "wide"}, "add_on must be one of .* got 'wide'"),
        ({"classes": 2, "distance": "l1"}, "distance must be one of .* got 'l1'"),
        ({"classes": 2, "similarity": "exp"}, "similarity must be one of .* got 'exp'"),
        ({"classes": 2, "class_of": (0, 2)}, r"class_of must be classes in \[0, 2\), got \(0, 2\)"),
        ({"classes": 2, "class_of": ()}, "class_of must name the class"),
        ({"classes": 2, "class_of": (0, 1), "prototypes": 4}, "class_of must name the class of each of 4 .* got 2"),
    ],
)
def test_fields_that_do_not_fit_are_named(fields, message, as_a_user):
    with pytest.raises(ValueError, match=message):
        ProtoPNet(**fields)


def test_images_that_do_not_fit_are_named(key, as_a_user):
    model = ProtoPNet(classes=2, prototypes=2, depth=3)
    variables = tiny.drawn_variables(model, jnp.ones((1, 2, 2, 4)))
    with pytest.raises(ValueError, match=r"images must be .*2 axes"):
        model.apply(variables, jnp.ones((2, 4)))
    with pytest.raises(TypeError, match="images must be floating point"):
        model.apply(variables, jnp.ones((1, 2, 2, 4), int))
    with pytest.raises(ValueError, match="images must be finite"):
        model.apply(variables, jnp.full((1, 2, 2, 4), jnp.nan))
    with pytest.raises(ValueError, match='depth must be the 4 channels with add_on "none", got 3'):
        model.clone(add_on="none").init(key, jnp.ones((1, 2, 2, 4)))
    with pytest.raises(ValueError, match="backbone must give"):
        model.clone(backbone=lambda images: images.mean((1, 2))).init(key, jnp.ones((1, 2, 2, 4)))


def test_a_blank_image_and_dead_patches_have_finite_logits_and_gradients():
    for distance in ("l2", "cosine"):
        model = ProtoPNet(classes=2, prototypes=2, depth=4, add_on="none", distance=distance)
        images = jnp.zeros((1, 2, 2, 4))
        variables = tiny.drawn_variables(model, images)
        value, gradient = jax.jit(jax.value_and_grad(lambda v, m=model, x=images: m.apply(v, x).sum()))(variables)
        assert np.isfinite(value)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
