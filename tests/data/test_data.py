"""One signature for every source."""

import numpy as np
import pytest

from saliency_jax import data


def test_the_default_source_needs_no_files():
    split = data.load("mnist", "test")
    assert isinstance(split, data.Split)
    assert split.images.shape == (1000, 28, 28, 1) and split.labels.shape == (1000,)


def test_the_folder_may_be_text_or_a_path(published):
    as_path = data.load("mnist", "test", source="idx", data_dir=published / "mnist")
    as_text = data.load("mnist", "test", source="idx", data_dir=str(published / "mnist"))
    np.testing.assert_array_equal(as_path.images, as_text.images)
    assert len(as_path.images) == 10_000


@pytest.mark.parametrize("source", ["embedded", "idx", "tfds"])
@pytest.mark.parametrize(
    ("name", "split", "complaint"),
    [
        (
            "MNIST",
            "train",
            r"name must be one of 'mnist', 'fashion_mnist'; found 'MNIST' \(did you mean 'mnist'",
        ),
        ("fashion-mnist", "train", r"found 'fashion-mnist' \(did you mean 'fashion_mnist'\?\)"),
        ("cifar10", "train", "found 'cifar10'$"),
        ("mnist", "tets", r"split must be one of 'train', 'test'; found 'tets' \(did you mean 'test'\?\)"),
        ("mnist", "validation", "found 'validation'$"),
    ],
)
def test_unknown_name_or_split_is_refused_by_every_source_with_the_valid_ones(source, name, split, complaint, tmp_path):
    with pytest.raises(ValueError, match=complaint):
        data.load(name, split, source=source, data_dir=tmp_path)


def test_unknown_source_is_refused_with_the_valid_ones():
    with pytest.raises(ValueError, match=r"source must be one of 'embedded', 'idx', 'tfds'; found 'tdfs' \(did"):
        data.load("mnist", "train", source="tdfs")
