"""The page of a randomization test is read by a parser of HTML, and what stands there is compared with the Dataset."""

import base64
import hashlib
import io
import json
import re

import numpy as np
import pytest
import xarray as xr
from made_randomization import EXPLAINERS, METRICS, STAGES, measured
from parsed_page import Page
from PIL import Image

from saliency_jax import results, verdicts
from saliency_jax.plotting.map_colours import coloured
from saliency_jax.report import finished_parts, sanity_page
from saliency_jax.report.similarity_chart import look
from saliency_jax.results import write_dataset


@pytest.fixture(scope="module")
def dataset():
    return measured()


@pytest.fixture(scope="module")
def source(dataset):
    return sanity_page(dataset, command="python experiments/x.py --out 'a <b>'", settings={"note": "<i>"})


@pytest.fixture(scope="module")
def page(source):
    return Page(source)


def cells(page, table):
    return [[cell["text"] for cell in page.within("td", row)] for row in page.within("tr", table)]


def test_the_verdicts_come_first_and_say_in_words_what_the_dataset_says(page, dataset):
    found = verdicts(dataset)
    assert found.verdict.values.tolist() == ["depends", "no dependence found", "no dependence found"]
    assert page.all("section")[0]["attributes"]["id"] == "verdicts"
    [table] = page.within("table", page.section("verdicts"))
    rows = cells(page, table)[1:]
    assert [re.sub(r"^\W+", "", row[0]) for row in rows] == found.verdict.values.tolist()
    # A symbol beside the words: nothing is said by colour alone.
    assert [row[0][0] for row in rows] == ["\N{HEAVY CHECK MARK}", "\N{HEAVY BALLOT X}", "\N{HEAVY BALLOT X}"]
    last = found.isel(stage=-1)
    for row, name in zip(rows, EXPLAINERS, strict=True):
        for text, metric in zip(row[1:], METRICS, strict=True):
            one = last.sel(explainer=name, metric=metric)
            effect = [round(float(one[k]), 2) + 0 for k in ("effect", "effect_low", "effect_high")]
            assert text.startswith("{:.2f} [{:.2f}, {:.2f}]".format(*effect))
            assert f"similarity {float(one.similarity):.2f}, null {float(one.unrelated):.2f}" in text


def test_a_control_is_said_to_do_as_it_must_and_another_explainer_is_not(page):
    said = [p["text"] for p in page.within("p", page.section("verdicts"))]
    assert any("For blind no dependence on the model's weights was found." in text for text in said)
    assert any(re.search(r"edges, control that knows no model: .*as it must be", text) for text in said)


def test_the_table_holds_the_means_of_the_dataset(page, dataset):
    [held] = page.all("div", id="values-ssim")
    [table] = page.within("table", held)
    for row, name in zip(cells(page, table)[1:], EXPLAINERS, strict=True):
        expected = dataset.similarity.sel(metric="ssim", explainer=name).values.astype(float).mean((1, 2))
        null = dataset["null"].sel(metric="ssim", explainer=name, null_kind="other_image").values.astype(float).mean()
        assert [float(text.split(" ")[0]) for text in row] == pytest.approx([*expected, null], abs=0.0051)


def test_each_line_of_a_chart_names_its_values_and_ends_before_the_null(page, dataset):
    charts = page.all("svg", class_="chart")
    assert len(charts) == len(METRICS)
    lines = [g for g in page.within("g", charts[0]) if g["attributes"].get("class") == "series"]
    for line, name in zip(lines, EXPLAINERS, strict=True):
        assert line["attributes"]["tabindex"] == "0"
        label = line["attributes"]["aria-label"]
        value = float(dataset.similarity.sel(metric="spearman_abs", explainer=name, stage="conv/1").mean())
        assert f"conv/1 {value:.2f} [" in label
        drawn = page.within("path", line)[0]["attributes"]["d"]
        assert len(re.findall("[ML]", drawn)) == 1 + len(STAGES)


def test_values_that_are_missing_break_a_line_and_are_named(dataset):
    lacking = dataset.copy(deep=True)
    lacking.similarity.loc[{"explainer": "gradient", "stage": "conv/1"}] = np.nan
    page = Page(sanity_page(lacking))
    line = page.all("g", class_="series")[0]
    assert "conv/1 no value" in line["attributes"]["aria-label"]
    drawn = page.within("path", line)[0]["attributes"]["d"]
    assert re.sub("[^ML]", "", drawn) == "MLM"


def test_every_map_is_there_and_under_it_its_own_similarity(page, dataset):
    articles = page.all("article")
    assert len(articles) == 2
    for place, article in enumerate(articles):
        rows = [row for row in page.within("tr", article) if "data-stage" in row["attributes"]]
        assert [row["attributes"]["data-name"] for row in rows] == list(STAGES)
        for stage, row in enumerate(rows):
            found = [float(text) for text in (cell["text"] for cell in page.within("td", row))]
            expected = dataset.similarity.sel(metric="spearman_abs", seed=0).isel(stage=stage, image=place)
            assert found == pytest.approx(expected.values, abs=0.0051)
            # Without a script nothing is hidden.
            assert "hidden" not in row["attributes"]
    used = {u["attributes"]["href"].removeprefix("#") for u in page.all("use")}
    stored = {i["attributes"]["id"]: i["attributes"]["href"] for i in page.all("image")}
    assert used == stored.keys()
    assert len({stored[f"map-0-{m}-{e}"] for m in range(4) for e in range(3)}) == 12


def test_a_map_keeps_its_pixels(page, dataset):
    stored = {i["attributes"]["id"]: i["attributes"]["href"] for i in page.all("image")}
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(stored["map-1-2-0"].split(",")[1]))).convert("RGB"))
    expected = coloured(dataset.maps.values[0, 2, 1])
    assert np.abs(pixels / 255 - expected).max() <= 0.5 / 255 + 1e-9


def test_colours_of_maps_are_red_white_and_blue_by_sign_and_yellow_where_nothing_is_known():
    signed = coloured(np.array([[[1.0]], [[0.0]], [[-1.0]]]))[:, 0]
    assert signed[0, 0] > signed[0, 2]
    assert signed[2, 2] > signed[2, 0]
    assert signed[1] == pytest.approx([0.97, 0.97, 0.97], abs=0.02)
    unsigned = coloured(np.array([[[0.0]], [[1.0]]]))[:, 0]
    assert unsigned[0] == pytest.approx([1, 1, 1])
    assert unsigned[1] == pytest.approx([0, 0, 0])
    assert coloured(np.zeros((2, 2, 1))) == pytest.approx(np.ones((2, 2, 3)))
    assert coloured(np.array([[[np.nan]], [[1.0]]]))[0, 0] == pytest.approx([0.94, 0.89, 0.26], abs=0.005)


def test_the_page_refers_to_nothing_outside_of_itself_and_runs_its_own_script_alone(page):
    [policy] = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    [script] = page.all("script")
    digest = base64.b64encode(hashlib.sha256(script["text"].encode()).digest()).decode()
    assert policy["attributes"]["content"].startswith("default-src 'none'; img-src data:;")
    assert policy["attributes"]["content"].endswith(f"script-src 'sha256-{digest}'")
    known = {e["attributes"]["id"] for e in page.elements if "id" in e["attributes"]}
    assert len(known) == sum("id" in e["attributes"] for e in page.elements)
    for e in page.elements:
        assert "src" not in e["attributes"]
        if reference := e["attributes"].get("href"):
            assert reference.startswith("data:image/") or reference.removeprefix("#") in known
    assert "url(" not in page.all("style")[0]["text"]


def test_texts_are_shown_and_not_obeyed(page):
    assert page.all("b") == page.all("i") == []
    [code] = page.all("code")
    assert code["text"] == "python experiments/x.py --out 'a <b>'"


def test_tables_have_captions_and_controls_have_labels(page):
    for table in page.all("table"):
        assert len(page.within("caption", table)) == 1
    labels = {e["attributes"].get("for") for e in page.all("label")}
    assert "stage" in labels
    for picture in page.all("svg", role="img"):
        assert picture["attributes"]["aria-label"]
    assert len(page.all("main")) == len(page.all("header")) == len(page.all("h1")) == 1


def test_one_stage_has_no_slider_and_no_maps_no_pictures(dataset):
    one = dataset.isel(stage=[0], model=[0, 1])
    page = Page(sanity_page(one.assign_attrs(test="data_randomization")))
    assert page.all("input") == []
    assert page.all("h1")[0]["text"] == "Do the maps depend on what the model learned from its data?"
    bare = Page(sanity_page(dataset.drop_vars(["maps", "images"])))
    assert bare.all("image") == []
    assert "maps" not in [s["attributes"]["id"] for s in bare.all("section")]


def test_a_page_of_many_large_maps_stays_under_five_megabytes(dataset):
    random = np.random.default_rng(1)
    # 3 x 4 x 3 maps of noise, which nothing compresses.
    large = dataset.drop_vars(["maps", "images"]).assign(
        maps=(dataset.maps.dims, random.normal(size=(3, 4, 3, 299, 299, 3)).astype(np.float32))
    )
    text = sanity_page(large.assign(images=(dataset["images"].dims, random.uniform(size=(3, 299, 299, 3)))))
    assert len(text.encode()) < 5_000_000
    assert text.count("data:image/jpeg") == 3 * 4 * 3 + 3


def test_a_look_is_its_own_for_every_explainer_and_black_becomes_the_ink():
    looks = [look(f"e{k}", k)[0] for k in range(16)]
    shapes = [look(f"e{k}", k)[1](0.0, 0.0).get("d") for k in range(16)]
    assert len({(tuple(one.items()), shape) for one, shape in zip(looks, shapes, strict=True)}) == 16
    assert looks[6]["stroke"] == "currentColor"


def write_parts(folder, dataset, skipped=()):
    """The folder that a run leaves: its configuration, and each part in a file."""
    folder.mkdir()
    configuration = {"explainers": dict.fromkeys(EXPLAINERS, ""), "seeds": [0, 1], "test": "parameter_randomization"}
    (folder / "configuration.json").write_text(json.dumps(configuration))
    of_models = ["accuracy", "logit_low", "logit_high", "logit_spread", "explained_class"]
    parts = {f"models-{seed}": dataset[of_models].sel(seed=seed, drop=True) for seed in (0, 1)}
    for name in EXPLAINERS:
        one = dataset.sel(explainer=name, drop=True)
        parts[f"null-{name}"] = one[["null"]]
        for seed in (0, 1):
            kept = ["similarity", "constant_maps", *(["maps"] if seed == 0 else [])]
            parts[f"maps-{name}-{seed}"] = one[kept].sel(seed=seed, drop=True)
    for name, part in parts.items():
        if name not in skipped:
            write_dataset(part.drop_vars("image", errors="ignore"), folder / f"{name}.nc")


def test_a_run_that_was_broken_off_gives_what_is_finished_and_names_what_is_not(tmp_path, dataset):
    write_parts(tmp_path / "whole", dataset)
    whole = finished_parts(tmp_path / "whole")
    assert whole.missing == ()
    for name in ("similarity", "null", "maps", "accuracy", "explained_class"):
        xr.testing.assert_equal(whole.dataset[name].drop_vars("image", errors="ignore"), dataset[name])

    write_parts(tmp_path / "broken", dataset, skipped={"maps-blind-1", "null-edges"})
    (tmp_path / "broken" / "maps-edges-0.nc").write_bytes(b"CDF\x01 and no more")
    found = finished_parts(tmp_path / "broken")
    *missing, unreadable = found.missing
    assert missing == ["blind: seed 1", "edges: everything"]
    assert re.match(r"unreadable: .*maps-edges-0\.nc is not a readable netCDF file", unreadable)
    assert found.dataset.explainer.values.tolist() == ["gradient", "blind"]
    assert np.isnan(found.dataset.similarity.sel(explainer="blind", seed=1)).all()
    same = found.dataset.similarity.sel(explainer="gradient").drop_vars("image")
    xr.testing.assert_equal(same, dataset.similarity.sel(explainer="gradient"))
    page = Page(sanity_page(found.dataset, missing=found.missing))
    assert [li["text"] for li in page.within("li", page.section("missing"))] == list(found.missing)


def test_a_part_that_was_changed_after_it_was_written_is_named_and_not_believed(tmp_path, dataset):
    write_parts(tmp_path / "run", dataset, skipped={"maps-gradient-0"})
    one = dataset[["similarity", "constant_maps", "maps"]].sel(explainer="gradient", seed=0, drop=True)
    results.part(tmp_path / "run", "maps-gradient-0", lambda: one)
    assert finished_parts(tmp_path / "run").missing == ()
    path = tmp_path / "run" / "maps-gradient-0.nc"
    content = bytearray(path.read_bytes())
    place = content.find(one.similarity.values[0, 0].astype(">f4").tobytes())
    content[place + 2] ^= 1
    path.write_bytes(content)
    found = finished_parts(tmp_path / "run")
    assert found.missing == ("gradient: seed 0", f"unreadable: {path} was changed after it was written")
    assert np.isnan(found.dataset.similarity.sel(explainer="gradient", seed=0)).all()


def test_a_folder_without_a_run_or_without_anything_finished_is_refused(tmp_path, dataset):
    with pytest.raises(FileNotFoundError, match="holds no run: there is no configuration"):
        finished_parts(tmp_path)
    write_parts(tmp_path / "empty", dataset, skipped={f"null-{name}" for name in EXPLAINERS})
    with pytest.raises(ValueError, match="at least one explainer that was finished"):
        finished_parts(tmp_path / "empty")


def test_a_page_says_what_is_wrong_with_its_input(dataset):
    with pytest.raises(ValueError, match="dataset must be that of a randomization test, it lacks"):
        sanity_page(dataset.drop_vars("null"))
    with pytest.raises(ValueError, match="pictures must not be negative, got -1"):
        sanity_page(dataset, pictures=-1)
    with pytest.raises(ValueError, match="class_names must name all 3 classes, got 1"):
        sanity_page(dataset, class_names=("one",))
