"""Explainers whose maps are known must score known values; and linear models that read one half must show it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import xarray as xr

import saliency_jax as sj
from saliency_jax import plotting
from saliency_jax.sanity.engineered_test import mass_share, task_dependence

SIDE, COUNT, CLASSES = 8, 6, 3


def apply(params, images):
    """Linear in the pixels, so that a gradient is a column of the weights."""
    return images.reshape(len(images), -1) @ params["weights"]


def init(key):
    return {"weights": jax.random.normal(key, (SIDE * 2 * SIDE, CLASSES))}


def half(left):
    """A mask of one half of every image."""
    mask = np.zeros((COUNT, SIDE, 2 * SIDE), bool)
    mask[:, :, slice(SIDE) if left else slice(SIDE, None)] = True
    return mask


def reading(mask, seed):
    """Random weights on the pixels of a mask, zeros elsewhere."""
    return {"weights": init(jax.random.key(seed))["weights"] * jnp.asarray(mask[0].reshape(-1, 1), float)}


IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(COUNT, SIDE, 2 * SIDE, 1)), jnp.float32)
DIGIT_TARGETS, SHAPE_TARGETS = np.arange(COUNT) % CLASSES, (np.arange(COUNT) + 1) % CLASSES
LEFT, RIGHT = half(True), half(False)
DIGIT, SHAPE = reading(LEFT, 1), reading(RIGHT, 2)


def picture(score, image, key=None):
    """What no model has a part in."""
    return image


def only_left(score, image, key=None):
    """A map that is the mask of the digit itself."""
    return jnp.broadcast_to(jnp.arange(2 * SIDE).reshape(1, -1, 1) < SIDE, image.shape).astype(image.dtype)


def zeros(score, image, key=None):
    return jnp.zeros_like(image)


EXPLAINERS = {"gradient": sj.gradient, "picture": picture, "only_left": only_left, "zeros": zeros}


def run(explainers=EXPLAINERS, **options):
    settings = {
        "apply": apply,
        "digit_params": DIGIT,
        "shape_params": SHAPE,
        "images": IMAGES,
        "digit_targets": DIGIT_TARGETS,
        "shape_targets": SHAPE_TARGETS,
        "explainers": explainers,
        "digit_mask": LEFT,
        "shape_mask": RIGHT,
        "key": jax.random.key(5),
        "init": init,
        "metrics": {"pearson": sj.pearson, "cosine": sj.cosine},
    } | options
    first = ("apply", "digit_params", "shape_params", "images", "digit_targets", "shape_targets")
    arguments = [settings.pop(name) for name in (*first, "explainers", "digit_mask", "shape_mask")]
    return task_dependence(*arguments, **settings)


@pytest.fixture(scope="module")
def found():
    return run()


def test_a_map_that_is_the_digits_mask_has_all_of_its_mass_there_whichever_model_it_explains(found):
    mass = found.sel(explainer="only_left")
    for model in ("digit_task", "random"):
        np.testing.assert_array_equal(mass.mass_on_task.sel(model=model), 1)
        np.testing.assert_array_equal(mass.mass_off_task.sel(model=model), 0)
    np.testing.assert_array_equal(mass.mass_on_task.sel(model="shape_task"), 0)
    np.testing.assert_array_equal(mass.mass_off_task.sel(model="shape_task"), 1)


def test_the_gradients_of_models_that_read_one_half_each_lie_in_these_and_have_nothing_in_common(found):
    gradient = found.sel(explainer="gradient")
    np.testing.assert_allclose(gradient.mass_on_task.sel(model=["digit_task", "shape_task"]), 1, rtol=1e-6)
    np.testing.assert_array_equal(gradient.mass_off_task.sel(model=["digit_task", "shape_task"]), 0)
    np.testing.assert_array_equal(gradient.similarity.sel(stage="other_task", metric="cosine"), 0)


def test_masses_and_similarities_of_the_gradient_are_those_of_the_weights(found):
    """A linear model's gradient is the class's column of the weights; the random model's are drawn from the key."""
    random = np.abs(found.maps.sel(explainer="gradient", model="random"))
    np.testing.assert_allclose(
        found.mass_on_task.sel(explainer="gradient", model="random")[:4],
        random[:, :, :SIDE].sum(("height", "width", "channel")) / random.sum(("height", "width", "channel")),
        rtol=1e-5,
    )
    for i in range(4):
        of_digit = np.asarray(DIGIT["weights"])[:, DIGIT_TARGETS[i]]
        of_shape = np.asarray(SHAPE["weights"])[:, SHAPE_TARGETS[i]]
        maps = found.maps.sel(explainer="gradient").isel(kept_image=i)
        np.testing.assert_array_equal(maps.sel(model="digit_task").values.ravel(), of_digit)
        np.testing.assert_array_equal(maps.sel(model="shape_task").values.ravel(), of_shape)
        pearson = found.similarity.sel(explainer="gradient", metric="pearson", stage="other_task", seed=0, image=i)
        assert float(pearson) == pytest.approx(scipy.stats.pearsonr(of_digit, of_shape).statistic, abs=1e-6)
        other = maps.sel(model="random").values.ravel()
        pearson = found.similarity.sel(explainer="gradient", metric="pearson", stage="random", seed=0, image=i)
        assert float(pearson) == pytest.approx(scipy.stats.pearsonr(of_digit, other).statistic, abs=1e-5)


def test_an_explainer_that_shows_the_image_scores_one_with_any_model_and_its_mass_is_the_images(found):
    one = found.sel(explainer="picture")
    np.testing.assert_allclose(one.similarity, 1, atol=1e-6)
    pixels = np.abs(np.asarray(IMAGES, np.float64))[..., 0]
    left = pixels[:, :, :SIDE].sum((1, 2)) / pixels.sum((1, 2))
    np.testing.assert_allclose(one.mass_on_task.sel(model="digit_task"), left, rtol=1e-5)
    np.testing.assert_allclose(one.mass_on_task.sel(model="shape_task"), 1 - left, rtol=1e-5)
    np.testing.assert_allclose(one.mass_on_task + one.mass_off_task, 1, rtol=1e-5)
    assert (np.abs(one["null"].sel(null_kind="noise")) < 0.6).all()
    np.testing.assert_allclose(one["null"].sel(null_kind="itself"), 1, atol=1e-6)


def test_maps_of_zeros_lie_nowhere_and_are_counted(found):
    one = found.sel(explainer="zeros")
    assert np.isnan(one.mass_on_task).all() and np.isnan(one.similarity.sel(metric="pearson")).all()
    assert one.constant_maps.values.tolist() == [COUNT] * 3
    assert found.constant_maps.sel(explainer="gradient").values.tolist() == [0, 0, 0]


def test_maps_that_are_not_finite_are_counted_for_their_model_and_stay_nan():
    def broken(score, image, key=None):
        maps = sj.gradient(score, image)
        return jnp.where(maps[0, 0, 0] == 0, jnp.nan, maps)

    one = run({"broken": broken})
    assert one.nonfinite_maps.sel(explainer="broken").values.tolist() == [0, COUNT, 0]
    assert (
        np.isnan(one.similarity.sel(stage="other_task")).all()
        and not np.isnan(one.similarity.sel(stage="random")).any()
    )
    assert np.isnan(one.mass_on_task.sel(model="shape_task")).all()


@pytest.mark.parametrize("scale", [1e-37, 1e30, 1.0])
def test_the_share_of_a_mask_is_that_of_a_float64_sum_for_every_scale(scale):
    random = np.random.default_rng(1)
    maps = (scale * random.uniform(0.5, 1, size=(3, 5, 4, 2)) * random.choice([-1, 1], (3, 5, 4, 2))).astype(np.float32)
    mask = random.random((3, 5, 4)) < 0.4
    mask[0], mask[1] = True, False
    sums = np.abs(maps.astype(np.float64)).sum(-1)
    expected = (sums * mask).sum((1, 2)) / sums.sum((1, 2))
    np.testing.assert_allclose(mass_share(jnp.asarray(maps), jnp.asarray(mask)), expected, rtol=1e-5)


def test_the_noise_of_an_explainer_is_the_same_for_all_models():
    found = run({"noise": sj.EXPLAINERS["noise"]})
    np.testing.assert_allclose(found.similarity, 1, atol=1e-6)
    assert (np.abs(found["null"].drop_sel(null_kind="itself")) < 0.6).all()


def test_accuracies_are_those_of_each_models_own_task(found):
    given = {"digit_task": (DIGIT, DIGIT_TARGETS), "shape_task": (SHAPE, SHAPE_TARGETS)}
    for model, (params, targets) in given.items():
        right = np.mean(np.asarray(apply(params, IMAGES)).argmax(1) == targets)
        assert float(found.accuracy.sel(model=model, seed=0)) == pytest.approx(right, abs=1e-6)


def test_without_an_initializer_there_is_no_random_model(found):
    two = run(init=None)
    assert two.stage.values.tolist() == ["other_task"] and two.model.values.tolist() == ["digit_task", "shape_task"]
    xr.testing.assert_identical(two.similarity, found.similarity.sel(stage=["other_task"]))
    xr.testing.assert_identical(two.mass_on_task, found.mass_on_task.sel(model=["digit_task", "shape_task"]))


def test_the_dataset_has_the_dimensions_of_every_measurement_and_can_be_drawn(found, tmp_path):
    sizes = {"explainer": 4, "metric": 2, "stage": 2, "seed": 1, "image": COUNT}
    assert dict(zip(found.similarity.dims, found.similarity.shape, strict=True)) == sizes
    assert found["null"].dims == ("null_kind", "explainer", "metric", "image")
    assert found.mass_on_task.dims == ("explainer", "model", "image")
    picture_file = tmp_path / "maps.png"
    plotting.save(plotting.map_grid(found, image=3), picture_file)
    assert picture_file.stat().st_size > 5_000


def test_a_run_that_is_broken_off_goes_on_and_a_folder_of_another_one_is_refused(found, tmp_path):
    class Stop(Exception):
        pass

    def stop(name, done, total):
        assert total == 5
        if done == 3:
            raise Stop

    with pytest.raises(Stop):
        run(folder=tmp_path, progress=stop)
    assert len(list(tmp_path.glob("*.nc"))) == 3
    xr.testing.assert_identical(run(folder=tmp_path), found)
    xr.testing.assert_identical(run(folder=tmp_path), found)
    with pytest.raises(ValueError, match=r"another configuration \(models/shape_task: "):
        run(folder=tmp_path, shape_params=DIGIT)
    with pytest.raises(ValueError, match=r"another configuration \(models/.*: "):
        run(folder=tmp_path, digit_mask=LEFT & False)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"images": IMAGES[0]}, ValueError, r"images must be \[batch, height, width, channel\], got 3 axes"),
        (
            {"digit_targets": DIGIT_TARGETS + 1},
            ValueError,
            r"digit_targets must be classes in \[0, 3\), found \[3, 3\]",
        ),
        ({"shape_targets": SHAPE_TARGETS[1:]}, ValueError, "shape_targets must hold one class for each of the 6"),
        ({"digit_mask": LEFT.astype(float)}, TypeError, "digit_mask must be boolean, got float64"),
        (
            {"shape_mask": RIGHT[..., None]},
            ValueError,
            r"shape_mask must be .* \(6, 8, 16\) .* got .*\(6, 8, 16, 1\)",
        ),
        ({"shape_mask": LEFT}, ValueError, "digit_mask and shape_mask must share no pixel, found 384"),
        ({"explainers": {}}, ValueError, "explainers must name at least one function, got none"),
        ({"explainers": [sj.gradient]}, TypeError, "explainers must be a mapping .* got list"),
        ({"metrics": {}}, ValueError, "metrics must name at least one function, got none"),
        ({"kept_images": -1}, ValueError, "kept_images must not be negative, got -1"),
        ({"key": None}, ValueError, "task_dependence draws random numbers"),
    ],
)
def test_bad_arguments_are_named_with_their_rule(as_a_user, options, error, message):
    with pytest.raises(error, match=message):
        run(**options)
