"""The page of any experiment is read by a parser of HTML, and what stands there is compared with what was given."""

import ast
import base64
import io
import re
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from pages import command, purpose_of, spoken, write_findings
from parsed_page import Page
from PIL import Image

from saliency_jax.report import Illustration, Table, findings_page, labelled_table


def png(width=4, height=3, mode="RGB"):
    file = io.BytesIO()
    Image.new(mode, (width, height), "red").save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def page():
    return Page(
        findings_page(
            "Does it <b>work</b>?",
            ["It does, by 0.5 & more.", Table("Who works", ["Explainer", "works"], [["gradient", True], ["<i>", 2]])],
            asked="This experiment asks.",
            expected=["that it works", "that it ends"],
            illustrations=[Illustration(png(), "A red <square>.", "All of it is red.")],
            tables=[Table("Numbers", ["Explainer", "value"], [["gradient", 0.25]])],
            printed="a   b\n1   2 < 3\n",
            settings={"seed": 0},
            command="python x.py --out 'a <b>'",
            missing=["the other half"],
        )
    )


def test_what_is_missing_and_what_was_found_come_before_figures_numbers_and_settings(page):
    assert page.all("h1")[0]["text"] == "Does it <b>work</b>?"
    order = ["missing", "found", "figures", "numbers", "settings"]
    assert [section["attributes"]["id"] for section in page.all("section")] == order
    assert [link["attributes"]["href"] for link in page.within("a", page.all("nav")[0])] == [f"#{x}" for x in order]
    [sentence] = page.within("p", page.section("found"))
    assert sentence["text"] == "It does, by 0.5 & more."
    assert [cell["text"] for cell in page.within("td", page.section("found"))] == ["True", "2"]
    assert [item["text"] for item in page.within("li", page.section("missing"))] == ["the other half"]
    assert [item["text"] for item in page.within("li", page.all("div", class_="expected")[0])][1] == "that it ends"
    assert (
        page.all("pre")[-1]["text"] == "python x.py --out 'a <b>'" and page.all("pre")[0]["text"] == "a   b\n1   2 < 3"
    )
    assert {"seed", "jax"} <= {cell["text"] for cell in page.within("th", page.section("settings"))}
    assert page.all("b") == page.all("i") == []


def test_options_in_a_text_are_code_which_is_not_broken_at_hyphens():
    expected = ["that (--gap) matters", "that a--b and x -- y are none, --max-radius. is"]
    page = findings_page("Which?", ["All."], asked="--of-all and --max-radius, too.", expected=expected)
    assert re.findall(r'<code class="option">(.*?)</code>', page) == [
        "--of-all",
        "--max-radius",
        "--gap",
        "--max-radius",
    ]
    assert "</code> and <code" in page and "</code>) matters" in page and "x -- y are none" in page
    assert re.search(r"\.option \{[^}]*white-space: nowrap", page)


def test_figures_are_kept_to_the_byte_with_a_caption_a_text_and_their_size(page):
    [image] = page.all("img")
    kind, content = image["attributes"]["src"].split(",")
    assert kind == "data:image/png;base64" and base64.b64decode(content) == png()
    assert image["attributes"]["alt"] == "All of it is red."
    assert page.all("figcaption")[0]["text"] == "A red <square>."
    # 150 pixels an inch on paper, 96 on a screen.
    assert (image["attributes"]["width"], image["attributes"]["height"]) == ("3", "2")


def test_the_page_loads_nothing_and_runs_nothing(page):
    [policy] = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy["attributes"]["content"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert page.all("script") == [] and "url(" not in page.all("style")[0]["text"]
    known = {e["attributes"]["id"] for e in page.elements if "id" in e["attributes"]}
    for element in page.elements:
        assert element["attributes"].get("src", "data:image/").startswith("data:image/")
        assert element["attributes"].get("href", "#content").removeprefix("#") in known
    for table in page.all("table"):
        assert len(page.within("caption", table)) == 1


def test_figures_that_are_too_large_are_made_smaller_until_the_page_is_under_five_megabytes():
    noise = np.random.default_rng(0).integers(0, 256, (600, 1700, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    assert len(file.getvalue()) > 3_000_000
    several = [Illustration(file.getvalue(), "Noise.", "Noise.")] * 3
    text = findings_page("Does it fit?", ["It does."], illustrations=several)
    assert 1_000_000 < len(text.encode()) < 5_000_000
    for image in Page(text).all("img"):
        content = base64.b64decode(image["attributes"]["src"].split(",")[1])
        with Image.open(io.BytesIO(content)) as found:
            assert found.width <= 1600 and found.width / found.height == pytest.approx(1700 / 600, rel=0.01)
        # On the screen it takes the place that it had.
        assert image["attributes"]["width"] == str(round(1700 * 96 / 150))


def test_a_figure_is_drawn_and_stays_open():
    figure, _ = plt.subplots(figsize=(2, 1))
    [image] = Page(findings_page("A?", ["B."], illustrations=[Illustration(figure, "C.", "D.")])).all("img")
    assert (image["attributes"]["width"], image["attributes"]["height"]) == ("192", "96")
    assert plt.fignum_exists(figure.number)
    plt.close(figure)


def test_a_table_has_the_numbers_of_a_dataset_whatever_the_order_of_its_axes():
    values = np.array([[0.126, -0.004, np.nan], [1.0, 22.5, -3.0]])
    given = xr.DataArray(
        values, dims=("explainer", "stage"), coords={"explainer": ["grad_cam", "lrp"], "stage": [1, 2, 3]}
    )
    expected = [["Grad-CAM", "0.13", "0.00", "no value"], ["LRP", "1.00", "22.50", "\N{MINUS SIGN}3.00"]]
    for one in (given, given.T):
        made = labelled_table("Numbers", one, rows="explainer", columns="stage")
        assert made == Table("Numbers", ["Explainer", "1", "2", "3"], expected)
    whole = xr.Dataset({"mean": given, "low": given - 1, "high": given + 1})
    rows = labelled_table("Numbers", whole, rows="stage", columns="explainer", digits=1).rows
    assert rows[0] == ["1", "0.1 [\N{MINUS SIGN}0.9, 1.1]", "1.0 [0.0, 2.0]"] and rows[2][1] == "no value"
    with pytest.raises(ValueError, match=r"must have the axes 'stage' and 'image', got \['explainer', 'stage'\]"):
        labelled_table("Numbers", given, rows="stage", columns="image")
    with pytest.raises(ValueError, match=r"lacks \['high'\]"):
        labelled_table("Numbers", whole.drop_vars("high"), rows="stage", columns="explainer")


def damaged():
    """A PNG of which one byte of the pixels was changed."""
    content = bytearray(png())
    # Before the 12 bytes of the end stand the pixels and their checksum.
    content[-17] ^= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"question": " "}, "question must say what was asked"),
        ({"found": []}, "found must be a list of sentences and tables"),
        ({"found": [""]}, "found must be a list of sentences and tables"),
        ({"found": "It does."}, "found must be a list of sentences and tables, got 'It does.'"),
        ({"tables": [Table("T", ["a", "b"], [[1]])]}, r"rows of the table 'T' must have 2 cells, got \[1\]"),
        ({"tables": [Table("", ["a"], [])]}, "a table must have a caption"),
        ({"illustrations": [Illustration(b"GIF89a", "c", "t")]}, r"illustrations\[0\] must be a PNG file or a figure"),
        ({"illustrations": [Illustration(damaged(), "c", "t")]}, r"illustrations\[0\] must be a PNG file"),
        ({"illustrations": [Illustration(png(), "c", "")]}, r"illustrations\[0\] must have a text"),
        ({"illustrations": [Illustration(png(), " ", "t")]}, r"illustrations\[0\] must have a caption"),
    ],
)
def test_what_cannot_be_shown_is_named(given, message):
    with pytest.raises(ValueError, match=message):
        findings_page(**{"question": "A?", "found": ["B."], **given})


DOCSTRING = """Is it so? Two ways
    to ask.

    python experiments/x.py

trains a thing. It takes
long. It should show that

- it is so (figure 1);
- and that
  is all.

    python experiments/x.py --other

does another thing.
"""


def test_a_docstring_gives_the_question_what_was_done_and_what_it_should_show():
    purpose = purpose_of(DOCSTRING)
    assert purpose.question == "Is it so?"
    assert purpose.asked == "At its defaults this experiment trains a thing. It takes long."
    assert purpose.expected == ("it is so (figure 1)", "and that is all.")
    plain = purpose_of("Why?\n\n    x\n\ndraws points.\n\nIt should show that some\nfall behind. An end.\n")
    assert plain.asked == "At its defaults this experiment draws points."
    assert plain.expected == ("that some fall behind. An end.",)
    assert purpose_of("Why?").asked == "" and purpose_of("Why?").expected == ()


@dataclass(frozen=True)
class Options:
    trunk: Path
    weights: dict = field(default_factory=dict)
    steps: tuple[int, ...] = (1, 2)
    recompute: bool = False
    out: Path = Path("runs/x")


def test_the_command_has_what_is_not_at_its_default_and_the_page_stands_beside_its_figures(tmp_path):
    assert command(Options(Path("a b")), "x.py") == "python experiments/x.py --trunk 'a b'"
    options = Options(Path("t"), weights={"net": Path("w")}, steps=(3,), recompute=True, out=tmp_path)
    expected = f"python experiments/x.py --trunk t --weights net w --steps 3 --recompute --out {tmp_path}"
    assert command(options, "x.py") == expected
    (tmp_path / "curve.png").write_bytes(png())
    write_findings(["It is."], options, "x.py", DOCSTRING, figures={"curve.png": ("A curve.", "It rises.")})
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.all("h1")[0]["text"] == "Is it so?" and page.all("img")[0]["attributes"]["alt"] == "It rises."
    assert expected in {code["text"] for code in page.all("code")}
    assert ["weights", "net, w"] in [
        [page.within("th", row)[0]["text"], page.within("td", row)[0]["text"]]
        for row in page.within("tr", page.section("settings"))
        if page.within("td", row)
    ]


def test_names_are_listed_as_a_sentence_has_them():
    assert spoken([]) == "none" and spoken(["lrp"]) == "LRP"
    assert spoken(["gradient", "grad_cam", "edges"]) == "gradient, Grad-CAM and edges"


EXPERIMENTS = Path(__file__).parents[1] / "experiments"
SCRIPTS = sorted(path for path in EXPERIMENTS.glob("*.py") if 'if __name__ == "__main__"' in path.read_text())


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_experiment_ends_in_a_page_and_its_docstring_says_what_is_asked_and_expected(path):
    source = path.read_text()
    # Whatever ends a run, there is a page.
    assert re.search(rf"^    run\(main, .*\"{path.name}\", __doc__", source, re.MULTILINE)
    docstring = ast.get_docstring(ast.parse(source), clean=False)
    assert "In the folder" in docstring
    assert re.search(r"\b(report|prototypes)\.html\b", docstring.split("In the folder")[-1])
    purpose = purpose_of(docstring)
    assert purpose.question.endswith("?")
    assert re.search(r"[.)]$", purpose.asked) and purpose.expected
    assert purpose.asked.split("experiment ")[1][0].islower()
    assert all(re.search(r"[.)]$", text) for text in purpose.expected)
