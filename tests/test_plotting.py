"""The figures show what is in the Dataset: their lines, points and images are read back and compared with it."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from saliency_jax import plotting


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
