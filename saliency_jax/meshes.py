"""Where the arrays of a batch lie on a mesh: images shared out along its first axis, parameters whole or in pieces."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from saliency_jax.typing import Params


def automatic(mesh: Mesh) -> Mesh:
    """The same devices and names, with axes that are no part of an array's type: maps are to be ordinary arrays.

    Raises:
        TypeError: it is no mesh.
        ValueError: the mesh holds devices of some processes, and not of all that run the program.
    """
    if not isinstance(mesh, Mesh):
        raise TypeError(f"mesh must be a jax.sharding.Mesh, got {type(mesh).__name__}")
    there = {device.process_index for device in mesh.devices.flat}
    absent = sorted(set(range(jax.process_count())) - there)
    if absent and there != {jax.process_index()}:
        raise ValueError(f"mesh must hold devices of every process or of this alone, has none of process {absent[0]}")
    return Mesh(mesh.devices, mesh.axis_names)


def devices_here(mesh: Mesh) -> list[jax.Device]:
    """The devices of a mesh that belong to this process, in the mesh's order."""
    return [device for device in mesh.devices.flat if device.process_index == jax.process_index()]


def is_across_processes(mesh: Mesh) -> bool:
    """Whether the devices of a mesh belong to several processes."""
    return len(devices_here(mesh)) < mesh.size


def shared_out(items: Any, mesh: Mesh) -> Any:
    """Arrays split along their first axis over the first axis of a mesh.

    Args:
        items: a pytree of arrays whose length the mesh's axis divides; of several processes each has all of them, and
            sends its own devices nothing but their shares.
        mesh: the devices.
    """
    return jax.tree.map(lambda leaf: _placed(leaf, NamedSharding(mesh, PartitionSpec(mesh.axis_names[0]))), items)


def on_mesh(params: Params, mesh: Mesh) -> Params:
    """Parameters on the devices of a mesh: those that lie there in pieces as they lie, all others whole on each.

    Args:
        params: the parameters; a leaf with a `NamedSharding` over the same devices and names that splits it keeps it.
        mesh: the devices.
    """

    def place(leaf: Any) -> Array:
        pieces = in_pieces(leaf)
        kept = PartitionSpec() if pieces is None or not _same(pieces.mesh, mesh) else pieces.spec
        return _placed(leaf, NamedSharding(mesh, kept))

    return jax.tree.map(place, params)


def placed_like(params: Params, others: Params) -> Params:
    """Parameters in the same pieces as others of the same structure, where those lie in pieces; the rest as it is."""

    def place(leaf: Any, other: Any) -> Any:
        pieces = in_pieces(other)
        return leaf if pieces is None else _placed(leaf, pieces)

    return jax.tree.map(place, params, others)


def in_pieces(leaf: Any) -> NamedSharding | None:
    """How an array is divided where no device holds all of it; None where one does."""
    sharding = getattr(leaf, "sharding", None)
    return sharding if isinstance(sharding, NamedSharding) and not sharding.is_fully_replicated else None


def _same(one: Any, other: Mesh) -> bool:
    """Whether two meshes have the same names and devices, whatever the types of their axes."""
    return one.axis_names == other.axis_names and np.array_equal(one.devices, other.devices)


def _placed(leaf: Any, sharding: NamedSharding) -> Array:
    """An array under a sharding, which may have devices of other processes."""
    if sharding.is_fully_addressable or not getattr(leaf, "is_fully_addressable", True):
        return jax.device_put(leaf, sharding)
    if jax.dtypes.issubdtype(getattr(leaf, "dtype", None), jax.dtypes.prng_key):
        drawn = _placed(jax.random.key_data(leaf), sharding)
        return jax.random.wrap_key_data(drawn, impl=jax.random.key_impl(leaf))
    values = np.asarray(leaf)
    return jax.make_array_from_callback(values.shape, sharding, lambda piece: values[piece])
