from functools import partial

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from small_models import LAYERS, apply, case, init

from saliency_jax import Layer, cascade, layers, randomize
from saliency_jax.sanity import stages

ORDERS = ("top_down", "bottom_up", "independent")
RANDOM = {
    "top_down": [{"logits"}, {"logits", "dense"}, {"logits", "dense", "first"}],
    "bottom_up": [{"first"}, {"first", "dense"}, {"first", "dense", "logits"}],
    "independent": [{"logits"}, {"dense"}, {"first"}],
}
BY_HAND = tuple(Layer(name, (f"{name}/kernel", f"{name}/bias")) for name in LAYERS)


def paths_and_leaves(tree):
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def assert_replaced(stage, trained, fresh):
    """The leaves of the stage's layers are those of `fresh`, all others the very arrays of `trained`."""
    trained, fresh, got = map(paths_and_leaves, (trained, fresh, stage.params))
    replaced = {path for layer in stage.layers for path in layer.paths}
    assert replaced
    for path in trained:
        assert got[path] is (fresh if path in replaced else trained)[path], path


class LinenWithStatistics(nn.Module):
    @nn.compact
    def __call__(self, images):
        hidden = nn.relu(nn.BatchNorm(use_running_average=True, name="norm")(nn.Conv(2, (3, 3), name="stem")(images)))
        return nn.Dense(3, name="head")(hidden.reshape(len(images), -1))


class NnxNetwork(nnx.Module):
    def __init__(self, rngs):
        self.stem = nnx.Conv(1, 2, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(2, use_running_average=True, rngs=rngs)
        self.head = nnx.Linear(128, 3, rngs=rngs)

    def __call__(self, images):
        hidden = nnx.relu(self.norm(self.stem(images)))
        return self.head(hidden.reshape(len(images), -1))


class EquinoxNetwork(eqx.Module):
    stem: eqx.nn.Conv2d
    head: eqx.nn.Linear

    def __init__(self, key):
        self.stem = eqx.nn.Conv2d(1, 2, 3, key=key)
        self.head = eqx.nn.Linear(72, 3, key=jax.random.fold_in(key, 1))

    def __call__(self, image):
        return self.head(jax.nn.relu(self.stem(jnp.moveaxis(image, -1, 0))).ravel())


def linen():
    model = LinenWithStatistics()
    return model.apply, lambda key: model.init(key, jnp.zeros((1, 8, 8, 1))), ("stem", "norm", "head")


def nnx_state():
    graph = nnx.graphdef(NnxNetwork(nnx.Rngs(0)))

    def init(key):
        return nnx.state(NnxNetwork(nnx.Rngs(params=key)))

    return lambda state, images: nnx.merge(graph, state)(images), init, ("stem", "norm", "head")


def equinox():
    return lambda model, images: jax.vmap(model)(images), EquinoxNetwork, ("stem", "head")


def plain():
    return apply, init, LAYERS


@pytest.mark.parametrize("framework", [linen, nnx_state, equinox, plain])
def test_a_stage_has_the_chosen_layers_fresh_and_shares_all_others_with_the_trained_model(framework):
    model, make, names = framework()
    trained, fresh = make(jax.random.key(0)), make(jax.random.key(1))
    before = jax.tree.map(np.array, trained)
    images = jnp.ones((2, 8, 8, 1))
    in_order = layers(model, trained, images)
    for order in ORDERS:
        found = cascade(trained, fresh, in_order, order=order)
        along = names if order == "bottom_up" else names[::-1]
        assert [stage.name for stage in found] == list(along)
        for k, stage in enumerate(found):
            chosen = {along[k]} if order == "independent" else set(along[: k + 1])
            assert {layer.name for layer in stage.layers} == chosen
            assert_replaced(stage, trained, fresh)
            assert jax.tree.structure(stage.params) == jax.tree.structure(trained)
    jax.tree.map(np.testing.assert_array_equal, trained, before)


@pytest.mark.parametrize("framework", [linen, nnx_state])
def test_the_statistics_of_a_normalization_are_replaced_with_its_layer_and_with_no_other(framework):
    model, make, _ = framework()
    trained, fresh = make(jax.random.key(0)), jax.tree.map(lambda leaf: leaf + 1, make(jax.random.key(1)))
    found = cascade(trained, fresh, layers(model, trained, jnp.ones((1, 8, 8, 1))), order="independent")
    for stage in found:
        got, old = paths_and_leaves(stage.params), paths_and_leaves(trained)
        statistics = [path for path in old if "mean" in path or "var" in path]
        assert len(statistics) == 2
        for path in statistics:
            assert (got[path] is old[path]) == (stage.name != "norm")


@pytest.mark.parametrize("order", ORDERS)
def test_the_random_layers_of_every_stage_are_those_of_a_list_written_by_hand(order):
    given = case()
    trained, fresh = given.params, init(jax.random.key(5))
    for stage, random in zip(cascade(trained, fresh, BY_HAND, order=order), RANDOM[order], strict=True):
        for name in LAYERS:
            of = fresh if name in random else trained
            jax.tree.map(np.testing.assert_array_equal, stage.params[name], of[name])


def test_a_function_draws_new_weights_for_every_stage():
    def draw(stage):
        return init(jax.random.key(100 + stage))

    trained = case().params
    found = cascade(trained, draw, BY_HAND)
    for k, stage in enumerate(found):
        for layer in stage.layers:
            np.testing.assert_array_equal(stage.params[layer.name]["kernel"], draw(k)[layer.name]["kernel"])
    assert np.any(found[0].params["logits"]["kernel"] != found[1].params["logits"]["kernel"])


@pytest.mark.parametrize("wrap", [lambda draw: partial(draw, 3), lambda draw: jax.jit(partial(draw, 3))])
def test_partial_and_compiled_functions_draw_as_well(wrap):
    draw = wrap(lambda shift, k: init(jax.random.key(shift + k)))
    found = cascade(case().params, draw, BY_HAND)
    np.testing.assert_array_equal(found[2].params["first"]["kernel"], draw(2)["first"]["kernel"])


def test_an_equinox_model_is_a_tree_though_it_can_be_called():
    model, make, _ = equinox()
    trained, fresh = make(jax.random.key(0)), make(jax.random.key(1))
    assert callable(fresh)
    for stage in cascade(trained, fresh, layers(model, trained, jnp.ones((1, 8, 8, 1)))):
        assert stage.params.head.weight is fresh.head.weight


def test_no_layers_randomize_nothing():
    trained = case().params
    got = randomize(trained, init(jax.random.key(1)), [])
    assert all(a is b for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(trained), strict=True))


def test_a_layer_that_is_not_there_is_named_with_near_ones():
    trained = case().params
    with pytest.raises(ValueError, match=r"no 'logit/kernel'; near ones: \['logits/kernel'"):
        randomize(trained, trained, [Layer("logit", ("logit/kernel",))])


def test_another_structure_is_named():
    trained = case().params
    with pytest.raises(ValueError, match="fresh must have the structure of params"):
        randomize(trained, {"first": trained["first"]}, BY_HAND)


def test_another_shape_is_named_with_its_leaf():
    trained = case().params
    wrong = {**trained, "dense": {"kernel": jnp.zeros((2, 2)), "bias": trained["dense"]["bias"]}}
    with pytest.raises(ValueError, match=r"dense/kernel is \(2, 2\) and not \(48, 6\)"):
        randomize(trained, wrong, BY_HAND)
    with pytest.raises(ValueError, match="dense/kernel"):
        cascade(trained, lambda k: wrong, BY_HAND)


def test_stages_refuse_what_they_cannot_order(as_a_user):
    with pytest.raises(ValueError, match=r"order must be one of .*'top_down'.*, got 'upwards'"):
        stages(BY_HAND, order="upwards")
    with pytest.raises(ValueError, match="layers must not be empty"):
        stages([])
    with pytest.raises(ValueError, match="different names"):
        stages([BY_HAND[0], BY_HAND[0]])
