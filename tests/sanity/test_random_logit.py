import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from linear_model import CLASSES, apply, images, params, targets, weights
from skimage.metrics import structural_similarity

import saliency_jax as sj
from saliency_jax.sanity.random_logit import other_classes, random_logit

COUNT = 7
EXPLAINERS = {"gradient": sj.gradient, "edges": sj.edges, "constant": sj.constant}
METRICS = {"pearson": sj.pearson, "spearman": sj.spearman, "ssim": sj.ssim}


def run(count=COUNT, explainers=EXPLAINERS, **options):
    settings = {"key": jax.random.key(3), "seeds": 2, "metrics": METRICS} | options
    return random_logit(apply, params(), images(count), targets(count), explainers, **settings)


@pytest.fixture(scope="module")
def found():
    return run()


def test_the_dataset_has_the_documented_variables_and_dimensions(found):
    assert {name: found[name].dims for name in found.data_vars} == {
        "similarity": ("explainer", "metric", "stage", "seed", "image"),
        "null": ("null_kind", "explainer", "metric", "image"),
        "constant_maps": ("explainer", "stage", "seed"),
        "nonfinite_maps": ("explainer", "stage", "seed"),
        "targets": ("image",),
        "explained_class": ("stage", "seed", "image"),
    }
    assert found.stage.values.tolist() == ["other_class"] and found.attrs == {"test": "random_logit"}
    np.testing.assert_array_equal(found.targets, targets(COUNT))


def test_a_linear_models_score_is_the_similarity_of_the_two_classes_weights(found):
    of_target = weights(params(), found.targets)
    for seed in (0, 1):
        of_other = weights(params(), found.explained_class.sel(seed=seed, stage="other_class"))
        for i, (a, b) in enumerate(zip(of_target, of_other, strict=True)):
            want = {
                "pearson": scipy.stats.pearsonr(a.ravel(), b.ravel()).statistic,
                "spearman": scipy.stats.spearmanr(a.ravel(), b.ravel()).statistic,
                "ssim": structural_similarity(a[..., 0], b[..., 0], data_range=2.0),
            }
            got = found.similarity.sel(explainer="gradient", seed=seed, image=i, stage="other_class")
            for name, value in want.items():
                assert float(got.sel(metric=name)) == pytest.approx(value, abs=2e-6), name


def test_a_map_that_does_not_know_its_class_scores_one_and_a_constant_one_is_counted(found):
    np.testing.assert_allclose(found.similarity.sel(explainer="edges"), 1, atol=2e-6)
    np.testing.assert_array_equal(found.constant_maps.sel(explainer="constant"), COUNT)
    assert np.isnan(found.similarity.sel(explainer="constant", metric="pearson")).all()


def test_the_other_class_of_an_image_depends_on_neither_the_chunks_nor_the_other_images(found):
    short = run(count=3, explainers={"gradient": sj.gradient}, batch_size=2, seeds=[1])
    want = found.sel(explainer=["gradient"], seed=[1]).isel(image=slice(3))
    np.testing.assert_array_equal(short.explained_class, want.explained_class)
    np.testing.assert_allclose(short.similarity, want.similarity, atol=1e-6)


def test_the_other_class_is_uniform_among_all_others_and_never_the_same(key):
    given = jnp.arange(4000) % CLASSES
    drawn = np.asarray(other_classes(given, CLASSES, key))
    assert np.all(drawn != given) and drawn.min() >= 0 and drawn.max() < CLASSES
    counts = np.bincount((drawn - np.asarray(given)) % CLASSES, minlength=CLASSES)[1:]
    assert scipy.stats.chisquare(counts).pvalue > 1e-4
    assert np.any(drawn != np.asarray(other_classes(given, CLASSES, jax.random.key(9))))


def test_with_two_classes_the_other_one_is_drawn(key):
    np.testing.assert_array_equal(other_classes(jnp.asarray([0, 1, 1]), 2, key), [1, 0, 0])


def test_a_model_of_one_class_has_no_other():
    def one_class(params, images):
        return apply(params, images)[:, :1]

    with pytest.raises(ValueError, match="at least two classes to draw another one, got 1"):
        random_logit(one_class, params(), images(2), jnp.zeros(2, int), EXPLAINERS, key=jax.random.key(0))


def test_without_a_key_it_is_refused():
    with pytest.raises(ValueError, match="random_logit draws random numbers"):
        run(key=None)
