"""The embedded subset against the published files."""

from importlib import resources

import numpy as np
import pytest

from saliency_jax.data import embedded, idx
from saliency_jax.data.catalogue import idx_files

PER_CLASS = {"train": 500, "test": 100}


def _grey_values(images):
    return np.rint(images[..., 0] * 255).astype(np.uint8)


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_class_has_as_many_images(split):
    images, labels, class_names = embedded.load("mnist", split)
    assert np.bincount(labels).tolist() == [PER_CLASS[split]] * 10
    assert images.shape == (10 * PER_CLASS[split], 28, 28, 1)
    assert images.dtype == np.float32 and labels.dtype == np.int32
    assert images.min() == 0 and images.max() == 1
    assert class_names == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_image_is_a_published_one_with_its_label_in_the_published_order(published, split):
    all_images, all_labels = idx.read_split("mnist", split, published / "mnist")
    where = {image.tobytes(): position for position, image in enumerate(all_images)}
    assert len(where) == len(all_images), "MNIST has no image twice, so that a position is unique"
    images, labels, _ = embedded.load("mnist", split)
    positions = np.array([where[image.tobytes()] for image in _grey_values(images)])
    assert (np.diff(positions) > 0).all()
    np.testing.assert_array_equal(labels, all_labels[positions])


@pytest.mark.parametrize("split", ["train", "test"])
def test_classes_are_mixed_all_along(split):
    _, labels, _ = embedded.load("mnist", split)
    assert all(len(set(part.tolist())) == 10 for part in np.split(labels, 10))


def test_both_halves_of_the_published_test_file_are_represented(published):
    # They come from different writers and differ in difficulty.
    all_images, _ = idx.read_split("mnist", "test", published / "mnist")
    first_half = {image.tobytes() for image in all_images[:5000]}
    images, _, _ = embedded.load("mnist", "test")
    share = np.mean([image.tobytes() in first_half for image in _grey_values(images)])
    assert share == pytest.approx(0.5, abs=0.01)


def test_what_is_loaded_may_be_written_to_without_changing_the_next_load():
    first = embedded.load("mnist", "test")
    first.images[:] = 0
    assert embedded.load("mnist", "test").images.max() == 1


def test_fashion_mnist_is_refused_with_the_sources_that_have_it():
    with pytest.raises(ValueError, match=r"only 'mnist', found 'fashion_mnist'.*'idx'.*'tfds'"):
        embedded.load("fashion_mnist", "train")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="reads no data_dir, found"):
        embedded.load("mnist", "train", tmp_path)


def test_the_licence_stands_beside_the_data_and_names_the_files_they_came_from():
    text = resources.files("saliency_jax.data").joinpath("embedded", "LICENSE.md").read_text()
    assert "LeCun" in text and "Cortes" in text and "CC BY-SA 3.0" in text
    assert all(f"{file.name} | {file.sha256}" in text for file in idx_files("mnist"))
