"""Tensors from a file that torch.save wrote before version 1.6, without torch and without unpickling anything.

Such a file is five pickles one after the other (a magic number, the version, the machine, the state dict, the keys of
the storages) and then for each key the number of its values and the values.
"""

from __future__ import annotations

import math
from io import BytesIO
from typing import Any

import numpy as np

from saliency_jax.models.weights.unpickling import Call, Name, PersistentId, described, read_pickle

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_STORAGES = {
    "torch.FloatStorage": "<f4",
    "torch.DoubleStorage": "<f8",
    "torch.HalfStorage": "<f2",
    "torch.LongStorage": "<i8",
    "torch.IntStorage": "<i4",
    "torch.ShortStorage": "<i2",
    "torch.CharStorage": "<i1",
    "torch.ByteStorage": "<u1",
    "torch.BoolStorage": "?",
}
_DICT, _TENSOR = "collections.OrderedDict", "torch._utils._rebuild_tensor_v2"
_ALLOWED = (_DICT, _TENSOR, *_STORAGES)


def read_legacy_torch(data: bytes, *, source: str) -> dict[str, np.ndarray]:
    """The tensors of a state dict in torch's legacy format.

    Args:
        data: the bytes of the file.
        source: what they were read from, for the messages.

    Returns:
        Name -> tensor, in torch's layout (kernels OIHW, dense kernels outputs first).

    Raises:
        ValueError: the file is of another format, holds or names anything but tensors (nothing of it is run), or is
            truncated or damaged.
    """
    if data[:2] == b"PK":
        raise ValueError(f"{source} must be in torch's legacy format, found the zip format of torch 1.6 and later")
    file = BytesIO(data)
    if (magic := read_pickle(file, allowed=(), source=source)) != _MAGIC:
        raise ValueError(f"{source} must begin with torch's magic number {_MAGIC:#x}, found {described(magic)}")
    if (version := read_pickle(file, allowed=(), source=source)) != _VERSION:
        raise ValueError(f"{source} must be of version {_VERSION} of torch's legacy format, found {described(version)}")
    machine = read_pickle(file, allowed=(), source=source)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise ValueError(f"{source} must have little-endian values, found {described(machine)}")
    records = _records(read_pickle(file, allowed=_ALLOWED, source=source), source)
    keys = read_pickle(file, allowed=(), source=source)
    storages = _storages(file, keys, records, source)
    return {name: _tensor(record, storages, f"{source}: tensor {name!r}") for name, record in records.items()}


def _records(content: Any, source: str) -> dict[str, tuple]:
    """Name -> (storage's reference, offset, shape, strides) for each tensor of a state dict."""
    items = list(content.items) if isinstance(content, Call) and content.path == _DICT else None
    if isinstance(content, dict):
        items = list(content.items())
    if items is None:
        raise ValueError(f"{source} must hold a state dict, found {described(content)}")
    records = {}
    for name, value in items:
        match value:
            case Call(
                path="torch._utils._rebuild_tensor_v2",
                arguments=(
                    PersistentId(("storage", Name(kind), str(key), str(), int(count), None)),
                    int(offset),
                    tuple(shape),
                    tuple(strides),
                    *_,
                ),
            ) if kind in _STORAGES and isinstance(name, str):
                records[name] = ((kind, key, count), offset, shape, strides)
            case _:
                raise ValueError(f"{source} must hold tensors alone, found {described(value)} named {described(name)}")
    return records


def _storages(file: BytesIO, keys: Any, records: dict[str, tuple], source: str) -> dict[str, np.ndarray]:
    """Key -> values; the file says the type of a storage only where a tensor refers to it."""
    referred: dict[str, tuple[str, int]] = {}
    for name, ((kind, key, count), *_) in records.items():
        if referred.setdefault(key, (kind, count)) != (kind, count):
            raise ValueError(f"{source}: tensor {name!r} must see its storage {key!r} as the others do")
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(referred):
        raise ValueError(f"{source} must list the storages that its tensors refer to, found {described(keys)}")
    storages = {}
    for key in keys:
        kind, count = referred[key]
        dtype = np.dtype(_STORAGES[kind])
        header = file.read(8)
        stored = int.from_bytes(header, "little", signed=True)
        values = file.read(count * dtype.itemsize) if count >= 0 else b""
        if len(header) < 8 or stored != count or len(values) != count * dtype.itemsize:
            raise ValueError(
                f"{source} must have {count} values of {dtype} in storage {key!r}, it is truncated or damaged: "
                f"found {len(values)} bytes, said to be {stored} values"
            )
        storages[key] = np.frombuffer(values, dtype)
    if left := len(file.read()):
        raise ValueError(f"{source} must end with its last storage, {left} bytes follow")
    return storages


def _tensor(record: tuple, storages: dict[str, np.ndarray], where: str) -> np.ndarray:
    (_, key, _), offset, shape, strides = record
    storage = storages[key]
    whole = all(isinstance(n, int) and n >= 0 for n in (offset, *shape, *strides)) and len(shape) == len(strides)
    if not whole:
        raise ValueError(f"{where} must have a shape and strides, found {shape} and {strides} from {offset}")
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    # No larger than the storage either: strides of 0 would make any size out of one value.
    if 0 in shape or last >= storage.size or math.prod(shape) > storage.size:
        raise ValueError(
            f"{where} must lie inside its storage of {storage.size} values, found shape {shape}, strides {strides} "
            f"from {offset}"
        )
    view = np.lib.stride_tricks.as_strided(
        storage[offset:], shape, [stride * storage.itemsize for stride in strides], writeable=False
    )
    return view.copy()
