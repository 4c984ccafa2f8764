"""HTML as a tree: texts and attributes are escaped where it is written, so that none can be forgotten."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from html import escape
from importlib import resources
from xml.etree.ElementTree import Element

Child = Element | str

VOID = ("meta", "input", "img")
"""Of the elements that are used here those without an end."""

VERBATIM = ("style", "script")
"""Those whose text is not escaped: it is this package's own."""

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
        node("caption", None, node("span", None, caption)),
        node("thead", None, node("tr", None, *(node("th", {"scope": "col"}, cell) for cell in head))),
        node("tbody", None, *body),
    )
    if feet := list(foot):
        made.append(node("tfoot", None, *feet))
    return node("div", {"class": "scrolls", "role": "region", "tabindex": "0", "aria-label": caption}, made)


def own_file(name: str) -> str:
    """The text of a file of this package."""
    return resources.files("saliency_jax.report").joinpath(name).read_text(encoding="utf-8")


def document(title: str, style: str, *body: Element, script: str = "") -> str:
    """A whole page that loads nothing, in the style that all pages share.

    Args:
        title: of the window.
        style: further CSS, from this package: it is not escaped.
        body: its elements.
        script: run when the page has been read, from this package: it is not escaped. A browser is told to run this
            script and no other.
    """
    allowed = ALLOWED
    scripts = []
    if script:
        digest = b64encode(sha256(script.encode()).digest()).decode()
        allowed = f"{ALLOWED}; script-src 'sha256-{digest}'"
        scripts = [node("script", None, script)]
    head = node(
        "head",
        None,
        node("meta", {"charset": "utf-8"}),
        node("meta", {"http-equiv": "Content-Security-Policy", "content": allowed}),
        node("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        node("meta", {"name": "color-scheme", "content": "light dark"}),
        node("title", None, title),
        node("style", None, f"{own_file('page.css')}\n{style}"),
    )
    page = node("html", {"lang": "en"}, head, node("body", None, *body, *scripts))
    return f"<!DOCTYPE html>\n{_written(page)}\n"


def _written(element: Element) -> str:
    """An element as text. ElementTree's own writer leaves < in attributes, which is allowed and hard to check."""
    attributes = "".join(f' {name}="{escape(value)}"' for name, value in element.items())
    text = element.text or ""
    inner = (text if element.tag in VERBATIM else escape(text)) + "".join(
        _written(child) + escape(child.tail or "") for child in element
    )
    return f"<{element.tag}{attributes}>" + ("" if element.tag in VOID else f"{inner}</{element.tag}>")
