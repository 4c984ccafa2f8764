"""Public functions given what they cannot take: a ValueError or a TypeError that names the argument, and nothing else.

Every call is made of good arguments with one of them, or two drawn at random, replaced by bad ones.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import saliency_jax as sj
from saliency_jax import dimension, maximization, robustness, sanity

rng = np.random.default_rng(0)
KEY = jax.random.key(0)
PARAMS = {"dense": {"kernel": jnp.asarray(rng.normal(size=(16, 3)), jnp.float32)}}
IMAGES = jnp.asarray(rng.uniform(size=(3, 4, 4, 1)), jnp.float32)
TARGETS = jnp.array([0, 1, 2])
MAP = jnp.asarray(rng.normal(size=(9, 9, 1)), jnp.float32)
POINTS = rng.normal(size=(40, 3)).astype(np.float32)


def apply(params, images):
    return jax.nn.relu(images.reshape(len(images), -1) @ params["dense"]["kernel"])


def init(key):
    return {"dense": {"kernel": jax.random.normal(key, (16, 3))}}


SCORE = sj.class_score(apply, PARAMS, 0)
LAYERS = sj.layers(apply, PARAMS, IMAGES)
NAN, INF = float("nan"), float("inf")


def filled(shape, value):
    return np.full(shape, value, np.float32)


NO_ARRAYS = [None, "x", object(), {}, [1.0, 2.0], np.array(["a"]), np.array([None, 1], object)]
NO_FLOATS = [np.zeros((3, 4, 4, 1), int), np.zeros((3, 4, 4, 1), bool), np.zeros((3, 4, 4, 1), complex)]
NO_NUMBERS = [None, "1", [1.0], {}, object(), 1j, True, NAN, INF, -INF, 1e300, np.array([1.0, 2.0])]

BAD = {
    "image": [*NO_ARRAYS, *NO_FLOATS, filled((0, 4, 1), 0), filled((4, 4, 1), NAN), filled((4, 4, 1), INF)],
    "images": [
        *NO_ARRAYS,
        *NO_FLOATS,
        *(filled(shape, 0) for shape in [(0, 4, 4, 1), (3, 0, 4, 1), (4, 4, 1), (1, 3, 4, 4, 1)]),
        filled((3, 4, 4, 1), NAN),
        filled((3, 4, 4, 1), INF),
    ],
    "targets": [
        np.array([0.0, 1.0, 2.0]),
        np.array([0, 1]),
        np.array([0, 1, 3]),
        np.array([0, 1, -1]),
        np.array([[0], [1], [2]]),
        np.array([True, False, True]),
        np.zeros(0, int),
    ],
    "map": [None, "x", object(), {}, np.array(["a"]), *NO_FLOATS, filled((9, 9), 0), filled((0,), 0)],
    "points": [*NO_ARRAYS, *NO_FLOATS, filled((40, 3), 0), filled((40, 3), NAN), filled((40, 0), 0), filled(40, 0)],
    "key": [
        *(None, 0, 1.5, "x", object(), [0, 1], ()),
        *(np.zeros(shape, np.uint32) for shape in [3, (2, 2)]),
        *(np.zeros(2, np.int32), np.zeros(2, np.float32), jax.random.split(KEY, 2)),
    ],
    "count": [None, "3", [], {}, object(), 1.5, 2.0, NAN, INF, True, -1, -(10**25), 10**25, np.array([1, 2])],
    "number": NO_NUMBERS,
    "share": [*NO_NUMBERS, -0.1, 1.1],
    "positive": [*NO_NUMBERS, 0.0, -0.1],
    "name": ["nonsense", "", 3, [], object()],
    "function": [None, 3, "x", object()],
    "layers": ["x", 3, object(), ["conv"], [3], [None]],
    "mesh": ["x", 3, object(), [1]],
    "ranges": ["x", 3, object(), [], [None], ["a"], [1.5], [(3,)], [(2, 1)], [(0, 1)]],
    "blocks": ["x", 3, object(), [], [None], ["a"], [1.5], [0], [100]],
    "pair": [3, [], (1.0,), (1.0, 0.0), (0.0, INF), (0.0, 1.0, 2.0), object()],
}


class Call(NamedTuple):
    """A function with good arguments, and the kinds of those that are replaced."""

    function: object
    good: dict
    kinds: dict


EXPLAINED = {"score": SCORE, "image": IMAGES[0], "key": KEY}
MODEL = {"apply": apply, "params": PARAMS, "images": IMAGES}
MEASURED = MODEL | {"targets": TARGETS, "explainers": {"gradient": sj.gradient}, "key": KEY}
OF_MEASURED = {"images": "images", "targets": "targets", "key": "key"}
DRAWN = {"samples": "count", "noise": "number", "at_once": "optional count", "explain": "function"}
OF_SWEEP = OF_MEASURED | {"layers": "layers", "order": "name", "protocol": "name"}
OF_SEARCH = OF_MEASURED | {"radius": "positive", "samples": "count", "kinks": "count", "ascent": "count"}


def explaining(name, **kinds):
    function = getattr(sj, name)
    options = {"steps": 2} if "steps" in kinds else {}
    return Call(function, EXPLAINED | options, {"score": "function", "image": "image"} | kinds)


def smoothing(name):
    def call(explain, image, key, **options):
        return getattr(sj, name)(explain, **options)(SCORE, image, key)

    good = {"explain": sj.gradient, "image": IMAGES[0], "key": KEY, "samples": 2, "noise": 0.1, "at_once": 1}
    return Call(call, good, DRAWN | {"image": "image", "key": "key"})


def metric(function, **options):
    return Call(
        function,
        {"a": MAP, "b": MAP} | {n: v for n, (v, _) in options.items()},
        {"a": "map", "b": "map"} | {n: kind for n, (_, kind) in options.items()},
    )


def measuring(function, kinds, **options):
    return Call(function, MEASURED | options, kinds)


def made(function, **options):
    return Call(function, {n: v for n, (v, _) in options.items()}, {n: kind for n, (_, kind) in options.items()})


CALLS = {
    **{name: explaining(name) for name in ("gradient", "gradient_times_input", "sensitivity", "simple_taylor")},
    **{name: explaining(name) for name in ("guided_backprop", "deconvnet", "grad_cam", "lrp", "deep_lift")},
    "integrated_gradients": explaining("integrated_gradients", steps="count", at_once="optional count", rule="name"),
    "edges": Call(sj.edges, EXPLAINED, {"image": "image"}),
    "noise": Call(sj.noise, EXPLAINED, {"image": "image", "key": "key"}),
    **{name: smoothing(name) for name in ("smoothgrad", "smoothgrad_squared", "vargrad")},
    "completed": made(sj.completed, explain=(sj.gradient, "function")),
    "batched": Call(
        lambda images, targets, key: sj.batched(sj.noise, apply)(PARAMS, images, targets, key),
        {"images": IMAGES, "targets": TARGETS, "key": KEY},
        {"images": "images", "targets": "targets", "key": "key"},
    ),
    "taps": Call(sj.taps, MODEL, {"apply": "function", "images": "images"}),
    "layers": Call(sj.layers, MODEL, {"apply": "function", "images": "images"}),
    "blocks": made(sj.blocks, found=(LAYERS, "layers"), depth=(1, "count")),
    "block_outputs": made(sj.block_outputs, found=(sj.taps(apply, PARAMS, IMAGES), "layers"), depth=(1, "count")),
    "override": made(sj.override, f=(apply, "function"), rules=({}, "function")),
    "randomize": Call(sj.randomize, {"params": PARAMS, "fresh": PARAMS, "layers": LAYERS}, {"layers": "layers"}),
    "cascade": Call(
        sj.cascade,
        {"params": PARAMS, "fresh": PARAMS, "layers": LAYERS, "order": "top_down"},
        {"layers": "layers", "order": "name"},
    ),
    **{name: metric(getattr(sj, name)) for name in ("spearman", "pearson", "cosine")},
    "ssim": metric(
        sj.ssim,
        size=(5, "optional count"),
        sigma=(1.5, "positive"),
        data_range=(2.0, "positive"),
        k1=(0.01, "number"),
        window=("uniform", "name"),
    ),
    "hog_correlation": metric(sj.hog_correlation, cell=(3, "count"), block=(3, "count"), orientations=(4, "count")),
    "parameter_randomization": measuring(
        sj.parameter_randomization, OF_SWEEP, init=init, layers=LAYERS, order="top_down", protocol="paper"
    ),
    "data_randomization": Call(
        sj.data_randomization,
        {n: v for n, v in MEASURED.items() if n != "params"}
        | {"true_params": PARAMS, "random_params": PARAMS, "explained_class": "original", "least_fitted": 0.9},
        OF_MEASURED | {"explained_class": "name", "least_fitted": "share", "fit": "layers"},
    ),
    "average_sensitivity": measuring(
        sj.average_sensitivity, OF_MEASURED | {"radius": "positive", "norm": "name", "image_range": "pair"}, radius=0.1
    ),
    **{
        name: measuring(getattr(sj, name), OF_SEARCH, radius=0.1)
        for name in ("max_sensitivity", "lipschitz_estimate", "continuity")
    },
    "infidelity": measuring(
        sj.infidelity,
        OF_MEASURED | {"samples": "count", "perturbation": "function", "baseline": "number"},
        perturbation=robustness.gaussian_noise(0.1),
    ),
    "selectivity": measuring(
        sj.selectivity,
        OF_MEASURED | {"patch": "count", "patches_in_step": "count", "direction": "name", "ranking": "name"},
    ),
    "perturbations": made(
        robustness.perturbations,
        images=(IMAGES, "images"),
        perturbation=(robustness.gaussian_noise(0.1), "function"),
        key=(KEY, "key"),
        samples=(2, "count"),
    ),
    "gaussian_noise": made(robustness.gaussian_noise, deviation=(0.1, "positive")),
    "square_removal": made(robustness.square_removal, largest=(2, "count"), fill=(0.0, "number")),
    "nearest_kinks": Call(
        robustness.nearest_kinks,
        EXPLAINED | {"count": 2},
        {"score": "function", "image": "image", "key": "key", "count": "count"},
    ),
    "two_nn": made(
        sj.two_nn,
        points=(POINTS, "points"),
        discard=(0.1, "share"),
        confidence=(0.9, "share"),
        method=("linear", "name"),
    ),
    "gride": made(
        sj.gride,
        points=(POINTS, "points"),
        ranges=((1, 2), "ranges"),
        outlier=(20.0, "outlier"),
        confidence=(0.9, "share"),
    ),
    "levina_bickel": made(
        sj.levina_bickel, points=(POINTS, "points"), neighbours=(5, "count"), confidence=(0.9, "share")
    ),
    "pca_dimension": made(sj.pca_dimension, points=(POINTS, "points"), variance=(0.9, "share")),
    "nearest_neighbours": made(
        sj.nearest_neighbours,
        points=(POINTS, "points"),
        neighbours=(2, "count"),
        period=(9.0, "optional positive"),
        mesh=(None, "mesh"),
    ),
    "decimation": made(dimension.decimation, points=(POINTS, "points"), key=(KEY, "key"), blocks=((1, 2), "blocks")),
    "resampled": made(
        dimension.resampled, points=(POINTS, "points"), key=(KEY, "key"), fraction=(0.9, "share"), repeats=(2, "count")
    ),
    "spectrum": made(dimension.spectrum, points=(POINTS, "points")),
    "maximize_activation": Call(
        partial(sj.maximize_activation, shape_or_image=(4, 4, 1)),
        {"score": SCORE, "key": KEY, "steps": 2},
        {"score": "function", "key": "key", "steps": "count", "copies": "count", "redirected_steps": "count"},
    ),
    "jitter": made(maximization.jitter, pixels=(1, "count")),
    "scale": made(maximization.scale, low=(0.9, "positive"), high=(1.1, "positive")),
    "crop": made(maximization.crop, low=(0.5, "positive"), high=(0.9, "positive")),
    "rotate": made(maximization.rotate, degrees=(5.0, "positive")),
    "added_noise": made(maximization.noise, deviation=(0.1, "positive")),
    "total_variation": made(maximization.total_variation, weight=(1.0, "number")),
    "gaussian_expert": made(maximization.gaussian_expert, images=(IMAGES, "stack"), noise=(0.1, "positive")),
    "smoothed": made(maximization.smoothed, score=(SCORE, "function"), sharpness=(10.0, "positive")),
    "mean_magnitude": made(maximization.mean_magnitude, images=(IMAGES, "images")),
    "colour_matrix": made(maximization.colour_matrix, images=(IMAGES, "images")),
    "truncated_normal": made(sanity.truncated_normal, stddev=(0.1, "positive")),
    "uniform": made(sanity.uniform, scale=(0.1, "positive")),
    "permuted_labels": made(sanity.permuted_labels, labels=(TARGETS, "labels"), key=(KEY, "key")),
    "remove_pixels": Call(
        sanity.remove_pixels,
        {"images": IMAGES, "maps": IMAGES, "fraction": 0.5, "fill": 0.0, "ranking": "absolute"},
        {"images": "images", "fraction": "share", "ranking": "name"},
    ),
}
BAD["optional count"], BAD["optional positive"] = (
    [bad for bad in BAD[k] if bad is not None] for k in ("count", "positive")
)
# An infinite bound keeps all.
BAD["outlier"] = [bad for bad in BAD["optional positive"] if not isinstance(bad, float) or bad != INF]
# An image is a stack of rows, and rows are fitted as well.
BAD["stack"] = [bad for bad in BAD["images"] if np.shape(bad) != (4, 4, 1)]
BAD["labels"] = [bad for bad in BAD["targets"] if bad.shape == (3,) and bad.max() < 3]


def shown(value):
    return f"{value.dtype}{value.shape}" if hasattr(value, "dtype") else repr(value)


def complaint(call, replaced):
    """What is wrong with how a call refuses its arguments, empty where nothing is."""
    arguments = ", ".join(f"{name}={shown(value)}" for name, value in replaced.items())
    try:
        call.function(**call.good | replaced)
    except (ValueError, TypeError) as error:
        message = str(error)
        return "" if any(name in message for name in replaced) else f"{arguments}: no name in {message[:150]!r}"
    except Exception as error:
        return f"{arguments}: {type(error).__name__} {str(error)[:150]}"
    return f"{arguments}: accepted"


def single_replacements(call):
    return [{name: value} for name, kind in call.kinds.items() for value in BAD[kind]]


def pairs_of_replacements(call, count):
    draw = np.random.default_rng(len(call.kinds))
    names = list(call.kinds)
    for _ in range(count if len(names) > 1 else 0):
        chosen = draw.choice(names, 2, replace=False)
        yield {name: BAD[call.kinds[name]][draw.integers(len(BAD[call.kinds[name]]))] for name in map(str, chosen)}


@pytest.mark.parametrize("name", CALLS)
def test_what_a_function_cannot_take_is_named(name, as_a_user):
    call = CALLS[name]
    replacements = [*single_replacements(call), *pairs_of_replacements(call, 10)]
    found = [problem for problem in (complaint(call, replaced) for replaced in replacements) if problem]
    assert not found, "\n".join(found)
