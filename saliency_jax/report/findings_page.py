"""Any experiment on one page: the question, what was found first, then figures, tables, and how to run it again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from saliency_jax.report.illustrations import Illustration, illustrated
from saliency_jax.report.labelled_tables import Table, table_element
from saliency_jax.report.markup import node
from saliency_jax.report.page_parts import missing_section, section, settings_section, whole_page


def findings_page(
    question: str,
    found: Sequence[str | Table],
    *,
    asked: str = "",
    expected: Sequence[str] = (),
    illustrations: Sequence[Illustration] = (),
    tables: Sequence[Table] = (),
    printed: str = "",
    settings: Mapping[str, Any] | None = None,
    command: str | None = None,
    missing: Sequence[str] = (),
) -> str:
    """One HTML file about an experiment, with everything inside.

    It loads nothing, needs no script, and is under 5 MB: figures are made smaller where they do not fit. All texts are
    escaped.

    Args:
        question: the heading.
        found: the answer, in sentences and tables; the first sentence stands out.
        asked: what was done to find it.
        expected: what the experiment should show; several are listed.
        illustrations: the figures.
        tables: the numbers.
        printed: text of fixed width that the experiment prints, folded away.
        settings: names and values.
        command: the command that makes this page again.
        missing: what was not measured, one thing each.

    Returns:
        The text of the file, to be written as UTF-8.

    Raises:
        ValueError: there is no question or nothing was found; an illustration is no PNG, or without caption or text, or
            they do not fit even when they are small; a table's rows do not fit its head.
    """
    if not question.strip():
        raise ValueError(f"question must say what was asked, got {question!r}")
    if isinstance(found, str) or not found or any(isinstance(one, str) and not one.strip() for one in found):
        raise ValueError(f"found must be a list of sentences and tables, got {found!r}")
    sections = [
        *([missing_section("What is missing", "This page says nothing of:", missing)] if missing else []),
        section("found", "What was found", *map(_said, found)),
        *([section("figures", "Figures", *illustrated(illustrations))] if illustrations else []),
        *([section("numbers", "Numbers", *_numbers(tables, printed))] if tables or printed else []),
        settings_section(settings or {}, command),
    ]
    said = [*([node("p", None, *_options_apart(asked))] if asked else []), *_expected(expected)]
    return whole_page(question, said, sections, style="findings_page.css")


def _said(one: str | Table) -> Element:
    return node("p", {"class": "found"}, one) if isinstance(one, str) else table_element(one)


def _options_apart(text: str) -> list[str | Element]:
    """A text whose options (--max-radius) are code, which is not broken at hyphens."""
    parts = re.split(r"(?<![\w-])(--[a-z](?:[\w-]*\w)?)", text)
    return [node("code", {"class": "option"}, part) if part.startswith("--") else part for part in parts if part]


def _expected(expected: Sequence[str]) -> list[Element]:
    lead = node("strong", None, "What it should show")
    if len(expected) < 2:
        return [node("p", {"class": "expected"}, lead, ": ", *_options_apart(text)) for text in expected]
    listed = node("ul", None, *(node("li", None, *_options_apart(text)) for text in expected))
    return [node("div", {"class": "expected"}, node("p", None, lead, ":"), listed)]


def _numbers(tables: Sequence[Table], printed: str) -> list[Element]:
    made = list(map(table_element, tables))
    if printed:
        frame = {"class": "printed", "role": "region", "tabindex": "0", "aria-label": "The tables as they are printed"}
        text = node("pre", frame, printed.strip("\n"))
        made.append(node("details", None, node("summary", None, "The tables as they are printed"), text))
    return made
