"""How every measure of this package is run: one compiled program over all images, and a Dataset over explainers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

from saliency_jax.batches import check_batch_size, images_at_once
from saliency_jax.checks import check_function, check_images, check_key, check_map, check_targets
from saliency_jax.keys import named, numbered
from saliency_jax.scores import Kind, class_count, class_score, logits_of
from saliency_jax.tracing import compiled
from saliency_jax.tracing.memory import memory_to_use, peak_bytes, samples_at_once
from saliency_jax.typing import Apply, Explainer, Images, Map, Params, Score

Scaling = Callable[[Array], Array]
"""`scaling(map) -> map`: what a map goes through by itself before it is compared."""


Variables = Mapping[str, tuple[tuple[str, ...], Any]]
"""Name -> (dimensions, values): what is said of one explainer."""


class Subject(NamedTuple):
    """What is measured, checked.

    Attributes:
        apply, params, images, targets, explainers, key, kind, batch_size: as the arguments of the measures.
    """

    apply: Apply
    params: Params
    images: Array
    targets: Array
    explainers: Mapping[str, Explainer]
    key: Any
    kind: Kind
    batch_size: int | None


def subject(
    apply: Apply,
    params: Params,
    images: Images,
    targets: Any,
    explainers: Mapping[str, Explainer],
    *,
    measure: str,
    key: Any,
    kind: Kind,
    batch_size: int | None,
) -> Subject:
    """The checked arguments that all measures have.

    Raises:
        ValueError: images are not finite or no batch, a target is no class, there is no explainer or no key, kind is
            unknown, or batch_size is under 1.
        TypeError: images are not floating point, targets not integers.
    """
    check_images(images)
    images, targets = jnp.asarray(images), jnp.asarray(targets)
    apply = hashable(apply)
    check_targets(targets, batch=len(images), classes=class_count(apply, params, images))
    check_key(key, measure)
    if not isinstance(explainers, Mapping) or not explainers:
        raise ValueError(f"explainers must map at least one name to a function, got {explainers!r}")
    for explain in explainers.values():
        check_function(explain, "explainers")
    check_batch_size(batch_size)
    class_score(apply, params, 0, kind=kind)
    return Subject(
        apply,
        params,
        images,
        targets.astype(jnp.int32),
        {name: hashable(explain) for name, explain in explainers.items()},
        key,
        kind,
        batch_size,
    )


def hashable(f: Any) -> Any:
    """What a compiled program can be remembered by: `f` itself, None too, or a stand-in where it has no hash."""
    try:
        hash(f)
    except TypeError:
        return partial(f)
    return f


def measured(
    measure: Callable[..., Any], explain: Any, settings: Any, numbers: Any, of: Subject, *, draws: str
) -> dict[str, np.ndarray]:
    """A measure of every image, computed in one program that is compiled once for each kind of call.

    Args:
        measure: `measure(explain, score, image, keys, settings, numbers) -> {name: array}`; a function of a module,
            since its identity is part of the program's. keys is (the explainer's, that of the draws).
        explain: an explainer, or a tuple of them.
        settings: a hashable value that the program is compiled for.
        numbers: a pytree of what can change without another compilation: numbers, or arrays with the images first.
        of: what is measured.
        draws: the name of the draws' key.

    Returns:
        name -> array with the images first. Image i has the keys `fold_in(named(key, name), i)`, whatever the chunks.
    """
    count = len(of.images)
    keys = tuple(numbered(named(of.key, name), count) for name in ("explain", draws))
    items = (of.images, of.targets, keys, jax.tree.map(partial(_for_each, of.images), numbers))
    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), items)
    program = (measure, explain, settings, of.apply, of.kind)
    at_once = of.batch_size or _images_that_fit(program, _abstract((of.params, one)))
    chunks = -(-count // at_once)
    chunk = -(-count // chunks)
    # The same image again fills the last chunk up: one program for all of them.
    places = jnp.minimum(jnp.arange(chunks * chunk), count - 1)
    found = _run(of.params, jax.tree.map(lambda x: x[places], items), program=program, chunk=chunk)
    return {name: np.asarray(values[:count]) for name, values in found.items()}


def _for_each(images: Array, number: Any) -> Array:
    number = jnp.asarray(number, images.dtype)
    return jnp.full(len(images), number) if number.ndim == 0 else number


def _measure_one(program: tuple, params: Params, item: Any) -> Any:
    measure, explain, settings, apply, kind = program
    image, target, keys, numbers = item
    return measure(explain, class_score(apply, params, target, kind=kind), image, keys, settings, numbers)


@partial(compiled, static_argnames=("program", "chunk"))
def _run(params: Params, items: Any, *, program: tuple, chunk: int) -> Any:
    return jax.lax.map(partial(_measure_one, program, params), items, batch_size=chunk)


class _Abstract(NamedTuple):
    """A pytree of arrays by their shapes, as something that can be looked up."""

    leaves: tuple
    structure: Any


def _abstract(tree: Any) -> _Abstract:
    leaves, structure = jax.tree.flatten(tree)
    return _Abstract(tuple(jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x)) for x in leaves), structure)


@lru_cache(maxsize=256)
def _images_that_fit(program: tuple, arguments: _Abstract) -> int:
    """How many images are measured together: as many as the memory holds, by what one of them holds at once."""
    params, one = jax.tree.unflatten(arguments.structure, arguments.leaves)
    needed = peak_bytes(partial(_measure_one, program), params, one)
    return max(1, min(memory_to_use() // max(needed, 1), images_at_once()))


def in_chunks(f: Callable[[Array], Any], count: int) -> Any:
    """`f(i)` for the places 0 .. count - 1, a few at once: arrays with the places first."""
    places = _in_rows(count)
    found = jax.lax.map(jax.vmap(f), places) if len(places) > 1 else jax.vmap(jax.vmap(f))(places)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:count], found)


def best_in_chunks(f: Callable[[Array], tuple[Array, Array]], count: int) -> tuple[Array, Array]:
    """The values and the best point of `f(i) -> (value, point)` for the places 0 .. count - 1; a NaN is the best."""

    def row(places: Array) -> tuple[Array, Array]:
        values, points = jax.vmap(f)(places)
        return values, points[jnp.argmax(values)]

    values, points = jax.lax.map(row, _in_rows(count))
    return values.ravel()[:count], points[jnp.argmax(values.max(axis=1))]


def _in_rows(count: int) -> Array:
    """The places in rows of equal length, the last place repeated to fill them up."""
    rows = -(-count // samples_at_once())
    size = -(-count // rows)
    return jnp.minimum(jnp.arange(rows * size), count - 1).reshape(rows, size)


def map_of(explain: Explainer, score: Score, image: Array, key: Any, scaling: Scaling | None = None) -> Map:
    """One map, checked to be shaped like its image, scaled by itself."""
    found = explain(score, image, key)
    check_map(found, image)
    return found if scaling is None else scaling(found)


def explanation(explain: Explainer, score: Score, image: Array, keys: Any, settings: Any, numbers: Any) -> Any:
    """The measure that is the map itself."""
    return {"map": map_of(explain, score, image, keys[0])}


def check_depends(of: Subject, others: Array, what: str) -> None:
    """Raise ValueError where the score of other images is exactly that of the images: it looks at none of them.

    Args:
        of: what is measured.
        others: as many images, changed.
        what: how they were changed, for the message.
    """
    logits = np.stack([np.asarray(_logits(of.params, x, apply=of.apply)) for x in (of.images, others)])
    scores = np.take_along_axis(logits, np.asarray(of.targets)[None, :, None], axis=2)
    if np.array_equal(scores[0], scores[1]):
        raise ValueError(
            f"the score must depend on the image, but that of all {len(others)} images stays exactly the same when "
            f"{what}"
        )


@partial(compiled, static_argnames="apply")
def _logits(params: Params, images: Array, *, apply: Apply) -> Array:
    return logits_of(apply, params, images)


def over_explainers(
    parts: Mapping[str, Variables],
    coords: Mapping[str, Any],
    attrs: Mapping[str, Any],
) -> xr.Dataset:
    """One Dataset of the variables of every explainer, their name the first dimension."""
    first = next(iter(parts.values()))
    variables = {
        name: (("explainer", *dims), np.stack([np.asarray(part[name][1]) for part in parts.values()]))
        for name, (dims, _) in first.items()
    }
    return xr.Dataset(variables, coords={"explainer": list(parts), **coords}, attrs=dict(attrs))
