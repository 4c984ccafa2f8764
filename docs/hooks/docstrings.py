"""Our docstrings as the reference shows them: formulas set apart, and the sections that griffe does not know."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe

FORMULA = re.compile(r"^[A-Za-z][\w']*(\([^()=]*\)|\[[^\]=]*\])? (=|<-|~) ")
SECTION = re.compile(r"^(?P<name>Source|Cost|Args|Args, Returns|Args, Returns, Raises):\s(?P<text>.*)$", re.DOTALL)


class Docstrings(griffe.Extension):
    """Rewrites the docstrings of everything that is documented, before they are parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """One object of the package."""
        if obj.docstring is not None:
            obj.docstring.value = rewritten(obj.docstring.value)


def rewritten(docstring: str) -> str:
    """A docstring in which Google's parser and Markdown see what we mean.

    Source, Cost and Returns become paragraphs with a title: a parser would take what stands before a colon in them for
    a type. A paragraph that is a formula becomes a program's text, so that no asterisk in it is read as Markdown.
    """
    paragraphs: list[str] = []
    within_returns = False
    for part in re.split(r"\n\s*\n", docstring):
        within_returns = part.startswith("Returns:\n") or (within_returns and part.startswith(" "))
        paragraphs.append(_paragraph(textwrap.dedent(part) if within_returns else part))
    return "\n\n".join(paragraphs)


def _paragraph(text: str) -> str:
    if text.startswith("Returns:\n"):
        return _titled("Returns", text.removeprefix("Returns:\n"))
    # "Args:" alone opens a section; what follows it in the same line is a remark.
    if (found := SECTION.match(text)) and not text.startswith("Args:\n"):
        return _titled(found["name"], found["text"])
    return f"```text\n{text}\n```" if FORMULA.match(text) else text


def _titled(title: str, text: str) -> str:
    return f'<span class="doc-section-title">{title}:</span> ' + "\n".join(line.strip() for line in text.splitlines())
