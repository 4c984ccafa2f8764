"""Measurements on disk: whole files or none, runs that go on where they were broken off, and a long CSV."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import urllib.parse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import xarray as xr

CONFIGURATION = "configuration.json"
PART_SUFFIX = ".nc"


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
        ValueError: the folder holds a run of another configuration, and the entries that differ are named; or parts
            of a run whose configuration is not there or cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CONFIGURATION
    wanted = json.loads(json.dumps(configuration, sort_keys=True))
    if not path.exists():
        if parts := sorted(file.name for file in folder.glob(f"*{PART_SUFFIX}")):
            raise ValueError(
                f"{folder} holds {parts[0]} and no {CONFIGURATION} that it belongs to: choose another folder"
            )
        write_bytes(path, json.dumps(wanted, indent=1, sort_keys=True).encode())
        return
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not readable JSON ({error}): choose another folder") from error
    if differ := _differences(found, wanted):
        raise ValueError(f"{folder} holds a run of another configuration ({'; '.join(differ)}): choose another folder")


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
    path = folder / f"{file_name(name)}{PART_SUFFIX}"
    if path.exists():
        try:
            return read_dataset(path)
        except ValueError:
            path.replace(path.with_suffix(".unreadable"))
    measured = measure()
    write_dataset(measured, path)
    return measured


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
