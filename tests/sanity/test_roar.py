"""Removed pixels against a slow loop, and remove-and-retrain where it is known which pixel carries the label."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import saliency_jax as sj
from saliency_jax.sanity.removal import removal_ranks, remove_pixels
from saliency_jax.sanity.roar import roar


def slowly_removed(images, maps, fraction, fill, ranking):
    """Pixel by pixel in float64: the largest first, of equal ones the first in row-major order."""
    out = np.array(images)
    count = int(np.floor(fraction * images.shape[1] * images.shape[2] + 0.5))
    for image, one in zip(out, np.asarray(maps, np.float64), strict=True):
        values = []
        for row in range(one.shape[0]):
            for column in range(one.shape[1]):
                channels = one[row, column]
                importance = sum(abs(c) for c in channels) if ranking == "absolute" else sum(channels)
                values.append((-importance, row, column))
        for _, row, column in sorted(values)[:count]:
            image[row, column] = fill
    return out


@pytest.mark.parametrize("ranking", ["absolute", "signed"])
@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.1, 0.5, 0.9, 0.99, 1.0])
def test_removed_pixels_are_those_of_a_slow_loop_also_among_ties(ranking, fraction):
    """Maps of few whole values, exact in any order of summation, so that most pixels are tied with others."""
    random = np.random.default_rng(0)
    images = random.uniform(size=(6, 7, 5, 3)).astype(np.float32)
    maps = random.integers(-2, 3, size=(6, 7, 5, 2)).astype(np.float32)
    maps[0], maps[1] = 0, 3
    maps[2] = np.where(random.random((7, 5, 2)) < 0.5, 0.0, -0.0)
    fill = np.array([0.2, 0.4, 0.9], np.float32)
    found = remove_pixels(images, maps, fraction=fraction, fill=fill, ranking=ranking)
    np.testing.assert_array_equal(found, slowly_removed(images, maps, fraction, fill, ranking))


@pytest.mark.parametrize(("fraction", "count"), [(0.1, 4), (0.3, 11), (0.5, 18), (1 / 72, 1), (0.0138, 0)])
def test_exactly_that_many_pixels_go_from_every_image(fraction, count, key):
    """Of 36 pixels, halves rounded up, whatever ties there are and however they are broken."""
    maps = np.random.default_rng(1).integers(0, 2, size=(50, 6, 6, 1)).astype(np.float32)
    for ties in (None, key):
        found = remove_pixels(np.zeros_like(maps), maps, fraction=fraction, fill=1.0, key=ties)
        np.testing.assert_array_equal(found.sum((1, 2, 3)), count)


def test_a_key_breaks_ties_at_random_and_nothing_else(key):
    """Of 100 tied pixels 30 go: each from 0.3 of the images within five standard errors, never one that is smaller."""
    maps = np.zeros((2000, 10, 12, 1), np.float32)
    maps[:, :, :10] = 1
    gone = np.asarray(remove_pixels(np.zeros_like(maps), maps, fraction=0.25, fill=1.0, key=key))[..., 0]
    assert gone[:, :, 10:].sum() == 0
    np.testing.assert_allclose(gone[:, :, :10].mean(0), 0.3, atol=5 * np.sqrt(0.3 * 0.7 / 2000))
    assert len({one.tobytes() for one in gone}) == 2000


def test_an_images_ties_do_not_depend_on_how_many_images_there_are(key):
    maps = jnp.ones((8, 5, 5, 1))
    np.testing.assert_array_equal(removal_ranks(maps, key=key)[:3], removal_ranks(maps[:3], key=key))


def test_channels_go_together_by_their_sum_and_only_absolute_values_see_a_cancellation():
    maps = np.zeros((1, 2, 2, 2), np.float32)
    maps[0, 0, 1] = [3, -3]
    maps[0, 1, 0] = [1, 1]
    expected = {"absolute": [[1, 0], [1, 1]], "signed": [[1, 1], [0, 1]]}
    for ranking, kept in expected.items():
        found = remove_pixels(np.ones((1, 2, 2, 3), np.float32), maps, fraction=0.25, fill=0.0, ranking=ranking)
        np.testing.assert_array_equal(found, np.repeat(np.array(kept)[None, ..., None], 3, axis=-1))


def test_ranks_are_scipys_ordinal_ranks_of_the_negated_map():
    import scipy.stats

    maps = np.random.default_rng(2).integers(-3, 3, size=(4, 6, 5, 1)).astype(np.float32)
    for one, ranks in zip(maps, removal_ranks(maps, ranking="signed"), strict=True):
        np.testing.assert_array_equal(ranks.ravel() + 1, scipy.stats.rankdata(-one.ravel(), method="ordinal"))


IMAGES = np.ones((2, 4, 4, 3), np.float32)


@pytest.mark.parametrize(
    ("images", "maps", "options", "message"),
    [
        (IMAGES, IMAGES[:1], {}, r"maps must be as many and as large as the images \(2, 4, 4, 3\), got .*\(1, 4"),
        (IMAGES, IMAGES[:, :3], {}, r"maps must be as many and as large .* got shape \(2, 3, 4, 3\)"),
        (IMAGES, IMAGES * np.float32(np.nan), {}, "maps must be finite, found 96 NaN or infinite of 96"),
        (IMAGES * np.float32(np.inf), IMAGES, {}, "images must be finite"),
        (IMAGES, IMAGES, {"fraction": 1.1}, r"fraction must be in \[0, 1\], got 1.1"),
        (IMAGES, IMAGES, {"fraction": float("nan")}, r"fraction must be in \[0, 1\], got nan"),
        (IMAGES, IMAGES, {"fill": [1.0, 2.0]}, r"fill must be a number or one for each channel \(3,\), got .*\(2,\)"),
        (IMAGES, IMAGES, {"fill": np.nan}, "fill must be finite"),
        (IMAGES, IMAGES, {"ranking": "squared"}, r"ranking must be one of \['absolute', 'signed'\], got 'squared'"),
    ],
)
def test_bad_input_is_named_with_its_rule(as_a_user, images, maps, options, message):
    options = {"fraction": 0.5, "fill": 0.0} | options
    with pytest.raises(ValueError, match=message):
        remove_pixels(images, maps, **options)


# A task whose label is one pixel's sign, and a model that can be trained in closed form.

PIXEL = (2, 3)
SIDE = 6


def split(seed, count=400):
    """Images of noise in which one pixel is the label: -1 for class 0 and 1 for class 1, as many of each."""
    random = np.random.default_rng(seed)
    images = 0.1 * random.normal(size=(count, SIDE, SIDE, 1)).astype(np.float32)
    labels = np.arange(count) % 2
    images[(slice(None), *PIXEL, 0)] = 2 * labels - 1
    return jnp.asarray(images), labels


def apply(params, images):
    """Two logits, linear in the pixels, of which one is the negative of the other."""
    return images.reshape(len(images), -1) @ params["weights"] + params["bias"].reshape(1, 2)


def retrain(images, labels, key):
    """Ridge regression on the label's sign, after a start that the key draws and that nothing is left of."""
    pixels = images.reshape(len(images), -1)
    centred = pixels - pixels.mean(axis=0, keepdims=True)
    signs = 2.0 * labels - 1
    gram = centred.T @ centred + 0.1 * jnp.eye(pixels.shape[1])
    weights = jnp.linalg.solve(gram, centred.T @ signs)
    bias = -(pixels.mean(axis=0) @ weights)
    return {
        "weights": jnp.stack([-weights, weights], axis=1),
        "bias": jnp.stack([-bias, bias]),
    }


def truth(score, image, key=None):
    return jnp.zeros_like(image).at[PIXEL].set(1.0)


def nothing(score, image, key=None):
    return jnp.where(image > 2, image, jnp.nan)


FRACTIONS = (1 / 36, 0.5, 0.9)


@pytest.fixture(scope="module")
def given():
    train, test = split(0), split(1)
    return {
        "apply": apply,
        "params": retrain(*train, None),
        "retrain": retrain,
        "train": train,
        "test": test,
        "explainers": {"truth": truth, "noise": sj.EXPLAINERS["noise"], "gradient": sj.gradient},
    }


def run(given, **options):
    settings = {**given, "key": jax.random.key(4), "fractions": FRACTIONS, "seeds": 2, **options}
    names = ("apply", "params", "retrain", "train", "test", "explainers")
    arguments = [settings.pop(name) for name in names]
    return roar(*arguments, **settings)


@pytest.fixture(scope="module")
def found(given):
    return run(given)


def test_removing_the_pixel_that_is_the_label_leaves_chance_at_the_smallest_fraction(found):
    """1 / 36 of the pixels is that pixel. What is left is independent of the label; 400 images, five deviations."""
    assert (found.accuracy_of_whole_images == 1).all()
    np.testing.assert_allclose(found.accuracy.sel(explainer="truth"), 0.5, atol=5 * 0.5 / np.sqrt(400))


def test_removing_random_pixels_costs_half_an_image_for_each_label_that_went(found):
    """A fraction f of the images lost the pixel and is guessed; the others are right: 1 - f / 2."""
    by_noise = found.accuracy.sel(explainer="noise")
    for fraction in FRACTIONS:
        np.testing.assert_allclose(by_noise.sel(fraction=fraction), 1 - fraction / 2, atol=0.07)


def test_the_gradient_of_a_linear_model_finds_the_pixel(found):
    gradient, best = (found.accuracy.sel(explainer=name) for name in ("gradient", "truth"))
    np.testing.assert_array_equal(gradient.isel(fraction=0), best.isel(fraction=0))
    np.testing.assert_allclose(gradient, 0.5, atol=5 * 0.5 / np.sqrt(400))


def test_without_retraining_the_given_model_sees_the_same_removed_images(given, found):
    """The mean of the training images is where the pixel's mean is, 0: the logits are left to the noise."""
    images, labels = given["test"]
    fill = np.asarray(given["train"][0]).mean()
    whole = np.array(images)
    whole[(slice(None), *PIXEL)] = fill
    predicted = np.asarray(apply(given["params"], jnp.asarray(whole))).argmax(1)
    accuracy = found.accuracy_without_retraining.sel(explainer="truth", fraction=1 / 36)
    assert float(accuracy) == pytest.approx(np.mean(predicted == labels), abs=1e-6)
    np.testing.assert_allclose(found.removed.sel(explainer="truth").isel(fraction=0), whole[:4], rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(found.images, images[:4])


def test_a_test_label_takes_no_part_in_what_is_removed(given):
    """The signed gradient of one class ranks the pixel first, that of the other ranks it last."""
    images, labels = given["test"]
    options = {"explainers": {"gradient": sj.gradient}, "ranking": "signed", "seeds": 1}
    ours, flipped = (run(given, test=(images, one), **options) for one in (labels, 1 - labels))
    np.testing.assert_array_equal(ours.removed, flipped.removed)
    np.testing.assert_allclose(ours.accuracy + flipped.accuracy, 1, atol=1e-6)


def test_keep_and_retrain_is_the_negated_map(given):
    def kept_longest(score, image, key=None):
        return -truth(score, image)

    kept = run(given, explainers={"kar": kept_longest}, ranking="signed", fractions=(0.5, 35 / 36), seeds=1)
    np.testing.assert_array_equal(kept.accuracy, 1)


def test_trainings_get_their_own_keys_shared_by_explainers_and_fractions(given):
    keys = []

    def noted(images, labels, key):
        keys.append(jax.random.key_data(key).tolist())
        return retrain(images, labels, key)

    run(given, retrain=noted, seeds=(3, 8), fractions=(0.5, 0.9))
    assert len(keys) == 2 + 3 * 2 * 2
    assert keys[0] != keys[1] and keys == keys[:2] * 7


def test_maps_that_are_not_finite_or_constant_are_counted_and_the_first_give_no_accuracy(given):
    found = run(given, explainers={"nothing": nothing, "constant": sj.EXPLAINERS["constant"]}, seeds=1)
    assert found.nonfinite_maps.sel(explainer="nothing").values.tolist() == [400, 400]
    assert np.isnan(found.accuracy.sel(explainer="nothing")).all()
    assert np.isnan(found.accuracy_without_retraining.sel(explainer="nothing")).all()
    assert found.constant_maps.sel(explainer="constant").values.tolist() == [400, 400]
    # Ties of a constant map are broken at random: it is a random ranking.
    np.testing.assert_allclose(found.accuracy.sel(explainer="constant", seed=0), 1 - np.array(FRACTIONS) / 2, atol=0.07)


def test_seeds_by_number_are_those_of_a_longer_run(given, found):
    later = run(given, seeds=(1,))
    np.testing.assert_array_equal(later.accuracy.sel(seed=1), found.accuracy.sel(seed=1))


class Stop(Exception):
    pass


def test_a_run_that_is_broken_off_goes_on_and_equals_one_that_was_left_alone(given, found, tmp_path):
    def stop(name, done, total):
        assert total == 2 + 3 * (1 + 3 * 2)
        if done == 8:
            raise Stop

    with pytest.raises(Stop):
        run(given, folder=tmp_path, progress=stop)
    finished = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.nc")}
    assert len(finished) == 8
    xr.testing.assert_identical(run(given, folder=tmp_path), found)
    assert finished.items() <= {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.nc")}.items()

    def never(images, labels, key):
        raise AssertionError("a finished training was done again")

    # What the function is called tells nothing of its code, which the folder knows.
    with pytest.raises(ValueError, match=r"another configuration \(.*retrain: "):
        run(given, folder=tmp_path, retrain=never)
    with pytest.raises(ValueError, match=r"another configuration \(.*ranking: \"absolute\" there, \"signed\" asked"):
        run(given, folder=tmp_path, ranking="signed")


def test_the_dataset_has_the_names_and_the_order_of_the_documentation(found):
    sizes = {"explainer": 3, "fraction": 3, "seed": 2}
    assert dict(zip(found.accuracy.dims, found.accuracy.shape, strict=True)) == sizes
    assert found.explainer.values.tolist() == ["truth", "noise", "gradient"]
    np.testing.assert_allclose(found.fraction, FRACTIONS)
    assert found.attrs == {"test": "roar", "ranking": "absolute"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fractions": ()}, r"fractions must be different numbers in \(0, 1\], got \(\)"),
        ({"fractions": (0.0, 0.5)}, r"fractions must be different numbers in \(0, 1\]"),
        ({"fractions": (0.5, 0.5)}, r"fractions must be different numbers in \(0, 1\]"),
        ({"fractions": (1.5,)}, r"fraction must be in \[0, 1\], got 1.5"),
        ({"seeds": 0}, r"seeds must be a positive number or different integers .* got 0"),
        ({"explainers": {}}, "explainers must map at least one name to a function, got {}"),
        ({"ranking": "best"}, r"ranking must be one of \['absolute', 'signed'\], got 'best'"),
        ({"fill": [0.0, 1.0]}, r"fill must be a number or one for each channel \(1,\), got shape \(2,\)"),
        ({"kept_images": -1}, "kept_images must not be negative, got -1"),
        ({"key": None}, "roar draws random numbers"),
        ({"train": (split(0)[0], np.full(400, 2))}, r"train labels must be classes in \[0, 2\)"),
        ({"test": (jnp.zeros((3, 4, 6, 1)), np.zeros(3, int))}, r"must have one size, got shapes \(400, 6, 6, 1\) and"),
    ],
)
def test_roar_names_what_is_wrong(as_a_user, given, options, message):
    with pytest.raises(ValueError, match=message):
        run(given, **options)


def test_an_option_fixed_in_the_training_is_part_of_the_configuration(given, tmp_path):
    def with_option(images, labels, key, *, option):
        return retrain(images, labels, key)

    settings = {"explainers": {"truth": truth}, "fractions": (0.5,), "seeds": 1, "folder": tmp_path}
    run(given, retrain=partial(with_option, option=1), **settings)
    with pytest.raises(ValueError, match=r"retrain: .*option=1.* there, .*option=2.* asked"):
        run(given, retrain=partial(with_option, option=2), **settings)
