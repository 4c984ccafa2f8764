"""Pytrees of arrays on disk by Orbax: numbered steps in a folder, each whole or not there, and nothing pickled."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from saliency_jax.typing import Params

Folder = str | os.PathLike[str]

_TREE, _METADATA = "tree", "metadata"


def save(folder: Folder, step: int, tree: Params, *, metadata: Mapping[str, Any] | None = None, keep: int = 2) -> None:
    """Write a pytree as one step of a folder and wait until it is on disk.

    A step is written under another name and renamed when it is whole, so a save that was broken off leaves no step.

    Args:
        folder: where the steps stand; made where it is not there.
        step: the number of this one, not negative and not in the folder yet.
        tree: any pytree of arrays or numbers; custom nodes are stored as dicts and lists.
        metadata: what JSON can hold, kept beside the arrays.
        keep: how many of the newest steps stay in the folder; older ones are deleted after the save.

    Raises:
        ValueError: step is negative or there already, keep is less than 1, or the tree has no leaves.
        TypeError: a leaf is a typed PRNG key, which has no bytes of its own.

    Cost: time and space as the bytes of the tree.
    """
    if step < 0:
        raise ValueError(f"step must not be negative, got {step}")
    if keep < 1:
        raise ValueError(f"keep must be at least 1, got {keep}")
    if step in steps(folder):
        raise ValueError(f"step {step} is already in {os.fspath(folder)!r}")
    if not jax.tree.leaves(tree):
        raise ValueError("tree must have at least one leaf, got none")
    arrays = jax.tree_util.tree_map_with_path(_array, tree)
    items = ocp.args.Composite(
        **{
            _TREE: ocp.args.StandardSave(arrays),
            _METADATA: ocp.args.JsonSave(dict(metadata or {})),
        }
    )
    with _manager(folder, create=True, keep=keep) as manager:
        manager.save(step, args=items, force=True)


def restore(folder: Folder, like: Params, *, step: int | None = None) -> Params:
    """Read back a pytree that `save` wrote.

    Args:
        folder: the folder given to `save`.
        like: a pytree of the same structure, shapes and dtypes; its leaves are arrays, or `jax.ShapeDtypeStruct`.
        step: which step; the newest where not given.

    Returns:
        The stored values in the structure of `like`: numpy arrays where it has numpy arrays or numbers, JAX arrays
        elsewhere, on the devices of `like` where it names them.

    Raises:
        FileNotFoundError: the folder has no step, or not this one.
        ValueError: the stored tree is another one; the first leaf that differs is named.
    """
    step = _existing(folder, step)
    with _manager(folder) as manager:
        _check_same(manager.item_metadata(step)[_TREE], like, folder, step)
        target = jax.tree_util.tree_map_with_path(_target, like)
        items = ocp.args.Composite(**{_TREE: ocp.args.StandardRestore(target)})
        return manager.restore(step, args=items)[_TREE]


def read_metadata(folder: Folder, *, step: int | None = None) -> dict[str, Any]:
    """The metadata that `save` wrote beside a step, the newest where none is given; FileNotFoundError without one."""
    step = _existing(folder, step)
    with _manager(folder) as manager:
        items = ocp.args.Composite(**{_METADATA: ocp.args.JsonRestore()})
        return manager.restore(step, args=items)[_METADATA]


def steps(folder: Folder) -> tuple[int, ...]:
    """The numbers of the whole steps in a folder, in ascending order; none where the folder is not there."""
    # Not by a manager: that waits for all processes, and one may have made the folder before another looks.
    return tuple(sorted(ocp.utils.checkpoint_steps(Path(folder)))) if Path(folder).is_dir() else ()


def checksum(tree: Params) -> str:
    """CRC-32 of the shapes, dtypes and bytes of all leaves."""
    value = 0
    for leaf in map(np.asarray, jax.tree.leaves(tree)):
        value = zlib.crc32(f"{leaf.dtype}{leaf.shape}".encode(), value)
        value = zlib.crc32(leaf.tobytes(), value)
    return f"{value:08x}"


def check_origin(stored: Mapping[str, Any], origin: Mapping[str, Any]) -> None:
    """Raise ValueError, naming what differs, unless what a stored training is of agrees with what is asked for."""
    for name, value in origin.items():
        found = stored.get(name)
        if found != value:
            raise ValueError(f"folder holds a training of other {name}: {found!r} there, {value!r} asked for")


def _manager(folder: Folder, *, create: bool = False, keep: int | None = None) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(
        max_to_keep=keep, create=create, cleanup_tmp_directories=create, enable_async_checkpointing=False
    )
    handlers = {_TREE: ocp.StandardCheckpointHandler(), _METADATA: ocp.JsonCheckpointHandler()}
    return ocp.CheckpointManager(Path(folder).absolute(), options=options, item_handlers=handlers)


def _existing(folder: Folder, step: int | None) -> int:
    """The step asked for, or the newest."""
    there = steps(folder)
    if not there:
        raise FileNotFoundError(f"no checkpoint in {os.fspath(folder)!r}")
    if step is None:
        return there[-1]
    if step not in there:
        raise FileNotFoundError(f"no step {step} in {os.fspath(folder)!r}, which has {list(there)}")
    return step


def _array(path: Any, leaf: Any) -> Any:
    """A leaf as the array that is stored for it."""
    if jax.dtypes.issubdtype(getattr(leaf, "dtype", None), jax.dtypes.prng_key):
        raise TypeError(f"leaf {_name(path)!r} is a typed PRNG key: store jax.random.key_data of it")
    # Where several processes save together, Orbax refuses a JAX array that each of them holds whole.
    whole = jax.process_count() > 1 and getattr(leaf, "is_fully_addressable", True)
    return leaf if isinstance(leaf, jax.Array) and not whole else np.asarray(leaf)


def _target(path: Any, leaf: Any) -> Any:
    """What Orbax is to make of a stored leaf: a JAX array on a named device, or a numpy array."""
    if isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
        sharding = leaf.sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
    return _array(path, leaf)


def _check_same(stored: Any, like: Params, folder: Folder, step: int) -> None:
    """Raise ValueError, naming the first leaf, unless the stored tree has the leaves, shapes and dtypes of `like`."""
    there, here = _kinds(stored), _kinds(like)
    for name in dict.fromkeys((*here, *there)):
        if there.get(name) != here.get(name):
            raise ValueError(
                f"step {step} of {os.fspath(folder)!r} is of another configuration: leaf {name!r} is "
                f"{there.get(name, 'absent')} there and {here.get(name, 'absent')} in what was asked for"
            )


def _kinds(tree: Any) -> dict[str, str]:
    """Leaf path -> dtype and shape: "float32[5, 5, 1, 32]". Fields of namedtuples and keys of dicts read alike."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {_name(path): f"{_typed(leaf).dtype}{list(_typed(leaf).shape)}" for path, leaf in leaves}


def _typed(leaf: Any) -> Any:
    return leaf if hasattr(leaf, "dtype") else np.asarray(leaf)


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
