"""Batches of explanations: chunks, keys, devices, and what is refused."""

from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from eight_devices import run_on_eight_devices

from saliency_jax import batched, class_score, gradient, noise, smoothgrad

draw = np.random.default_rng(1).normal
PARAMS = {
    "first": jnp.asarray(draw(size=(24, 6)), jnp.float32),
    "bias": jnp.asarray(draw(size=6), jnp.float32),
    "last": jnp.asarray(draw(size=(6, 4)), jnp.float32),
}
IMAGES = jnp.asarray(draw(size=(7, 4, 3, 2)), jnp.float32)
TARGETS = jnp.array([0, 1, 2, 3, 3, 0, 1])
DRAWS = smoothgrad(gradient, samples=3, noise=0.3)


def apply(params, images):
    hidden = jax.nn.relu(images.reshape(len(images), -1) @ params["first"] + params["bias"][None])
    return hidden @ params["last"]


def test_gradients_are_those_of_the_network_by_hand():
    x, first, last = (np.asarray(a, np.float64) for a in (IMAGES.reshape(7, -1), PARAMS["first"], PARAMS["last"]))
    on = x @ first + np.asarray(PARAMS["bias"]) > 0
    expected = np.stack([first @ (on[i] * last[:, TARGETS[i]]) for i in range(7)]).reshape(IMAGES.shape)
    found = batched(gradient, apply)(PARAMS, IMAGES, TARGETS)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@cache
def singly_explained():
    """Some of the images, one after the other, each with its own key."""
    one = jax.jit(lambda target, image, key: DRAWS(class_score(apply, PARAMS, target), image, key))
    return {i: one(TARGETS[i], IMAGES[i], jax.random.fold_in(jax.random.key(0), i)) for i in (0, 3, 6)}


@pytest.mark.parametrize("batch_size", [1, 3, 7, None])
def test_maps_do_not_depend_on_the_chunks(batch_size):
    maps = batched(DRAWS, apply, batch_size=batch_size)(PARAMS, IMAGES, TARGETS, jax.random.key(0))
    for i, single in singly_explained().items():
        np.testing.assert_allclose(maps[i], single, rtol=1e-5, atol=1e-6)


def test_every_image_draws_from_the_key_of_its_place(key):
    drawn = batched(noise, apply, batch_size=3)(PARAMS, IMAGES, TARGETS, key)
    expected = jnp.stack([jax.random.normal(jax.random.fold_in(key, i), IMAGES.shape[1:]) for i in range(7)])
    np.testing.assert_array_equal(drawn, expected)


def test_a_raw_key_gives_the_draws_of_the_typed_one():
    typed, raw = (batched(noise, apply)(PARAMS, IMAGES, TARGETS, k) for k in (jax.random.key(3), jax.random.PRNGKey(3)))
    np.testing.assert_array_equal(typed, raw)


def test_the_kind_of_score_is_passed_on():
    p = scipy.special.softmax(np.asarray(apply(PARAMS, IMAGES), np.float64), axis=1)
    rows = np.arange(7)
    logits = [batched(gradient, apply)(PARAMS, IMAGES, jnp.full(7, c)) for c in range(4)]
    mean = sum(p[:, c].reshape(7, 1, 1, 1) * np.asarray(logits[c]) for c in range(4))
    chosen = np.stack(logits)[np.asarray(TARGETS), rows]
    found = batched(gradient, apply, kind="log_softmax")(PARAMS, IMAGES, TARGETS)
    np.testing.assert_allclose(found, chosen - mean, rtol=1e-4, atol=1e-5)


def test_the_model_is_traced_once_for_a_shape_and_params_are_no_part_of_the_program():
    traces = []

    def counted(params, images):
        traces.append(images.shape)
        return apply(params, images)

    explain = batched(gradient, counted, batch_size=3)
    first, at_first = explain(PARAMS, IMAGES, TARGETS), len(traces)
    second = explain(jax.tree.map(lambda leaf: 2 * leaf, PARAMS), IMAGES + 1, TARGETS)
    # The number of classes is looked up once more, without running the model.
    assert len(traces) <= at_first + 1
    assert not np.allclose(first, second)


def test_nothing_that_is_passed_is_changed():
    before = jax.tree.map(np.array, (PARAMS, IMAGES, TARGETS))
    batched(DRAWS, apply, batch_size=4)(PARAMS, IMAGES, TARGETS, jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, before, jax.tree.map(np.array, (PARAMS, IMAGES, TARGETS)))


ON_EIGHT_DEVICES = """
import sys; sys.path.insert(0, sys.argv[1])
import jax, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from test_batched import DRAWS, IMAGES, PARAMS, TARGETS, apply
from saliency_jax import batched, gradient, noise
assert jax.device_count() == 8
devices = np.array(jax.devices())
line, square = Mesh(devices, ("images",)), Mesh(devices.reshape(4, 2), ("images", "model"))
sixteen = [jax.numpy.concatenate([x, x, x[:2]]) for x in (IMAGES, TARGETS)]
key = jax.random.key(5)
def check(explain, images, targets, mesh, batch_size, exact=False):
    expected = batched(explain, apply)(PARAMS, images, targets, key)
    maps = batched(explain, apply, mesh=mesh, batch_size=batch_size)(PARAMS, images, targets, key)
    assert maps.shape == images.shape
    np.testing.assert_allclose(maps, expected, rtol=0 if exact else 1e-5, atol=0 if exact else 1e-6)
    return maps
maps = check(DRAWS, *sixteen, line, 1)
assert len(maps.sharding.device_set) == 8, maps.sharding
check(DRAWS, IMAGES, TARGETS, line, None)
check(DRAWS, IMAGES, TARGETS, square, 1)
check(noise, IMAGES, TARGETS, line, None, exact=True)
check(gradient, IMAGES[:1], TARGETS[:1], line, None)
check(gradient, *sixteen, jax.make_mesh((8,), ("images",)), None)

# A dense network whose weights are in pieces on two devices each, under axes of either type.
from saliency_jax.meshes import on_mesh
divided = {"first": P(None, "model"), "bias": P("model"), "last": P("model", None)}
for placed_on in (square, jax.make_mesh((4, 2), ("images", "model"))):
    pieces = {name: jax.device_put(PARAMS[name], NamedSharding(placed_on, divided[name])) for name in PARAMS}
    kept = on_mesh(pieces, square)
    assert {leaf.addressable_shards[0].data.size for leaf in kept.values()} == {72, 3, 12}, kept
maps = batched(gradient, apply, mesh=placed_on)(pieces, IMAGES, TARGETS)
np.testing.assert_allclose(maps, batched(gradient, apply)(PARAMS, IMAGES, TARGETS), rtol=1e-5, atol=1e-5)
assert on_mesh(pieces, line)["first"].sharding.is_fully_replicated

sys.path[:0] = [sys.argv[1] + "/sanity", sys.argv[1] + "/../experiments"]
from devices import Devices, start
assert [start(Devices(devices=n)).mesh().size for n in (None, 3)] == [8, 3]
for asked, said in (
    ({"devices": 9}, "between 1 and the 8 that there are, got 9"),
    ({"devices": 0}, "got 0"),
    ({"processes": 2}, "need --coordinator"),
):
    try:
        start(Devices(**asked))
    except SystemExit as error:
        assert said in str(error), error
    else:
        raise AssertionError(f"{asked} is accepted")

import small_models
case = small_models.case()
kernel = {"kernel": NamedSharding(square, P(None, "model")), "bias": NamedSharding(square, P("model"))}
split = case._replace(params=case.params | {"dense": jax.device_put(case.params["dense"], kernel)})
alone, shared, in_pieces = (
    small_models.sweep({"gradient": gradient}, given, seeds=1, mesh=mesh)
    for given, mesh in ((case, None), (case, jax.make_mesh((8,), ("images",))), (split, square))
)
for name in alone.data_vars:
    np.testing.assert_allclose(shared[name], alone[name], atol=1e-5, err_msg=name)
    np.testing.assert_allclose(in_pieces[name], alone[name], atol=1e-5, err_msg=name)
print("done")
"""


@pytest.mark.slow
def test_maps_and_sweeps_do_not_depend_on_eight_devices_on_how_they_divide_a_batch_or_on_where_weights_lie():
    run_on_eight_devices(ON_EIGHT_DEVICES, Path(__file__).parent)


def with_nan(images):
    return images.at[2, 1, 1, 0].set(jnp.nan)


@pytest.mark.parametrize(
    ("images", "targets", "error", "match"),
    [
        (IMAGES[:0], TARGETS[:0], ValueError, "images must hold at least one image"),
        (IMAGES[0], TARGETS[:1], ValueError, "images must be .batch, height, width, channel., got 3 axes"),
        (IMAGES[..., 0], TARGETS, ValueError, "got 3 axes"),
        (IMAGES.astype(int), TARGETS, TypeError, "images must be floating point .*got int32"),
        (IMAGES.astype(jnp.complex64), TARGETS, TypeError, "images must be floating point"),
        (with_nan(IMAGES), TARGETS, ValueError, "images must be finite, found 1 NaN or infinite of 168"),
        (IMAGES.at[0].set(jnp.inf), TARGETS, ValueError, "images must be finite, found 24"),
        (IMAGES, TARGETS.at[1].set(4), ValueError, r"targets must be classes in \[0, 4\), found \[4\]"),
        (IMAGES, TARGETS.at[0].set(-1), ValueError, r"found \[-1\]"),
        (IMAGES, TARGETS[:5], ValueError, r"one class for each of the 7 images, got shape \(5,\)"),
        (IMAGES, jnp.int32(1), ValueError, r"got shape \(\)"),
        (IMAGES, TARGETS[:, None], ValueError, r"got shape \(7, 1\)"),
        (IMAGES, TARGETS.astype(float), TypeError, "targets must be integer classes, got float32"),
        (IMAGES, jax.nn.one_hot(TARGETS, 4), TypeError, "targets must be integer classes"),
    ],
)
def test_what_is_no_labelled_batch_is_named(as_a_user, images, targets, error, match):
    with pytest.raises(error, match=match):
        batched(gradient, apply)(PARAMS, images, targets)


def test_params_that_do_not_fit_leave_the_models_own_error_with_a_note():
    with pytest.raises(TypeError) as caught:
        batched(gradient, apply)(PARAMS | {"first": PARAMS["first"][:5]}, IMAGES, TARGETS)
    assert "do params fit the model" in "".join(caught.value.__notes__)
    with pytest.raises(KeyError, match="last"):
        batched(gradient, apply)({"first": PARAMS["first"], "bias": PARAMS["bias"]}, IMAGES, TARGETS)


@pytest.mark.parametrize("batch_size", [0, -3])
def test_a_batch_size_under_one_is_refused_before_anything_runs(batch_size):
    with pytest.raises(ValueError, match=f"batch_size must be at least 1, got {batch_size}"):
        batched(gradient, apply, batch_size=batch_size)


def test_logits_and_maps_of_another_shape_are_named():
    with pytest.raises(ValueError, match=r"must give logits \[batch, class\], got \(\)"):
        batched(gradient, lambda params, images: apply(params, images).sum())(PARAMS, IMAGES, TARGETS)
    with pytest.raises(ValueError, match=r"explain must give a map shaped like the image \(4, 3, 2\), got \(4, 3\)"):
        batched(lambda score, image, key=None: image.sum(-1), apply)(PARAMS, IMAGES, TARGETS)
