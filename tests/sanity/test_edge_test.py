import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
from small_models import apply, case

import saliency_jax as sj
from saliency_jax import data
from saliency_jax.sanity import edge_similarity

METRICS = {"spearman": sj.spearman, "spearman_abs": sj.METRICS["spearman_abs"]}


def sobel(image):
    """scipy's Sobel gradient magnitude; the nearest pixel continues the image past its border."""
    return np.hypot(*(scipy.ndimage.sobel(image, axis=axis, mode="nearest") for axis in (0, 1)))


@pytest.mark.slow
def test_similarities_to_edges_and_to_another_images_edges_equal_scipys():
    given = case(images=5)
    found = edge_similarity(
        apply, given.params, given.images, given.targets, {"gradient": sj.gradient}, key=given.key, metrics=METRICS
    )
    images = np.asarray(given.images, np.float64)[..., 0]
    maps = [
        np.ravel(jax.grad(lambda x, c=c: apply(given.params, x[None])[0, c])(x))
        for x, c in zip(given.images, given.targets, strict=True)
    ]
    to_edges = [[scipy.stats.spearmanr(m, sobel(x).ravel()).statistic for x in images] for m in maps]
    np.testing.assert_allclose(found.similarity.sel(metric="spearman").squeeze(), np.diag(to_edges), atol=1e-5)
    other = found["null"].sel(metric="spearman", null_kind="other_image").squeeze().values
    for i, value in enumerate(other):
        of_others = [to_edges[i][j] for j in range(5) if j != i]
        assert np.abs(np.array(of_others) - value).min() < 1e-5


@pytest.mark.slow
def test_an_edge_detector_is_found_out_and_noise_is_not():
    split = data.load("mnist", "test")
    images = jnp.asarray(split.images[:12])
    explainers = {name: sj.EXPLAINERS[name] for name in ("edges", "noise")}
    params = {"w": jnp.ones((28 * 28, 10))}
    found = edge_similarity(
        lambda p, x: x.reshape(len(x), -1) @ p["w"],
        params,
        images,
        jnp.zeros(12, int),
        explainers,
        key=jax.random.key(0),
        metrics=METRICS,
    )
    mean = found.similarity.mean(("stage", "seed", "image"))
    np.testing.assert_allclose(mean.sel(explainer="edges"), 1, atol=1e-6)
    assert (np.abs(mean.sel(explainer="noise")) < 0.05).all()
    null = found["null"].sel(null_kind="other_image", metric="spearman", explainer="edges").mean()
    assert 0.2 < null < 0.8, "centred digits have their edges in much the same places"


@pytest.mark.slow
def test_the_dataset_can_be_judged_like_every_other():
    given = case(images=5)
    explainers = {"gradient": sj.gradient, "constant": sj.EXPLAINERS["constant"]}
    found = edge_similarity(
        apply, given.params, given.images, given.targets, explainers, key=given.key, metrics=METRICS
    )
    assert found.similarity.dims == ("explainer", "metric", "stage", "seed", "image")
    assert np.isnan(found.similarity.sel(explainer="constant")).all()
    assert found.constant_maps.sel(explainer="constant").item() == 5
    assert sj.verdicts(found).sizes["explainer"] == 2


def test_bad_images_are_named():
    given = case()
    with pytest.raises(TypeError, match="images must be floating point"):
        edge_similarity(apply, given.params, jnp.ones((2, 8, 8, 1), int), [0, 1], {"g": sj.gradient}, key=given.key)
