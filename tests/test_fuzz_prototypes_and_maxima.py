"""Public functions on prototypes and maxima given what they cannot take: an error that names the argument."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from bad_arguments import BAD, INF, KEY, NAN, NO_ARRAYS, NO_FLOATS, NO_NUMBERS, Call, filled, made, problems

import saliency_jax as sj
from saliency_jax import maximization as mx
from saliency_jax import prototypes as pt

rng = np.random.default_rng(0)
IMAGES = jnp.asarray(rng.uniform(size=(3, 4, 4, 1)), jnp.float32)
LABELS = jnp.array([0, 1, 2])
PARAMS = {"dense": {"kernel": jnp.asarray(rng.normal(size=(16, 3)), jnp.float32)}}
MODEL = pt.ProtoPNet(classes=3, prototypes=6, depth=1, add_on="none")
VARIABLES = {"params": {"prototype_vectors": jnp.ones((6, 1)), "last_layer": {"kernel": jnp.ones((6, 3))}}}
HITS = np.zeros((3, 6, 2), bool)
SOURCES = pt.Sources(*(np.zeros(6, np.int32) for _ in range(3)), np.zeros(6, np.float32))
NEAREST = pt.NearestImages(*(np.zeros((6, 2), np.int32) for _ in range(3)), np.zeros((6, 2), np.float32))
PARTS = pt.Parts(np.zeros((3, 2)), np.zeros((3, 2)), np.ones((3, 2), bool))


def apply(params, images):
    return jax.nn.relu(images.reshape(len(images), -1) @ params["dense"]["kernel"])


SCORE = sj.class_score(apply, PARAMS, 0)

# What holds an image for each of the labels; a value that is not finite is seen where it is computed with.
BAD["batch"] = [bad for bad in BAD["images"] if getattr(bad, "dtype", None) != np.float32 or np.isfinite(bad).all()]
BAD |= {
    "thing": [None, 3, "x", object()],
    "optional thing": [3, "x", object()],
    "functions": ["x", 3, object(), [None], [3], {}],
    "variables": [None, 3, "x", {}, {"params": {}}, {"params": {"prototype_vectors": np.zeros((6, 1))}}]
    + [{"params": VARIABLES["params"] | {"prototype_vectors": np.zeros(shape)}} for shape in [(5, 1), (6, 2), (6,)]],
    "size": ["x", 3, object(), (3,), (0, 3), (2.5, 3), [None, None]],
    "percentile": [*NO_NUMBERS, -1.0, 101.0],
    "rate": [*NO_NUMBERS, -0.1],
    "seconds": [bad for bad in NO_NUMBERS if not isinstance(bad, float) or bad != INF],
    "layer": ["nonsense", "", 3, [], object()],
    "rows": [*NO_ARRAYS, *NO_FLOATS, filled(6, 0)],
    "maps": [*NO_ARRAYS, filled(4, 0), filled((0, 4), 0), np.zeros((4, 4), int)],
    "pixels": [*NO_ARRAYS, filled(4, 0), filled((2, 4, 4), 0), filled((0, 4), 0)],
    "stages": ["x", 3, object(), [], [None], [3]]
    + [[pt.Stage(*stage)] for stage in [("warm", 0), ("warm", 1.5), ("freeze", 1), ([], 1), ("project", 2)]],
    "class_of": ["x", 3, [0, 1], (0.5,), (5,), (-1,), ()],
    "kept": [None, "x", 3, 1.5, [], [0.5], [6], [-1], np.zeros((2, 2), int), object()],
    "hits": [None, 3, "x", filled((3, 6, 2), 0), np.zeros((3, 5, 2), bool), np.zeros((3, 6), bool)],
    "visible": [None, 3, "x", filled((3, 2), 0), np.zeros((3, 3), bool)],
    "weights": [None, 3, "x", (1.0, 1.0, 1.0, 1.0), pt.losses.Weights(None), pt.losses.Weights(NAN)],
    "start": [None, "x", 3, object(), (), (0, 4, 1), (4, -1, 1), [1.0, 2.0], filled((4, 4, 1), NAN), *NO_FLOATS],
    "sharpness": ["x", 3, object(), [], [0.0], [-1.0], ["a"], [None], [NAN]],
    "sizes": ["x", 3, object(), [0], [1.5], [None]],
    "bound": ["x", None, object(), NAN, INF, 1j],
    "matrix": [
        None,
        "x",
        object(),
        [1.0],
        [[1]],
        [["a"]],
        filled((1, 2), 1),
        filled((1, 1), 0),
        filled((1, 1), NAN),
        np.ones((1, 1), int),
    ],
    "mask": [None, "x", filled((4, 4), 1), np.zeros((4, 4), bool), np.ones((5, 5), bool)],
    "magnitude": [*NO_ARRAYS, *NO_FLOATS, filled((4, 3), 1), *(filled((4, 3, 1), value) for value in (0, -1, NAN))],
    "colours": [*NO_ARRAYS, *NO_FLOATS],
    "any images": [*NO_ARRAYS, *NO_FLOATS, filled((3, 4, 4, 1), NAN), filled((3, 4, 4, 1), INF)],
    "centre": ["x", None, object(), 1j, NAN, [1.0]],
    "channel": ["x", None, 1.5, [1], True, object()],
    "tap": [None, 1.5, [], object()],
    "place": ["x", 3, [1.5], [None], object()],
}

NETWORK = {"model": (MODEL, "thing"), "variables": (VARIABLES, "variables")}
BATCH = NETWORK | {"images": (IMAGES, "batch")}
LABELLED = BATCH | {"labels": (LABELS, "targets")}
SHOWN = {"percentile": (95.0, "percentile"), "image_shape": ((4, 4), "size")}
SIZE = {"batch_size": (2, "count")}
SCORED = {"model": (MODEL, "thing"), "hits": (HITS, "hits"), "labels": (LABELS, "targets")}
CLIMBED = {"score": (SCORE, "function"), "terms": ((), "functions"), "optimizer": (optax.adam(0.1), "optional thing")}
UNIT = {"apply": (apply, "function"), "params": (PARAMS, None), "tap": (0, "tap")}
CHANNEL = UNIT | {"channel": (0, "channel")}

PROTOTYPES = {
    "explain": made(
        pt.explain,
        **NETWORK,
        images=(IMAGES, "images"),
        targets=(LABELS, "targets"),
        shown=(2, "count"),
        **SHOWN,
        **SIZE,
    ),
    "patch_boxes": made(pt.patch_boxes, **BATCH, found=(NEAREST, "thing"), **SHOWN),
    "trunk_activation": made(
        pt.trunk_activation,
        apply=(apply, "function"),
        params=(PARAMS, None),
        images=(IMAGES, "images"),
        layer=(None, "layer"),
    ),
    "duplicates": made(pt.duplicates, sources=(SOURCES, "thing"), vectors=(filled((6, 1), 1), "rows")),
    "summed": made(pt.summed, applies=([apply], "functions")),
    "fit": made(
        pt.fit,
        **LABELLED,
        key=(KEY, "key"),
        stages=([pt.Stage("warm")], "stages"),
        recipe=(pt.Recipe(batch_size=2), "thing"),
        augment=(None, "optional thing"),
        on_epoch=(None, "optional thing"),
        save_seconds=(60.0, "seconds"),
    ),
    "drawn_patches": made(pt.drawn_patches, **LABELLED, key=(KEY, "key"), **SIZE),
    "class_evidence": made(pt.class_evidence, model=(MODEL, "thing")),
    "nearest_prototype": made(pt.nearest_prototype, model=(MODEL, "thing")),
    "own_class": made(pt.own_class, model=(MODEL, "thing")),
    "prototype_classes": made(pt.prototype_classes, model=(MODEL, "thing")),
    "misalignment": made(
        pt.misalignment,
        **LABELLED | {"images": (IMAGES, "images")},
        radius=(0.1, "positive"),
        step=(0.1, "positive"),
        steps=(1, "count"),
        margin=(1, "count"),
        percentile=(95.0, "percentile"),
        **SIZE,
    ),
    "nearest_images": made(pt.nearest_images, **BATCH, count=(2, "count"), **SIZE),
    "project": made(pt.project, **LABELLED, **SIZE),
    "keep": made(pt.keep, **NETWORK, kept=([0], "kept")),
    "prune": made(pt.prune, **LABELLED, neighbours=(2, "count"), least=(1, "count"), **SIZE),
    "schedule": made(
        pt.schedule, **{name: (1, "count") for name in ("warm", "joint", "cycles", "between", "last_layer")}
    ),
    "Recipe": made(
        pt.Recipe,
        batch_size=(2, "count"),
        decay_every=(2, "count"),
        weights=(pt.losses.Weights(), "weights"),
        **{name: (0.1, "rate") for name in ("backbone_rate", "add_on_rate", "prototype_rate", "weight_decay", "decay")},
    ),
    "ProtoPNet": made(
        pt.ProtoPNet,
        classes=(3, "count"),
        depth=(1, "count"),
        prototypes=(None, "optional count"),
        backbone=(None, "optional thing"),
        class_of=(None, "class_of"),
        **{name: (good, "name") for name, good in (("add_on", "none"), ("distance", "l2"), ("similarity", "log"))},
    ),
    "consistency": made(pt.consistency, **SCORED, visible=(PARTS.visible, "visible"), threshold=(0.8, "share")),
    "stability": made(pt.stability, **SCORED, perturbed=(HITS, "hits")),
    "part_hits": made(pt.part_hits, **BATCH, parts=(PARTS, "thing"), half_size=(1, "count"), **SIZE),
    "with_noise": made(
        pt.with_noise, images=(IMAGES, "any images"), key=(KEY, "key"), deviation=(0.1, "rate"), limit=(0.1, "rate")
    ),
    "upsampled": made(pt.upsampled, maps=(filled((4, 4), 0), "maps"), shape=((8, 8), "size")),
    "high_activation_box": made(
        pt.high_activation_box, pixels=(filled((4, 4), 0), "pixels"), percentile=(95.0, "percentile")
    ),
    "high_activation_boxes": made(
        pt.high_activation_boxes, maps=(filled((2, 4, 4), 0), "maps"), shape=((8, 8), "size")
    ),
    "terms": made(
        pt.losses.terms,
        logits=(filled((3, 3), 0), "rows"),
        nearest=(filled((3, 6), 0), "rows"),
        labels=(LABELS, "targets"),
        last_layer=(filled((6, 3), 0), "rows"),
        own_class=(filled((6, 3), 0), "rows"),
    ),
}
MAXIMA = {
    "maximize_activation": made(
        sj.maximize_activation,
        **CLIMBED,
        shape_or_image=((4, 4, 1), "start"),
        key=(KEY, "key"),
        steps=(2, "count"),
        copies=(1, "count"),
        redirected_steps=(0, "count"),
        parameterization=(None, "optional thing"),
        transform=(None, "optional thing"),
    ),
    "refine": made(
        mx.refine, **CLIMBED, image=(IMAGES[0], "image"), steps=(2, "count"), sharpness=((10.0,), "sharpness")
    ),
    "check_alive": made(mx.check_alive, found=(None, "thing")),
    "channel_score": made(mx.channel_score, **CHANNEL),
    "neuron_score": made(mx.neuron_score, **CHANNEL, place=(None, "place")),
    "direction_score": made(mx.direction_score, **UNIT, direction=(filled(3, 1), "any images")),
    "pixels": made(mx.pixels, noise=(0.1, "rate"), centre=(0.0, "number")),
    "fourier": made(mx.fourier, noise=(0.1, "rate"), decay=(1.0, "rate")),
    "decoder": made(
        mx.decoder,
        decode=(jnp.sin, "function"),
        code_shape=((3,), "sizes"),
        penalty=(0.1, "rate"),
        noise=(0.1, "rate"),
    ),
    "bounded": made(mx.bounded, inner=(mx.pixels(), "thing"), low=(0.0, "bound"), high=(1.0, "bound")),
    "recoloured": made(mx.recoloured, inner=(mx.pixels(), "thing"), matrix=(filled((1, 1), 1), "matrix")),
    "decorrelated": made(mx.decorrelated, images=(IMAGES, "colours"), matrix=(filled((1, 1), 1), "matrix")),
    "masked": made(
        mx.masked, inner=(mx.pixels(), "thing"), mask=(np.ones((4, 4), bool), "mask"), image=(IMAGES[0], "image")
    ),
    "maco": made(mx.maco, magnitude=(filled((4, 3, 1), 1), "magnitude")),
    "mean_magnitude": made(mx.mean_magnitude, images=(IMAGES, "images")),
    "colour_matrix": made(mx.colour_matrix, images=(IMAGES, "images")),
    "gaussian_expert": made(
        mx.gaussian_expert, images=(IMAGES, "stack"), noise=(0.1, "positive"), weight=(1.0, "rate")
    ),
    "kernel_density_expert": made(
        mx.kernel_density_expert, images=(IMAGES, "stack"), bandwidth=(0.1, "positive"), weight=(1.0, "rate")
    ),
    "l2": made(mx.l2, weight=(1.0, "rate"), centre=(0.0, "centre")),
    "total_variation": made(mx.total_variation, weight=(1.0, "rate")),
    "compose": Call(
        lambda transforms: mx.compose(*transforms), {"transforms": []}, {"transforms": "transforms of compose"}
    ),
    "jitter": made(mx.jitter, pixels=(1, "count")),
    "scale": made(mx.scale, low=(0.9, "positive"), high=(1.1, "positive")),
    "crop": made(mx.crop, low=(0.5, "positive"), high=(0.9, "positive")),
    "rotate": made(mx.rotate, degrees=(5.0, "positive")),
    "noise": made(mx.noise, deviation=(0.1, "positive")),
    "smoothed": made(mx.smoothed, score=(SCORE, "function"), sharpness=(10.0, "positive")),
}
BAD["transforms of compose"] = [[3], ["x"], [None]]
CALLS = PROTOTYPES | {f"maximization.{name}": call for name, call in MAXIMA.items()}


def test_every_public_function_is_called():
    known = {name for name in pt.__all__ if callable(getattr(pt, name)) and not hasattr(getattr(pt, name), "_fields")}
    # A module, and what is checked when it is called with images.
    assert known - set(PROTOTYPES) == {"Trunk"}
    known = {name for name in mx.__all__ if not hasattr(getattr(mx, name), "_fields")}
    assert known - set(MAXIMA) == set()


@pytest.mark.parametrize("name", CALLS)
def test_what_a_function_cannot_take_is_named(name, as_a_user):
    found = problems(CALLS[name])
    assert not found, "\n".join(found)
