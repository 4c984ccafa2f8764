"""The script that made the embedded subset makes it again."""

import contextlib
import io
import runpy
import sys
import zlib
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "embed_mnist.py"
EMBEDDED = resources.files("saliency_jax.data").joinpath("embedded", "mnist.npz")

pytest.importorskip("tyro", reason="the script reads its options with tyro")


@pytest.fixture(scope="module")
def spread_evenly():
    return runpy.run_path(str(SCRIPT))["spread_evenly"]


def _run(*options: str) -> tuple[int, str]:
    """The script as from the command line: its exit status, and what it printed."""
    said, status = io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        patch.setattr(sys, "argv", [str(SCRIPT), *options])
        try:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        except SystemExit as end:
            status = end.code
    return status, said.getvalue()


@pytest.fixture(scope="module")
def made_again(published, tmp_path_factory):
    output = tmp_path_factory.mktemp("embedded") / "mnist.npz"
    assert _run("--data-dir", str(published / "mnist"), "--output", str(output))[0] == 0
    return output


def test_the_script_makes_the_same_arrays(made_again):
    with EMBEDDED.open("rb") as file, np.load(file) as kept, np.load(made_again) as made:
        assert kept.files == made.files == ["train_images", "train_labels", "test_images", "test_labels"]
        assert all(np.array_equal(kept[name], made[name]) for name in kept.files)


@pytest.mark.skipif("ng" in zlib.ZLIB_RUNTIME_VERSION, reason="this Python compresses by zlib-ng, to other bytes")
def test_the_script_makes_the_same_bytes(made_again):
    assert made_again.read_bytes() == EMBEDDED.read_bytes()


def test_the_file_is_about_a_megabyte():
    assert 900_000 < len(EMBEDDED.read_bytes()) < 1_100_000


@pytest.mark.slow
def test_fewer_images_can_be_asked_for(published, tmp_path):
    output = tmp_path / "few.npz"
    options = ("--train-per-class", "3", "--test-per-class", "2")
    assert _run("--data-dir", str(published / "mnist"), "--output", str(output), *options)[0] == 0
    with np.load(output) as arrays:
        assert np.bincount(arrays["train_labels"]).tolist() == [3] * 10
        assert np.bincount(arrays["test_labels"]).tolist() == [2] * 10


def test_the_folder_must_be_given_and_help_says_what_the_script_does():
    assert _run()[0] == 2
    status, shown = _run("--help")
    assert status == 0 and "--data-dir" in shown and "checksums are verified" in shown


def test_a_folder_without_the_files_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"lacks train-images-idx3-ubyte\.gz.*t10k-labels-idx1-ubyte\.gz"):
        _run("--data-dir", str(tmp_path), "--output", str(tmp_path / "out.npz"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("per_class", [1, 2, 3, 7])
def test_positions_are_those_of_a_slow_count(spread_evenly, per_class):
    labels = np.random.default_rng(0).integers(0, 4, 60)
    expected = []
    for label in set(labels.tolist()):
        of_class = [position for position, found in enumerate(labels) if found == label]
        expected += [of_class[(i * len(of_class)) // per_class] for i in range(per_class)]
    assert spread_evenly(labels, per_class).tolist() == sorted(expected)


def test_as_many_as_there_are_keeps_all(spread_evenly):
    labels = np.array([1, 0, 0, 1, 1, 0])
    assert spread_evenly(labels, 3).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("per_class", [0, -1, 3])
def test_more_than_the_smallest_class_or_fewer_than_one_is_refused(spread_evenly, per_class):
    with pytest.raises(ValueError, match=f"from 1 to 2, the smallest class; found {per_class}"):
        spread_evenly(np.array([0, 0, 0, 1, 1]), per_class)
