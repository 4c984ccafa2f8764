"""Which maps of random networks show the image: statistics over networks, closed forms, SciPy's correlations."""

from functools import cache, partial

import jax
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats

from saliency_jax import class_score, data, deconvnet, gradient, guided_backprop
from saliency_jax.sanity.random_networks_theory import (
    ARCHITECTURES,
    Architecture,
    fully_connected_recovery,
    random_network,
    random_weights,
)
from saliency_jax.sanity.recovery import recovery
from tests import oracles

FILTERS = (8, 256)
SEEDS = 6


@cache
def smooth_images():
    """Blurred noise of mean 0: what is alike by chance has the correlation 0."""
    noise = np.random.default_rng(1).normal(size=(6, 16, 16))
    images = scipy.ndimage.gaussian_filter(noise, (0, 1.5, 1.5))
    images -= images.mean((1, 2), keepdims=True)
    return (images / images.std((1, 2), keepdims=True))[..., None].astype(np.float32)


@cache
def recovered():
    return recovery(smooth_images(), jax.random.key(2), filters=FILTERS, seeds=SEEDS, kept_images=2)


@pytest.mark.slow
def test_guided_backpropagation_shows_the_image_and_the_more_the_more_filters_there_are():
    found = recovered().sel(explainer="guided_backprop", metric="pearson")
    for network, least in (("convolution", 0.7), ("max_pooling", 0.55)):
        few, many = (found.similarity.sel(network=network, filters=n) for n in FILTERS)
        assert many.min() > least and many.mean() > few.mean() + 0.1
    many = found.similarity.sel(network="convolution", filters=FILTERS[-1]).mean("seed")
    np.testing.assert_allclose(many, found.limit.sel(network="convolution"), atol=0.05)
    assert np.isnan(found.limit.sel(network="max_pooling")).all()
    # Not of the network, nor of another image.
    strangers = found["null"].sel(network="convolution", filters=FILTERS[-1]).mean(("seed", "image"))
    assert np.abs(strangers).max() < 0.2


@pytest.mark.slow
def test_the_gradient_and_deconvnet_without_pooling_are_noise():
    found = recovered().similarity.sel(metric="pearson").mean(("seed", "image"))
    for explainer, networks in {
        "gradient": list(ARCHITECTURES),
        "deconvnet": ["convolution", "fully_connected"],
    }.items():
        assert np.abs(found.sel(explainer=explainer, network=networks)).max() < 0.1


@pytest.mark.slow
def test_max_pooling_lets_deconvnet_show_the_image():
    found = recovered().similarity.sel(explainer="deconvnet", metric="pearson", filters=FILTERS[-1]).mean("image")
    pooled, plain = found.sel(network="max_pooling"), found.sel(network="convolution")
    assert pooled.min() > 0.2 > np.abs(plain.mean()) + 0.1


@pytest.mark.slow
def test_what_deconvnet_shows_behind_max_pooling_is_where_the_image_stands_out_of_its_windows():
    images = smooth_images()
    maps = recovered().maps.sel(explainer="deconvnet", network="max_pooling", filters=FILTERS[-1]).values[..., 0]
    for image, found in zip(images[..., 0], maps, strict=False):
        whole = image[:14, :14]
        means = whole.reshape(7, 2, 7, 2).mean((1, 3)).repeat(2, 0).repeat(2, 1)
        edges = scipy.stats.pearsonr((whole - means).ravel(), found[:14, :14].ravel())[0]
        assert edges > 0.4 and edges > scipy.stats.pearsonr(whole.ravel(), found[:14, :14].ravel())[0] + 0.1


@pytest.mark.slow
def test_without_locality_guided_backpropagation_shows_as_little_as_the_closed_form_says():
    found = recovered().similarity.sel(explainer="guided_backprop", metric="cosine", network="fully_connected")
    for count in FILTERS:
        expected = fully_connected_recovery(16 * 16, count)
        np.testing.assert_allclose(found.sel(filters=count).mean(), expected, atol=0.05)
    local = recovered().similarity.sel(explainer="guided_backprop", metric="cosine", network="convolution")
    assert found.sel(filters=FILTERS[-1]).max() < local.sel(filters=FILTERS[-1]).min() - 0.2


@pytest.mark.slow
def test_every_score_is_that_of_its_own_network_image_and_partner(key):
    images = data.load("mnist", "test").images[:3]
    found = recovery(images, key, filters=(3,), architectures={"small": Architecture(5, pool=2)}, seeds=2)
    assert dict(found.sizes) == {
        **{"null_kind": 3, "explainer": 3, "metric": 2, "network": 1, "filters": 1, "seed": 2, "image": 3},
        **{"kept_image": 1, "height": 28, "width": 28, "channel": 1},
    }
    seed_key = jax.random.fold_in(oracles.named(key, "small 3"), 1)
    params = random_weights(seed_key, (28, 28, 1), filters=3, architecture=Architecture(5, pool=2))
    score = class_score(partial(random_network, pool=2), params, 0)
    for name, explain in {"gradient": gradient, "guided_backprop": guided_backprop, "deconvnet": deconvnet}.items():
        map_ = np.ravel(jax.jit(partial(explain, score))(images[2]))
        of = found.sel(explainer=name, network="small", filters=3, seed=1)
        x = images[2].ravel()
        expected = scipy.stats.pearsonr(x, map_)[0], x @ map_ / np.linalg.norm(x) / np.linalg.norm(map_)
        np.testing.assert_allclose(of.similarity.sel(image=2), expected, atol=1e-5)
        others = [scipy.stats.pearsonr(other.ravel(), map_)[0] for other in images[:2]]
        null = float(of["null"].sel(metric="pearson", null_kind="other_image", image=2))
        assert min(abs(null - other) for other in others) < 1e-5
    np.testing.assert_array_equal(found.images[0], images[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"kept_images": -1}, "kept_images must not be negative, got -1"),
        ({"filters": ()}, r"filters must be different positive numbers, got \(\)"),
        ({"filters": (4, 4)}, "filters must be different positive numbers"),
        ({"filters": (0, 4)}, "filters must be different positive numbers"),
        ({"key": None}, "pass key="),
    ],
)
def test_recovery_names_what_is_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        recovery(smooth_images(), **({"key": jax.random.key(0)} | options))
