"""HTML as a tree: texts and attributes are escaped where it is written, so that none can be forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from xml.etree.ElementTree import Element

Child = Element | str

VOID = ("meta",)
"""Of the elements that are used here those without an end."""

ALLOWED = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""What a browser may load for a page: nothing but the pictures and the style inside it."""


def node(tag: str, attributes: Mapping[str, object] | None = None, *children: Child) -> Element:
    """An element with attributes, texts and elements in it."""
    made = Element(tag, {name: str(value) for name, value in (attributes or {}).items()})
    for child in children:
        if isinstance(child, Element):
            made.append(child)
        elif len(made):
            made[-1].tail = (made[-1].tail or "") + child
        else:
            made.text = (made.text or "") + child
    return made


def table(
    caption: str, head: Sequence[Child], rows: Iterable[Sequence[Child]], foot: Iterable[Element] = ()
) -> Element:
    """A table whose first row and first column are headers, in a frame that scrolls sideways, by keyboard too."""
    body = [
        node("tr", None, node("th", {"scope": "row"}, row[0]), *(node("td", None, cell) for cell in row[1:]))
        for row in rows
    ]
    made = node(
        "table",
        None,
        node("caption", None, caption),
        node("thead", None, node("tr", None, *(node("th", {"scope": "col"}, cell) for cell in head))),
        node("tbody", None, *body),
    )
    if feet := list(foot):
        made.append(node("tfoot", None, *feet))
    return node("div", {"class": "scrolls", "role": "region", "tabindex": "0", "aria-label": caption}, made)


def document(title: str, style: str, *body: Element) -> str:
    """A whole page that loads nothing.

    Args:
        title: of the window.
        style: the CSS, from this package: it is not escaped.
        body: its elements.
    """
    head = node(
        "head",
        None,
        node("meta", {"charset": "utf-8"}),
        node("meta", {"http-equiv": "Content-Security-Policy", "content": ALLOWED}),
        node("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        node("meta", {"name": "color-scheme", "content": "light dark"}),
        node("title", None, title),
        node("style", None, style),
    )
    page = node("html", {"lang": "en"}, head, node("body", None, *body))
    return f"<!DOCTYPE html>\n{_written(page)}\n"


def _written(element: Element) -> str:
    """An element as text. ElementTree's own writer leaves < in attributes, which is allowed and hard to check."""
    attributes = "".join(f' {name}="{escape(value)}"' for name, value in element.items())
    text = element.text or ""
    inner = (text if element.tag == "style" else escape(text)) + "".join(
        _written(child) + escape(child.tail or "") for child in element
    )
    return f"<{element.tag}{attributes}>" + ("" if element.tag in VOID else f"{inner}</{element.tag}>")
