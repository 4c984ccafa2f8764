import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
import xarray as xr
from small_models import CLASSES, LAYERS, apply, case, init, sweep

import saliency_jax as sj
from saliency_jax.sanity import NULLS, PROTOCOLS
from saliency_jax.sanity.parts import kept_where_small

STAGES = LAYERS[::-1]
METRICS = {"spearman": sj.spearman, "pearson": sj.pearson}
DIMENSIONS = {
    "similarity": ("explainer", "metric", "stage", "seed", "image"),
    "null": ("null_kind", "explainer", "metric", "image"),
    "constant_maps": ("explainer", "stage", "seed"),
    "nonfinite_maps": ("explainer", "stage", "seed"),
    "accuracy": ("model", "seed"),
    "logit_low": ("model", "seed"),
    "logit_spread": ("model", "seed"),
    "logit_high": ("model", "seed"),
    "explained_class": ("stage", "seed", "image"),
    "maps": ("explainer", "model", "kept_image", "height", "width", "channel"),
    "images": ("kept_image", "height", "width", "channel"),
    "targets": ("image",),
}


def broken_where_bright(score, image, key=None):
    return jnp.where(image.mean() > 0, jnp.nan, sj.gradient(score, image))


EXPLAINERS = {
    "gradient": sj.gradient,
    "edges": sj.edges,
    "noise": sj.noise,
    "constant": sj.constant,
    "broken": broken_where_bright,
}


@pytest.fixture(scope="module")
def whole():
    """A sweep of all kinds of explainers, and the case it is of."""
    given = case()
    found = sweep(EXPLAINERS, given, metrics=METRICS | {"ssim": sj.METRICS["ssim"]}, seeds=3, kept_images=2)
    return given, found


def test_the_dataset_has_the_documented_variables_and_dimensions(whole):
    _, found = whole
    assert {name: found[name].dims for name in found.data_vars} == DIMENSIONS
    coordinates = {
        "explainer": list(EXPLAINERS),
        "metric": [*METRICS, "ssim"],
        "model": ["trained", *STAGES],
        "stage": list(STAGES),
        "seed": [0, 1, 2],
        "image": [0, 1, 2, 3],
        "null_kind": list(NULLS),
    }
    assert {str(name): found[name].values.tolist() for name in found.coords} == coordinates
    assert found.attrs == {
        "test": "parameter_randomization",
        "protocol": "released_code",
        "order": "top_down",
        "explained_class": "argmax",
    }


def test_the_dataset_holds_what_was_given(whole):
    given, found = whole
    np.testing.assert_array_equal(found.targets, given.targets)
    np.testing.assert_array_equal(found.images, given.images[:2])


def test_explainers_that_ignore_the_model_score_one_to_the_last_bits_of_float32(whole):
    _, found = whole
    np.testing.assert_allclose(found.similarity.sel(explainer=["edges", "noise"]), 1, rtol=0, atol=2e-7)
    for explainer in ("edges", "noise"):
        maps = found.maps.sel(explainer=explainer)
        xr.testing.assert_equal(*xr.broadcast(maps, maps.sel(model="trained", drop=True)))


def test_a_constant_map_has_no_correlation_and_is_counted(whole):
    given, found = whole
    constant = found.sel(explainer="constant")
    assert np.isnan(constant.similarity.sel(metric=list(METRICS))).all()
    np.testing.assert_array_equal(constant.constant_maps, len(given.images))
    np.testing.assert_array_equal(found.constant_maps.drop_sel(explainer="constant"), 0)


def test_maps_that_are_not_finite_stay_nan_and_are_counted(whole):
    given, found = whole
    bright = np.asarray(given.images).mean((1, 2, 3)) > 0
    assert 0 < bright.sum() < len(bright)
    broken = found.sel(explainer="broken")
    np.testing.assert_array_equal(broken.nonfinite_maps, bright.sum())
    np.testing.assert_array_equal(np.isnan(broken.similarity).all(["metric", "stage", "seed"]), bright)
    xr.testing.assert_equal(
        broken.similarity[..., ~bright].drop_vars("explainer"),
        found.similarity.sel(explainer="gradient")[..., ~bright].drop_vars("explainer"),
    )
    np.testing.assert_array_equal(found.nonfinite_maps.drop_sel(explainer="broken"), 0)


def test_every_seed_of_every_stage_has_another_model(whole):
    _, found = whole
    scores = found.similarity.sel(explainer="gradient", metric="pearson").stack(run=["stage", "seed"])
    assert np.unique(scores.isel(image=0)).size == scores.sizes["run"]


def test_the_kept_maps_are_those_of_the_trained_model_and_of_the_first_seeds_stages(whole):
    given, found = whole
    kept = found.maps.sel(explainer="gradient")
    np.testing.assert_allclose(kept.sel(model="trained"), oracles.gradients(apply, *given[:3])[:2], atol=1e-6)
    for stage in STAGES:
        for i in range(2):
            a, b = (np.ravel(kept.sel(model=model)[i]) for model in ("trained", stage))
            want = found.similarity.sel(explainer="gradient", metric="pearson", stage=stage, seed=0, image=i)
            assert np.corrcoef(a, b)[0, 1] == pytest.approx(float(want), abs=1e-5)


@pytest.mark.parametrize(
    "order, protocol, explained",
    [
        pytest.param("top_down", "paper", "original", marks=pytest.mark.slow),
        ("top_down", "released_code", "argmax"),
        ("bottom_up", "released_code", "argmax"),
        ("independent", "released_code", "argmax"),
    ],
)
def test_the_whole_measurement_equals_a_slow_one_by_hand(order, protocol, explained):
    with jax.enable_x64(True):
        given = case(images=3)
        settings = dict(metrics=METRICS, seeds=[4, 9], order=order, protocol=protocol)
        found = sweep({"gradient": sj.gradient}, given, **settings)
        fresh = oracles.cut_normal_weights if protocol == "paper" else lambda key, params: init(key)
        want = oracles.parameter_randomization(
            apply, given.params, fresh, given.images, given.targets, LAYERS, given.key, order, [4, 9], explained
        )
    assert found.stage.values.tolist() == list(STAGES if order != "bottom_up" else LAYERS)
    for name in METRICS:
        got = found.similarity.sel(explainer="gradient", metric=name)
        np.testing.assert_allclose(got, want[name], atol=1e-6)
    np.testing.assert_array_equal(found.explained_class, want["explained_class"])
    for name in ("accuracy", "logit_low", "logit_high", "logit_spread"):
        np.testing.assert_allclose(found[name], want[name], rtol=1e-6)


def test_the_explained_class_is_a_choice_of_the_protocol():
    given = case()
    argmax = sweep({"gradient": sj.gradient}, given)
    protocol = PROTOCOLS["released_code"]._replace(explained_class="original")
    original = sweep({"gradient": sj.gradient}, given, protocol=protocol)
    np.testing.assert_array_equal(original.explained_class, np.broadcast_to(given.targets, (3, 1, 4)))
    changed = np.asarray(argmax.explained_class != original.explained_class)
    same_score = np.asarray(argmax.similarity == original.similarity)[0, 0]
    assert changed.any() and not changed.all()
    np.testing.assert_array_equal(same_score, ~changed)


def test_the_accuracy_is_of_the_evaluation_images_where_they_are_given():
    given = case()
    images = jnp.asarray(np.random.default_rng(3).normal(size=(40, 8, 8, 1)), jnp.float32)
    labels = jnp.argmax(apply(given.params, images), axis=1)
    found = sweep({"edges": sj.edges}, given, evaluation=(images, labels), seeds=2)
    np.testing.assert_array_equal(found.accuracy.sel(model="trained"), 1)
    assert (found.accuracy.drop_sel(model="trained") < 1).all()
    assert found.accuracy.dtype == np.float32 and CLASSES == 3


def test_a_seeds_results_do_not_depend_on_the_other_seeds(whole):
    given, found = whole
    alone = sweep(EXPLAINERS, given, metrics=METRICS | {"ssim": sj.METRICS["ssim"]}, seeds=[1], kept_images=2)
    xr.testing.assert_identical(alone.drop_vars("maps"), found.drop_vars("maps").sel(seed=[1]))


def test_an_explainers_results_do_not_depend_on_the_others_nor_on_the_chunks(whole):
    given, found = whole
    alone = sweep({"noise": sj.noise, "gradient": sj.gradient}, given, metrics=METRICS, seeds=3, batch_size=3)
    got, want = (x.similarity.sel(metric="pearson") for x in (alone, found))
    xr.testing.assert_allclose(got, want.sel(explainer=["noise", "gradient"]), atol=1e-5)


def test_the_null_scores_are_of_partners_that_do_not_belong_to_the_map(whole):
    given, found = whole
    null = found["null"].sel(explainer="gradient", metric="pearson")
    between = np.corrcoef(oracles.gradients(apply, *given[:3]).reshape(4, -1))
    turned = [[between[i, (i - turn) % 4] for i in range(4)] for turn in (1, 2, 3)]
    other = null.sel(null_kind="other_image").values
    assert min(np.abs(other - np.array(row)).max() for row in turned) < 1e-5
    assert (np.abs(null.sel(null_kind=["permuted_pixels", "noise"])) < 5 / np.sqrt(64)).all()


@pytest.mark.parametrize("most_bytes, drawn", [(4 * 10 * 6, 6), (4 * 10 * 6 - 1, 12)])
def test_models_are_drawn_once_where_all_of_them_are_small(most_bytes, drawn):
    asked = []

    def randomized(seed, stage):
        asked.append((seed, stage))
        return {"w": jnp.full(10, 10.0 * seed + stage)}

    kept = kept_where_small(randomized, {"w": jnp.zeros(10), "n": 3}, models=6, most_bytes=most_bytes)
    for _ in range(2):
        found = [float(kept(seed, stage)["w"][0]) for seed in range(2) for stage in range(3)]
        assert found == [0, 1, 2, 10, 11, 12]
    assert len(asked) == drawn
