"""The page of prototypes is read by a parser of HTML, and what stands there is compared with what it was made of."""

import base64
import io
import re

import numpy as np
import pytest
from made_explanations import made_explanations
from parsed_page import Page
from PIL import Image

from saliency_jax.plotting import prototype_patches
from saliency_jax.report import prototype_page

SHAPE = (20, 16)
CLASSES = np.array([0, 0, 1, 1])
NASTY = """<script>alert("1")</script>&amp; 'x' <img src="https://example.org/x.png" onerror=y>"""
NAMES = ("wren", NASTY, "owl")


@pytest.fixture(scope="module")
def patches():
    boxes = np.array([[0, 8, 0, 8], [2, 9, 3, 16], [10, 20, 0, 5], [4, 5, 6, 7]])
    image = np.array([[0, 2], [2, 1], [1, 0], [3, 1]])
    nearest = np.stack([boxes, boxes[::-1]], axis=1)
    distance = np.array([[0.0, 0.5], [0.0, 0.25], [0.0, 1.5], [0.0, 2.0]])
    labels = np.array([0, 1, 0, 1])
    return prototype_patches(CLASSES, image[:, 0], boxes, image, nearest, distance, labels, shape=SHAPE)


@pytest.fixture(scope="module")
def explained():
    boxes = np.array([[[0, 3, 0, 4], [1, 5, 2, 9]], [[0, 20, 0, 16], [7, 9, 1, 2]]])
    return made_explanations(np.random.default_rng(0), CLASSES, boxes=boxes, map_side=3, shape=SHAPE)


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(1).uniform(size=(2, *SHAPE, 3))


@pytest.fixture(scope="module")
def training():
    return np.random.default_rng(2).uniform(size=(4, *SHAPE, 1))


@pytest.fixture(scope="module")
def source(explained, patches, pictures, training):
    return prototype_page(
        explained,
        patches,
        pictures,
        training,
        class_names=NAMES,
        labels=[0, 1],
        title=f"A page {NASTY}",
        accuracy={"before": {"validation": 0.75, "test": 0.8125}, NASTY: {"test": float("nan")}},
        settings={"seed": 3, "note": NASTY},
    )


@pytest.fixture(scope="module")
def page(source):
    return Page(source)


def test_no_text_becomes_an_element(page, source):
    assert page.all("script") == page.all("img") == []
    assert not any(name.startswith("on") for e in page.elements for name in e["attributes"])
    assert "<script" not in source
    said = [cell["text"] for cell in page.all("td")]
    assert NASTY in said
    assert f"A page {NASTY}" in [h["text"] for h in page.all("h1")]
    assert f"A page {NASTY}" in [t["text"] for t in page.all("title")]


def test_the_page_refers_to_nothing_outside_of_itself(page):
    references = [
        value for e in page.elements for name, value in e["attributes"].items() if name in ("src", "href", "srcset")
    ]
    known = {e["attributes"]["id"] for e in page.elements if "id" in e["attributes"]}
    assert references
    for reference in references:
        assert reference.startswith("data:image/") or reference.removeprefix("#") in known
    [style] = page.all("style")
    assert "url(" not in style["text"]
    assert "@import" not in style["text"]
    assert page.all("link") == page.all("iframe") == page.all("object") == page.all("base") == []


def test_a_browser_is_told_to_load_nothing(page):
    [policy] = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy["attributes"]["content"].startswith("default-src 'none'; img-src data:;")


def test_every_identifier_is_given_once(page):
    found = [e["attributes"]["id"] for e in page.elements if "id" in e["attributes"]]
    assert len(found) == len(set(found))


def test_points_in_a_table_sum_to_its_logit(page, explained):
    for i, article in enumerate(page.all("article")):
        [body] = page.within("tbody", article)
        rows = [[cell["text"] for cell in page.within("td", row)][-3:] for row in page.within("tr", body)]
        numbers = np.array(rows, float)
        np.testing.assert_allclose(numbers[:, 0], explained.similarity[i], atol=5e-4)
        np.testing.assert_allclose(numbers[:, 1], explained.weight[i], atol=5e-4)
        np.testing.assert_allclose(numbers[:, 2], explained.points[i], atol=5e-4)
        [foot] = page.within("tfoot", article)
        others, logit = (float(cell["text"]) for cell in page.within("td", foot))
        assert numbers[:, 2].sum() + others == pytest.approx(logit, abs=0.002)
        assert logit == pytest.approx(float(explained.logits[i].max()), abs=5e-4)


def test_images_say_what_was_predicted_and_what_they_are(page, explained):
    said = [p["text"] for p in page.all("p") if p["text"].startswith("Predicted")]
    predicted = [NAMES[c].replace("_", " ") for c in explained.logits.values.argmax(axis=1)]
    assert said == [f"Predicted: {name}. True class: {true}." for name, true in zip(predicted, NAMES, strict=False)]


def test_every_picture_has_a_text_and_is_stored(page):
    drawn = page.all("svg", role="img")
    # Four a row of the two tables, four a prototype in the gallery.
    assert len(drawn) == 2 * 2 * 4 + 4 * 4
    stored = {e["attributes"]["id"] for e in page.all("image")}
    for svg in drawn:
        assert svg["attributes"]["aria-label"]
        [use] = page.within("use", svg)
        assert use["attributes"]["href"].removeprefix("#") in stored


def boxes_in(page, svg):
    return [
        [int(e["attributes"][name]) for name in ("x", "y", "width", "height")]
        for e in page.within("rect", svg)
        if e["attributes"]["class"] == "box"
    ]


def test_boxes_are_those_of_the_datasets(page, patches, explained):
    [body] = page.within("tbody", page.all("article")[0])
    for rank, row in enumerate(page.within("tr", body)):
        image, prototype, source, similarities = page.within("svg", row)
        number = int(explained.prototype[0, rank])
        for svg, (top, bottom, left, right) in (
            (image, explained.box.values[0, rank]),
            (similarities, explained.box.values[0, rank]),
            (source, patches.source_box.values[number]),
        ):
            assert boxes_in(page, svg) == [[left, top, right - left, bottom - top]]
            assert svg["attributes"]["viewbox"] == "0 0 16 20"
        top, bottom, left, right = patches.source_box.values[number]
        assert boxes_in(page, prototype) == []
        assert prototype["attributes"]["viewbox"] == f"0 0 {right - left} {bottom - top}"


def decoded(page, identifier):
    [stored] = page.all("image", id=identifier)
    encoded = stored["attributes"]["href"].split(";base64,")[1]
    return Image.open(io.BytesIO(base64.b64decode(encoded, validate=True)))


def test_small_pictures_are_kept_without_loss(page, pictures, training, patches):
    np.testing.assert_array_equal(np.asarray(decoded(page, "image-1")), np.rint(255 * pictures[1]))
    np.testing.assert_array_equal(np.asarray(decoded(page, "training-3")), np.rint(255 * training[3, ..., 0]))
    top, bottom, left, right = patches.source_box.values[1]
    cut = training[int(patches.source[1]), top:bottom, left:right, 0]
    np.testing.assert_array_equal(np.asarray(decoded(page, "prototype-1")), np.rint(255 * cut))


def test_large_pictures_are_made_smaller_and_keep_their_proportions(explained, patches):
    shape = (300, 200)
    larger = [dataset.assign_attrs(height=shape[0], width=shape[1]) for dataset in (explained, patches)]
    whole = np.full((4, *shape, 3), [0.2, 0.5, 0.9])
    page = Page(prototype_page(*larger, whole, whole, class_names=NAMES, thumbnail=60))
    assert decoded(page, "training-0").size == (40, 60)
    assert decoded(page, "image-0").size == (80, 120)
    assert decoded(page, "training-0").format == "JPEG"
    np.testing.assert_allclose(np.asarray(decoded(page, "training-0"))[20, 20] / 255, [0.2, 0.5, 0.9], atol=0.02)
    [stored] = page.all("image", id="training-0")
    assert (stored["attributes"]["width"], stored["attributes"]["height"]) == ("200", "300")


def test_prototypes_are_folded_by_class_with_other_classes_marked(page):
    folded = page.all("details")
    assert [page.within("summary", d)[0]["text"] for d in folded] == [
        "Class wren: 2 prototypes, 3 of 4 nearest images are of this class",
        f"Class {NASTY}: 2 prototypes, 3 of 4 nearest images are of this class",
    ]
    marked = [e for e in page.all("svg") if "other" in e["attributes"].get("class", "").split()]
    assert [boxes_in(page, svg) for svg in marked] == [[[0, 10, 5, 10]], [[3, 2, 13, 7]]]
    assert [e["text"] for e in page.all("span", **{"class": "class"})] == [f"of class {NASTY}", "of class wren"]
    assert "Classes without prototypes: owl." in [p["text"] for p in page.all("p")]


def test_tables_have_captions_and_headers_of_rows_and_columns(page):
    tables = page.all("table")
    assert len(tables) == 6
    for table in tables:
        assert page.within("caption", table)[0]["text"]
        [head] = page.within("thead", table)
        columns = page.within("th", head)
        assert all(column["attributes"]["scope"] == "col" for column in columns)
        [body] = page.within("tbody", table)
        for row in page.within("tr", body):
            [first] = page.within("th", row)
            assert first["attributes"]["scope"] == "row"
            assert len(page.within("td", row)) == len(columns) - 1


def test_accuracy_and_settings_are_those_passed_in(page):
    [accuracy] = page.all("section", id="accuracy")
    assert [cell["text"] for cell in page.within("td", accuracy)] == ["0.7500", "0.8125", "", "nan"]
    [settings] = page.all("section", id="settings")
    assert [cell["text"] for cell in page.within("td", settings)] == ["3", NASTY]


def test_without_accuracy_settings_and_labels_their_places_are_left_out(explained, patches, pictures, training):
    page = Page(prototype_page(explained, patches, pictures, training, class_names=NAMES))
    assert [s["attributes"]["id"] for s in page.all("section")] == ["explained", "prototypes"]
    assert not any("True class" in p["text"] for p in page.all("p"))


def test_the_page_is_read_in_light_and_dark_and_without_scripts(page):
    [style] = page.all("style")
    assert "prefers-color-scheme: dark" in style["text"]
    assert page.all("html")[0]["attributes"]["lang"] == "en"
    assert page.all("script") == []


def test_texts_stand_out_from_the_paper_in_light_and_in_dark(page):
    """WCAG 2.1, 1.4.3: the contrast of text is at least 4.5."""

    def luminance(colour):
        parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    [style] = page.all("style")
    themes = re.findall(r":root \{(.*?)\}", style["text"], re.DOTALL)[:2]
    assert len(themes) == 2
    for theme in themes:
        colours = dict(re.findall(r"--(\w+): (#\w{6});", theme))
        for name in ("ink", "soft", "link", "other"):
            for ground in ("paper", "stripe"):
                low, high = sorted(luminance(colours[x]) for x in (name, ground))
                assert (high + 0.05) / (low + 0.05) >= 4.5, (name, ground)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [0]}, "labels must be one of 3 classes for each of 2 images"),
        ({"labels": [0, 3]}, "labels must be one of 3 classes"),
        ({"class_names": ("wren",)}, "class_names must name all 2 classes, got 1"),
        ({"class_names": ("wren", "kite")}, "class_names must name all 3 classes, got 2"),
        ({"thumbnail": 0}, "thumbnail must be at least 1 pixel, got 0"),
    ],
)
def test_a_page_says_what_is_wrong_with_its_input(explained, patches, pictures, training, change, message):
    with pytest.raises(ValueError, match=message):
        prototype_page(explained, patches, pictures, training, **{"class_names": NAMES, **change})


def test_a_picture_that_is_missing_or_of_another_size_is_named(explained, patches, pictures, training):
    with pytest.raises(ValueError, match="training_pictures must have picture 3"):
        prototype_page(explained, patches, pictures, training[:3], class_names=NAMES)
    with pytest.raises(ValueError, match=r"pictures must be .* of \(20, 16\) pixels, got \(16, 20, 3\)"):
        prototype_page(explained, patches, np.zeros((2, 16, 20, 3)), training, class_names=NAMES)
