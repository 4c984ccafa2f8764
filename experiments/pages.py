"""The page that an experiment with a randomization test ends in, and the command that makes it again."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from saliency_jax import results
from saliency_jax.plotting import readable
from saliency_jax.report import sanity_page


def write_page(dataset: xr.Dataset, options: Any, script: str, *, class_names: Sequence[str] | None = None) -> None:
    """Write report.html beside the results of an experiment.

    Args:
        dataset: what was measured.
        options: the experiment's, a dataclass whose field `out` is the folder of the results.
        script: the file name of the experiment.
        class_names: of each class, where they are known.
    """
    settings = {readable(name): _words(value) for name, value in _fields(options).items() if value not in (None, ())}
    page = sanity_page(dataset, settings=settings, command=command(options, script), class_names=class_names)
    results.write_bytes(options.out / "report.html", page.encode())


def command(options: Any, script: str) -> str:
    """The command line of an experiment with these options: those that are not at their defaults, as tyro reads them.

    Args:
        options: a dataclass.
        script: the file name of the experiment.
    """
    words = ["python", f"experiments/{script}"]
    defaults = {field.name: field.default for field in dataclasses.fields(options)}
    for name, value in _fields(options).items():
        flag = name.replace("_", "-")
        if value == defaults[name]:
            continue
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", *_values(value)]
    return shlex.join(words)


def _fields(options: Any) -> dict[str, Any]:
    return {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}


def _values(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, tuple | list) else [str(value)]


def _words(value: Any) -> str:
    return value.as_posix() if isinstance(value, Path) else ", ".join(_values(value))
