"""Training through the stages: what each changes, what a break leaves, and what is refused."""

from contextlib import nullcontext
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_prototypes as tiny

from saliency_jax import checkpoints
from saliency_jax.models import ResNet
from saliency_jax.prototypes import ProtoPNet, Recipe, Stage, Trunk, fit, prototype_classes
from saliency_jax.training import evaluate

MODEL = ProtoPNet(classes=3, prototypes=6, depth=4, backbone=tiny.Normalized())
COSINE = MODEL.clone(distance="cosine")
STAGES = (Stage("warm", 2), Stage("joint", 2), Stage("project"), Stage("last_layer", 2))
RECIPE = Recipe(batch_size=5, backbone_rate=1e-2, add_on_rate=1e-2, prototype_rate=1e-2, last_layer_rate=1e-2)
GROUPS = {"backbone", "add_on", "prototype_vectors", "last_layer"}


def noisy(key, batch):
    return batch + 0.05 * jax.random.normal(key, batch.shape)


@pytest.fixture(scope="module")
def images():
    return np.random.RandomState(0).rand(14, 5, 5, 3).astype(np.float32)


@pytest.fixture(scope="module")
def labels():
    return np.arange(14) % 3


@pytest.fixture(scope="module")
def variables(images):
    return tiny.drawn_variables(MODEL, images)


@pytest.fixture(scope="module")
def fitted(images, labels, variables):
    """`fit` on the problem above through all stages, but for what is to be otherwise."""
    usual = {"variables": variables, "images": images, "labels": labels, "stages": STAGES, "recipe": RECIPE}

    def fit_with(*, model=MODEL, seed=0, **otherwise):
        given = usual | otherwise
        arrays = [given.pop(name) for name in ("variables", "images", "labels")]
        return fit(model, *arrays, key=jax.random.key(seed), **given)

    return fit_with


@pytest.fixture(scope="module")
def trained(fitted, images, labels):
    """The whole training, with a copy of the variables after each epoch."""
    seen = []
    found = fitted(
        augment=noisy,
        validation=(images[:6], labels[:6]),
        on_epoch=lambda epoch, now: seen.append((epoch, jax.tree.map(np.array, now))),
    )
    return found, seen


def bits(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf).tobytes(), tree)


def test_a_stage_trains_its_own_groups_and_all_other_leaves_stay_as_they_are_to_the_bit(variables, trained):
    trains = {
        "warm": {"add_on", "prototype_vectors"},
        "joint": {"backbone", "add_on", "prototype_vectors"},
        "project": {"prototype_vectors"},
        "last_layer": {"last_layer"},
    }
    before = jax.tree.map(np.array, variables)
    for epoch, now in trained[1]:
        assert bits(now["batch_stats"]) == bits(variables["batch_stats"])
        changed = {name for name in GROUPS if bits(now["params"][name]) != bits(before["params"][name])}
        assert changed == trains[epoch.kind]
        for name in changed - {"prototype_vectors"}:
            leaves = zip(
                *(jax.tree_util.tree_leaves_with_path(tree["params"][name]) for tree in (now, before)), strict=True
            )
            assert all(np.any(new != old) for (_, new), (_, old) in leaves)
        before = now


def test_epochs_are_counted_and_measured(images, labels, trained):
    found, seen = trained
    plan = [(place, stage.kind, epoch + 1) for place, stage in enumerate(STAGES) for epoch in range(stage.epochs)]
    assert [(row.stage, row.kind, row.epoch) for row in found.history] == plan
    assert [epoch for epoch, _ in seen] == list(found.history)
    for epoch, now in seen:
        assert epoch.validation == evaluate(MODEL.apply, now, images[:6], labels[:6])
        if epoch.kind == "project":
            assert np.isnan(epoch.loss) and np.isnan(epoch.terms).all() and np.isnan(epoch.accuracy)
        else:
            np.testing.assert_allclose(epoch.loss, np.dot(epoch.terms, [1, 0.8, -0.08, 1e-4]), rtol=1e-5)
            assert 0 <= epoch.accuracy <= 1
    # The last layer was at 1 and -0.5 until its own stage: 6 prototypes with two other classes each.
    for epoch in found.history[:4]:
        np.testing.assert_allclose(epoch.terms[3], 6.0, rtol=1e-6)


def test_the_callers_variables_stay_valid_and_unchanged(variables, images, trained):
    fresh = tiny.drawn_variables(MODEL, images)
    assert bits(variables) == bits(fresh)


def assert_prototypes_are_patches(model, found, images, labels):
    sources = found.sources
    compared = tiny.compared(model, found.variables, images)
    everyone = np.arange(len(sources.image))
    assert (np.asarray(compared.distances)[sources.image, everyone] < 1e-6).all()
    similar = np.asarray(compared.similarities)[sources.image, everyone]
    np.testing.assert_allclose(similar, 9.2103, atol=1e-4)
    np.testing.assert_array_equal(labels[sources.image], prototype_classes(model))
    width = compared.distance_maps.shape[2]
    places = np.asarray(compared.distance_maps).reshape(len(images), -1, len(everyone))
    own = places[sources.image, sources.row * width + sources.column, everyone]
    np.testing.assert_allclose(own, 0, atol=1e-5)


def test_prototypes_are_still_patches_after_the_last_layer_was_trained_on_a_backbone_with_batchnorm(
    images, labels, trained
):
    assert_prototypes_are_patches(MODEL, trained[0], images, labels)


def test_prototypes_are_still_patches_by_the_cosine(fitted, images, labels):
    found = fitted(model=COSINE, seed=1, stages=[Stage("project"), Stage("last_layer", 1)])
    assert_prototypes_are_patches(COSINE, found, images, labels)


@pytest.mark.slow
def test_prototypes_are_still_patches_on_a_residual_network_of_this_library(fitted, labels):
    images = np.random.RandomState(1).rand(14, 24, 24, 3).astype(np.float32)
    model = MODEL.clone(backbone=Trunk(ResNet(depths=(1,), bottleneck=False, classes=3)))
    variables = tiny.drawn_variables(model, images)
    assert variables["batch_stats"]
    stages = [Stage("project"), Stage("last_layer", 1)]
    found = fitted(model=model, seed=1, variables=variables, images=images, stages=stages)
    assert bits(found.variables["batch_stats"]) == bits(variables["batch_stats"])
    assert_prototypes_are_patches(model, found, images, labels)


class Killed(Exception):
    """In place of a signal."""


@pytest.mark.slow
@pytest.mark.parametrize("save_seconds", [0.0, 1e6])
def test_a_training_that_is_killed_in_every_stage_ends_with_the_bits_of_one_that_was_not(
    save_seconds, fitted, images, labels, trained, tmp_path
):
    dies_at = [("warm", 2), ("joint", 1), ("joint", 2), ("project", 1), ("last_layer", 1), ("last_layer", 2), None]
    resumed_at = []
    for moment in dies_at:
        first = True

        def on_epoch(epoch, now, moment=moment):
            nonlocal first
            if first:
                resumed_at.append((epoch.kind, epoch.epoch))
                first = False
            if (epoch.kind, epoch.epoch) == moment:
                raise Killed

        with nullcontext() if moment is None else pytest.raises(Killed):
            found = fitted(
                augment=noisy,
                validation=(images[:6], labels[:6]),
                on_epoch=on_epoch,
                folder=tmp_path,
                save_seconds=save_seconds,
            )
    # With a checkpoint each epoch the one that was broken off is done again; else its stage from the beginning.
    if save_seconds == 0:
        assert resumed_at == [("warm", 1), *dies_at[:-1]]
    else:
        assert resumed_at == [(kind, 1) for kind, _ in [("warm", 0), *dies_at[:-1]]]
    whole = trained[0]
    assert bits(found.variables) == bits(whole.variables)
    assert bits(found.sources) == bits(whole.sources)
    without_time = [[row._replace(seconds=0.0) for row in one.history] for one in (found, whole)]
    assert repr(without_time[0]) == repr(without_time[1])
    # Called once more there is nothing to do.
    again = fitted(augment=noisy, on_epoch=lambda *_: pytest.fail("an epoch was done again"), folder=tmp_path)
    assert bits(again.variables) == bits(whole.variables)
    assert bits(again.sources) == bits(whole.sources)


def test_a_checkpoint_of_another_training_is_refused_and_what_differs_is_named(
    fitted, images, labels, variables, tmp_path
):
    run = partial(fitted, stages=[Stage("project")], folder=tmp_path)
    run()
    kept = checkpoints.steps(tmp_path)
    others = {
        "model": {"model": COSINE},
        "variables": {
            "variables": {**variables, "batch_stats": jax.tree.map(lambda x: x + 1, variables["batch_stats"])}
        },
        "images": {"images": images + 1},
        "labels": {"labels": (labels + 1) % 3},
        "key": {"seed": 1},
        "stages": {"stages": [Stage("warm", 1)]},
        "recipe": {"recipe": Recipe(batch_size=5, decay=0.5)},
        "projected": {"projected": images + 1},
    }
    for name, other in others.items():
        with pytest.raises(ValueError, match=f"folder holds a training of other {name}"):
            run(**other)
    assert checkpoints.steps(tmp_path) == kept


def test_a_network_of_another_backbone_or_shape_is_refused(fitted, images, tmp_path):
    run = partial(fitted, stages=[Stage("project")], folder=tmp_path)
    run()
    for other in (MODEL.clone(depth=5), MODEL.clone(prototypes=3), MODEL.clone(backbone=tiny.Normalized(6))):
        with pytest.raises(ValueError, match="folder holds a training of other"):
            run(model=other, variables=tiny.drawn_variables(other, images))


def test_sources_are_known_only_after_a_projection(fitted):
    def sources(*stages):
        return fitted(stages=stages, augment=noisy).sources

    assert sources(Stage("last_layer", 2)) is None
    assert sources(Stage("project"), Stage("warm", 1)) is None
    assert sources(Stage("project")) is not None


def test_prototypes_are_projected_on_the_images_that_are_given_for_it(fitted, images, labels):
    others = images[::-1].copy()
    found = fitted(stages=[Stage("project")], projected=others)
    assert_prototypes_are_patches(MODEL, found, others, labels)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"labels": np.arange(14) % 2}, ValueError, r"labels must name an image of every class .* \[2\]"),
        ({"labels": np.arange(14) % 4}, ValueError, r"labels must be classes in \[0, 3\), found \[3"),
        ({"labels": np.arange(14) % 3 - 1}, ValueError, r"labels must be classes in \[0, 3\), found \[-1"),
        ({"labels": np.arange(13) % 3}, ValueError, "labels must hold one class for each of the 14 images"),
        ({"labels": np.arange(14.0)}, TypeError, "labels must be integer"),
        ({"recipe": Recipe(batch_size=15)}, ValueError, "batch_size must be at most the 14 images, got 15"),
        ({"images": np.ones((14, 5, 5, 3), np.uint8)}, TypeError, "images must be floating point"),
        ({"images": np.ones((14, 75), np.float32)}, ValueError, r"images must be \[n, height, width, channel\]"),
        ({"stages": []}, ValueError, "stages must hold at least one"),
        ({"stages": [Stage("freeze", 1)]}, ValueError, "stages must be of .*'freeze'"),
        ({"stages": [Stage("warm", 0)]}, ValueError, "stages must be of .*epochs=0"),
        ({"stages": [Stage("project", 2)]}, ValueError, "stages must be of .*epochs=2"),
        ({"projected": np.ones((13, 5, 5, 3), np.float32)}, ValueError, "projected must hold the 14 training images"),
        ({"save_seconds": -1.0}, ValueError, "save_seconds must not be negative"),
        ({"save_seconds": float("nan")}, ValueError, "save_seconds must not be negative, got nan"),
    ],
)
def test_what_does_not_fit_is_named(options, error, message, fitted, as_a_user):
    with pytest.raises(error, match=message):
        fitted(**options)


def test_a_loss_that_is_no_number_stops_the_training_and_names_stage_and_epoch(fitted, images, tmp_path):
    broken = images.copy()
    broken[3, 2, 2, 1] = np.nan
    with pytest.raises((FloatingPointError, ValueError), match=r"not finite in stage 0 \(warm\), epoch 1|finite"):
        fitted(images=broken, augment=noisy, folder=tmp_path)
    assert checkpoints.steps(tmp_path) == ()


def test_parameters_that_overflow_stop_the_training(fitted):
    with pytest.raises(FloatingPointError, match=r"stage 0 \(last_layer\)"):
        fitted(stages=[Stage("last_layer", 3)], recipe=Recipe(batch_size=5, last_layer_rate=1e38))


def test_the_same_arguments_give_the_same_bits_and_another_key_others(fitted, variables, trained):
    def run(seed):
        return fitted(seed=seed, variables=jax.tree.map(jnp.asarray, variables), stages=STAGES[:1], augment=noisy)

    after_warm = trained[1][1][1]
    assert bits(run(0).variables) == bits(after_warm)
    assert bits(run(1).variables) != bits(after_warm)
