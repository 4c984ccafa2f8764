"""The figures show what is in the Dataset: their lines, points and images are read back and compared with it."""

from functools import partial
from xml.etree import ElementTree

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from PIL import Image

from saliency_jax import plotting
from saliency_jax.plotting.map_colours import coloured, map_scale


@pytest.fixture
def dataset():
    random = np.random.default_rng(0)
    explainers, metrics, stages = ["gradient", "constant"], ["spearman_abs", "spearman"], ["logits", "conv1"]
    similarity = random.uniform(-1, 1, size=(2, 2, 2, 3, 5))
    similarity[1] = np.nan
    null = random.uniform(-1, 1, size=(2, 2, 5, 3))
    null[1] = np.nan
    return xr.Dataset(
        {
            "similarity": (("explainer", "metric", "stage", "seed", "image"), similarity),
            "null": (("explainer", "metric", "image", "null_kind"), null),
            "maps": (
                ("explainer", "model", "kept_image", "height", "width", "channel"),
                random.normal(size=(2, 3, 2, 4, 4, 1)),
            ),
            "images": (("kept_image", "height", "width", "channel"), random.uniform(size=(2, 4, 4, 1))),
        },
        coords={
            "explainer": explainers,
            "metric": metrics,
            "stage": stages,
            "model": ["trained", *stages],
            "seed": [0, 1, 2],
            "image": np.arange(5),
            "null_kind": ["other_image", "permuted_pixels", "noise"],
        },
        attrs={"order": "top_down"},
    )


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_curves_are_the_means_over_images_and_seeds_and_start_at_one(dataset):
    figure = plotting.similarity_curves(dataset)
    panel = figure.axes[0]
    [curve] = [line for line in panel.lines if len(line.get_ydata()) == 3 and line.get_linestyle() == "-"]
    expected = dataset.similarity.sel(explainer="gradient", metric="spearman_abs").mean(["seed", "image"])
    np.testing.assert_allclose(curve.get_ydata(), [1.0, *expected.values])


def test_null_stands_beside_the_curves(dataset):
    panel = plotting.similarity_curves(dataset).axes[1]
    expected = dataset["null"].sel(explainer="gradient", metric="spearman", null_kind="other_image").mean()
    drawn = [float(line.get_ydata()[0]) for line in panel.lines if len(line.get_ydata()) == 1]
    assert any(y == pytest.approx(float(expected)) for y in drawn)
    assert [label.get_text() for label in panel.get_xticklabels()] == [
        "trained", "logits", "conv1", "null:\nother image"
    ]  # fmt: skip


def test_explainer_without_values_is_not_drawn(dataset):
    _, labels = plotting.similarity_curves(dataset).axes[0].get_legend_handles_labels()
    assert labels == ["gradient"]


def test_grid_has_a_row_an_explainer_and_shows_the_summed_channels(dataset):
    figure = plotting.map_grid(dataset, image=1)
    assert len(figure.axes) == 2 * (1 + 3)
    shown = figure.axes[3].images[0].get_array()
    np.testing.assert_allclose(shown, dataset.maps[0, 2, 1].sum("channel"))


def test_each_image_has_a_row_and_each_explainer_a_column_of_its_maps():
    random = np.random.default_rng(0)
    images = random.uniform(size=(2, 5, 4, 3))
    maps = {"gradient": random.normal(size=(2, 5, 4, 3)), "grad_cam": random.uniform(size=(2, 5, 4, 1))}
    figure = plotting.explainer_maps(images, maps, rows=["a dog", "a cat"])
    assert [axes.get_title() for axes in figure.axes[:3]] == ["image", "gradient", "Grad-CAM"]
    assert [axes.get_ylabel() for axes in figure.axes[::3]] == ["a dog", "a cat"]
    for row in range(2):
        picture, *drawn = (axes.images[0].get_array() for axes in figure.axes[3 * row : 3 * row + 3])
        np.testing.assert_allclose(picture, images[row])
        for shown, found in zip(drawn, maps.values(), strict=True):
            np.testing.assert_allclose(shown, found[row].sum(-1))


def test_bytes_are_255ths_and_other_values_are_brought_to_colours_by_themselves():
    maps = {"gradient": np.ones((1, 2, 2, 1))}
    values = np.array([[[[0], [51]], [[102], [153]]]])
    for images, largest in ((values.astype(np.uint8), 255), (values / 255, 1), (values.astype(float), 153)):
        drawn = plotting.explainer_maps(images, maps).axes[0].images[0].get_array()
        np.testing.assert_allclose(drawn, np.repeat(images[0] / largest, 3, axis=-1), atol=1e-12)


@pytest.mark.parametrize(
    "maps, rows, message",
    [
        ({}, None, "maps must be of one explainer at least"),
        ({"a": np.zeros((3, 4, 4, 1))}, None, r"maps of 'a' must be \[2, height"),
        ({"a": np.zeros((2, 4, 4))}, None, "one for each image"),
        ({"a": np.zeros((2, 4, 4, 1))}, ["one"], "rows must name each of the 2 images, got 1"),
    ],
)
def test_maps_that_are_not_those_of_the_images_are_refused(maps, rows, message):
    with pytest.raises(ValueError, match=message):
        plotting.explainer_maps(np.zeros((2, 4, 4, 1)), maps, rows=rows)


def test_signed_maps_are_centred_at_zero_and_others_start_there():
    _, (left, middle, right) = plt.subplots(1, 3)
    signed = np.linspace(-1, 2, 16).reshape(4, 4, 1)
    plotting.show_map(left, signed)
    low, high = left.images[0].get_clim()
    assert low == -high and high == pytest.approx(np.percentile(np.abs(signed), 99))
    plotting.show_map(middle, np.abs(signed))
    assert middle.images[0].get_clim()[0] == 0
    plotting.show_map(right, np.zeros((4, 4, 1)))
    assert np.isfinite(right.images[0].get_clim()).all()


def test_sparse_map_whose_percentile_is_zero_is_still_seen():
    _, axes = plt.subplots()
    sparse = np.zeros((20, 20, 1))
    sparse[3, 4] = 5.0
    plotting.show_map(axes, sparse)
    assert axes.images[0].get_clim() == (0, 5)


def test_limits_are_the_99th_percentile_of_what_is_finite_and_symmetric_where_a_value_is_negative():
    random = np.random.default_rng(3)
    signed = random.standard_cauchy(size=(20, 20, 3))
    scale = map_scale(signed)
    limit = np.percentile(np.abs(signed.sum(-1)), 99)
    assert (scale.low, scale.high) == (-scale.high, pytest.approx(limit)) and np.abs(signed.sum(-1)).max() > 2 * limit
    holes = signed.copy()
    holes[0, :3] = [[np.nan] * 3, [np.inf] * 3, [-np.inf] * 3]
    known = np.abs(signed.sum(-1))
    known[0, :3] = np.nan
    assert map_scale(holes).high == pytest.approx(np.nanpercentile(known, 99))
    absolute = map_scale(np.abs(signed))
    assert (absolute.low, absolute.high) == (0, pytest.approx(np.percentile(np.abs(signed).sum(-1), 99)))


@pytest.mark.parametrize(
    ("value", "limits", "colour"),
    [(0.0, (0, 1), [1, 1, 1]), (2.5, (0, 5), [0.588, 0.588, 0.588]), (-2.5, (-5, 5), [0.4176, 0.6745, 0.8176])],
)
def test_blank_and_constant_maps_have_limits_and_one_colour(value, limits, colour):
    """The middle of ColorBrewer's Greys, #969696; between #4393c3 and #92c5de of its RdBu."""
    flat = np.full((3, 4, 1), value)
    assert (map_scale(flat).low, map_scale(flat).high) == limits
    np.testing.assert_allclose(coloured(flat), np.broadcast_to(colour, (3, 4, 3)), atol=0.005)


def test_what_is_not_finite_is_yellow_and_the_rest_is_as_without_it():
    given = np.random.default_rng(4).normal(size=(5, 5, 1))
    rest = [0, 1, 3, 4]
    whole = coloured(given[rest])
    given[2, :, 0] = [np.nan, np.inf, -np.inf, np.nan, np.nan]
    image = np.full((5, 5, 1), 0.5)
    _, axes = plt.subplots()
    plotting.show_map(axes, given)
    shown = axes.images[0].get_array()
    assert np.ma.getmaskarray(shown)[2].all() and shown.mask.sum() == 5
    yellow = matplotlib.colors.to_rgb("#F0E442")
    for drawn in (coloured(given), plotting.map_overlay(image, given), axes.images[0].to_rgba(shown)[..., :3]):
        np.testing.assert_allclose(drawn[2], np.broadcast_to(yellow, (5, 3)))
        assert (np.abs(drawn - yellow).max(-1) < 1e-6).sum() == 5
    np.testing.assert_allclose(coloured(given)[rest], whole, atol=1e-12)
    assert (coloured(np.full((2, 2, 1), np.nan)) == yellow).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_an_overlay_shows_the_image_in_grey_where_the_map_is_zero_and_the_sign_where_it_is_large(channels):
    image = np.random.default_rng(5).uniform(size=(4, 6, channels))
    attribution = np.zeros((4, 6, 1))
    attribution[0, 0], attribution[3, 5], attribution[1, 1] = 2, -2, 1
    attribution[2] = 2
    drawn = plotting.map_overlay(image, attribution)
    # ITU-R BT.601, by Pillow.
    rgb = Image.fromarray(np.rint(255 * np.broadcast_to(image, (4, 6, 3))).astype(np.uint8))
    grey = np.asarray(rgb.convert("L")) / 255
    blank = attribution[..., 0] == 0
    assert (np.ptp(drawn[blank], axis=-1) < 1e-9).all()
    np.testing.assert_allclose(drawn[blank][:, 0], 0.45 + 0.55 * grey[blank], atol=0.005)
    vermilion, blue = (matplotlib.colors.to_rgb(colour) for colour in ("#D55E00", "#0072B2"))
    np.testing.assert_allclose(drawn[0, 0], vermilion)
    np.testing.assert_allclose(drawn[3, 5], blue)
    np.testing.assert_allclose(drawn[1, 1], (np.array(vermilion) + 0.45 + 0.55 * grey[1, 1]) / 2, atol=0.005)


def test_an_overlay_needs_a_map_of_its_image():
    with pytest.raises(ValueError, match=r"height and width of its image \(4, 6\), got \(6, 4\)"):
        plotting.map_overlay(np.zeros((4, 6, 3)), np.zeros((6, 4, 1)))


def test_a_grid_can_show_the_maps_over_the_image(dataset):
    over = partial(plotting.show_overlay, image=dataset["images"][1].values)
    shown = plotting.map_grid(dataset, image=1, draw=over).axes[3].images[0].get_array()
    expected = plotting.map_overlay(dataset["images"][1].values, dataset.maps[0, 2, 1].values)
    np.testing.assert_allclose(shown, expected)


@pytest.mark.parametrize(("call", "message"), [("curves", "ssim"), ("grid", "image must be one of the 2")])
def test_what_is_not_in_the_dataset_is_named(dataset, call, message):
    with pytest.raises(ValueError, match=message):
        if call == "curves":
            plotting.similarity_curves(dataset, metrics=("ssim",))
        else:
            plotting.map_grid(dataset, image=2)


def test_saved_figure_is_a_picture(dataset, tmp_path):
    plotting.save(plotting.similarity_curves(dataset), tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_vector_graphics_hold_texts_and_whole_fonts_and_the_same_figure_gives_the_same_bytes(tmp_path):
    def saved(folder):
        figure, axes = plt.subplots(figsize=(2, 2))
        axes.plot([0, 1])
        axes.set_title("Similarity")
        folder.mkdir()
        plotting.save(figure, folder / "line.png", vector=("pdf", "svg"))
        return {path.suffix: path.read_bytes() for path in folder.iterdir()}

    first, second = saved(tmp_path / "first"), saved(tmp_path / "second")
    assert first == second and set(first) == {".png", ".pdf", ".svg"}
    texts = [element.text for element in ElementTree.fromstring(first[".svg"]).iter("{http://www.w3.org/2000/svg}text")]
    assert "Similarity" in texts
    # TrueType, which editors take for text; matplotlib's own choice is Type 3.
    assert b"/CIDFontType2" in first[".pdf"] and b"/Type3" not in first[".pdf"]
    with pytest.raises(ValueError, match=r"vector must be of \['pdf', 'svg'\], got \['eps'\]"):
        plotting.save(plt.figure(), tmp_path / "line.png", vector=("eps",))


def test_bars_are_the_means_of_the_last_stage_and_the_nulls_stand_beside_them(dataset):
    first, panel = plotting.similarity_bars(dataset).axes
    widths = [bar.get_width() for bar in panel.patches]
    expected = dataset.similarity.sel(metric="spearman", stage="conv1").mean(["seed", "image"])
    np.testing.assert_allclose(widths, expected.values)
    null = dataset["null"].sel(metric="spearman", null_kind="other_image").mean("image")
    marks = [line.get_xdata() for line in panel.lines if line.get_marker() == "D"]
    np.testing.assert_allclose(marks[0], null.values)
    assert [label.get_text() for label in first.get_yticklabels()] == ["gradient", "constant"]


def test_bars_of_an_unknown_metric_are_refused(dataset):
    with pytest.raises(ValueError, match=r"those of the dataset \['spearman_abs', 'spearman'\], got \['ssim'\]"):
        plotting.similarity_bars(dataset, metrics=["ssim"])


def test_the_evidence_table_prints_every_figure_with_the_mark_of_its_outcome():
    value = np.array([[0.91, np.nan], [0.12, np.nan]])
    outcome = np.array([["passes", "undecided"], ["fails", ""]])
    found = xr.Dataset(
        {"value": (("explainer", "test"), value), "outcome": (("explainer", "test"), outcome)},
        coords={"explainer": ["gradient", "edges"], "test": ["parameters", "labels"]},
    )
    axes = plotting.evidence_table(found).axes[0]
    assert [text.get_text() for text in axes.texts] == ["0.91", "?", "0.12 x", "not\nmeasured"]
    colours = [patch.get_facecolor() for patch in axes.patches]
    assert len(set(colours)) == 3


def test_coloured_images_are_drawn_in_colours_and_brought_into_range(dataset):
    coloured = np.random.default_rng(1).uniform(-2, 3, size=(2, 4, 4, 3))
    wide = dataset.drop_vars("images").assign(images=(("kept_image", "height", "width", "colour"), coloured))
    drawn = np.asarray(plotting.map_grid(wide, image=1).axes[0].images[0].get_array())
    assert drawn.shape == (4, 4, 3) and drawn.min() >= 0 and drawn.max() <= 1
    np.testing.assert_allclose(np.corrcoef(drawn.ravel(), coloured[1].ravel())[0, 1], 1)


def test_four_metrics_stand_in_two_rows(dataset):
    four = xr.concat([dataset, dataset.assign_coords(metric=["ssim", "hog"])], "metric", data_vars="minimal")
    figure = plotting.similarity_curves(four, metrics=list(four.metric.values))
    tops = sorted({round(axes.get_position().y0, 2) for axes in figure.axes})
    assert len(figure.axes) == 4 and len(tops) >= 2


def test_titles_of_many_columns_are_slanted_inside_the_figure(dataset):
    stages = [f"block{i}" for i in range(9)]
    maps = np.zeros((2, 10, 2, 4, 4, 1))
    many = dataset.drop_dims(["stage", "model"]).assign_coords(model=["trained", *stages])
    many = many.assign(maps=(("explainer", "model", "kept_image", "height", "width", "channel"), maps))
    figure = plotting.map_grid(many)
    figure.canvas.draw()
    last = figure.axes[10].title
    assert last.get_text() == "block8" and last.get_rotation() == 45
    box = last.get_window_extent()
    assert box.x0 > 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1


def profile(**further):
    layers, estimators = ["input", "conv1", "logits"], ["two_nn", "levina_bickel", "pca", "gaussian_control"]
    dims = (*further, "layer", "estimator")
    shape = (*(len(labels) for labels in further.values()), len(layers), len(estimators))
    values = np.random.default_rng(0).uniform(2, 40, shape)
    return xr.Dataset(
        {"dimension": (dims, values), "low": (dims, values * 0.9), "high": (dims, values * 1.1)},
        coords={**further, "layer": layers, "estimator": estimators, "depth": ("layer", [0, 0.5, 1])},
        attrs={"variance": 0.9},
    )


def test_profiles_have_a_line_a_network_its_control_and_the_linear_dimension():
    dataset = profile(network=["true", "permuted"])
    left, right = plotting.dimension_profiles(dataset).axes
    solid = [line for line in left.lines if line.get_linestyle() == "-"]
    dotted = [line for line in left.lines if line.get_linestyle() == ":" and len(line.get_xdata())]
    for lines, estimator in ((solid, "two_nn"), (dotted, "gaussian_control"), (right.lines, "pca")):
        drawn = [line.get_ydata() for line in lines]
        np.testing.assert_array_equal(drawn, dataset.dimension.sel(estimator=estimator))
    assert [label.get_text() for label in left.get_xticklabels()] == ["input", "conv1", "logits"]
    assert {line.get_label() for line in solid} == {"true", "permuted"}


def test_profiles_of_many_layers_stand_at_their_depth():
    one = profile()
    many = xr.concat([one] * 5, "layer")
    [line, *_] = plotting.dimension_profiles(many).axes[0].lines
    np.testing.assert_array_equal(line.get_xdata(), many.depth)


def test_profiles_refuse_axes_that_nobody_named():
    dataset = profile(network=["a"], epoch=[0, 1])
    with pytest.raises(ValueError, match=r"one further axis, got \['network', 'epoch'\]"):
        plotting.dimension_profiles(dataset)
