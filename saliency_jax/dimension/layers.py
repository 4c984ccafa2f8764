"""The dimension of the data in every layer of a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from saliency_jax.checks import check_function, check_images, check_key, check_sequence
from saliency_jax.dimension.estimates import check_settings, estimates
from saliency_jax.tracing import Tap, activations, canonical_convolutions, compiled, taps
from saliency_jax.tracing.memory import memory_to_use, peak_bytes
from saliency_jax.typing import Apply, Images, Params

INPUT = "input"
CAUTION = (
    "Estimates above about 20 are lower bounds: no common estimator keeps up with the true dimension there. "
    "Across networks the last hidden layer's dimension goes with the error; across runs of one network it does not: "
    "it is no score of generalization for a single run."
)


class _Measured(NamedTuple):
    """An activation to be measured, and where its images stand."""

    tap: Tap
    image_axis: int
    depth: float


def layer_dimensions(
    apply: Apply,
    params: Params,
    images: Images,
    *,
    key: Any,
    layers: Sequence[str] | None = None,
    ranges: Sequence[int] = (1, 2, 4, 8, 16),
    neighbours: int = 20,
    discard: float = 0.1,
    variance: float = 0.9,
    confidence: float = 0.95,
    memory: int | None = None,
    progress: Callable[[str], Any] | None = None,
) -> xr.Dataset:
    """The intrinsic dimension of a set of images in the input and in the layers of a network.

    Activations are computed in one pass over the images where the memory holds those of all layers, else in one for as
    many layers as it holds. Distances within a layer are computed once for TwoNN, Gride and Levina-Bickel.

    Args:
        apply: the model, `apply(params, images) -> logits`.
        params: its parameters.
        images: `[image, height, width, channel]`.
        key: draws the Gaussian control.
        layers: names of activations, as `taps` gives them; all of them where None. `block_outputs(taps(...))` has those
            of a large network. An activation in a scan is measured at every turn.
        ranges: Gride's k, each for the neighbours (k, 2k); those that the number of images does not allow are left out.
        neighbours: Levina-Bickel's.
        discard: TwoNN's.
        variance: the share of the PCA dimension.
        confidence: of the intervals.
        memory: bytes for activations; half of what is free where None.
        progress: called with the name of each layer that is measured.

    Returns:
        A Dataset over layer, in execution order after "input":
            dimension, low, high, fit (layer, estimator): of TwoNN, Levina-Bickel, PCA (standardized, the count of
                components), and TwoNN of Gaussian points of equal covariance; NaN where there is none;
            gride, gride_low, gride_high, gride_scale (layer, range);
            spectrum (layer, component): the share of the variance of each principal component of standardized features,
                which PCA counts, largest first; NaN beyond the last one that there is;
            points, duplicates, features (layer): what TwoNN used, how many have a copy, the layer's size;
            reason (layer): why a value is NaN, else empty: the layer is dead, constant or not finite, or has too few
                distinct points.
        Coordinates: depth (layer), the share of convolutions and dense layers passed, 0 for the input and 1 for the
        logits; kind (layer). `attrs["caution"]` is to be read with the values.

    Raises:
        ValueError: images are no batch of at least 5, a layer is not among the model's, or an option is out of its
            range.
        TypeError: images are not floating point, or an option is of another kind.

    Source: Ansuini et al., NeurIPS 2019.
    """
    check_images(images)
    check_key(key, "layer_dimensions")
    if len(images) < 5:
        raise ValueError(f"images must be at least 5 to have a dimension, got {len(images)}")
    check_settings(ranges, neighbours, discard=discard, variance=variance, confidence=confidence)
    if memory is not None:
        # Bytes, of which there may be more than 32 bits can count.
        if isinstance(memory, bool) or not isinstance(memory, int | np.integer):
            raise TypeError(f"memory must be a whole number of bytes, got {memory!r}")
        if memory < 1:
            raise ValueError(f"memory must be at least 1 byte, got {memory}")
    if progress is not None:
        check_function(progress, "progress")
    if layers is not None:
        check_sequence(layers, str, "layers")
    images = jnp.asarray(images)
    measured = _chosen(apply, params, images, layers)
    ranges = [k for k in ranges if 2 * k < len(images)]
    estimate = partial(
        estimates,
        key=key,
        ranges=ranges,
        neighbours=min(neighbours, len(images) - 1),
        discard=discard,
        variance=variance,
        confidence=confidence,
    )
    budget = memory_to_use() // 2 if memory is None else memory
    rows = {}
    inputs = [(INPUT, _Measured(Tap(INPUT, images.shape, INPUT), 0, 0.0), images)]
    for source in (iter(inputs), _activations(apply, params, images, measured, budget)):
        for name, layer, values in source:
            rows[name] = estimate(values).assign_coords(kind=layer.tap.kind, depth=layer.depth)
            if progress is not None:
                progress(name)
    dataset = xr.concat(rows.values(), xr.DataArray(list(rows), dims="layer", name="layer"))
    return dataset.assign_attrs(images=len(images), confidence=confidence, variance=variance, caution=CAUTION)


def layer_dimensions_along(
    axis: str, apply: Apply, params: Mapping[Any, Params], images: Images, **options: Any
) -> xr.Dataset:
    """`layer_dimensions` of several parameters of one model: checkpoints of a training, seeds, true and random labels.

    Args:
        axis: what the parameters differ in, the name of the Dataset's new dimension: "epoch", "seed".
        apply: the model.
        params: label on the axis -> parameters. The model is compiled once.
        images: as in `layer_dimensions`.
        options: those of `layer_dimensions`.

    Returns:
        The Dataset of `layer_dimensions` with the axis before its others.

    Raises:
        ValueError: params are empty, or as in `layer_dimensions`.
    """
    if not params:
        raise ValueError("params must hold parameters for at least one label, got none")
    found = [layer_dimensions(apply, one, images, **options) for one in params.values()]
    return xr.concat(found, xr.DataArray(list(params), dims=axis, name=axis), combine_attrs="override")


def _chosen(apply: Apply, params: Params, images: Any, layers: Sequence[str] | None) -> list[_Measured]:
    """The activations that are asked for, with their depth."""
    one, two = (taps(apply, params, images[:n]) for n in (1, 2))
    weighted = [tap.kind in ("convolution", "dense") for tap in one]
    depths = [passed / max(sum(weighted), 1) for passed in accumulate(weighted)]
    # What does not grow with the batch has no points: it is not a layer's value for an image.
    axes = [_first_difference(x.shape, y.shape) for x, y in zip(one, two, strict=True)]
    known = {
        tap.name: _Measured(tap, axis, depth)
        for tap, axis, depth in zip(one, axes, depths, strict=True)
        if axis is not None
    }
    if layers is None:
        return list(known.values())
    if missing := [name for name in layers if name not in known]:
        raise ValueError(f"layers must be names of activations, got {missing}; there are {', '.join(known)}")
    return [known[name] for name in known if name in set(layers)]


def _first_difference(a: tuple[int, ...], b: tuple[int, ...]) -> int | None:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y), None)


def _activations(
    apply: Apply, params: Params, images: Any, layers: list[_Measured], budget: int
) -> Iterator[tuple[str, _Measured, np.ndarray]]:
    """The values of one layer after another, `[image, feature]`; as many at once as the memory holds."""
    one = peak_bytes(apply, params, jax.ShapeDtypeStruct((1, *images.shape[1:]), images.dtype))
    batch = int(np.clip(memory_to_use() // (4 * max(one, 1)), 1, min(256, len(images))))
    for group in _groups(layers, budget // (4 * len(images))):
        names = tuple(layer.tap.name for layer in group)
        held = {layer.tap.name: np.empty(_held(layer, len(images)), np.float32) for layer in group}
        for start in range(0, len(images), batch):
            # The last batch overlaps the one before: one program for all of them.
            place = slice(min(start, len(images) - batch), min(start + batch, len(images)))
            found = _forward(params, images[place], apply=apply, names=names)
            for layer in group:
                held[layer.tap.name][:, place] = _by_turn(found[layer.tap.name], layer.image_axis)
        for layer in group:
            values = held.pop(layer.tap.name)
            for turn, points in enumerate(values):
                name = layer.tap.name if layer.image_axis == 0 else f"{layer.tap.name}[{turn}]"
                yield name, layer, points


def _groups(layers: list[_Measured], features: int) -> Iterator[list[_Measured]]:
    """Layers in order, together where they have no more than so many features of an image; at least one."""
    group: list[_Measured] = []
    held = 0
    for layer in layers:
        size = int(np.prod(layer.tap.shape))
        if group and held + size > features:
            yield group
            group, held = [], 0
        group.append(layer)
        held += size
    if group:
        yield group


def _held(layer: _Measured, images: int) -> tuple[int, int, int]:
    """(turns, images, features) of a layer; the turns of all scans that it is in count as one axis."""
    shape, axis = layer.tap.shape, layer.image_axis
    return int(np.prod(shape[:axis])), images, int(np.prod(shape[axis + 1 :]))


def _by_turn(values: Any, axis: int) -> np.ndarray:
    values = np.asarray(values)
    return values.reshape(int(np.prod(values.shape[:axis])), values.shape[axis], -1)


@partial(compiled, static_argnames=("apply", "names"))
def _forward(params: Params, images: Any, *, apply: Apply, names: tuple[str, ...]) -> dict[str, Any]:
    return canonical_convolutions(partial(activations, apply, names=names))(params, images)
