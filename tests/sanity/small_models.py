"""A network small enough to sweep in a second, and a sweep over it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import saliency_jax as sj

CLASSES = 3
LAYERS = ("first", "dense", "logits")


class Case(NamedTuple):
    params: Any
    images: Any
    targets: Any
    key: Any


@jax.jit
def init(key):
    """The names of the layers in alphabetical order are not in the order of execution."""
    shapes = {"first": (3, 3, 1, 3), "dense": (48, 6), "logits": (6, CLASSES)}
    return {
        name: {
            "kernel": jax.random.normal(jax.random.fold_in(key, i), shape) / np.sqrt(np.prod(shape[:-1])),
            "bias": jnp.full(shape[-1], 0.1),
        }
        for i, (name, shape) in enumerate(shapes.items())
    }


def apply(params, images):
    hidden = jax.lax.conv_general_dilated(
        images, params["first"]["kernel"], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    hidden = jax.nn.relu(hidden + params["first"]["bias"].reshape(1, 1, 1, -1)).reshape(len(images), -1)
    hidden = jnp.tanh(hidden @ params["dense"]["kernel"] + params["dense"]["bias"][None])
    return hidden @ params["logits"]["kernel"] + params["logits"]["bias"][None]


def case(images=4):
    """The model, images and targets; drawn anew, so that they have the dtype that is in force."""
    return Case(
        params=init(jax.random.key(11)),
        images=jnp.asarray(np.random.default_rng(12).normal(size=(images, 8, 8, 1)), jnp.result_type(float)),
        targets=jnp.arange(images) % CLASSES,
        key=jax.random.key(13),
    )


def sweep(explainers, given=None, **options):
    """`parameter_randomization` of the small network, cheap unless told otherwise."""
    given = given or case()
    settings = {"key": given.key, "seeds": 1, "metrics": {"pearson": sj.pearson}, "protocol": "released_code"} | options
    first = {"apply": apply, "params": given.params, "init": init, "images": given.images, "targets": given.targets}
    arguments = [settings.pop(name, value) for name, value in first.items()]
    return sj.parameter_randomization(*arguments, explainers, **settings)
