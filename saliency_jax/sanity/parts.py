"""The parts of a randomization test, each a small Dataset that can be kept and read back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from jax.sharding import Mesh

from saliency_jax.batches import batched
from saliency_jax.explainers.together import together
from saliency_jax.keys import named
from saliency_jax.meshes import placed_like
from saliency_jax.processes import everywhere
from saliency_jax.sanity.measurement import Comparison, ModelState
from saliency_jax.sanity.nulls import NULLS, null_partners
from saliency_jax.sanity.protocols import ExplainedClass
from saliency_jax.typing import Apply, Explainer, Metric, Params

TRAINED = "trained"

MODELS_KEPT = 512 * 2**20
"""In bytes: random models that take no more than this, all together, are drawn once."""

OF_MODEL = ("accuracy", "logit_low", "logit_high", "logit_spread")
"""What is reported of each model."""


class Sweep(NamedTuple):
    """A test with all its choices made, and the programs that all its parts share.

    Attributes:
        apply, params, images, targets, evaluation, explainers, metrics, kept_images, batch_size, mesh, key: as the
            arguments of `parameter_randomization`, checked.
        stages: the names of the models that are compared with the trained one.
        seeds: the numbers of their draws.
        randomized: `randomized(seed, stage) -> params`, drawn when they are first asked for.
        explained_class: of a randomized model: "original" for the targets, "argmax" for what it predicts itself.
        compare: the metrics of two batches of maps.
        state: what a model says of labelled images.
    """

    apply: Apply
    params: Params
    images: Array
    targets: Array
    evaluation: tuple[Array, Array]
    explainers: Mapping[str, Explainer]
    metrics: Mapping[str, Metric]
    stages: tuple[str, ...]
    seeds: tuple[int, ...]
    randomized: Callable[[int, int], Params]
    explained_class: ExplainedClass
    kept_images: int
    batch_size: int | None
    mesh: Mesh | None
    key: Any
    compare: Callable[[Array, Array], Comparison]
    state: Callable[[Params, Array, Array], ModelState]

    def explain(self, name: str) -> Callable[[Params, Array], Array]:
        """One explainer for all images, compiled once: `(params, classes) -> maps`. All models share its noise."""
        explain_all = self.explain_together([name])
        return lambda params, classes: explain_all(params, classes)[name]

    def explain_together(self, names: Iterable[str]) -> Callable[[Params, Array], dict[str, Array]]:
        """Explainers that share their work for all images, one program: `(params, classes) -> {name: maps}`."""
        explainers = together({name: self.explainers[name] for name in names})
        run = batched(explainers, self.apply, batch_size=self.batch_size, mesh=self.mesh)

        def explain(params: Params, classes: Array) -> dict[str, Array]:
            # Random weights are drawn whole; those of a model that no device can hold take the places of the trained.
            maps = run(placed_like(params, self.params), self.images, classes, named(self.key, "explain"))
            if self.mesh is None:
                return maps
            # The metrics cost little beside the maps: one device takes them all, of several processes one in each.
            # By NumPy they are bound to no device, and go with parameters that lie on one device or on many.
            return {name: jnp.asarray(np.asarray(everywhere(found))) for name, found in maps.items()}

        return explain


def strongly_typed(params: Params) -> Params:
    """The same values, with every dtype explicit.

    `jnp.full(shape, 0.1)` is weakly typed and the array that a checkpoint brings back is not: programs of models that
    mix the two in different ways would all be compiled anew.
    """

    def strong(leaf: Any) -> Any:
        return jnp.asarray(leaf, jnp.result_type(leaf)) if jax.typeof(leaf).weak_type else leaf

    return jax.tree.map(strong, params)


def kept_where_small(
    randomized: Callable[[int, int], Params], params: Params, *, models: int, most_bytes: int = MODELS_KEPT
) -> Callable[[int, int], Params]:
    """`randomized`, whose models are drawn once and kept where all of them together are small.

    Every explainer asks for the same ones. Of a small network the draw of a model costs as much as a hundred gradients;
    of a large one it costs next to nothing beside them, and all models at once may be more than a device holds.

    Args:
        randomized: `randomized(seed, stage) -> params`, always the same ones.
        params: of one model.
        models: how many there are.
        most_bytes: what all of them together may take.
    """
    size = sum(getattr(leaf, "nbytes", 0) for leaf in jax.tree.leaves(params))
    return cache(randomized) if models * size <= most_bytes else randomized


def measure_models(sweep: Sweep, seed: int) -> xr.Dataset:
    """What the trained model and each stage's model say of the evaluation images, and which class is explained."""
    models = [sweep.params, *(strongly_typed(sweep.randomized(seed, k)) for k in range(len(sweep.stages)))]
    states = _stacked([sweep.state(params, *sweep.evaluation) for params in models], ModelState)
    if sweep.explained_class == "argmax":
        explained = np.stack([sweep.state(params, sweep.images, sweep.targets).predicted for params in models[1:]])
    else:
        explained = np.tile(np.asarray(sweep.targets), (len(sweep.stages), 1))
    of_model = {name: ("model", _float32(getattr(states, name))) for name in OF_MODEL}
    return xr.Dataset(
        {**of_model, "explained_class": (("stage", "image"), explained.astype(np.int32))},
        coords={"model": [TRAINED, *sweep.stages], "stage": list(sweep.stages)},
    )


def measure_null(sweep: Sweep, reference: Callable[[], Array]) -> xr.Dataset:
    """The metrics where there is nothing to find: the trained model's maps against its own, and against strangers."""
    maps = reference()
    partners = {**null_partners(maps, named(sweep.key, "null")), "itself": maps}
    scores = np.stack([_float32(sweep.compare(maps, partners[name]).scores) for name in NULLS])
    return xr.Dataset(
        {"null": (("null_kind", "metric", "image"), scores)},
        coords={"null_kind": list(NULLS), "metric": list(sweep.metrics)},
    )


def measure_explainers(
    sweep: Sweep,
    explain: Callable[[Params, Array], dict[str, Array]],
    reference: Callable[[], dict[str, Array]],
    seed: int,
    explained: np.ndarray,
) -> dict[str, xr.Dataset]:
    """The maps of one seed's models by explainers that share their work, compared with those of the trained model.

    Args:
        sweep: the test.
        explain: `sweep.explain_together(names)`.
        reference: gives the trained model's maps.
        seed: which random models.
        explained: the class to explain, `[stage, image]`.

    Returns:
        name -> its part of the test.
    """
    kept = sweep.kept_images if seed == sweep.seeds[0] else 0
    trained = reference()
    compared: dict[str, list[Comparison]] = {name: [] for name in trained}
    pictures = {name: [maps[:kept]] for name, maps in trained.items()}
    for k in range(len(sweep.stages)):
        of_stage = explain(strongly_typed(sweep.randomized(seed, k)), jnp.asarray(explained[k]))
        for name, maps in of_stage.items():
            compared[name].append(sweep.compare(trained[name], maps))
            pictures[name].append(maps[:kept])
    return {name: _of_explainer(sweep, compared[name], pictures[name]) for name in trained}


def _of_explainer(sweep: Sweep, compared: list[Comparison], pictures: list[Array]) -> xr.Dataset:
    """The part of one explainer and seed: its comparisons at every stage, and the pictures that are kept, if any."""
    found = _stacked(compared, Comparison)
    variables: dict[str, Any] = {
        "similarity": (("stage", "metric", "image"), _float32(found.scores)),
        "constant_maps": ("stage", np.asarray(found.constant, np.int32)),
        "nonfinite_maps": ("stage", np.asarray(found.nonfinite, np.int32)),
    }
    coordinates = {"stage": list(sweep.stages), "metric": list(sweep.metrics)}
    if len(pictures[0]):
        drawn = np.stack(pictures).astype(np.float32)
        variables["maps"] = (("model", "kept_image", "height", "width", "channel"), drawn)
        coordinates["model"] = [TRAINED, *sweep.stages]
    return xr.Dataset(variables, coords=coordinates)


def _stacked(rows: list[Any], kind: Any) -> Any:
    """A list of named tuples of arrays as one of stacked NumPy arrays."""
    return kind(*(np.stack([np.asarray(x) for x in column]) for column in zip(*rows, strict=True)))


def _float32(values: Any) -> np.ndarray:
    return np.asarray(values, dtype=np.float32)
