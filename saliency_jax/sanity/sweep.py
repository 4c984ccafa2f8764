"""A randomization test from its choices to its Dataset: checks, finished parts, and their assembly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.sharding import Mesh

from saliency_jax.checks import check_images, check_integer, check_key, check_targets
from saliency_jax.explainers.together import families_of
from saliency_jax.processes import by_writer, in_step
from saliency_jax.results import open_run, part
from saliency_jax.sanity.fingerprint import describe, digest
from saliency_jax.sanity.measurement import comparison, model_state
from saliency_jax.sanity.parts import (
    TRAINED,
    Sweep,
    kept_where_small,
    measure_explainers,
    measure_models,
    measure_null,
    strongly_typed,
)
from saliency_jax.sanity.protocols import ExplainedClass
from saliency_jax.scores import class_count
from saliency_jax.typing import Apply, Explainer, Images, Metric, Params
from saliency_jax.version import __version__

Progress = Callable[[str, int, int], None]


def checked_sweep(
    apply: Apply,
    params: Params,
    images: Images,
    targets: Any,
    explainers: Mapping[str, Explainer],
    *,
    test: str,
    key: Any,
    metrics: Mapping[str, Metric],
    stages: tuple[str, ...],
    seeds: tuple[int, ...],
    randomized: Callable[[int, int], Params],
    explained_class: ExplainedClass,
    evaluation: tuple[Any, Any] | None,
    kept_images: int,
    batch_size: int | None,
    mesh: Mesh | None,
) -> Sweep:
    """The arguments that all randomization tests share, checked; `test` is the name of the one that asks.

    Raises:
        ValueError, TypeError: as `parameter_randomization`.
    """
    check_images(images)
    images, targets = jnp.asarray(images), jnp.asarray(targets)
    classes = class_count(apply, params, images)
    check_targets(targets, batch=len(images), classes=classes)
    # One dtype for what was asked and for what a random model predicts: an explainer is compiled for one of them.
    targets = targets.astype(jnp.int32)
    if evaluation is not None and (not isinstance(evaluation, (tuple, list)) or len(evaluation) != 2):
        raise TypeError(f"evaluation must be a pair (images, labels), got {type(evaluation).__name__}")
    labelled = (images, targets) if evaluation is None else (jnp.asarray(evaluation[0]), jnp.asarray(evaluation[1]))
    check_images(labelled[0], "evaluation images")
    check_targets(labelled[1], batch=len(labelled[0]), classes=classes, argument="evaluation labels")
    check_key(key, test)
    _check_functions(explainers, "explainers")
    _check_functions(metrics, "metrics")
    check_integer(kept_images, "kept_images")
    if kept_images < 0:
        raise ValueError(f"kept_images must not be negative, got {kept_images}")
    if TRAINED in stages:
        raise ValueError(f"layers must not be called {TRAINED!r}, which is the name of the model that none randomizes")
    return Sweep(
        apply=apply,
        params=strongly_typed(params),
        images=images,
        targets=targets,
        evaluation=labelled,
        explainers=explainers,
        metrics=metrics,
        stages=stages,
        seeds=seeds,
        randomized=kept_where_small(randomized, params, models=len(seeds) * len(stages)),
        explained_class=explained_class,
        kept_images=min(kept_images, len(images)),
        batch_size=batch_size,
        mesh=mesh,
        key=key,
        compare=comparison(metrics),
        state=model_state(apply),
    )


def run(sweep: Sweep, configuration: Mapping[str, Any], *, folder: Path | str | None, progress: Progress) -> xr.Dataset:
    """Measure, or read back, every part of a test, and put them together.

    Args:
        sweep: the test.
        configuration: what its numbers depend on beside the sweep's own entries, as plain values.
        folder: where finished parts are kept; of several processes the first alone looks there and writes.
        progress: called as `progress(name, done, total)` after each part.
    """
    folder = None if folder is None else Path(folder)
    if folder is not None:
        by_writer(partial(open_run, folder, _configuration(sweep) | dict(configuration)))
    total, done = len(sweep.seeds) + len(sweep.explainers) * (1 + len(sweep.seeds)), 0

    def finished(name: str, measure: Callable[[], xr.Dataset]) -> xr.Dataset:
        nonlocal done
        measured = in_step(partial(part, folder, name), measure)
        done += 1
        progress(name, done, total)
        return measured

    models = {seed: finished(f"models-{seed}", partial(measure_models, sweep, seed)) for seed in sweep.seeds}
    nulls: dict[str, xr.Dataset] = {}
    compared: dict[str, xr.Dataset] = {}
    for family in families_of(sweep.explainers).values():
        explain = sweep.explain_together(family)
        # Computed when it is first asked for: a resumed run may not need it.
        reference = cache(partial(explain, sweep.params, sweep.targets))
        for name in family:
            nulls[name] = finished(f"null-{name}", partial(measure_null, sweep, partial(_of_name, reference, name)))
        of_seeds: dict[str, list[xr.Dataset]] = {name: [] for name in family}
        for seed in sweep.seeds:
            explained = models[seed]["explained_class"].to_numpy()
            # All explainers of a family are measured where the part of one of them is not there.
            measured = cache(partial(measure_explainers, sweep, explain, reference, seed, explained))
            for name in family:
                of_seeds[name].append(finished(f"maps-{name}-{seed}", partial(_of_name, measured, name)))
        compared |= {name: _along_seeds(parts) for name, parts in of_seeds.items()}
    explainers, seeds = list(sweep.explainers), list(sweep.seeds)
    whole = xr.merge(
        [
            xr.concat(list(models.values()), dim="seed", join="exact"),
            xr.concat([nulls[name] for name in explainers], dim="explainer", join="exact"),
            xr.concat([compared[name] for name in explainers], dim="explainer", join="exact"),
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


def _of_name(found: Callable[[], Mapping[str, Any]], name: str) -> Any:
    return found()[name]


def _along_seeds(parts: list[xr.Dataset]) -> xr.Dataset:
    """The parts of one explainer; the maps are those of the first seed."""
    whole = xr.concat([part.drop_vars("maps", errors="ignore") for part in parts], dim="seed", join="exact")
    return whole.assign(maps=parts[0]["maps"]) if "maps" in parts[0] else whole


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
    """What the numbers of every randomization test depend on, as plain values."""
    arrays = {"params": sweep.params, "images": sweep.images, "targets": sweep.targets, "key": sweep.key}
    return {
        "jax": jax.__version__,
        "saliency_jax": __version__,
        "arrays": {name: digest(tree) for name, tree in {**arrays, "evaluation": sweep.evaluation}.items()},
        "apply": describe(sweep.apply),
        "explainers": {name: describe(explain) for name, explain in sweep.explainers.items()},
        "metrics": {name: describe(metric) for name, metric in sweep.metrics.items()},
        "explained_class": sweep.explained_class,
        "seeds": list(sweep.seeds),
        "kept_images": sweep.kept_images,
    }
