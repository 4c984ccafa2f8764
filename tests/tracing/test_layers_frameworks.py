"""The layers of models of Flax Linen, Flax NNX and Equinox, whose modules are named against the alphabet."""

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from saliency_jax import layers

IMAGES = jnp.zeros((2, 6, 6, 1))
KEY = jax.random.key(0)


def names(apply, params):
    return [layer.name for layer in layers(apply, params, IMAGES)]


def shapes(model):
    """The variables of a Linen model, whose values nobody needs here."""
    return jax.eval_shape(model.init, KEY, IMAGES)


class LinenBlock(nn.Module):
    wrap: str = ""

    @nn.compact
    def __call__(self, x):
        conv = nn.remat(nn.Conv) if self.wrap == "remat" else nn.Conv
        x = conv(4, (3, 3), name="z_conv")(x)
        x = nn.BatchNorm(use_running_average=True, name="norm")(x)
        return nn.max_pool(nn.relu(x), (2, 2), (2, 2))


class LinenModel(nn.Module):
    wrap: str = ""

    @nn.compact
    def __call__(self, images):
        block = nn.remat(LinenBlock) if self.wrap == "remat" else LinenBlock
        x = block(self.wrap, name="stem")(images)
        x = block(self.wrap, name="body")(x)
        x = nn.Dropout(0.5, deterministic=True)(x.mean((1, 2)))
        x = nn.relu(nn.Dense(5, name="hidden")(x))
        return nn.Dense(3, name="classes")(x)


LINEN_ORDER = ["stem/z_conv", "stem/norm", "body/z_conv", "body/norm", "hidden", "classes"]


@pytest.mark.parametrize("wrap", ["", "remat"])
def test_linen_modules_with_batch_norm_are_in_the_order_of_execution(wrap):
    model = LinenModel(wrap)
    variables = shapes(model)
    assert names(jax.jit(model.apply), variables) == LINEN_ORDER
    found = layers(model.apply, variables, IMAGES)
    assert [layer.name for layer in found] == LINEN_ORDER
    assert set(found[1].paths) == {
        "batch_stats/stem/norm/mean",
        "batch_stats/stem/norm/var",
        "params/stem/norm/scale",
        "params/stem/norm/bias",
    }


def test_linen_parameters_alone_are_addressed_the_same_way():
    model = LinenModel()
    variables = shapes(model)
    statistics = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), variables["batch_stats"])

    def apply(params, images):
        return model.apply({"params": params, "batch_stats": statistics}, images)

    found = layers(apply, variables["params"], IMAGES)
    assert [layer.name for layer in found] == LINEN_ORDER
    assert found[0].paths == ("stem/z_conv/kernel", "stem/z_conv/bias")


class LinenStack(nn.Module):
    @nn.compact
    def __call__(self, images):
        x = nn.Dense(8, name="stem")(images.reshape(len(images), -1))
        cell = nn.scan(LinenCell, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)
        x, _ = cell(name="cells")(x, None)
        return nn.Dense(3, name="a_head", dtype=jnp.bfloat16)(x)


class LinenCell(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        return nn.relu(nn.Dense(8, name="second")(nn.relu(nn.Dense(8, name="zeroth")(x)))), None


def test_a_linen_scan_over_layers_gives_each_module_of_the_cell_once():
    model = LinenStack()
    variables = shapes(model)
    assert variables["params"]["cells"]["zeroth"]["kernel"].shape == (3, 8, 8)
    assert names(model.apply, variables) == ["stem", "cells/zeroth", "cells/second", "a_head"]


def test_linen_partitioned_boxes_are_not_part_of_a_name():
    class Boxed(nn.Module):
        @nn.compact
        def __call__(self, images):
            init = nn.with_partitioning(nn.initializers.ones, (None, "model"))
            x = nn.Dense(4, name="second", kernel_init=init)(images.reshape(len(images), -1))
            return nn.Dense(3, name="first", kernel_init=init)(x)

    variables = shapes(Boxed())
    assert isinstance(variables["params"]["first"]["kernel"], nn.Partitioned)
    assert names(Boxed().apply, variables) == ["second", "first"]


class NNXModel(nnx.Module):
    def __init__(self, rngs):
        self.z_conv = nnx.Conv(1, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.hidden = nnx.List([nnx.Linear(4, 4, rngs=rngs) for _ in range(2)])
        self.classes = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, images):
        x = nnx.relu(self.norm(self.z_conv(images)))
        x = self.drop(x.mean((1, 2)))
        for layer in reversed(self.hidden):
            x = nnx.relu(layer(x))
        return self.classes(x)


@pytest.mark.slow
@pytest.mark.parametrize("split", ["all of it", "params apart"])
def test_nnx_modules_with_batch_norm_and_dropout_are_in_the_order_of_execution(split):
    model = NNXModel(nnx.Rngs(0))
    model.eval()
    graph, state, *rest = nnx.split(model) if split == "all of it" else nnx.split(model, nnx.Param, ...)

    def apply(state, images):
        return nnx.merge(graph, state, *rest)(images)

    found = layers(apply, state, IMAGES)
    assert [layer.name for layer in found] == ["z_conv", "norm", "hidden/1", "hidden/0", "classes"]
    assert len(found[1].paths) == (4 if split == "all of it" else 2)


def test_a_tied_nnx_layer_stands_where_it_is_used_first():
    class Tied(nnx.Module):
        def __init__(self, rngs):
            self.between = nnx.Linear(36, 36, rngs=rngs)
            self.twice = nnx.Linear(36, 36, rngs=rngs)
            self.again = self.twice

        def __call__(self, images):
            return self.again(self.between(self.twice(images.reshape(len(images), -1))))

    graph, state = nnx.split(Tied(nnx.Rngs(0)))
    found = names(lambda state, images: nnx.merge(graph, state)(images), state)
    assert found[1] == "between" and len(found) == 2


class EquinoxModel(eqx.Module):
    z_conv: eqx.nn.Conv2d
    norm: eqx.nn.GroupNorm
    hidden: list
    classes: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key, 4)
        self.z_conv = eqx.nn.Conv2d(1, 4, 3, key=keys[0])
        self.norm = eqx.nn.GroupNorm(2, 4)
        self.hidden = [eqx.nn.Linear(4, 4, key=keys[1]), jax.nn.relu, eqx.nn.Linear(4, 4, key=keys[2])]
        self.classes = eqx.nn.Linear(4, 3, key=keys[3])

    def __call__(self, image):
        x = jax.nn.relu(self.norm(self.z_conv(image.transpose(2, 0, 1)))).mean((1, 2))
        for layer in reversed(self.hidden):
            x = layer(x)
        return self.classes(x)


def test_equinox_modules_are_in_the_order_of_execution():
    model = eqx.filter_eval_shape(EquinoxModel, KEY)
    arrays, rest = eqx.partition(model, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
    found = layers(lambda arrays, images: jax.vmap(eqx.combine(arrays, rest))(images), arrays, IMAGES)
    assert [layer.name for layer in found] == ["z_conv", "norm", "hidden/2", "hidden/0", "classes"]
    assert found[0].paths == ("z_conv/weight", "z_conv/bias")


def test_an_equinox_model_of_arrays_alone_can_be_the_params_itself():
    model = eqx.filter_eval_shape(eqx.nn.Linear, 36, 3, key=KEY)
    found = layers(lambda model, images: jax.vmap(model)(images.reshape(len(images), -1)), model, IMAGES)
    assert [layer.paths for layer in found] == [("weight", "bias")]
