"""Slow, dense re-derivations that the tests compare the library with."""

import zlib

import jax
import numpy as np
import scipy.stats


def named(key, name):
    """The key of a name, as the library documents it."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()) & 0x7FFFFFFF)


def cut_normal_weights(key, params):
    """Every leaf of a dict of dicts from a normal of 0.01 cut at two deviations, by the key of its path."""
    return {
        module: {
            leaf: 0.01 * jax.random.truncated_normal(named(key, f"{module}/{leaf}"), -2, 2, x.shape, x.dtype)
            for leaf, x in leaves.items()
        }
        for module, leaves in params.items()
    }


def gradients(apply, params, images, targets):
    """The gradient of each image's target, one image at a time."""
    gradient = jax.jit(jax.grad(lambda x, target: apply(params, x[None])[0, target]))
    return np.stack([gradient(image, int(target)) for image, target in zip(images, targets, strict=True)])


def random_at(layers, order):
    """Stage -> the layers that are random there."""
    if order == "independent":
        return {name: [name] for name in layers[::-1]}
    along = layers if order == "bottom_up" else layers[::-1]
    return {name: along[: k + 1] for k, name in enumerate(along)}


def parameter_randomization(apply, params, fresh, images, targets, layers, key, order, seeds, explained):
    """The gradient's randomization test by loops over stages, seeds and images; scipy's correlations.

    Args:
        fresh: (key, params) -> random parameters of the modules in `params`, a dict of dicts.
        layers: names of the modules in execution order.
        explained: "original" or "argmax".

    Returns:
        Arrays [stage, seed, image] of correlations and classes, [model, seed] of the models' states.
    """
    gradient = jax.jit(jax.grad(lambda x, params, target: apply(params, x[None])[0, target]))
    evaluate = jax.jit(apply)
    stages = random_at(layers, order)
    shape = (len(stages), len(seeds), len(images))
    found = {name: np.full(shape, np.nan) for name in ("spearman", "pearson")}
    found["explained_class"] = np.zeros(shape, int)
    states = ("accuracy", "logit_low", "logit_high", "logit_spread")
    found.update({name: np.zeros((1 + len(stages), len(seeds))) for name in states})

    def judge(place, seed, model):
        logits = np.asarray(evaluate(model, images))
        found["accuracy"][place, seed] = np.mean(logits.argmax(1) == np.asarray(targets))
        found["logit_low"][place, seed], found["logit_high"][place, seed] = logits.min(), logits.max()
        found["logit_spread"][place, seed] = max(column.max() - column.min() for column in logits.T)
        return logits.argmax(1)

    for s, seed in enumerate(seeds):
        judge(0, s, params)
        for k, (stage, random) in enumerate(stages.items()):
            drawn = fresh(named(jax.random.fold_in(named(key, "fresh"), seed), stage), params)
            model = {name: drawn[name] if name in random else params[name] for name in params}
            predicted = judge(k + 1, s, model)
            for i, image in enumerate(images):
                target = predicted[i] if explained == "argmax" else int(targets[i])
                found["explained_class"][k, s, i] = target
                a = np.ravel(gradient(image, params, int(targets[i])))
                b = np.ravel(gradient(image, model, target))
                found["spearman"][k, s, i] = scipy.stats.spearmanr(a, b).statistic
                found["pearson"][k, s, i] = scipy.stats.pearsonr(a, b).statistic
    return found
