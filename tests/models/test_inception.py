"""Inception v3: its blocks, its parts, its two variants against SciPy's pooling, and explainers on all of it."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn_weights import drawn
from scipy import ndimage

import saliency_jax as sj
from saliency_jax.models.inception import BLOCKS, INCEPTIONS, InceptionV3
from saliency_jax.tracing import compiled
from saliency_jax.tracing.layers import leaf_paths

VARIANTS = pytest.mark.parametrize("variant", INCEPTIONS)
SIZE = 75


def image(size=SIZE):
    return np.random.default_rng(0).uniform(-1, 1, (1, size, size, 3)).astype(np.float32)


def shapes(variant, size=SIZE, **settings):
    """The variables' shapes and those of the result; nothing is run."""
    model = InceptionV3(**{**INCEPTIONS[variant], **settings})
    start = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), start)
    return model, variables, jax.eval_shape(model.apply, variables, start)


@cache
def folded():
    """The network without BatchNorm, with random kernels and no biases, which keep the size of what they are given."""
    model = InceptionV3(**INCEPTIONS["graph_2015"])
    return model, drawn(model, (SIZE, SIZE, 3), biases=False)


@cache
def predicted(size):
    """The class of the largest logit: where there are no biases it is positive, and Grad-CAM has something to show."""
    model, variables = folded()
    return np.asarray(compiled(model.apply)(variables, image(size))).argmax(axis=1)


@pytest.mark.slow
@VARIANTS
def test_the_blocks_are_the_papers_seventeen_in_its_order(variant):
    model, variables, _ = shapes(variant)
    # Adebayo et al. (2018), figure 2, from the input to the output.
    stem = [f"Conv2d_{name}" for name in ("1a_3x3", "2a_3x3", "2b_3x3", "3b_1x1", "4a_3x3")]
    mixed = [f"Mixed_{name}" for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")]
    expected = [*stem, *mixed, "Logits"]
    found = sj.blocks(sj.layers(model.apply, variables, image()))
    assert [block.name for block in found] == expected == list(BLOCKS)
    # Nothing hangs elsewhere in the tree, and no leaf is forgotten.
    assert sorted(path for block in found for path in block.paths) == sorted(leaf_paths(variables))


def test_the_counts_are_the_published_ones():
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes("torchvision")[1]["params"]))
    # torchvision's 27,161,264 without those of the auxiliary classifier: two convolutions with BatchNorm, one dense.
    assert count == 27_161_264 - (768 * 128 + 2 * 128) - (128 * 768 * 25 + 2 * 768) - (768 * 1000 + 1000)


@pytest.mark.slow
# Szegedy et al. (2016), table 1, and the sizes in torchvision's comments.
@pytest.mark.parametrize(
    "last, shape",
    [
        ("Conv2d_2b_3x3", (147, 147, 64)),
        ("Conv2d_4a_3x3", (71, 71, 192)),
        ("Mixed_5b", (35, 35, 256)),
        ("Mixed_5d", (35, 35, 288)),
        ("Mixed_6a", (17, 17, 768)),
        ("Mixed_6e", (17, 17, 768)),
        ("Mixed_7a", (8, 8, 1280)),
        ("Mixed_7c", (8, 8, 2048)),
        ("Logits", (1008,)),
    ],
)
def test_activations_have_the_published_sizes(last, shape):
    assert shapes("graph_2015", size=299, last=last)[2].shape == (1, *shape)


@pytest.mark.slow
def test_two_parts_are_the_whole(key):
    settings, places = dict(INCEPTIONS["graph_2015"]), np.random.default_rng(1).normal(size=(1, 12, 12, 6))
    places = places.astype(np.float32)
    run = ("Conv2d_3b_1x1", "Conv2d_4a_3x3", "Mixed_5b", "Mixed_5c")
    whole = InceptionV3(**settings, first=run[0], last=run[-1])
    variables = jax.jit(whole.init)(key, places)
    assert set(variables["params"]) == set(run)
    expected = whole.apply(variables, places)
    # Before the second block nothing is pooled, before the third there is a maximum.
    for i in (1, 2):
        low = InceptionV3(**settings, first=run[0], last=run[i - 1])
        high = InceptionV3(**settings, first=run[i], last=run[-1])
        assert set(jax.eval_shape(low.init, key, places)["params"]) == set(run[:i])
        between = low.apply(variables, places)
        assert set(jax.eval_shape(high.init, key, between)["params"]) == set(run[i:])
        np.testing.assert_allclose(high.apply(variables, between), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("block", ["Mixed_5c", "Mixed_7c"])
@VARIANTS
def test_pooling_branches_pool_as_scipy_does(variant, block):
    places = np.random.default_rng(1).uniform(0, 1, (1, 5, 6, 4)).astype(np.float32)
    model = InceptionV3(**{**INCEPTIONS[variant], "first": block, "last": block})
    variables = jax.jit(model.init)(jax.random.key(0), places)
    kernel = jnp.zeros_like(variables["params"][block]["branch_pool"]["conv"]["kernel"])
    # The convolution after the pool hands four channels through, so what is at the end is what was pooled.
    variables["params"][block]["branch_pool"]["conv"]["kernel"] = kernel.at[0, 0, :, :4].set(jnp.eye(4))
    found = model.apply(variables, places)[0, :, :, -kernel.shape[-1] :][..., :4]

    total = ndimage.uniform_filter(places[0].astype(float), (3, 3, 1), mode="constant") * 9
    inside = ndimage.uniform_filter(np.ones((5, 6)), 3, mode="constant")[..., None] * 9
    if variant == "torchvision":
        # BatchNorm with its first statistics divides by sqrt(1 + 0.001).
        expected = total / 9 / np.sqrt(1.001)
    elif block == "Mixed_7c":
        expected = ndimage.maximum_filter(places[0], (3, 3, 1))
    else:
        expected = total / inside
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.slow
def test_training_normalizes_by_the_batch_and_drops_out(key):
    places = np.random.default_rng(3).normal(size=(4, 3, 3, 8)).astype(np.float32)
    model = InceptionV3(classes=5, first="Mixed_7c")
    variables = jax.jit(model.init)(key, places)

    def train(seed):
        rngs = {"dropout": jax.random.key(seed)}
        return model.apply(variables, places, train=True, mutable=["batch_stats"], rngs=rngs)

    (logits, updated), (other, _) = train(0), train(1)
    assert not np.allclose(logits, other)
    unit = variables["params"]["Mixed_7c"]["branch1x1"]["conv"]["kernel"][0, 0]
    convolved = np.asarray(places.reshape(-1, 8) @ unit, np.float64)
    statistics = updated["batch_stats"]["Mixed_7c"]["branch1x1"]["bn"]
    np.testing.assert_allclose(statistics["mean"], 0.1 * convolved.mean(axis=0), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(statistics["var"], 0.9 + 0.1 * convolved.var(axis=0), rtol=1e-3)
    # Without `train` nothing is drawn and nothing is updated.
    np.testing.assert_array_equal(model.apply(variables, places), model.apply(variables, places))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"normalization": "layer"}, "normalization must be one of batch, folded; got 'layer'"),
        ({"last_pool": "min"}, "last_pool must be one of average, max; got 'min'"),
        ({"first": "Mixed_8a"}, "first must be one of Conv2d_1a_3x3, .*got 'Mixed_8a'"),
        ({"last": "logits"}, "last must be one of .*; got 'logits'"),
        ({"first": "Mixed_7a", "last": "Mixed_6a"}, "first must not come after last, got 'Mixed_7a' and 'Mixed_6a'"),
    ],
)
def test_unknown_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        InceptionV3(**settings).init(jax.random.key(0), image())


@pytest.mark.parametrize(
    "images, error, message",
    [
        (image(74), ValueError, r"at least 75 pixels high and wide, got \(1, 74, 74, 3\)"),
        (image()[0], ValueError, r"\[batch, height, width, channel\], got 3 axes"),
        (image().astype(np.uint8), TypeError, "floating point"),
        (image() * np.nan, ValueError, "finite"),
    ],
)
def test_images_that_are_none_are_refused(images, error, message):
    with pytest.raises(error, match=message):
        InceptionV3().init(jax.random.key(0), images)


@pytest.mark.slow
def test_the_last_spatial_layer_is_the_papers_for_grad_cam():
    model, variables, _ = shapes("graph_2015", size=107)
    spatial = [tap for tap in sj.taps(model.apply, variables, image(107)) if len(tap.shape) == 4]
    assert spatial[-1].name.startswith("Mixed_7c") and spatial[-1].shape == (1, 2, 2, 2048)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gradient", "guided_backprop", "grad_cam", "lrp"])
def test_maps_are_finite_and_not_blank(name):
    model, variables = folded()
    explain = sj.batched(sj.EXPLAINERS[name], model.apply)
    found = np.asarray(explain(variables, image(107), predicted(107)))
    assert found.shape == (1, 107, 107, 3) and np.isfinite(found).all() and found.std() > 0


@pytest.mark.slow
def test_lrp_zero_is_gradient_times_input_without_biases():
    """Ancona et al. (2018), proposition 1: on a ReLU network without biases, for linear and maximum pools alike."""
    model, variables = folded()
    assert all(not leaf.any() for leaf in jax.tree.leaves(variables) if leaf.ndim == 1)
    score = sj.class_score(model.apply, variables, 3)

    def both(x):
        return sj.lrp(score, x, composite=sj.composites.zero), sj.gradient_times_input(score, x), score(x)

    found, expected, logit = compiled(both)(image()[0])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 * float(jnp.abs(expected).max()))
    # Nothing is lost on the way: the map sums to the logit, which is homogeneous in the image.
    np.testing.assert_allclose(found.sum(), logit, rtol=1e-3)
