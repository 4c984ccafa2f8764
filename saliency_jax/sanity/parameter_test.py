"""The model parameter randomization test: what an explainer's maps do when the weights are replaced by noise."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.sharding import Mesh

from saliency_jax.checks import check_images, check_key, check_targets
from saliency_jax.results import open_run, part
from saliency_jax.sanity.fingerprint import describe, digest
from saliency_jax.sanity.measurement import comparison, model_state
from saliency_jax.sanity.parts import TRAINED, Sweep, measure_explainer, measure_models, measure_null, strongly_typed
from saliency_jax.sanity.protocols import Protocol, find_protocol
from saliency_jax.sanity.randomization import Order, stages
from saliency_jax.scores import class_count
from saliency_jax.tracing.layers import Layer
from saliency_jax.tracing.layers import layers as find_layers
from saliency_jax.typing import Apply, Explainer, Images, Init, Metric, Params
from saliency_jax.version import __version__

Progress = Callable[[str, int, int], None]


def parameter_randomization(
    apply: Apply,
    params: Params,
    init: Init,
    images: Images,
    targets: Any,
    explainers: Mapping[str, Explainer],
    *,
    key: Any,
    order: Order = "top_down",
    metrics: Mapping[str, Metric] | None = None,
    seeds: int | Sequence[int] = 5,
    protocol: str | Protocol = "paper",
    layers: Sequence[Layer] | None = None,
    evaluation: tuple[Any, Any] | None = None,
    kept_images: int = 4,
    batch_size: int | None = None,
    mesh: Mesh | None = None,
    folder: Path | str | None = None,
    progress: Progress = lambda name, done, total: None,
) -> xr.Dataset:
    """Compare every explainer's maps of the trained model with its maps of models with random layers.

    similarity[e, m, s, k, i] = metric_m(explain_e(trained, image_i), explain_e(stage s of seed k, image_i)).

    Every stage of every seed draws fresh weights. Explainers that draw noise draw the same for every model, so that
    only the weights differ. An explainer is compiled once for the whole test, and the metrics once for all explainers.

    Cost: (1 + stages * seeds) * images explanations for each explainer.

    Args:
        apply: the model, `apply(params, images) -> logits`.
        params: its trained parameters.
        init: its initializer, `init(key) -> params`; the protocol decides whether it is used.
        images: `[batch, height, width, channel]`, in the units that the model takes.
        targets: the class to explain for each image, `[batch]` integers: its label, or what the model predicts.
        explainers: name -> explainer, such as `saliency_jax.EXPLAINERS` or a part of it.
        key: a JAX key; everything that is drawn comes from it, by name.
        order: "top_down" (the paper's cascade), "bottom_up", or "independent" (one layer at a time).
        metrics: name -> similarity of two maps; the protocol's where None.
        seeds: how many random models, or their numbers; the results of one seed do not depend on the others.
        protocol: "paper", "released_code", or a Protocol.
        layers: what to randomize, in execution order; `saliency_jax.layers` of the model where None.
        evaluation: (images, labels) on which each model's accuracy and logits are reported; (images, targets) where
            None.
        kept_images: the maps of this many first images are kept for pictures, of the first seed.
        batch_size: images explained at once on each device; see `batched`.
        mesh: devices to share the images among; see `batched`.
        folder: where finished parts are kept. A run that was broken off goes on from them; a folder of another
            configuration is refused.
        progress: called as `progress(name, done, total)` after each part.

    Returns:
        A Dataset with the variables
        `similarity` (explainer, metric, stage, seed, image): NaN where a metric is not defined, as for a constant map;
        `null` (null_kind, explainer, metric, image): the trained model's maps against another image's map, against
        themselves with the pixels shuffled, and against noise;
        `constant_maps`, `nonfinite_maps` (explainer, stage, seed): how many of the images' maps were constant, or
        held a NaN or infinite value;
        `accuracy`, `logit_low`, `logit_high` (model, seed), model being "trained" or a stage;
        `explained_class` (stage, seed, image);
        `maps` (explainer, model, kept_image, height, width, channel), the `images` they explain, and `targets`.

    Raises:
        ValueError: an argument is wrong, named with the rule and the value; or the folder is of another run.
        TypeError: images are not floating point, targets not integers.

    Source: Adebayo et al. 2018, sections 3 and 4.
    """
    check_images(images)
    images, targets = jnp.asarray(images), jnp.asarray(targets)
    classes = class_count(apply, params, images)
    check_targets(targets, batch=len(images), classes=classes)
    # One dtype for what was asked and for what a random model predicts: an explainer is compiled for one of them.
    targets = targets.astype(jnp.int32)
    labelled = (images, targets) if evaluation is None else (jnp.asarray(evaluation[0]), jnp.asarray(evaluation[1]))
    check_images(labelled[0], "evaluation images")
    check_targets(labelled[1], batch=len(labelled[0]), classes=classes, argument="evaluation labels")
    check_key(key, "parameter_randomization")
    protocol = find_protocol(protocol)
    metrics = protocol.metrics if metrics is None else metrics
    _check_functions(explainers, "explainers")
    _check_functions(metrics, "metrics")
    if kept_images < 0:
        raise ValueError(f"kept_images must not be negative, got {kept_images}")
    chosen = stages(find_layers(apply, params, images) if layers is None else layers, order=order)
    if TRAINED in dict(chosen):
        raise ValueError(f"layers must not be called {TRAINED!r}, which is the name of the model that none randomizes")
    sweep = Sweep(
        apply=apply,
        params=strongly_typed(params),
        fresh=protocol.fresh(init),
        images=images,
        targets=targets,
        evaluation=labelled,
        explainers=explainers,
        metrics=metrics,
        stages=chosen,
        seeds=_seed_numbers(seeds),
        explained_class=protocol.explained_class,
        kept_images=min(kept_images, len(images)),
        batch_size=batch_size,
        mesh=mesh,
        key=key,
        compare=comparison(metrics),
        state=model_state(apply),
    )
    folder = None if folder is None else Path(folder)
    if folder is not None:
        open_run(folder, _configuration(sweep))
    return _run(sweep, folder, progress).assign_attrs(
        test="parameter_randomization",
        protocol=protocol.name,
        order=order,
        explained_class=protocol.explained_class,
    )


def _run(sweep: Sweep, folder: Path | None, progress: Progress) -> xr.Dataset:
    """Measure, or read back, every part, and put them together."""
    total, done = len(sweep.seeds) + len(sweep.explainers) * (1 + len(sweep.seeds)), 0

    def finished(name: str, measure: Callable[[], xr.Dataset]) -> xr.Dataset:
        nonlocal done
        measured = part(folder, name, measure)
        done += 1
        progress(name, done, total)
        return measured

    models = {seed: finished(f"models-{seed}", partial(measure_models, sweep, seed)) for seed in sweep.seeds}
    nulls, compared = [], []
    for name in sweep.explainers:
        explain = sweep.explain(name)
        # Computed when it is first asked for: a resumed run may not need it.
        reference = cache(partial(explain, sweep.params, sweep.targets))
        nulls.append(finished(f"null-{name}", partial(measure_null, sweep, reference)))
        of_seeds = []
        for seed in sweep.seeds:
            explained = models[seed]["explained_class"].to_numpy()
            measure = partial(measure_explainer, sweep, explain, reference, seed, explained)
            of_seeds.append(finished(f"maps-{name}-{seed}", measure))
        of_explainer = xr.concat([d.drop_vars("maps", errors="ignore") for d in of_seeds], dim="seed", join="exact")
        compared.append(of_explainer.assign(maps=of_seeds[0]["maps"]) if "maps" in of_seeds[0] else of_explainer)
    explainers, seeds = list(sweep.explainers), list(sweep.seeds)
    whole = xr.merge(
        [
            xr.concat(list(models.values()), dim="seed", join="exact"),
            xr.concat(nulls, dim="explainer", join="exact"),
            xr.concat(compared, dim="explainer", join="exact"),
        ],
        join="exact",
    )
    pixels = ("height", "width", "channel")
    whole = whole.assign(
        images=(("kept_image", *pixels), np.asarray(sweep.images[: sweep.kept_images])),
        targets=("image", np.asarray(sweep.targets)),
    )
    whole = whole.assign_coords(explainer=explainers, seed=seeds, image=np.arange(len(sweep.images)))
    return whole.transpose("null_kind", "explainer", "metric", "model", "stage", "seed", "image", ..., *pixels)


def _seed_numbers(seeds: int | Sequence[int]) -> tuple[int, ...]:
    rule = "seeds must be a positive number or different integers in [0, 2**32)"
    try:
        numbers = tuple(range(seeds)) if isinstance(seeds, int) else tuple(map(operator.index, seeds))
    except TypeError as error:
        raise TypeError(f"{rule}, got {seeds!r}") from error
    if not numbers or len(set(numbers)) != len(numbers) or min(numbers) < 0 or max(numbers) >= 2**32:
        raise ValueError(f"{rule}, got {seeds!r}")
    return numbers


def _check_functions(named: Any, argument: str) -> None:
    """Raise unless `named` gives at least one function a name."""
    if not isinstance(named, Mapping):
        raise TypeError(f"{argument} must be a mapping from names to functions, got {type(named).__name__}")
    if not named:
        raise ValueError(f"{argument} must name at least one function, got none")
    for name, function in named.items():
        if not isinstance(name, str) or not callable(function):
            raise TypeError(f"{argument} must be a mapping from names to functions, got {name!r}: {function!r}")


def _configuration(sweep: Sweep) -> dict[str, Any]:
    """Everything that the numbers of a run depend on, as plain values."""
    arrays = {"params": sweep.params, "images": sweep.images, "targets": sweep.targets, "key": sweep.key}
    return {
        "test": "parameter_randomization",
        "jax": jax.__version__,
        "saliency_jax": __version__,
        "arrays": {name: digest(tree) for name, tree in {**arrays, "evaluation": sweep.evaluation}.items()},
        "apply": describe(sweep.apply),
        "explainers": {name: describe(explain) for name, explain in sweep.explainers.items()},
        "metrics": {name: describe(metric) for name, metric in sweep.metrics.items()},
        "fresh": describe(sweep.fresh),
        "explained_class": sweep.explained_class,
        "stages": [[name, [path for layer in chosen for path in layer.paths]] for name, chosen in sweep.stages],
        "seeds": list(sweep.seeds),
        "kept_images": sweep.kept_images,
    }
