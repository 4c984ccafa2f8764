"""Cosine similarity convergence: does a backward pass forget where it started?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from jax.sharding import Mesh

from saliency_jax.batches import images_at_once
from saliency_jax.checks import check_images, check_key
from saliency_jax.keys import named, numbered
from saliency_jax.sanity.comparisons import of_explainers, one_model
from saliency_jax.sanity.propagation import Combination, Propagation, layers_of, relevance_at_layers
from saliency_jax.sanity.random_models import seed_numbers
from saliency_jax.scores import class_count
from saliency_jax.similarity import cosine
from saliency_jax.tracing import compiled
from saliency_jax.typing import Apply, Explainer, Images, Params

INPUT = "input"


def cosine_convergence(
    apply: Apply,
    params: Params,
    images: Images,
    explainers: Mapping[str, Explainer],
    *,
    key: Any,
    seeds: int | Sequence[int] = 5,
    batch_size: int | None = None,
    mesh: Mesh | None = None,
) -> xr.Dataset:
    """The cosine of every explainer's maps of two random combinations of the logits, at the input.

    convergence[e, 0, k, i] = |cos(explain_e(v . f, x_i), explain_e(w . f, x_i))|, v and w ~ N(0, 1) over the logits.

    At 1 the map does not depend on what is explained: all that is behind it, the last layers above all, is forgotten.
    Where the maps of v and w are as independent as v and w themselves, the mean of |cos| of n logits is about
    sqrt(2 / (pi n)).

    To an explainer that looks into the model's layers, v . f is the model with one more dense layer, which gets a rule
    as all others do: for LRP see `layer_cosine_convergence`, which hands v to the logits themselves.

    Cost: 2 * seeds * images explanations for each explainer.

    Args:
        apply: the model, `apply(params, images) -> logits`.
        params: its trained parameters.
        images: `[batch, height, width, channel]`, in the units that the model takes.
        explainers: name -> explainer.
        key: a JAX key; v and w of image i in seed k depend on the key, k and i alone.
        seeds: how many pairs are drawn for each image, or the numbers of the draws.
        batch_size: images explained at once on each device; see `batched`.
        mesh: devices to share the images among; see `batched`.

    Returns:
        A Dataset with `convergence` (explainer, layer, seed, image), the one layer being "input". NaN where a map is
        zero everywhere.

    Raises:
        ValueError: an argument is wrong.
        TypeError: images are not floating point.

    Source: Sixt, Granz and Landgraf 2020, "When explanations lie", section 4.
    """
    check_images(images)
    sweep = one_model(
        apply,
        params,
        images,
        np.zeros(len(images), np.int32),
        explainers,
        test="cosine_convergence",
        situation=INPUT,
        key=key,
        metrics={"cosine": cosine},
        seeds=seeds,
        batch_size=batch_size,
        mesh=mesh,
    )
    count, classes = len(sweep.images), class_count(apply, params, sweep.images)
    drawn = jnp.stack([random_relevance(key, seed, count, classes, sweep.images.dtype) for seed in sweep.seeds])
    # One class for each combination: every image has its own, in one compiled program for all of them.
    combinations = drawn.reshape(-1, classes).T
    places = jnp.arange(combinations.shape[1], dtype=jnp.int32).reshape(len(sweep.seeds), count, 2)

    def combined(params: Params, images: Any) -> Array:
        return jnp.matmul(apply(params, images), combinations, precision=jax.lax.Precision.HIGHEST)

    sweep = sweep._replace(apply=combined)
    parts = {}
    for name in explainers:
        explain = partial(sweep.explain(name), sweep.params)
        pairs = [(explain(of_seed[:, 0]), explain(of_seed[:, 1])) for of_seed in places]
        parts[name] = _convergence(np.stack([np.abs(sweep.compare(*pair).scores) for pair in pairs], axis=1), [INPUT])
    return of_explainers(parts, seeds=sweep.seeds, images=count, test="cosine_convergence")


def layer_cosine_convergence(
    apply: Apply,
    params: Params,
    images: Images,
    propagations: Mapping[str, Propagation],
    *,
    key: Any,
    seeds: int | Sequence[int] = 5,
    batch_size: int | None = None,
) -> xr.Dataset:
    """The cosine of what two random relevance vectors at the logits become, at the input of every layer.

    convergence[e, l, k, i] = |cos(R_l(v), R_l(w))|, v and w ~ N(0, 1) over the logits, R_l(v) what propagation e makes
    of v where layer l reads its input. The draws are those of `cosine_convergence` for the same key.

    Products of matrices that are nowhere negative, as those of the z-plus rule, converge to rank 1: whatever v is,
    R_l(v) is nearly a multiple of one vector, and the cosine comes near 1 within a few layers.

    Cost: 2 * seeds * images backward passes for each propagation.

    Args:
        apply, params, images, key, seeds: as in `cosine_convergence`.
        propagations: name -> how relevance goes back, such as those of `PROPAGATIONS` or `lrp_propagation(composite)`.
        batch_size: images at once; `images_at_once()` where None.

    Returns:
        A Dataset with `convergence` (explainer, layer, seed, image), layers being the model's convolutions and dense
        layers in the order of execution: that of the first layer is the map's. Inside a scan all turns of a layer make
        one vector. NaN where what arrives is zero everywhere.

    Raises:
        ValueError: an argument is wrong, the model has neither a convolution nor a dense layer, or a propagation does
            not fit it.
        TypeError: images are not floating point.

    Source: Sixt, Granz and Landgraf 2020, "When explanations lie", section 4.
    """
    check_images(images)
    check_key(key, "layer_cosine_convergence")
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    numbers, images = seed_numbers(seeds), jnp.asarray(images)
    count, classes = len(images), class_count(apply, params, images)
    chunk = min(batch_size or images_at_once(), count)
    drawn = [random_relevance(key, s, count, classes, images.dtype) for s in numbers]
    parts = {}
    for name, propagation in propagations.items():
        layers = layers_of(apply, params, images[0], propagation)
        measure = compiled(partial(_convergence_of_images, apply, propagation, layers, chunk))
        found = [np.asarray(measure(params, images, pairs)) for pairs in drawn]
        parts[name] = _convergence(np.stack(found, axis=1), layers)
    return of_explainers(parts, seeds=numbers, images=count, test="layer_cosine_convergence")


def random_relevance(key: Any, number: int, count: int, classes: int, dtype: Any) -> Array:
    """Two vectors ~ N(0, 1) over the logits for each image, `[image, 2, class]`."""
    keys = numbered(jax.random.fold_in(named(key, "relevance"), number), count)
    return jax.vmap(lambda k: jax.random.normal(k, (2, classes), dtype))(keys)


def _convergence_of_images(
    apply: Apply,
    propagation: Propagation,
    layers: Sequence[str],
    chunk: int,
    params: Params,
    images: Array,
    drawn: Array,
) -> Array:
    """|cos| at every layer for every image, `[layer, image]`."""

    def of_image(item: tuple[Array, Array]) -> Array:
        image, pair = item
        found = jax.vmap(lambda v: relevance_at_layers(Combination(apply, params, v), image, propagation))(pair)
        return jnp.stack([jnp.abs(cosine(*found[name])) for name in layers])

    return jax.lax.map(of_image, (images, drawn), batch_size=chunk).T


def _convergence(values: np.ndarray, layers: Sequence[str]) -> xr.Dataset:
    dims = ("layer", "seed", "image")
    return xr.Dataset({"convergence": (dims, values.astype(np.float32))}, coords={"layer": list(layers)})
