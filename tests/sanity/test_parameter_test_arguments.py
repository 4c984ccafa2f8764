"""What `parameter_randomization` refuses, and that it says why."""

import jax
import jax.numpy as jnp
import pytest
from small_models import case, init, sweep

import saliency_jax as sj
from saliency_jax import Layer

GIVEN = case()
EDGES = {"edges": sj.edges}
SEED_RULE = r"seeds must be a positive number or different integers in \[0, 2\*\*32\)"


def layer(name, *paths):
    return dict(layers=[Layer(name, paths)])


def smaller(key):
    params = init(key)
    return {**params, "dense": {**params["dense"], "bias": jnp.zeros(2)}}


WRONG_VALUES = {
    "a target outside": (dict(targets=GIVEN.targets + 1), r"targets must be classes in \[0, 3\), found \[3\]"),
    "a negative target": (dict(targets=GIVEN.targets - 1), r"targets must be classes in \[0, 3\), found \[-1, -1\]"),
    "too few targets": (dict(targets=GIVEN.targets[:2]), r"targets must hold one class for each of the 4 images"),
    "one target for all": (dict(targets=jnp.int32(1)), r"targets must hold one class for each of the 4 images"),
    "no image": (dict(images=GIVEN.images[:0], targets=GIVEN.targets[:0]), "images must hold at least one image"),
    "a NaN": (dict(images=GIVEN.images.at[1, 2, 3, 0].set(jnp.nan)), "images must be finite, found 1 NaN"),
    "an infinity": (dict(images=GIVEN.images.at[0].set(jnp.inf)), "images must be finite, found 64 NaN or infinite"),
    "one image alone": (dict(images=GIVEN.images[0]), r"images must be \[batch, height, width, channel\], got 3 axes"),
    "five axes": (dict(images=GIVEN.images[None]), "images must be .* got 5 axes"),
    "no explainer": (dict(explainers={}), "explainers must name at least one function"),
    "no metric": (dict(metrics={}), "metrics must name at least one function"),
    "no seed": (dict(seeds=0), SEED_RULE + ", got 0"),
    "less than no seed": (dict(seeds=-2), SEED_RULE + ", got -2"),
    "an empty list of seeds": (dict(seeds=[]), SEED_RULE),
    "a seed twice": (dict(seeds=[3, 1, 3]), SEED_RULE + r", got \[3, 1, 3\]"),
    "a negative seed": (dict(seeds=[-1]), SEED_RULE),
    "a seed that a key cannot take": (dict(seeds=[2**32]), SEED_RULE),
    "an unknown protocol": (dict(protocol="papers"), "protocol must be one of .* got 'papers'"),
    "an unknown order": (dict(order="topdown"), "order must be one of .* got 'topdown'"),
    "no layers": (dict(layers=[]), "layers must not be empty"),
    "a layer that is not there": (layer("dense", "dense/kernels"), r"no 'dense/kernels'; near ones: \['dense/kernel'"),
    "two layers of one name": (dict(layers=[Layer("a", ("dense/kernel",))] * 2), "layers must have different names"),
    "a layer called as the trained model": (layer("trained", "dense/kernel"), "layers must not be called 'trained'"),
    "a negative number of kept images": (dict(kept_images=-1), "kept_images must not be negative, got -1"),
    "chunks of nothing": (dict(batch_size=0), "batch_size must be at least 1, got 0"),
    "no key": (dict(key=None), "pass key=jax.random.key"),
    "an initializer that does not fit": (dict(init=smaller), r"init\(key\) must give the shapes of params: dense/bias"),
    "labels that do not fit the evaluation": (
        dict(evaluation=(GIVEN.images, GIVEN.targets[:3])),
        "evaluation labels must hold one class for each of the 4 images",
    ),
    "one evaluation image": (dict(evaluation=(GIVEN.images[0], GIVEN.targets)), "evaluation images must be"),
    "an evaluation label outside": (dict(evaluation=(GIVEN.images, GIVEN.targets + 5)), "evaluation labels must be"),
    "a map of another shape": (
        dict(explainers={"mean": lambda score, image, key=None: image.mean(-1)}),
        r"explain must give a map shaped like the image \(8, 8, 1\), got \(8, 8\)",
    ),
    "a metric of maps": (dict(metrics={"both": lambda a, b: a * b}), "metric 'both' must give a scalar"),
}
WRONG_TYPES = {
    "integer images": (dict(images=GIVEN.images.astype(int)), "images must be floating point"),
    "floating targets": (dict(targets=GIVEN.targets * 1.0), "targets must be integer classes, got float32"),
    "a list of explainers": (dict(explainers=[sj.edges]), "explainers must be a mapping .* got list"),
    "an explainer that is none": (dict(explainers={"edges": None}), "explainers must be .* got 'edges': None"),
    "a name that is no text": (dict(explainers={3: sj.edges}), "explainers must be a mapping"),
    "a metric without its name": (dict(metrics=sj.pearson), "metrics must be a mapping from names to functions"),
    "seeds between": (dict(seeds=[0.5]), SEED_RULE),
    "a number of seeds between": (dict(seeds=2.5), SEED_RULE),
    "integer evaluation images": (dict(evaluation=(GIVEN.images.astype(int), GIVEN.targets)), "evaluation images must"),
}


@pytest.mark.parametrize("options, message", WRONG_VALUES.values(), ids=WRONG_VALUES)
def test_a_wrong_value_is_named(as_a_user, options, message):
    with pytest.raises(ValueError, match=message):
        sweep(**{"explainers": EDGES, **options})


@pytest.mark.parametrize("options, message", WRONG_TYPES.values(), ids=WRONG_TYPES)
def test_a_wrong_type_is_named(as_a_user, options, message):
    with pytest.raises(TypeError, match=message):
        sweep(**{"explainers": EDGES, **options})


@pytest.mark.parametrize("missing", ["dense", "logits"])
def test_parameters_that_do_not_fit_the_model_are_said_so(missing):
    params = {name: leaves for name, leaves in GIVEN.params.items() if name != missing}
    with pytest.raises(KeyError) as caught:
        sweep(EDGES, params=params)
    assert any("do params fit the model?" in note for note in caught.value.__notes__)


def test_parameters_of_another_shape_are_said_so():
    with pytest.raises(TypeError) as caught:
        sweep(EDGES, params=smaller(jax.random.key(0)))
    assert any("do params fit the model?" in note for note in caught.value.__notes__)


def test_a_model_without_parameters_has_nothing_to_randomize():
    def pixels(params, images):
        return images.reshape(len(images), -1)[:, :3]

    with pytest.raises(ValueError, match="no leaf of params meets the images"):
        sweep(EDGES, apply=pixels, params={"unused": jnp.ones(2)})


@pytest.mark.parametrize("options", [dict(kept_images=-1), dict(seeds=[1, 1]), dict(metrics={}), dict(explainers={})])
def test_what_is_refused_leaves_no_folder(as_a_user, tmp_path, options):
    with pytest.raises(ValueError):
        sweep(**{"explainers": EDGES, "folder": tmp_path / "run", **options})
    assert not (tmp_path / "run").exists()
