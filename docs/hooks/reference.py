"""The reference: names as users call them, led to where they are written; and what the command says of itself."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import os
import re
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "api"
REST = re.compile(r"^<!-- all other names of (?P<packages>[\w., ]+) -->$", re.MULTILINE)
HELP = re.compile(r"^<!-- help of (?P<task>\w+) -->$", re.MULTILINE)
ENTRY = re.compile(r"^::: (?P<name>\S+)$(?P<options>\n    options:\n(?:      .*\n)+)?", re.MULTILINE)
SPOKEN = "sj|sanity|robustness|prototypes|rules|composites"
"""Under these names texts speak of the library's modules."""
NAME = re.compile(rf"(?<![`\[\w])`(?P<module>{SPOKEN})\.(?P<name>[A-Za-z_]\w*)`(?!`)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put in what the package says, and link its names in a text to the reference."""

    def section(found: re.Match[str]) -> str:
        names = [name for package in found["packages"].split(", ") for name in unnamed(package)]
        return "\n\n".join(["## More", *(f"::: {name}" for name in names)]) if names else ""

    markdown = linked_names(REST.sub(section, markdown))
    markdown = ENTRY.sub(lambda found: entry(found["name"], found["options"]), markdown)
    return HELP.sub(lambda found: f"```text\n{command_help(found['task'])}```", markdown)


def entry(name: str, options: str | None) -> str:
    """A name of the reference: under the heading by which users call it, what is written where it is defined."""
    package, _, last = name.rpartition(".")
    spoken = f"sj.{last}" if package == "saliency_jax" else f"{package.rpartition('.')[2]}.{last}"
    options = options or f"\n    options:\n      heading: {spoken}\n      toc_label: {last}\n"
    return f"::: {origin(package, last)}{options}"


def linked_names(markdown: str) -> str:
    """`sj.name` in a text as a link to what the reference says of it; programs stay as they are."""

    def link(found: re.Match[str]) -> str:
        package = "saliency_jax" if found["module"] == "sj" else origin("saliency_jax", found["module"])
        return f"[{found[0]}][{origin(package, found['name'])}]"

    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    parts[::2] = [NAME.sub(link, part) for part in parts[::2]]
    return "".join(parts)


def origin(module: str, name: str) -> str:
    """The path of what a module calls by a name, followed through its imports to where it is written.

    Raises:
        LookupError: the module has no such name.
    """
    for node in tree(module).body:
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith("saliency_jax"):
            for imported in node.names:
                if name == (imported.asname or imported.name) and node.module != module:
                    return origin(node.module, imported.name)
        elif name in names_of(node):
            return f"{module}.{name}"
    if file_of(f"{module}.{name}") is not None:
        return f"{module}.{name}"
    raise LookupError(f"{module} has no {name}")


def names_of(node: ast.stmt) -> list[str]:
    """What a statement at the top of a module defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def unnamed(package: str) -> list[str]:
    """The public names of a package, with the package, that no page names; those at the top of the library count."""
    named = {found["name"] for page in PAGES.glob("*.md") for found in ENTRY.finditer(page.read_text())}
    top = package.partition(".")[0]
    return [
        f"{package}.{name}"
        for name in public_names(package)
        if not name.startswith("_") and not {f"{package}.{name}", f"{top}.{name}"} & named
    ]


def public_names(package: str) -> list[str]:
    """`__all__` of a package, read and not run."""
    [names] = [
        ast.literal_eval(node.value)
        for node in tree(package).body
        if isinstance(node, ast.Assign) and names_of(node) == ["__all__"]
    ]
    return list(names)


@cache
def tree(module: str) -> ast.Module:
    """A module of the package, read and not run.

    Raises:
        LookupError: there is no such module.
    """
    path = file_of(module)
    if path is None:
        raise LookupError(f"there is no module {module}")
    return ast.parse(path.read_text())


def file_of(module: str) -> Path | None:
    """Where a module is written."""
    path = ROOT / module.replace(".", "/")
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)


def command_help(task: str) -> str:
    """The help of a task of `saliency-jax`, for lines of 76 characters."""
    spec = importlib.util.spec_from_file_location("arguments", ROOT / "saliency_jax" / "command_line" / "arguments.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError("the command has no arguments.py")
    arguments = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(arguments)
    said = io.StringIO()
    with mock.patch.dict(os.environ, COLUMNS="76"), contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        arguments.parser().parse_args([task, "--help"])
    return said.getvalue()
