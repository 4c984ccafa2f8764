"""From a model to what is explained: the score of one class as a function of one image, and batches of explanations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, PartitionSpec

from saliency_jax.checks import (
    check_function,
    check_images,
    check_integer,
    check_map,
    check_targets,
    dtype_of,
    is_concrete,
)
from saliency_jax.exhaustion import with_halved_chunks
from saliency_jax.keys import numbered
from saliency_jax.meshes import automatic, devices_here, is_across_processes, on_mesh, shared_out
from saliency_jax.processes import least
from saliency_jax.tracing import canonical_convolutions, compiled
from saliency_jax.tracing.memory import memory_to_use, peak_bytes, samples_at_once
from saliency_jax.typing import Apply, Images, Params, Score

Kind = Literal["logit", "log_softmax", "softmax"]

_KINDS: dict[str, Callable[[Array], Array]] = {
    "logit": lambda logits: logits,
    "log_softmax": jax.nn.log_softmax,
    "softmax": jax.nn.softmax,
}


def images_at_once() -> int:
    """How many images `batched` explains together by default: few on a CPU, where larger chunks leave the cache."""
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


def class_score(apply: Apply, params: Params, target: Any, *, kind: Kind = "logit") -> Score:
    """The score of one class as a function of one image: `score(x) = kind(apply(params, x[None])[0])[target]`.

    Args:
        apply: the model, `apply(params, images) -> logits`.
        params: its parameters.
        target: the class, an integer or an integer array of no axes.
        kind: "logit", "log_softmax" or "softmax" of the logits over the classes.

    Returns:
        `score(image) -> scalar`.

    Raises:
        ValueError: kind is unknown; when the score is called, the logits are not `[1, class]` or target is no class.
        TypeError: target is not an integer.
    """
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError(f"kind must be one of {sorted(_KINDS)}, got {kind!r}")
    dtype = np.dtype(int) if type(target) is int else getattr(target, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jnp.integer) or jnp.shape(target) != ():
        raise TypeError(f"target must be one integer class, got {target!r}")
    return ClassScore(apply, params, target, kind)


@dataclass(frozen=True, eq=False)
class ClassScore:
    """What `class_score` returns: a function of the image that also says which parameters it is made of.

    Explainers that look inside the model name its layers after these.
    """

    apply: Apply
    params: Params
    target: Any
    kind: Kind

    def __call__(self, image: Any) -> Array:
        """The score of one image, `[height, width, channel]` -> scalar."""
        return self.of_params(self.params, image)

    def of_params(self, params: Params, image: Any) -> Array:
        """The score of one image under other parameters of the same model."""
        logits = self.apply(params, image[None])
        _check_logits(logits, f"one image {image.shape}")
        if is_concrete(self.target):
            # NumPy: under somebody's jit jnp would turn a known class into one that cannot be looked at.
            check_targets(np.asarray(self.target)[None], batch=1, classes=logits.shape[1], argument="target")
        return _KINDS[self.kind](logits[0])[self.target]


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
    runs out of memory they are halved, with a `ChunkHalvedWarning`, for this call and all later ones.

    Args:
        explain: `explain(score, image, key=None) -> map`, or several of them `together`, as `{name: map}`.
        apply: the model, `apply(params, images) -> logits`.
        batch_size: how many images are explained at once on each device; where not given as many as the memory holds,
            up to `images_at_once()`. Memory grows with it and with the samples that the explainer holds at once.
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

    def explain_share(params: Params, items: Any, *, chunk: int) -> Any:
        def explain_one(item: Any) -> Any:
            image, target, key = item
            maps = explain(class_score(apply, params, target, kind=kind), image, key)
            for found in maps.values() if isinstance(maps, dict) else [maps]:
                check_map(found, image)
            return maps

        return jax.lax.map(explain_one, items, batch_size=chunk)

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

    def at_once(params: Params, image: Array) -> int:
        if batch_size is not None:
            return batch_size
        fitting = images_that_fit(remembered, params, image, memory_to_use(local))
        # Processes of one mesh run one program, whatever memory each of them finds free.
        return least(fitting) if mesh is not None and is_across_processes(mesh) else fitting

    def explain_images(params: Params, images: Images, targets: Any, key: Any = None) -> Any:
        check_images(images)
        dtype_of(targets, "targets")
        images, targets = jnp.asarray(images), jnp.asarray(targets)
        count = len(images)
        params = params if mesh is None else on_mesh(params, mesh)
        check_targets(targets, batch=count, classes=class_count(remembered, params, images))
        items = (images, targets, None if key is None else numbered(key, count))
        # Chosen with the first images of a shape and kept: another chunk would be another program.
        form = images.shape[1:], images.dtype
        if form not in chosen:
            chosen[form] = at_once(params, images[0])
        # Equal chunks: one program for all of them, and as little padding as that allows.
        share = -(-count // shards)
        chunks = -(-share // chosen[form])
        chunk = -(-share // chunks)
        items = jax.tree.map(lambda x: _padded(x, shards * chunks * chunk), items)
        items = items if mesh is None else shared_out(items, mesh)
        maps, fitted = with_halved_chunks(lambda chunk: explain_batch(params, items, chunk=chunk), chunk)
        if fitted < chunk:
            chosen[form] = fitted
        return jax.tree.map(lambda x: x if len(x) == count else x[:count], maps)

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


def class_count(apply: Apply, params: Params, images: Array) -> int:
    """The number of classes, without running the model."""
    one = jax.ShapeDtypeStruct((1, *images.shape[1:]), images.dtype)
    try:
        logits = jax.eval_shape(apply, params, one)
    except Exception as error:
        error.add_note(f"while tracing apply(params, images) with images {one.shape}: do params fit the model?")
        raise
    _check_logits(logits, one.shape)
    return logits.shape[1]


def _check_logits(logits: Any, given: Any) -> None:
    """Raise ValueError unless this, or what has its shape, are the logits of one image."""
    shape = getattr(logits, "shape", None)
    if shape is None or len(shape) != 2 or shape[0] != 1:
        found = type(logits).__name__ if shape is None else shape
        raise ValueError(f"apply(params, images) must give logits [batch, class], got {found} for {given}")


def argmax_class(apply: Apply, params: Params, images: Images, *, batch_size: int | None = None) -> Array:
    """The class that the model gives each image, `[batch]` integers."""
    return jnp.argmax(logits_of(apply, params, images, batch_size=batch_size), axis=-1)


def logits_of(apply: Apply, params: Params, images: Images, *, batch_size: int | None = None) -> Array:
    """The logits of a batch, `[batch, class]`, computed `batch_size` images at a time: 256 or as many as fit."""
    if is_concrete(images):
        check_images(images)
    images = jnp.asarray(images)
    if batch_size is None:
        one = peak_bytes(apply, params, jax.ShapeDtypeStruct((1, *images.shape[1:]), images.dtype))
        batch_size = max(1, min(memory_to_use() // max(one, 1), 256))
    at_once = min(batch_size, len(images))
    whole = len(images) - len(images) % at_once
    chunks = images[:whole].reshape(-1, at_once, *images.shape[1:])
    forward = canonical_convolutions(apply)
    logits = jax.lax.map(lambda chunk: forward(params, chunk), chunks)
    logits = logits.reshape(whole, *logits.shape[2:])
    return logits if whole == len(images) else jnp.concatenate([logits, forward(params, images[whole:])])
