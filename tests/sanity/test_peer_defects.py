"""Defects that were found in other implementations of these tests: each test here fails with one of them.

They are those of the code published with Adebayo et al. 2018, of Quantus and of Xplique; what the code of these
projects does is said beside each test.
"""

import copy

import deep_relu
import jax
import jax.numpy as jnp
import linear_model
import matplotlib
import numpy as np
import pytest
import scipy.stats
from skimage.metrics import structural_similarity
from small_models import LAYERS, apply, case, init, sweep

import saliency_jax as sj
from saliency_jax.sanity import PROTOCOLS, permutation, truncated_normal
from saliency_jax.sanity.complexity import BIN_RULES, histogram_entropy
from saliency_jax.sanity.efficient_mprt import efficient_mprt
from saliency_jax.sanity.random_logit import other_classes, random_logit
from saliency_jax.similarity.scaling import by_largest_magnitude, scaled

matplotlib.use("agg")
from saliency_jax import plotting

METRICS = {
    "spearman": sj.spearman,
    "spearman_abs": sj.METRICS["spearman_abs"],
    "ssim": scaled(sj.ssim, by_largest_magnitude),
}


@pytest.fixture(scope="module")
def found():
    """A cascade with the gradient, two random models a stage."""
    return sweep({"gradient": sj.gradient}, case(), metrics=METRICS, seeds=2)


def in_order():
    given = case()
    return sj.layers(apply, given.params, given.images)


# Quantus


def test_the_score_of_the_trained_model_with_itself_is_in_no_average_over_stages(found):
    """Quantus leaves "orig" out of its averages, and calls the entry "original": a score of 1 is averaged in."""
    assert sorted(found.stage.values) == sorted(LAYERS)
    assert float(np.abs(found.similarity.sel(metric="spearman")).max()) < 0.999
    np.testing.assert_allclose(found["null"].sel(null_kind="itself"), 1, atol=1e-5)


def test_ssim_sees_maps_in_two_dimensions(found):
    """Quantus hands flattened maps to SSIM."""
    trained, random = (found.maps.sel(explainer="gradient", model=m).values[0, ..., 0] for m in ("trained", "first"))
    a, b = (np.asarray(x, np.float64) / np.abs(x).max() for x in (trained, random))
    got = float(found.similarity.sel(explainer="gradient", metric="ssim", stage="first", seed=0, image=0))
    assert got == pytest.approx(structural_similarity(a, b, data_range=2.0), abs=1e-5)
    assert abs(got - structural_similarity(a.ravel(), b.ravel(), data_range=2.0)) > 0.01


@pytest.mark.parametrize("fresh", [truncated_normal(), permutation()], ids=["truncated_normal", "permutation"])
def test_layers_of_one_shape_get_different_weights(fresh, key):
    """Quantus sets one seed before every layer of a PyTorch model."""
    layer = {"kernel": jnp.arange(300.0).reshape(15, 20)}
    drawn = fresh(key, {"a": layer, "b": layer})
    assert np.mean(np.asarray(drawn["a"]["kernel"] == drawn["b"]["kernel"])) < 0.05


def test_parameters_that_belong_to_no_module_are_randomized():
    """Quantus resets what has a method `reset_parameters`: class tokens and position embeddings stay trained."""
    draw = np.random.default_rng(0)
    shapes = {"embed": (4, 6), "cls_token": (6,), "positions": (5, 6), "mix": (5, 5), "head": (6, 3)}
    params = {name: jnp.asarray(draw.normal(size=shape), jnp.float32) for name, shape in shapes.items()}

    def transformer(params, images):
        patches = images.reshape(len(images), 4, 4) @ params["embed"]
        token = jnp.broadcast_to(params["cls_token"], (len(images), 1, 6))
        tokens = jnp.concatenate([token, patches], axis=1) + params["positions"][None]
        return jnp.tanh(params["mix"] @ tokens)[:, 0] @ params["head"]

    chosen = sj.layers(transformer, params, jnp.ones((1, 4, 4, 1)))
    assert sorted(path for layer in chosen for path in layer.paths) == sorted(params)
    fresh = truncated_normal()(jax.random.key(1), params)
    last = sj.cascade(params, fresh, chosen)[-1].params
    assert all(np.all(np.asarray(last[name]) != np.asarray(params[name])) for name in params)


def test_the_cascade_follows_the_order_of_execution(found):
    """Quantus takes the order in which modules were registered; a flattened pytree is in alphabetical order."""
    assert list(LAYERS) != sorted(LAYERS)
    assert found.stage.values.tolist() == list(LAYERS[::-1])


def test_stages_are_no_views_of_one_object_that_changes():
    """Quantus yields the same model again and again: a list of its stages holds the last one many times."""
    trained = case().params
    before = copy.deepcopy(trained)
    stages = sj.cascade(trained, init(jax.random.key(3)), in_order())
    stages[0].params["first"]["kernel"] = jnp.zeros(())
    stages[1].params.clear()
    jax.tree.map(np.testing.assert_array_equal, trained, before)
    assert np.any(stages[2].params["first"]["kernel"] != before["first"]["kernel"])
    assert stages[2].params["first"]["kernel"].shape == before["first"]["kernel"].shape


def test_a_permutation_moves_the_weights_of_a_convolution_of_one_pixel(key):
    """Quantus permutes TensorFlow kernels along their first axis, which for a 1 x 1 convolution has one entry."""
    kernel = jnp.arange(80.0).reshape(1, 1, 8, 10)
    drawn = np.asarray(permutation()(key, {"kernel": kernel})["kernel"])
    assert np.mean(drawn == np.asarray(kernel)) < 0.2
    np.testing.assert_array_equal(np.sort(drawn, axis=None), np.asarray(kernel).ravel())


def _efficient(explainers):
    arguments = (linear_model.apply, linear_model.params(), linear_model.init)
    arguments += (linear_model.images(2), linear_model.targets(2), explainers)
    return efficient_mprt(*arguments, key=jax.random.key(0), seeds=1)


def test_a_rise_from_no_complexity_is_not_a_number_and_says_so():
    """Quantus divides by the entropy of the trained model's map, also where that is 0."""
    found = _efficient({"constant": sj.constant})
    assert np.isnan(found.rise).all() and (found.flat_maps == 2).all()


@pytest.mark.parametrize("rule", ["sturges", "rice", "square_root"])
def test_rules_for_bins_count_the_values_of_a_map(rule):
    """Quantus puts the number of a map's axes in the place of the number of its values: one or two bins for any map."""
    assert rule in BIN_RULES
    evenly = jnp.linspace(-1, 1, 900).reshape(30, 30)
    bins = np.histogram_bin_edges(np.linspace(-1, 1, 900), {"square_root": "sqrt"}.get(rule, rule)).size - 1
    # Values that fill all bins evenly have the entropy log(bins).
    assert bins > 10 and float(histogram_entropy(evenly, bins=rule)) == pytest.approx(np.log(bins), abs=0.01)


def test_scores_come_with_several_random_models_with_nulls_and_with_what_the_models_are_worth(found):
    """Quantus has one draw of random weights, no null and no look at the random model's predictions."""
    assert found.sizes["seed"] == 2
    assert np.all(found.similarity.sel(seed=0, metric="spearman") != found.similarity.sel(seed=1, metric="spearman"))
    assert {"other_image", "permuted_pixels", "noise"} <= set(found.null_kind.values)
    assert np.isfinite(found["null"].sel(metric="spearman")).all()
    assert found.accuracy.dims == ("model", "seed") and found.model.values.tolist() == ["trained", *LAYERS[::-1]]
    assert np.isfinite(found[["accuracy", "logit_low", "logit_high"]].to_array()).all()


@pytest.mark.slow
def test_the_number_of_classes_is_read_from_the_model(key):
    """Quantus draws the other class among 1000 unless it is told otherwise."""
    arguments = (linear_model.apply, linear_model.params(), linear_model.images(6), linear_model.targets(6))
    found = random_logit(*arguments, {"edges": sj.edges}, key=key, seeds=8, metrics={"pearson": sj.pearson})
    assert set(np.unique(found.explained_class)) == set(range(linear_model.CLASSES))


def test_other_classes_do_not_repeat_from_batch_to_batch(key):
    """Quantus sets its seed anew before every batch: the images of all batches get the same draws."""
    drawn = np.asarray(other_classes(jnp.zeros(64, int), 1000, key))
    for batch in (1, 2, 4, 8, 16, 32):
        assert np.mean(drawn[batch:] == drawn[:-batch]) < 0.2


# The code published with the paper


def test_an_explainer_holds_no_weights_of_its_own():
    """The published guided backpropagation restored the trained weights from a checkpoint: no randomization could
    reach it, and the paper's first version called it invariant.
    """
    trained = deep_relu.params()
    random = jax.tree.map(lambda x: x[::-1, ::-1], trained)
    image, target = deep_relu.images(1), jnp.zeros(1, int)
    one_hot = np.eye(deep_relu.CLASSES)[0]
    explain = sj.batched(sj.guided_backprop, deep_relu.apply)
    for params in (trained, random, trained):
        want = deep_relu.relevance("guided_backprop", np.asarray(image, np.float64).ravel(), one_hot, params)[0]
        np.testing.assert_allclose(np.ravel(explain(params, image, target)), want, atol=1e-5 * np.abs(want).max())


def test_the_signed_curve_is_drawn_from_the_signed_scores(found):
    """The published notebook draws guided backpropagation's signed curve from the table of absolute values."""
    figure = plotting.similarity_curves(found, metrics=("spearman_abs", "spearman"))
    for axes, metric in zip(figure.axes, ("spearman_abs", "spearman"), strict=True):
        [curve], _ = axes.get_legend_handles_labels()
        want = found.similarity.sel(explainer="gradient", metric=metric).mean(["seed", "image"])
        np.testing.assert_allclose(curve[0].get_ydata()[1:], want, atol=1e-6)
    matplotlib.pyplot.close(figure)
    assert np.any(np.abs(found.similarity.sel(metric="spearman") - found.similarity.sel(metric="spearman_abs")) > 0.1)


def test_one_layer_can_be_randomized_alone():
    """The published `reinitlayerlist(independent=True)` fails: it calls its own constructor without arguments."""
    trained, fresh = case().params, init(jax.random.key(3))
    for stage in sj.cascade(trained, fresh, in_order(), order="independent"):
        changed = {name for name in LAYERS if stage.params[name]["kernel"] is not trained[name]["kernel"]}
        assert changed == {stage.name}


def test_a_signed_map_is_scaled_onto_minus_one_to_one_with_zero_at_zero():
    """The published `VisualizeImageDiverging` says so, and returns [0, 1] with zero at one half."""
    x = jnp.asarray([[-2.0, 0.0], [4.0, 1.0]])
    np.testing.assert_allclose(by_largest_magnitude(x), [[-0.5, 0.0], [1.0, 0.25]])


# Xplique


def test_random_weights_have_the_distribution_of_the_initializer():
    """Xplique draws all weights, variances of BatchNorm among them, uniformly from [0, 1): none is negative."""
    fresh = PROTOCOLS["paper"].fresh(init)(jax.random.key(0), case().params)
    drawn = np.asarray(fresh["dense"]["kernel"], np.float64).ravel()
    assert scipy.stats.kstest(drawn / 0.01, scipy.stats.truncnorm(-2, 2).cdf).pvalue > 1e-4
    assert 0.3 < np.mean(drawn < 0) < 0.7
