"""What pages about results share: sections, the head with its links, what is missing, and how to make them again."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any
from xml.etree.ElementTree import Element

from saliency_jax.report.markup import Child, document, node, own_file, table

VERSIONS = ("saliency-jax", "jax", "jaxlib", "flax", "numpy", "xarray")


def section(identifier: str, title: str, *inside: Element) -> Element:
    """A part of a page with a heading, which the links of the page's head lead to."""
    heading = node("h2", {"id": f"{identifier}-title"}, title)
    return node("section", {"id": identifier, "aria-labelledby": f"{identifier}-title"}, heading, *inside)


def whole_page(
    title: str,
    said: Sequence[Element],
    sections: Sequence[Element],
    *,
    style: str,
    store: Sequence[Element] = (),
    script: str = "",
) -> str:
    """A page of a heading, what is said below it, links to the sections, and the sections.

    Args:
        title: the heading, and the title of the window.
        said: between the heading and the links.
        sections: as `section` makes them.
        style: the name of the page's own CSS file.
        store: elements that are not to be seen where they stand.
        script: the name of the page's own script, if it has one.
    """
    links = [node("li", None, node("a", {"href": f"#{part.get('id')}"}, str(part[0].text))) for part in sections]
    head = node(
        "header",
        None,
        node("h1", None, title),
        *said,
        node("nav", {"aria-label": "Sections"}, node("ul", None, *links)),
    )
    skip = node("a", {"class": "skip", "href": "#content"}, "Skip to the content")
    main = node("main", {"id": "content"}, *sections)
    styles = f"{own_file('sections.css')}\n{own_file(style)}"
    return document(title, styles, skip, head, main, *store, script=own_file(script) if script else "")


def missing_section(title: str, before: str, missing: Sequence[str], after: str = "") -> Element:
    """What a page lacks, in a frame.

    Args:
        title: the heading.
        before: said before the list.
        missing: the list, one thing each.
        after: said after it.
    """
    listed = node("ul", None, *(node("li", None, name) for name in missing))
    return section("missing", title, node("p", None, before), listed, *([node("p", None, after)] if after else []))


def settings_section(settings: Mapping[str, Any], command: str | None) -> Element:
    """The command that makes the page again, what was measured with, and the versions of the packages."""
    here = {"python": platform.python_version(), **{name: _version(name) for name in VERSIONS}}
    again = (
        [node("p", None, "The command that makes this page again:"), node("pre", None, node("code", None, command))]
        if command
        else []
    )
    tables = [
        _named("What this was measured with", settings),
        _named("Versions that this page was written with", {name: found for name, found in here.items() if found}),
    ]
    return section(
        "settings",
        "Settings and versions",
        *again,
        node("div", {"class": "side-by-side"}, *tables),
    )


def _named(caption: str, settings: Mapping[str, Any]) -> Element:
    rows: list[list[Child]] = [[name, str(value)] for name, value in settings.items()]
    return table(caption, ["Setting", "Value"], rows)


def _version(package: str) -> str:
    """The version of a package; nothing where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
