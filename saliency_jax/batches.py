"""Batches of explanations: an explainer of one image as one compiled program, in chunks, on any number of devices."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh, PartitionSpec

from saliency_jax.checks import check_function, check_images, check_integer, check_map, check_targets, dtype_of
from saliency_jax.exhaustion import with_halved_chunks
from saliency_jax.keys import numbered
from saliency_jax.meshes import automatic, devices_here, is_across_processes, on_mesh, shared_out
from saliency_jax.processes import least
from saliency_jax.scores import Kind, class_count, class_score
from saliency_jax.tracing import compiled
from saliency_jax.tracing.memory import memory_to_use, peak_bytes, samples_at_once
from saliency_jax.typing import Apply, Images, Params

CACHE = 32 << 20
"""How many bytes of values a CPU's cache is taken to hold."""


def images_at_once() -> int:
    """How many images are explained together by default: few on a CPU, where larger chunks leave the cache.

    `batched` takes up to four times as many of a network so small that they stay there.
    """
    return 16 if jax.default_backend() == "cpu" else 64


def images_that_fit(apply: Apply, params: Params, image: Any, memory: int) -> int:
    """How many images a batch can explain together within some memory: at least 1, at most `images_at_once()`.

    An image is taken to need what `samples_at_once()` gradients of its logits hold, as it does in SmoothGrad and
    integrated gradients.

    Args:
        apply: the model.
        params: its parameters.
        image: one image `[height, width, channel]`, or its shape and dtype.
        memory: in bytes.

    Cost: the model's gradient is traced once, and nothing is compiled.
    """
    gradient = jax.grad(lambda image, params: apply(params, image[None]).sum())
    needed = samples_at_once() * peak_bytes(gradient, jax.ShapeDtypeStruct(image.shape, image.dtype), params)
    return max(1, min(memory // max(needed, 1), images_at_once()))


def more_where_they_stay_in_cache(explain_one: Callable[[Any], Any], items: Any, fitting: int) -> int:
    """How many images of a small network a CPU explains together: more than `fitting` where they still stay in cache.

    One backward pass of a small network takes so little memory that 64 images at once are a quarter faster than 16;
    the many copies of SmoothGrad are not.

    Args:
        explain_one: `explain_one(item) -> maps` of one image.
        items: of one image at the least, `[batch, ...]`.
        fitting: how many fit into the memory.

    Cost: two traces of the explainer.
    """
    abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype), items)
    pair = jax.tree.map(lambda x: jax.ShapeDtypeStruct((2, *x.shape[1:]), x.dtype), items)
    alone, together = (peak_bytes(jax.vmap(explain_one), one) for one in (abstract, pair))
    return max(fitting, min(CACHE // max(together - alone, 1), 4 * images_at_once()))


def batched(
    explain: Callable[..., Any],
    apply: Apply,
    *,
    batch_size: int | None = None,
    mesh: Mesh | None = None,
    kind: Kind = "logit",
) -> Callable[..., Any]:
    """An explainer of one image as a compiled function of a batch: vmap, jit, chunks and devices.

    Image i is explained with the key `fold_in(key, i)`, so that the maps do not depend on the chunks or the devices.
    The whole batch is one program, compiled once for each shape; chunks follow one another inside it. Where a device
    runs out of memory they are halved, with a `ChunkHalvedWarning`, for this call and all later ones of as
    many images.

    Args:
        explain: `explain(score, image, key=None) -> map`, or several of them `together`, as `{name: map}`.
        apply: the model, `apply(params, images) -> logits`.
        batch_size: how many images are explained at once on each device; where not given as many as the memory holds,
            up to `images_at_once()`, or four times as many on a CPU where they stay in its cache. Memory grows with it
            and with the samples that the explainer holds at once.
        mesh: devices to share the images among, along the mesh's first axis; a batch that the axis does not divide is
            padded and the padding is cut off. Parameters are replicated; those that already lie in pieces on the
            devices of this mesh, split over another of its axes because one device cannot hold them, stay there, and
            each image is computed by all devices of that axis together. Of several processes each calls this with the
            same arguments, and gets maps of which it holds its own devices' share (`processes.everywhere`).
        kind: what of the logits is explained, as in `class_score`.

    Returns:
        `fn(params, images, targets, key=None) -> maps`, images and maps `[batch, height, width, channel]` (where
        explain gives several, each of them), targets `[batch]` integers.

    Raises:
        ValueError: batch_size is under 1, mesh has devices of some processes and not of all; when called, images are
            not finite or no batch, a target is no class, explain gives no map like the image.
        TypeError: images are not floating point, targets not integers.
    """
    check_function(explain, "explain")
    check_function(apply, "apply")
    check_batch_size(batch_size)
    # Under a jit of its own the model is traced once for its shapes, not with every call.
    remembered = jax.jit(apply)
    mesh = None if mesh is None else automatic(mesh)
    shards, local = (1, 1) if mesh is None else (mesh.devices.shape[0], len(devices_here(mesh)))

    # Of several explainers' names, as they were given: JAX hands dictionaries back in alphabetical order.
    order: list[str] = []

    def explain_one(params: Params, item: Any) -> Any:
        image, target, key = item
        maps = explain(class_score(apply, params, target, kind=kind), image, key)
        for found in maps.values() if isinstance(maps, dict) else [maps]:
            check_map(found, image)
        if isinstance(maps, dict):
            order[:] = maps
        return maps

    def explain_share(params: Params, items: Any, *, chunk: int) -> Any:
        return jax.lax.map(partial(explain_one, params), items, batch_size=chunk)

    @partial(compiled, static_argnames="chunk")
    def explain_batch(params: Params, items: Any, chunk: int) -> Any:
        share = partial(explain_share, chunk=chunk)
        if mesh is None:
            return share(params, items)
        # Each device loops over the chunks of its own share; a loop over all the images would visit them in turn.
        # The mesh's other axes are left to XLA, which divides the work as the parameters are divided.
        images_axis = mesh.axis_names[0]
        divided = PartitionSpec(images_axis)
        return jax.shard_map(
            share,
            mesh=mesh,
            in_specs=(PartitionSpec(), divided),
            out_specs=divided,
            axis_names={images_axis},
            check_vma=False,
        )(params, items)

    chosen: dict[Any, int] = {}

    def at_once(params: Params, items: Any) -> int:
        if batch_size is not None:
            return batch_size
        images = items[0]
        fitting = images_that_fit(remembered, params, images[0], memory_to_use(local))
        if mesh is not None:
            # Processes of one mesh run one program, whatever memory each of them finds free.
            return least(fitting) if is_across_processes(mesh) else fitting
        if jax.default_backend() != "cpu" or len(images) <= fitting or fitting < images_at_once():
            return fitting
        return more_where_they_stay_in_cache(partial(explain_one, params), items, fitting)

    def explain_images(params: Params, images: Images, targets: Any, key: Any = None) -> Any:
        check_images(images)
        dtype_of(targets, "targets")
        images, targets = jnp.asarray(images), jnp.asarray(targets)
        count = len(images)
        params = params if mesh is None else on_mesh(params, mesh)
        check_targets(targets, batch=count, classes=class_count(remembered, params, images))
        items = (images, targets, None if key is None else numbered(key, count))
        # Chosen with the first images of a shape and kept: another chunk would be another program.
        form = images.shape[1:], images.dtype, count > images_at_once()
        if form not in chosen:
            chosen[form] = at_once(params, items)
        # Equal chunks: one program for all of them, and as little padding as that allows.
        share = -(-count // shards)
        chunks = -(-share // chosen[form])
        chunk = -(-share // chunks)
        items = jax.tree.map(lambda x: _padded(x, shards * chunks * chunk), items)
        items = items if mesh is None else shared_out(items, mesh)
        maps, fitted = with_halved_chunks(lambda chunk: explain_batch(params, items, chunk=chunk), chunk)
        if fitted < chunk:
            chosen[form] = fitted
        maps = jax.tree.map(lambda x: x if len(x) == count else x[:count], maps)
        return {name: maps[name] for name in order} if isinstance(maps, dict) else maps

    return explain_images


def check_batch_size(batch_size: Any) -> None:
    """Raise unless this is a number of images, or None for as many as fit."""
    if batch_size is not None:
        check_integer(batch_size, "batch_size")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")


def _padded(x: Array, length: int) -> Array:
    """An array with its last entry repeated up to a length."""
    missing = length - len(x)
    return jnp.concatenate([x, jnp.repeat(x[-1:], missing, axis=0)]) if missing else x
