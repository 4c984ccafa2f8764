"""The page of an experiment that has not ended: what is finished, what is missing, and how to go on."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pages import PAGE, command, purpose_of, settings_of

from saliency_jax import results
from saliency_jax.processes import is_writer
from saliency_jax.report import findings_page, finished_parts, sanity_page


class WithFolder(Protocol):
    """Options of an experiment."""

    @property
    def out(self) -> Path:
        """The folder of the results."""


Options = TypeVar("Options", bound=WithFolder)

NOT_ENDED = "This run has not ended: it still goes on, or it was broken off."
MISSING = ("the answer, the figures and the numbers, all of which are made at the end",)
SHOWN = 60
"""So many finished files are named; of more, how many."""


def run(
    main: Callable[[Options], Any], options: Options, script: str, docstring: str | None, *, page: str = PAGE
) -> None:
    """Call `main(options)`; until it has written its own page, there is one that says that the run has not ended.

    A kill leaves the page of the beginning; an error or a signal one that names what was finished by then, if anything
    was. Of a randomization test it shows the explainers that are finished. The page of another run stays as it is.

    Args:
        main: the experiment.
        options: its options, a dataclass.
        script: its file name.
        docstring: its own, `__doc__`.
        page: where its own page will be, in that folder.
    """
    path = options.out / page
    begun = is_writer() and _is_free(path, command(options, script))
    if begun:
        path.parent.mkdir(parents=True, exist_ok=True)
        results.write_bytes(path, _page(options, script, docstring, path.parent).encode())
    try:
        main(options)
    except BaseException:
        if begun and not _has_ended(path):
            path.unlink(missing_ok=True)
            if finished_files(path.parent):
                results.write_bytes(path, _page(options, script, docstring, path.parent).encode())
        raise
    if begun and not _has_ended(path):
        # What was asked for has no page.
        path.unlink(missing_ok=True)


def finished_files(folder: Path) -> list[str]:
    """Results and finished parts in the folder of a run, by their paths in it; checkpoints of trainings are not."""
    parts = [*folder.rglob("*.nc"), *(path for path in folder.iterdir() if path.is_file())]
    return sorted({path.relative_to(folder).as_posix() for path in parts if path.suffix not in (".html", ".lock")})


def _is_free(page: Path, by: str) -> bool:
    """Whether there is no page, or one that says that the run of this command has not ended."""
    return not page.is_file() or (not _has_ended(page) and f">{escape(by, quote=False)}<" in page.read_text("utf-8"))


def _has_ended(page: Path) -> bool:
    return page.is_file() and NOT_ENDED not in page.read_text("utf-8")


def _page(options: Any, script: str, docstring: str | None, folder: Path) -> str:
    settings = {"state": NOT_ENDED} | settings_of(options)
    said: dict[str, Any] = {"settings": settings, "command": command(options, script)}
    try:
        dataset, missing, _ = finished_parts(folder / "parts")
        return sanity_page(dataset, missing=missing, **said)
    except (FileNotFoundError, ValueError):
        # No randomization test, or one of which no explainer is finished.
        purpose = purpose_of(docstring or "")
    there = finished_files(folder)
    named = ", ".join(there[:SHOWN]) or "nothing"
    more = f" and {len(there) - SHOWN} more" if len(there) > SHOWN else ""
    return findings_page(
        purpose.question,
        [f"{NOT_ENDED} The command below goes on with what is finished.", f"Finished: {named}{more}."],
        asked=purpose.asked,
        expected=purpose.expected,
        missing=MISSING,
        **said,
    )
