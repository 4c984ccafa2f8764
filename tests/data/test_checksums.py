"""The order-free checksum against a slow re-derivation, and its verdicts."""

import hashlib
import struct

import numpy as np
import pytest

from saliency_jax.data import idx
from saliency_jax.data.catalogue import DATASETS
from saliency_jax.data.checksums import check_content, content_sha256


@pytest.fixture
def records():
    rng = np.random.default_rng(0)
    # Few grey values and repeated images, so that there are long common beginnings and ties.
    images = rng.integers(0, 2, (200, 4, 3), dtype=np.uint8)
    images[100:150] = images[:50]
    return images, rng.integers(0, 10, 200)


def test_checksum_is_that_of_the_sorted_records(records):
    images, labels = records
    slow = sorted(image.tobytes() + struct.pack(">i", label) for image, label in zip(images, labels, strict=True))
    assert content_sha256(images, labels) == hashlib.sha256(b"".join(slow)).hexdigest()


def test_checksum_does_not_depend_on_the_order(records):
    images, labels = records
    order = np.random.default_rng(1).permutation(len(labels))
    assert content_sha256(images[order], labels[order]) == content_sha256(images, labels)


def test_checksum_changes_with_one_pixel_one_label_and_a_swap_of_labels(records):
    images, labels = records
    other_pixel, other_label, swapped = images.copy(), labels.copy(), labels.copy()
    other_pixel[17, 1, 1] ^= 1
    other_label[17] += 1
    first, second = 160, 161 + int(np.flatnonzero(labels[161:] != labels[160])[0])
    swapped[[first, second]] = labels[[second, first]]
    found = {
        content_sha256(images, labels),
        content_sha256(other_pixel, labels),
        content_sha256(images, other_label),
        content_sha256(images, swapped),
    }
    assert len(found) == 4


def test_labels_that_agree_in_the_last_byte_only_are_told_apart(records):
    images, labels = records
    assert content_sha256(images, labels + 256) != content_sha256(images, labels)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_published_files_have_the_catalogued_content_in_any_order(published, name, split):
    images, labels = idx.read_split(name, split, published / name)
    order = np.random.default_rng(2).permutation(len(labels))
    assert content_sha256(images[order], labels[order]) == DATASETS[name].splits[split].content_sha256


def test_content_of_another_data_set_is_named_as_that(published):
    images, labels = idx.read_split("mnist", "test", published / "mnist")
    check_content(images, labels, name="mnist", split="test", origin="here")
    with pytest.raises(ValueError, match=r"recorded as fashion_mnist test is mnist test.*in here"):
        check_content(images, labels, name="fashion_mnist", split="test", origin="here")


def test_one_changed_label_is_refused(published):
    images, labels = idx.read_split("mnist", "test", published / "mnist")
    changed = labels.copy()
    changed[0] += 1
    with pytest.raises(ValueError, match="of no data set known here"):
        check_content(images, changed, name="mnist", split="test", origin="here")


def test_another_number_of_images_is_refused_with_both_shapes(records):
    images, labels = records
    with pytest.raises(ValueError, match=r"shape \(10000, 28, 28\), found \(200, 4, 3\)"):
        check_content(images, labels, name="mnist", split="test", origin="here")
