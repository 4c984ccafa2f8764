"""Measurements on disk: whole files or none, runs that go on where they were broken off, and a long CSV."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

CONFIGURATION = "configuration.json"


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, whatever happens in the middle.

    Raises:
        OSError: the disk is full or cannot be written; what stood at `path` before still stands there.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
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
    """
    if not path.is_file():
        raise FileNotFoundError(f"no results at {path}")
    try:
        return xr.load_dataset(path, engine="scipy")
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
        ValueError: the folder holds a run of another configuration; the entries that differ are named.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CONFIGURATION
    wanted = json.loads(json.dumps(configuration, sort_keys=True))
    if not path.exists():
        write_bytes(path, json.dumps(wanted, indent=1, sort_keys=True).encode())
        return
    found = json.loads(path.read_text())
    differ = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if differ:
        what = "; ".join(f"{name}: {_short(found.get(name))} there, {_short(wanted.get(name))} asked" for name in differ)
        raise ValueError(f"{folder} holds a run of another configuration ({what}): choose another folder")


def part(folder: Path | None, name: str, measure: Callable[[], xr.Dataset]) -> xr.Dataset:
    """One part of a run: read where it is finished, else measured and written.

    A file that cannot be read is measured again.

    Args:
        folder: the run's folder; None measures and writes nothing.
        name: the part's name, which becomes a file name.
        measure: computes the part.
    """
    if folder is None:
        return measure()
    path = folder / f"{file_name(name)}.nc"
    if path.exists():
        try:
            return read_dataset(path)
        except ValueError:
            path.replace(path.with_suffix(".unreadable"))
    measured = measure()
    write_dataset(measured, path)
    return measured


def file_name(name: str) -> str:
    """A name with everything but letters, digits, '.', '_' and '-' percent-encoded, so that no two names meet."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else f"%{ord(c):02x}" for c in name)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


