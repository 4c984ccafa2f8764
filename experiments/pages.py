"""The page that an experiment ends in, and the command that makes it again."""

from __future__ import annotations

import dataclasses
import re
import shlex
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr

from saliency_jax import results
from saliency_jax.plotting import readable
from saliency_jax.report import Illustration, Table, findings_page, sanity_page

PAGE = "report.html"


class Purpose(NamedTuple):
    """What the docstring of an experiment says.

    Attributes:
        question: its first sentence, which asks.
        asked: what the experiment does.
        expected: what it should show, in one or several sentences.
    """

    question: str
    asked: str
    expected: tuple[str, ...]


def write_page(dataset: xr.Dataset, options: Any, script: str, *, class_names: Sequence[str] | None = None) -> None:
    """Write report.html about a randomization test beside its results.

    Args:
        dataset: what was measured.
        options: the experiment's, a dataclass whose field `out` is the folder of the results.
        script: the file name of the experiment.
        class_names: of each class, where they are known.
    """
    page = sanity_page(
        dataset, settings=settings_of(options), command=command(options, script), class_names=class_names
    )
    results.write_bytes(options.out / PAGE, page.encode())


def write_findings(
    found: Sequence[str | Table],
    options: Any,
    script: str,
    docstring: str | None,
    *,
    figures: Mapping[str, tuple[str, str]],
    tables: Sequence[Table] = (),
    printed: str = "",
    missing: Sequence[str] = (),
    folder: Path | None = None,
) -> None:
    """Write report.html about any experiment beside its results.

    Args:
        found: the answer, in sentences and tables.
        options: the experiment's, a dataclass whose field `out` is the folder of the results.
        script: the file name of the experiment.
        docstring: the experiment's own, `__doc__`.
        figures: the name of a PNG file of the folder -> its caption, and what is to be seen for those who cannot.
        tables: the numbers.
        printed: the text of table.txt.
        missing: what was not measured.
        folder: of the results, where it is not `out`.
    """
    folder = folder or options.out
    purpose = purpose_of(docstring or "")
    page = findings_page(
        purpose.question,
        found,
        asked=purpose.asked,
        expected=purpose.expected,
        illustrations=[Illustration((folder / name).read_bytes(), *said) for name, said in figures.items()],
        tables=tables,
        printed=printed,
        settings=settings_of(options),
        command=command(options, script),
        missing=missing,
    )
    results.write_bytes(folder / PAGE, page.encode())


def purpose_of(docstring: str) -> Purpose:
    """What an experiment asks, does and should show, from its docstring.

    The docstring opens with the question, then gives the command, whose sentence goes on in the next paragraph:
    "trains ... It should show that ...". A list may follow the latter.
    """
    first, *rest = [part for part in textwrap.dedent(docstring).strip().split("\n\n") if part.strip()] or [""]
    question = re.sub(r"\?.*", "?", " ".join(first.split()))
    prose = [" ".join(part.split()) for part in rest if not part.startswith((" ", "- "))]
    done = prose[0].split("It should show")[0].strip() if prose else ""
    [shown, *_] = [*(part.split("It should show ")[1] for part in prose if "It should show " in part), ""]
    listed = [re.split("^- ", part, flags=re.MULTILINE)[1:] for part in rest if part.startswith("- ")]
    if shown == "that" and listed:
        expected = tuple(" ".join(item.split()).rstrip(";") for item in listed[0])
    else:
        expected = (shown,) if shown else ()
    return Purpose(question, f"At its defaults this experiment {done}" if done else "", expected)


def spoken(names: Iterable[Any]) -> str:
    """Names as a sentence has them: "gradient, SmoothGrad and LRP"; "none" where there are none."""
    *most, last = [readable(str(name)) for name in names] or ["none"]
    return f"{', '.join(most)} and {last}" if most else last


def command(options: Any, script: str) -> str:
    """The command line of an experiment with these options: those that are not at their defaults, as tyro reads them.

    Args:
        options: a dataclass.
        script: the file name of the experiment.
    """
    words = ["python", f"experiments/{script}"]
    for field in dataclasses.fields(options):
        value, flag = getattr(options, field.name), field.name.replace("_", "-")
        make = field.default_factory
        default = field.default if make is dataclasses.MISSING else make()
        if value == default:
            continue
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", *_values(value)]
    return shlex.join(words)


def settings_of(options: Any) -> dict[str, str]:
    """Options by the names that people read, those that are given."""
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    return {readable(name): _words(value) for name, value in given.items() if value not in (None, (), {})}


def _values(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [str(one) for pair in value.items() for one in pair]
    return [str(one) for one in value] if isinstance(value, tuple | list) else [str(value)]


def _words(value: Any) -> str:
    return value.as_posix() if isinstance(value, Path) else ", ".join(_values(value))
