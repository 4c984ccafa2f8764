"""The engineered-task test: do two models' maps of the same images point at what each model was trained to tell?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from jaxtyping import Bool, Float, Shaped

from saliency_jax.batches import batched
from saliency_jax.checks import check_images, check_key, check_targets
from saliency_jax.keys import named
from saliency_jax.results import open_run, part
from saliency_jax.sanity.fingerprint import describe, digest
from saliency_jax.sanity.measurement import comparison, model_state
from saliency_jax.sanity.nulls import null_partners
from saliency_jax.sanity.parts import strongly_typed
from saliency_jax.scores import class_count
from saliency_jax.similarity import METRICS
from saliency_jax.typing import Apply, Explainer, Images, Init, Metric, Params
from saliency_jax.version import __version__

Progress = Callable[[str, int, int], None]
Mask = Shaped[np.ndarray, "..."] | Shaped[Array, "..."]

TASK_METRICS: Mapping[str, Metric] = {name: METRICS[name] for name in ("spearman", "spearman_abs", "ssim")}


class _Model(NamedTuple):
    """One model that is explained, the class it is explained for, and which of the two masks is its task's."""

    params: Params
    targets: Array
    on_task: Array
    off_task: Array


class _Test(NamedTuple):
    """A test with all its choices made: the first model is the one that the others are compared with."""

    apply: Apply
    models: Mapping[str, _Model]
    images: Array
    explainers: Mapping[str, Explainer]
    metrics: Mapping[str, Metric]
    key: Any
    kept_images: int
    batch_size: int | None
    compare: Callable


def task_dependence(
    apply: Apply,
    digit_params: Params,
    shape_params: Params,
    images: Images,
    digit_targets: Any,
    shape_targets: Any,
    explainers: Mapping[str, Explainer],
    digit_mask: Mask,
    shape_mask: Mask,
    *,
    key: Any,
    init: Init | None = None,
    metrics: Mapping[str, Metric] = TASK_METRICS,
    kept_images: int = 4,
    batch_size: int | None = None,
    folder: Path | str | None = None,
    progress: Progress = lambda name, done, total: None,
) -> xr.Dataset:
    """Compare the maps of two models of two tasks on the same images, and see where each model's maps lie.

    similarity[e, m, "other_task", i] = metric_m(explain_e(digit model, image_i), explain_e(shape model, image_i)),
    mass_on_task[e, model, i] = sum_{pixels of the task's mask} |R| / sum_{all pixels} |R|, R the map of that model.

    An explainer that reads the task from the model gives two maps with little in common and a mass on its task near
    1. One that shows the image alone gives the same map twice, with a mass as large as that of random weights. A low
    similarity alone proves nothing: the nulls and `random` say what is low.

    Args:
        apply: the model of both tasks, `apply(params, images) -> logits`.
        digit_params: parameters trained for the digit.
        shape_params: parameters trained for the shape.
        images: `[batch, height, width, channel]` of both objects, as `saliency_jax.data.engineered` makes them.
        digit_targets: the digit model's class to explain for each image, `[batch]` integers.
        shape_targets: the same for the shape model.
        explainers: name -> explainer.
        digit_mask: where each image's digit is, `[batch, height, width]` booleans: its ink, or its half.
        shape_mask: where its shape is; the two share no pixel.
        key: a JAX key; everything that is drawn comes from it, by name.
        init: `init(key) -> params`; a third model with these weights, explained for the digit, gives the stage
            "random". None leaves it out.
        metrics: name -> similarity of two maps.
        kept_images: the maps of this many first images are kept for pictures.
        batch_size: images explained at once; see `batched`.
        folder: where finished parts are kept. A run that was broken off goes on from them; a folder of another
            configuration is refused.
        progress: called as `progress(name, done, total)` after each part.

    Returns:
        A Dataset with the variables
        `similarity` (explainer, metric, stage, seed, image): to the digit model's map, stage being "other_task" or
        "random", with one seed;
        `null` (null_kind, explainer, metric, image): the digit model's maps as in `parameter_randomization`;
        `mass_on_task`, `mass_off_task` (explainer, model, image): the shares of a map's absolute values, summed over
        channels, in the mask of the model's own task and in that of the other; NaN for a map of zeros. Model is
        "digit_task", "shape_task" or "random", whose task is the digit;
        `constant_maps`, `nonfinite_maps` (explainer, model): how many;
        `accuracy` (model, seed): on these images and targets;
        `maps` (explainer, model, kept_image, height, width, channel) and the `images` they explain.

    Raises:
        ValueError: an argument is wrong, named with the rule and the value; or the folder is of another run.
        TypeError: images are not floating point, targets not integers, masks not boolean.

    Source: Yona and Greenfeld 2021, engineered tasks; the mass in a mask: Kohlbrenner et al. 2020, attribution
        localization.

    Cost: (models + 1) * images explanations for each explainer.
    """
    check_images(images)
    images = jnp.asarray(images)
    check_key(key, "task_dependence")
    _check_functions(explainers, "explainers")
    _check_functions(metrics, "metrics")
    if kept_images < 0:
        raise ValueError(f"kept_images must not be negative, got {kept_images}")
    targets = {"digit_targets": digit_targets, "shape_targets": shape_targets}
    for (name, given), params in zip(targets.items(), (digit_params, shape_params), strict=True):
        classes = class_count(apply, params, images)
        check_targets(given, batch=len(images), classes=classes, argument=name)
    digit, shape = (jnp.asarray(x).astype(jnp.int32) for x in targets.values())
    on_digit, on_shape = _checked_masks(digit_mask, shape_mask, images.shape)
    models = {
        "digit_task": _Model(strongly_typed(digit_params), digit, on_digit, on_shape),
        "shape_task": _Model(strongly_typed(shape_params), shape, on_shape, on_digit),
    }
    if init is not None:
        random = strongly_typed(init(named(key, "random")))
        models["random"] = _Model(random, digit, on_digit, on_shape)
    test = _Test(
        apply=apply,
        models=models,
        images=images,
        explainers=explainers,
        metrics=metrics,
        key=key,
        kept_images=min(kept_images, len(images)),
        batch_size=batch_size,
        compare=comparison(metrics),
    )
    folder = None if folder is None else Path(folder)
    if folder is not None:
        open_run(folder, _configuration(test))
    return _run(test, folder, progress).assign_attrs(test="task_dependence")


@jax.jit
def mass_share(
    maps: Float[Array, "batch height width channel"], mask: Bool[Array, "batch height width"]
) -> Float[Array, " batch"]:
    """The share of each map's absolute values, summed over channels, that lies in a mask.

    share = sum_{p in mask} sum_c |R_pc| / sum_p sum_c |R_pc|; NaN for a map of zeros, which lies nowhere.

    Args:
        maps: `[batch, height, width, channel]`.
        mask: `[batch, height, width]` booleans.

    Source: Kohlbrenner et al. 2020, attribution localization, there of the positive values.
    """
    pixels = jnp.abs(maps).sum(axis=-1)
    # Scaled first: the sum of the smallest or the largest floats would leave their range.
    pixels = pixels / pixels.max(axis=(1, 2), keepdims=True)
    return jnp.where(mask, pixels, 0).sum(axis=(1, 2)) / pixels.sum(axis=(1, 2))


def _run(test: _Test, folder: Path | None, progress: Progress) -> xr.Dataset:
    """Measure, or read back, one part for the models and one for each explainer, and put them together."""
    parts: dict[str, Callable[[], xr.Dataset]] = {"models": partial(_measure_models, test)}
    parts |= {f"maps-{name}": partial(_measure_explainer, test, name) for name in test.explainers}
    measured = []
    for done, (name, measure) in enumerate(parts.items(), start=1):
        measured.append(part(folder, name, measure))
        progress(name, done, len(parts))
    of_models, *of_explainers = measured
    whole = xr.merge([of_models, xr.concat(of_explainers, dim="explainer", join="exact")], join="exact")
    pixels = ("height", "width", "channel")
    whole = whole.assign(images=(("kept_image", *pixels), np.asarray(test.images[: test.kept_images])))
    whole = whole.assign_coords(explainer=list(test.explainers), seed=[0], image=np.arange(len(test.images)))
    order = ("null_kind", "explainer", "metric", "model", "stage", "seed", "image", ..., *pixels)
    return whole.transpose(*order, missing_dims="ignore")


def _measure_models(test: _Test) -> xr.Dataset:
    """The accuracy of each model on its own task."""
    state = model_state(test.apply)
    found = [state(model.params, test.images, model.targets).accuracy for model in test.models.values()]
    accuracy = np.asarray(found, np.float32)[:, None]
    return xr.Dataset({"accuracy": (("model", "seed"), accuracy)}, coords={"model": list(test.models)})


def _measure_explainer(test: _Test, name: str) -> xr.Dataset:
    """One explainer's maps of all models: their similarity to the first one's, and where they lie."""
    run = batched(test.explainers[name], test.apply, batch_size=test.batch_size)

    # One draw for all models: an explainer's own noise must not make a difference between them.
    draw = named(test.key, "explain")
    maps = {name: run(model.params, test.images, model.targets, draw) for name, model in test.models.items()}
    reference = maps["digit_task"]
    partners = null_partners(reference, named(test.key, "null")) | {"itself": reference}
    nulls = [test.compare(reference, partner).scores for partner in partners.values()]
    found = [test.compare(reference, one) for one in maps.values()]
    scores = np.stack([np.asarray(one.scores, np.float32) for one in found[1:]])

    def mass(mask: str) -> np.ndarray:
        pairs = zip(maps.values(), test.models.values(), strict=True)
        return np.stack([np.asarray(mass_share(one, getattr(model, mask)), np.float32) for one, model in pairs])

    variables: dict[str, Any] = {
        "similarity": (("stage", "metric", "seed", "image"), scores[:, :, None]),
        "null": (("null_kind", "metric", "image"), np.asarray(jnp.stack(nulls), np.float32)),
        "mass_on_task": (("model", "image"), mass("on_task")),
        "mass_off_task": (("model", "image"), mass("off_task")),
        "constant_maps": ("model", np.asarray([one.constant for one in found], np.int32)),
        "nonfinite_maps": ("model", np.asarray([one.nonfinite for one in found], np.int32)),
    }
    if test.kept_images:
        kept = np.stack([np.asarray(one[: test.kept_images], np.float32) for one in maps.values()])
        variables["maps"] = (("model", "kept_image", "height", "width", "channel"), kept)
    coordinates = {
        "stage": ["other_task", "random"][: len(scores)],
        "metric": list(test.metrics),
        "null_kind": list(partners),
        "model": list(test.models),
    }
    return xr.Dataset(variables, coords=coordinates)


def _checked_masks(digit_mask: Any, shape_mask: Any, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Both masks as boolean arrays that fit the images and share no pixel."""
    masks = {"digit_mask": np.asarray(digit_mask), "shape_mask": np.asarray(shape_mask)}
    for name, mask in masks.items():
        if mask.dtype != np.bool_:
            raise TypeError(f"{name} must be boolean, got {mask.dtype}")
        if mask.shape != shape[:3]:
            raise ValueError(f"{name} must be [batch, height, width] {shape[:3]} as the images, got shape {mask.shape}")
    digit, shape_of = masks.values()
    if shared := int(np.count_nonzero(digit & shape_of)):
        raise ValueError(f"digit_mask and shape_mask must share no pixel, found {shared}")
    return jnp.asarray(digit), jnp.asarray(shape_of)


def _check_functions(named_functions: Any, argument: str) -> None:
    """Raise unless a mapping gives at least one function a name."""
    if not isinstance(named_functions, Mapping):
        raise TypeError(f"{argument} must be a mapping from names to functions, got {type(named_functions).__name__}")
    if not named_functions:
        raise ValueError(f"{argument} must name at least one function, got none")


def _configuration(test: _Test) -> dict[str, Any]:
    """Everything that the numbers of a run depend on, as plain values."""
    arrays = {"images": test.images, "key": test.key}
    return {
        "test": "task_dependence",
        "jax": jax.__version__,
        "saliency_jax": __version__,
        "arrays": {name: digest(tree) for name, tree in arrays.items()},
        "models": {name: digest(model._asdict()) for name, model in test.models.items()},
        "apply": describe(test.apply),
        "explainers": {name: describe(explain) for name, explain in test.explainers.items()},
        "metrics": {name: describe(metric) for name, metric in test.metrics.items()},
        "kept_images": test.kept_images,
    }
