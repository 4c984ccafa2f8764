"""The table and figure of the comparison with other libraries, from rows made by hand."""

import matplotlib.pyplot as plt
import pytest
from test_experiments import EXPERIMENTS

ROW = {
    "work": "gradient",
    "network": "mnist_cnn",
    "batch": 32,
    "peer": "Captum",
    "difference": 1e-9,
    "agree": True,
    "seconds": 0.010,
    "peer_seconds": 0.030,
    "times_faster": 3.0,
    "times_faster_low": 2.5,
    "times_faster_high": 3.5,
    "first_call_s": 1.0,
    "peer_first_call_s": 0.5,
    "times_faster_with_compilation": 0.5,
    "least_s": 0.005,
}
WRONG = ROW | {"work": "lrp", "peer": "Zennit", "difference": 0.2, "agree": False}
SKIPPED = {"work": "TwoNN", "network": "784 features", "batch": 2000, "peer": "scikit-dimension"}
FOUND = {
    "versions": {"jax": "0.0"},
    "device": "cpu",
    "cores": 2,
    "load_before": 0.0,
    "machine": {"operations": 2e11, "bytes": 1e10},
    "rows": [ROW, WRONG, SKIPPED | {"skipped": "skdim is not installed"}],
}


@pytest.fixture
def drawing(monkeypatch):
    monkeypatch.syspath_prepend(EXPERIMENTS / "benchmarks")
    import peer_figure

    return peer_figure


def test_the_table_tells_which_maps_differ_and_why_a_row_is_skipped(drawing):
    first, wrong, skipped = (
        line for line in drawing.table(FOUND).splitlines() if line.startswith(("mnist_cnn", "784"))
    )
    assert "10.0" in first and "30.0" in first and "3.00 (2.50-3.50)" in first and "DIFFERENT" not in first
    # Half of its time, and a sixth of the peer's, is the least that the machine needs.
    assert "50%" in first and "17%" in first
    assert "DIFFERENT" in wrong and "skdim is not installed" in skipped


def test_the_figure_has_a_row_for_each_on_which_both_agree_and_its_whole_range(drawing):
    drawn = drawing.figure(FOUND)
    [axes] = drawn.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["gradient, 32 images · Captum"]
    spread, median, _one = axes.lines
    assert list(spread.get_xdata()) == [2.5, 3.5] and list(median.get_xdata()) == [3.0]
    low, high = axes.get_xlim()
    assert low <= 1 and high > 3.5
    plt.close(drawn)
