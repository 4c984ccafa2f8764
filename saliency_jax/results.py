"""Measurements on disk: whole files or none, runs that go on where they were broken off, and a long CSV."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
import os
import re
import secrets
import urllib.parse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from saliency_jax.interruption import finishing_first

CONFIGURATION = "configuration.json"
PART_SUFFIX = ".nc"
SEAL = "sha256"
"""The attribute of a part's file that holds a digest of all its other bytes."""
UNSEALED = "0" * hashlib.sha256().digest_size * 2


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, whatever happens in the middle.

    Raises:
        OSError: the disk is full or cannot be written; what stood at `path` before still stands there.
    """
    _write_whole(path, content, lambda partial: os.replace(partial, path))


def _write_whole(path: Path, content: bytes, put: Callable[[Path], None]) -> None:
    """Write a file beside `path`, wait until it is on disk, and let `put` give it its name."""
    # Two machines, or two containers, that share the folder may share a process number too.
    partial = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        put(partial)
    except BaseException as error:
        # Where nothing can be removed either, it is the first error that tells why.
        with contextlib.suppress(OSError):
            partial.unlink()
        error.add_note(f"while writing {path}; the parts of the run that were finished before are whole")
        raise


def write_dataset(dataset: xr.Dataset, path: Path) -> None:
    """Write a Dataset as netCDF (the classic format, which every reader knows), whole or not at all."""
    write_bytes(path, bytes(dataset.to_netcdf(engine="scipy")))


def read_dataset(path: Path) -> xr.Dataset:
    """A Dataset from a netCDF file, in memory.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no netCDF file.
        OSError: the file may not, or cannot, be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no results at {path}")
    return _dataset(path.read_bytes(), path)


def _dataset(content: bytes, path: Path) -> xr.Dataset:
    """The Dataset that a netCDF file's bytes hold; `path` is where they are from."""
    try:
        return xr.load_dataset(io.BytesIO(content), engine="scipy")
    except Exception as error:
        raise ValueError(f"{path} is not a readable netCDF file ({error})") from error


def write_csv(dataset: xr.Dataset, path: Path, *, variable: str = "similarity") -> None:
    """One row a measurement: a column for each dimension of `variable`, and its value."""
    frame = dataset[variable].to_series().reset_index()
    write_bytes(path, frame.to_csv(index=False).encode())


def open_run(folder: Path, configuration: Mapping[str, Any]) -> None:
    """Make a run folder, or check that the one that is there belongs to this configuration.

    Args:
        folder: where the parts of the run go.
        configuration: everything that the results depend on, as plain values.

    Raises:
        ValueError: the folder holds a run of another configuration, and the entries that differ are named; or parts
            of a run whose configuration is not there or cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CONFIGURATION
    wanted = json.loads(json.dumps(configuration, sort_keys=True))
    # Looked for first: parts that another process writes now come after its configuration.
    parts = sorted(file.name for file in folder.glob(f"*{PART_SUFFIX}"))
    if not path.exists():
        if parts:
            raise ValueError(
                f"{folder} holds {parts[0]} and no {CONFIGURATION} that it belongs to: choose another folder"
            )
        _write_whole(path, json.dumps(wanted, indent=1, sort_keys=True).encode(), lambda new: _put_once(new, path))
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not readable JSON ({error}): choose another folder") from error
    if differ := _differences(found, wanted):
        raise ValueError(f"{folder} holds a run of another configuration ({'; '.join(differ)}): choose another folder")


def _put_once(partial: Path, path: Path) -> None:
    """Give a file its name unless another process was first."""
    try:
        os.link(partial, path)
    except FileExistsError:
        pass
    except OSError:
        # A file system without links: of two processes at this line in one moment the last one wins.
        os.replace(partial, path)
        return
    partial.unlink()


def part(folder: Path | None, name: str, measure: Callable[[], xr.Dataset]) -> xr.Dataset:
    """One part of a run: read where it is finished, else measured and written.

    A file that cannot be read, or whose bytes are not those that were written, is set aside and measured again. Two
    processes on one folder may measure the same part; each writes it whole, and the last one stays. A first SIGTERM or
    SIGINT waits until the part is written.

    Args:
        folder: the run's folder; None measures and writes nothing.
        name: the part's name, which becomes a file name.
        measure: computes the part.

    Raises:
        saliency_jax.interruption.Interrupted: a signal came, and the part is written.
        OSError: the part cannot be written, or may not be read.
    """
    if folder is None:
        return measure()
    path = folder / f"{file_name(name)}{PART_SUFFIX}"
    try:
        return read_part(folder, name)
    except FileNotFoundError:
        pass
    except ValueError:
        # Where it is gone, another process has set it aside.
        with contextlib.suppress(FileNotFoundError):
            path.replace(path.with_suffix(".unreadable"))
    with finishing_first(f"the part {name!r} is finished in {folder}; the same command goes on from there"):
        measured = measure()
        write_bytes(path, _sealed(measured))
    return measured


def _sealed(dataset: xr.Dataset) -> bytes:
    """A netCDF file with one attribute more, the digest of the file with zeros in the digest's place."""
    # First among the attributes, where no other digest stands before it.
    marked = dataset.copy(deep=False)
    marked.attrs = {SEAL: UNSEALED, **dataset.attrs}
    content = bytes(marked.to_netcdf(engine="scipy"))
    return content.replace(UNSEALED.encode(), hashlib.sha256(content).hexdigest().encode(), 1)


def read_part(folder: Path, name: str) -> xr.Dataset:
    """A finished part of a run, whose bytes must be those that were written.

    Args:
        folder: the run's folder.
        name: the part's name, as `part` was given it.

    Raises:
        FileNotFoundError, ValueError, OSError: as `read_dataset`; ValueError also where a byte was changed.
    """
    path = folder / f"{file_name(name)}{PART_SUFFIX}"
    content = path.read_bytes()
    # Found by its form and not by its name, which may be what was changed. Older parts have none.
    if seal := re.search(rb"[0-9a-f]{64}", content):
        blank = content[: seal.start()] + UNSEALED.encode() + content[seal.end() :]
        if hashlib.sha256(blank).hexdigest().encode() != seal[0]:
            raise ValueError(f"{path} was changed after it was written")
    dataset = _dataset(content, path)
    dataset.attrs.pop(SEAL, None)
    return dataset


def file_name(name: str) -> str:
    """A name with all bytes but those of letters, digits and '._-~' percent-encoded, so that no two names meet."""
    return urllib.parse.quote(name, safe="")


def _differences(found: Any, wanted: Any, name: str = "") -> list[str]:
    """Where two configurations differ, entry by entry: "explainers/smoothgrad: ... there, ... asked"."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        entries = sorted(found.keys() | wanted.keys())
        inner = (_differences(found.get(e), wanted.get(e), f"{name}/{e}" if name else e) for e in entries)
        return [line for lines in inner for line in lines]
    if found == wanted:
        return []
    there, asked = json.dumps(found), json.dumps(wanted)
    # Long texts are shown from a little before the place where they part.
    common = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(there, asked, strict=False))
    start = max(sum(1 for _ in common) - 60, 0)
    return [f"{name}: {_excerpt(there, start)} there, {_excerpt(asked, start)} asked"]


def _excerpt(text: str, start: int, length: int = 120) -> str:
    return f"{'...' if start else ''}{text[start : start + length]}{'...' if len(text) > start + length else ''}"
