"""The birds: which file it must be, and what is in it, by what its README says."""

import numpy as np
import pytest

from saliency_jax.data import birds
from saliency_jax.data.images import opened


@pytest.fixture
def published_birds(published):
    return published / "birds" / "cub200_2011_cropped_50classes_227px.npz"


@pytest.mark.parametrize("split, count", [("train", 1449), ("test", 1500)])
def test_the_published_birds_are_read(published_birds, split, count):
    pictures = birds.load(published_birds, split)
    assert len(pictures.sources) == len(pictures.names) == count
    assert len(pictures.class_names) == 50 and pictures.class_names[0] == "Black_footed_Albatross"
    # A file's folder is its class, by which the labels can be told without them.
    assert [pictures.class_names[i] for i in pictures.labels] == [name.split("/")[0] for name in pictures.names]
    if split == "test":
        assert np.bincount(pictures.labels).tolist() == [30] * 50
    assert opened(pictures, count - 1).size == (227, 227)


def test_no_picture_is_in_both_splits(published_birds):
    train, test = (set(birds.load(published_birds, split).names) for split in ("train", "test"))
    assert not train & test


def small(path, **arrays):
    arrays = {
        "jpeg": np.arange(6, dtype=np.uint8),
        "offset": np.array([0, 2, 3, 6]),
        "label": np.array([0, 1, 1]),
        "is_train": np.array([True, False, True]),
        "class_name": np.array(["a", "b"]),
        "path": np.array(["a/0", "b/0", "b/1"]),
    } | arrays
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_the_splits_are_told_apart(tmp_path):
    path = small(tmp_path / "birds.npz")
    train, test = (birds.load(path, split, sha256=None) for split in ("train", "test"))
    assert train.sources == (b"\0\1", b"\3\4\5") and train.labels.tolist() == [0, 1] and train.names == ("a/0", "b/1")
    assert test.sources == (b"\2",) and test.labels.tolist() == [1] and test.class_names == ("a", "b")


def test_another_file_is_refused(tmp_path):
    path = small(tmp_path / "birds.npz")
    with pytest.raises(
        ValueError, match=rf"{path} must be the published file.*truncated, altered.*expected sha256 fbccafb1.*, found"
    ):
        birds.load(path, "train")
    with pytest.raises(ValueError, match=r"lacks \['is_train'\]"):
        birds.load(small(tmp_path / "birds.npz", is_train=None), "train", sha256=None)
    with pytest.raises(ValueError, match="one boolean for each of 3 pictures, found int64"):
        birds.load(small(tmp_path / "birds.npz", is_train=np.array([1, 0, 1])), "train", sha256=None)
    with pytest.raises(FileNotFoundError):
        birds.load(tmp_path / "gone.npz", "train")


def test_an_unknown_split_is_refused(tmp_path, as_a_user):
    with pytest.raises(ValueError, match='"train" or "test", got \'validation\''):
        birds.load(tmp_path / "gone.npz", "validation")
