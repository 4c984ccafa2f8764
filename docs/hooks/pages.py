"""What pages need beside Markdown: parts of other files, formulas as MathML, and nothing from other servers."""

from __future__ import annotations

import html
import posixpath
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

ROOT = Path(__file__).resolve().parents[2]
INCLUDE = re.compile(r"^<!-- include (?P<path>[^\s#]+)(?:#(?P<section>\S+))? -->$", re.MULTILINE)
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<target>[^)\s#]*)(?P<place>#[^)\s]*)?\)")
FORMULA = re.compile(r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<tex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL)
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
"""Tags for which a browser asks a server, and the attribute that says which."""


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Put in what other files say."""
    return INCLUDE.sub(lambda found: included(found["path"], found["section"], page.file.src_uri), markdown)


def on_page_content(content: str, **_: Any) -> str:
    """Formulas as MathML, which browsers draw by themselves."""
    return FORMULA.sub(lambda found: as_mathml(html.unescape(found["tex"]), block=found["tag"] == "div"), content)


def on_post_page(output: str, *, page: Any, **_: Any) -> str:
    """Refuse a page that would ask another server for anything."""
    if asked := requests_elsewhere(output):
        raise PluginError(f"{page.file.src_uri} would ask for {', '.join(asked)}")
    return output


def included(path: str, section: str | None, page: str) -> str:
    """A Markdown file without its title, or one of its sections without its heading.

    Links are made to fit the page; of what lies outside of the documentation the name is left.

    Args:
        path: of the file, from the root of the repository.
        section: the anchor of a section.
        page: where it goes to, from the documentation's folder.

    Raises:
        PluginError: there is no such file or section.
    """
    if not (ROOT / path).is_file():
        raise PluginError(f"{page} includes {path}, which does not exist")
    text = (ROOT / path).read_text()
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    if section is None:
        text = text.split("\n", 1)[1]
    elif section in (anchors := [anchor(title) for title in parts[1::2]]):
        text = parts[2::2][anchors.index(section)]
    else:
        raise PluginError(f"{page} includes the section {section} of {path}, which has {', '.join(anchors)}")

    def link(found: re.Match[str]) -> str:
        target, place = found["target"], found["place"] or ""
        if "://" in target or not target:
            return found[0]
        inside = posixpath.relpath(posixpath.normpath(posixpath.join(posixpath.dirname(path), target)), "docs")
        if inside.startswith(".."):
            return found["text"]
        return f"[{found['text']}]({posixpath.relpath(inside, posixpath.dirname(page) or '.')}{place})"

    return LINK.sub(link, text).strip()


def anchor(title: str) -> str:
    """What the heading of a section is called in an address."""
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower())


def as_mathml(tex: str, *, block: bool) -> str:
    """A formula as MathML.

    Raises:
        PluginError: it holds something that the converter does not know.
    """
    made = convert(tex, display="block" if block else "inline")
    if "\\" in made:
        raise PluginError(f"no MathML for the formula {tex}")
    return f'<div class="formula">{made}</div>' if block else made


def requests_elsewhere(page: str) -> list[str]:
    """The addresses on other servers that a browser would ask for when it opens a page."""
    asked: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            address = dict(attrs).get(FETCHED.get(tag, "")) or ""
            if re.match(r"(\w+:)?//", address) and dict(attrs).get("rel") != "canonical":
                asked.append(address)

    Reader().feed(page)
    return asked
