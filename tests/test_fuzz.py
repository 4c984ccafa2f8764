"""Public functions given what they cannot take: a ValueError or a TypeError that names the argument, and nothing else.

Explainers, tests, similarities and dimensions; `test_fuzz_prototypes_and_maxima.py` has the others.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bad_arguments import KEY, Call, made, problems

import saliency_jax as sj
from saliency_jax import dimension, robustness, sanity

rng = np.random.default_rng(0)
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
    "layer_dimensions": made(
        sj.layer_dimensions,
        apply=(apply, "function"),
        params=(PARAMS, None),
        images=(jnp.concatenate([IMAGES, -IMAGES]), "images"),
        key=(KEY, "key"),
        layers=(None, "layers"),
        ranges=((1,), "numbers"),
        neighbours=(3, "count"),
        memory=(None, "bytes"),
        progress=(None, "layers"),
        **dict.fromkeys(("discard", "variance", "confidence"), (0.5, "share")),
    ),
    "spectrum": made(dimension.spectrum, points=(POINTS, "points")),
    "truncated_normal": made(sanity.truncated_normal, stddev=(0.1, "positive")),
    "uniform": made(sanity.uniform, scale=(0.1, "positive")),
    "permuted_labels": made(sanity.permuted_labels, labels=(TARGETS, "labels"), key=(KEY, "key")),
    "remove_pixels": Call(
        sanity.remove_pixels,
        {"images": IMAGES, "maps": IMAGES, "fraction": 0.5, "fill": 0.0, "ranking": "absolute"},
        {"images": "images", "fraction": "share", "ranking": "name"},
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_a_function_cannot_take_is_named(name, as_a_user):
    found = problems(CALLS[name])
    assert not found, "\n".join(found)
