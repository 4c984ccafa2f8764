"""The README and the pages in docs/: every example runs, and what the pages are made with does what it says."""

import ast
import importlib.util
import inspect
import xml.etree.ElementTree as ET
from pathlib import Path

import docs_setup
import jax
import pytest
from sybil.document import Document
from sybil.parsers.markdown import PythonCodeBlockParser

import saliency_jax as sj

ROOT = Path(__file__).resolve().parents[1]
SLOW = ("dimension.md", "index.md", "verdict.md", "your_own.md")
PAGES = [
    pytest.param(page, marks=pytest.mark.slow) if page.name in SLOW else page
    for page in sorted((ROOT / "docs").rglob("*.md"))
    if "```python" in page.read_text()
]


@pytest.fixture
def little_optimization():
    """Examples compile much and compute little."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def run(page, given, larger=lambda source: {}):
    """Run the examples of a page one after the other; what is given stands for all, whatever they define.

    Where a value stands behind an expression, as in `sj.layers(...)  # ["conv", "logits"]`, it has to be that.
    """
    defined = {}
    examples = list(Document.parse(str(page), PythonCodeBlockParser()).examples())
    assert examples
    for example in examples:
        example.namespace = {**defined, **given, **larger(example.parsed)}
        example.evaluate()
        for expression, value in said_values(example.parsed):
            assert eval(expression, dict(example.namespace)) == value, expression
        defined |= example.namespace


def said_values(source):
    """Expressions of a program with the literal in the comment behind them.

    What begins like a literal has to be one: a slip in it must not make the example a mere remark.
    """
    lines = source.splitlines()
    for node in ast.parse(source).body:
        comment = lines[node.end_lineno - 1][node.end_col_offset :].strip()
        said = comment.removeprefix("#").strip()
        if isinstance(node, ast.Expr) and said[:1] in tuple("\"'[({0123456789"):
            yield ast.unparse(node), ast.literal_eval(said)


@pytest.mark.usefixtures("little_optimization")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_examples_of_a_page_run_as_they_stand(page):
    setup = {"verdict.md": docs_setup.for_verdicts, "scaling.md": docs_setup.for_scaling}
    run(page, setup.get(page.name, dict)())


@pytest.mark.slow
@pytest.mark.usefixtures("little_optimization")
def test_the_examples_of_the_readme_run_on_small_stand_ins(tmp_path, monkeypatch):
    given = docs_setup.for_the_readme(tmp_path, monkeypatch)
    # An ellipsis in a dictionary stands for more of the same.
    page = tmp_path / "README.md"
    page.write_text((ROOT / "README.md").read_text().replace(", ...}", "}"))
    run(page, given, docs_setup.larger_batches)


# What the pages are made with.


def hook(name):
    for needed in ("mkdocs", "griffe", "latex2mathml"):
        pytest.importorskip(needed)
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / "hooks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages():
    return hook("pages")


def test_formulas_become_mathml_in_text_and_programs_stay(pages):
    made = pages.on_page_content('<p><span class="arithmatex">\\(a &lt; \\frac{b}{c}\\)</span></p><code>\\(x\\)</code>')
    fraction = ET.fromstring(made[3 : made.index("</p>")]).find(".//{*}mfrac")
    assert ["".join(part.itertext()) for part in fraction] == ["b", "c"]
    assert made.endswith("<code>\\(x\\)</code>")
    with pytest.raises(Exception, match=r"no MathML for the formula \\nosuchthing"):
        pages.as_mathml(r"\nosuchthing", block=True)


def test_an_included_section_is_that_of_the_file_and_its_links_fit_the_page(pages):
    text = (ROOT / "experiments" / "README.md").read_text()
    found = pages.included("experiments/README.md", "what-estimates-of-dimension-miss", "dimension.md")
    assert f"## What estimates of dimension miss\n\n{found}\n\n## " in text
    for page, link in (("results.md", "(faults.md)"), ("methods/tests.md", "(../faults.md)")):
        assert link in pages.included("experiments/README.md", None, page)
    # The data's licence lies outside of the site: its name is left.
    assert "[saliency_jax/data" not in pages.included("README.md", None, "index.md")
    with pytest.raises(Exception, match=r"includes the section nowhere of README\.md"):
        pages.included("README.md", "nowhere", "index.md")


@pytest.mark.parametrize(
    "tag",
    [
        '<script src="https://cdn.example/a.js"></script>',
        '<link rel="stylesheet" href="//fonts.example/a.css">',
        '<img src="http://example/a.png">',
    ],
)
def test_a_page_that_would_ask_another_server_is_refused(pages, tag):
    assert len(pages.requests_elsewhere(f"<html>{tag}</html>")) == 1
    own = (
        '<script src="../a.js"></script><a href="https://example">read</a><link rel="canonical" href="https://example">'
    )
    assert pages.requests_elsewhere(own) == []


def test_docstrings_are_read_as_they_are_meant():
    griffe = pytest.importorskip("griffe")
    docstring = hook("docstrings").rewritten(
        "One line.\n\nr[e, k] = a * b * c\n\nArgs:\n    x: one.\n\nReturns:\n    A Dataset with\n    `r` (e, k): "
        "what is meant.\n\n    And more.\n\nSource: Somebody 2018,\n    section 2.\n\nArgs, Returns: as `f`."
    )
    sections = griffe.Docstring(docstring).parse("google")
    assert [section.kind.value for section in sections] == ["text", "parameters", "text"]
    first, _, last = [section.value for section in sections]
    assert "```text\nr[e, k] = a * b * c\n```" in first
    assert "\n    " not in last and "`r` (e, k): what is meant.\n\nAnd more." in last
    assert "Source:</span> Somebody 2018,\nsection 2." in last and "Args, Returns:</span> as `f`." in last


@pytest.fixture(scope="module")
def reference():
    return hook("reference")


def test_names_in_text_are_linked_and_those_in_programs_are_not(reference):
    text = "`sj.lrp` and `sj.lrp(score)`\n\n```python\n`sj.lrp`\n```\n"
    # A package of this name is imported as well.
    linked = "[`sj.lrp`][saliency_jax.explainers.lrp.propagation.lrp]"
    assert reference.linked_names(text) == linked + text.removeprefix("`sj.lrp`")
    with pytest.raises(LookupError, match="saliency_jax has no such_name"):
        reference.linked_names("`sj.such_name`")


def test_public_names_are_led_to_where_python_finds_them(reference):
    for name in sj.__all__:
        found = getattr(sj, name)
        if inspect.isfunction(found) or inspect.isclass(found):
            assert reference.origin("saliency_jax", name) == f"{found.__module__}.{found.__qualname__}"
    assert reference.origin("saliency_jax", "rules") == sj.rules.__name__


def test_no_public_name_is_missing_from_the_reference(reference):
    made = [reference.on_page_markdown(page.read_text()) for page in (ROOT / "docs" / "api").glob("*.md")]
    shown = {found["name"] for page in made for found in reference.ENTRY.finditer(page)}
    for package in ("saliency_jax", "saliency_jax.sanity", "saliency_jax.plotting"):
        public = [name for name in reference.public_names(package) if not name.startswith("_")]
        assert [name for name in public if reference.origin(package, name) not in shown] == []
