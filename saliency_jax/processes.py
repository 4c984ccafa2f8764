"""Several processes that run one program by `jax.distributed`: which one writes, and how all learn what it knows."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import xarray as xr
from jax.experimental import multihost_utils

_MEASURE, _DONE, _FAILED = range(3)
"""What process 0 tells the others while they wait."""


def is_writer() -> bool:
    """Whether this process is the one that writes results: the first of several, or the only one."""
    return jax.process_index() == 0


def everywhere(array: Any) -> Any:
    """An array that this process can read whole; pieces that other processes hold are sent to all of them.

    All processes have to call it at the same place.

    Returns:
        The array itself where all of it is here, else a NumPy array of the same values.

    Cost: the bytes of the array, to every process.
    """
    if not isinstance(array, jax.Array) or array.is_fully_addressable:
        return array
    return multihost_utils.process_allgather(array, tiled=True)


def least(number: int) -> int:
    """The smallest of the numbers that the processes give: what all of them can agree on."""
    if jax.process_count() == 1:
        return number
    return int(np.min(multihost_utils.process_allgather(np.asarray(number, np.int32))))


def by_writer(act: Callable[[], None]) -> None:
    """Let process 0 act, and no process go on before it has; an error there is one in all of them.

    Raises:
        RuntimeError: in the other processes, where process 0 failed.
    """

    def alone(_: Callable[[], xr.Dataset]) -> None:
        act()

    _in_step(alone, xr.Dataset)


def in_step(work: Callable[[Callable[[], xr.Dataset]], xr.Dataset], measure: Callable[[], xr.Dataset]) -> xr.Dataset:
    """`work(measure)` in process 0, and its Dataset in every process.

    Only process 0 looks at the disk. Where its work asks for the measurement, all processes measure together, each
    with its own devices; where it reads a finished one instead, none does. So the processes need no common disk, and
    they do not part ways over what is there.

    Args:
        work: what process 0 does, such as `partial(part, folder, name)`.
        measure: the measurement, the same in every process.

    Raises:
        RuntimeError: in the other processes, where process 0 failed.

    Cost: the bytes of the Dataset, from process 0 to every other.
    """
    found = _in_step(work, measure)
    assert found is not None
    return found


def _in_step(
    work: Callable[[Callable[[], xr.Dataset]], xr.Dataset | None], measure: Callable[[], xr.Dataset]
) -> xr.Dataset | None:
    if jax.process_count() == 1:
        return work(measure)
    return _lead(work, measure) if is_writer() else _follow(measure)


def _lead(
    work: Callable[[Callable[[], xr.Dataset]], xr.Dataset | None], measure: Callable[[], xr.Dataset]
) -> xr.Dataset | None:
    def together() -> xr.Dataset:
        _tell(_MEASURE)
        return measure()

    try:
        done = work(together)
    except Exception as error:
        _tell(_FAILED, f"{type(error).__name__}: {error}".encode())
        raise
    _tell(_DONE, b"" if done is None else bytes(done.to_netcdf(engine="scipy")))
    return done


def _follow(measure: Callable[[], xr.Dataset]) -> xr.Dataset | None:
    own: Exception | None = None
    while True:
        kind, content = _told()
        if kind == _MEASURE:
            try:
                measure()
            except Exception as error:
                # The error of process 0 has to be taken in first: it sends it, and waits until it is received.
                own = error
        elif own is not None:
            raise own
        elif kind == _FAILED:
            raise RuntimeError(f"process 0, which writes the results, failed with {content.decode()}")
        else:
            return xr.load_dataset(io.BytesIO(content), engine="scipy") if content else None


def _tell(kind: int, content: bytes = b"") -> None:
    """Process 0's half of `_told`."""
    multihost_utils.broadcast_one_to_all(np.asarray([kind, len(content)], np.int32))
    if content:
        padded = np.zeros(_room(len(content)), np.uint8)
        padded[: len(content)] = np.frombuffer(content, np.uint8)
        multihost_utils.broadcast_one_to_all(padded)


def _told() -> tuple[int, bytes]:
    """What process 0 tells, once it does."""
    kind, length = multihost_utils.broadcast_one_to_all(np.zeros(2, np.int32)).tolist()
    if not length:
        return kind, b""
    return kind, multihost_utils.broadcast_one_to_all(np.zeros(_room(length), np.uint8))[:length].tobytes()


def _room(length: int) -> int:
    """The next power of two: each length that is sent is a program that is compiled."""
    return 1 << (length - 1).bit_length()
