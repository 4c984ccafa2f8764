"""The IDX reader on the published files, and on files that are not them."""

import gzip
import hashlib
import shutil
import struct

import numpy as np
import pytest

from saliency_jax.data import idx

TEST_FILES = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")

# Means of the grey values (0 to 255); the training means are the well-known 0.1307 and 0.2860 times 255.
PUBLISHED_MEAN = {
    ("mnist", "train"): 33.318421,
    ("mnist", "test"): 33.791224,
    ("fashion_mnist", "train"): 72.940352,
    ("fashion_mnist", "test"): 73.146567,
}
# MD5 of the decompressed image files, from outside this package (recorded with the shared data).
PUBLISHED_MD5 = {
    ("mnist", "train"): "6bbc9ace898e44ae57da46a324031adb",
    ("mnist", "test"): "2646ac647ad5339dbf082846283269ea",
    ("fashion_mnist", "train"): "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    ("fashion_mnist", "test"): "8181f5470baa50b63fa0f6fddb340f0a",
}
# The first labels, as printed in many tutorials: a 5 in MNIST, an ankle boot in Fashion-MNIST.
FIRST_LABELS = {
    ("mnist", "train"): [5, 0, 4, 1, 9],
    ("mnist", "test"): [7, 2, 1, 0, 4],
    ("fashion_mnist", "train"): [9, 0, 0, 3, 0],
    ("fashion_mnist", "test"): [9, 2, 1, 1, 6],
}
EVERY_SPLIT = [(name, split) for name in ("mnist", "fashion_mnist") for split in ("train", "test")]


@pytest.fixture
def folder(published, tmp_path):
    """A copy of MNIST's test files that a test may damage."""
    for name in TEST_FILES:
        shutil.copyfile(published / "mnist" / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(("name", "split"), EVERY_SPLIT)
def test_published_split_has_its_count_its_mean_and_its_first_labels(published, name, split):
    images, labels, class_names = idx.load(name, split, published / name)
    count = {"train": 60_000, "test": 10_000}[split]
    assert images.shape == (count, 28, 28, 1) and images.dtype == np.float32
    assert labels.shape == (count,) and labels.dtype == np.int32
    assert images.min() == 0 and images.max() == 1
    grey = np.rint(images * 255)
    np.testing.assert_array_equal(images, grey / np.float32(255))
    assert grey.mean(dtype=np.float64) == pytest.approx(PUBLISHED_MEAN[name, split], abs=5e-7)
    assert labels[:5].tolist() == FIRST_LABELS[name, split]
    assert len(class_names) == 10 and set(labels.tolist()) == set(range(10))


@pytest.mark.parametrize(("name", "split"), EVERY_SPLIT)
def test_pixels_written_back_as_idx_have_the_published_md5(published, name, split):
    images, _, _ = idx.load(name, split, published / name)
    grey = np.rint(images[..., 0] * 255).astype(np.uint8)
    file = b"\x00\x00\x08\x03" + struct.pack(">3I", *grey.shape) + grey.tobytes()
    assert hashlib.md5(file).hexdigest() == PUBLISHED_MD5[name, split]


def test_class_names_are_in_the_order_of_the_labels(published):
    # The first training image of Fashion-MNIST is an ankle boot, the first test image of MNIST a seven.
    fashion, digits = (
        idx.load("fashion_mnist", "train", published / "fashion_mnist"),
        idx.load("mnist", "test", published / "mnist"),
    )
    assert fashion.class_names[fashion.labels[0]] == "Ankle boot"
    assert digits.class_names[digits.labels[0]] == "7"


def test_only_the_files_of_the_split_are_needed(folder):
    assert len(idx.load("mnist", "test", folder).images) == 10_000
    with pytest.raises(FileNotFoundError, match=r"lacks train-images\S+, train-labels\S+$"):
        idx.load("mnist", "train", folder)


def test_every_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        idx.load("mnist", "test", tmp_path)
    assert all(name in str(caught.value) for name in (*TEST_FILES, str(tmp_path)))


def test_a_missing_folder_is_named_as_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere"):
        idx.load("mnist", "test", tmp_path / "nowhere")


def test_no_folder_is_refused():
    with pytest.raises(ValueError, match="needs data_dir"):
        idx.load("mnist", "test", None)


@pytest.mark.parametrize("name", TEST_FILES)
@pytest.mark.parametrize("kept", [0, 5, 4000, -1])
def test_a_truncated_file_is_called_truncated_with_both_checksums(folder, name, kept):
    path = folder / name
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(path.read_bytes()[:kept])
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=f"{name}.*truncated.*expected sha256 {expected}, found {found}"):
        idx.load("mnist", "test", folder)


@pytest.mark.parametrize("position", [2000, -6])
def test_one_changed_byte_is_called_altered(folder, position):
    path = folder / TEST_FILES[1]
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"{path.name}.*altered.*expected sha256 f7ae60f9.*found"):
        idx.load("mnist", "test", folder)


def test_one_changed_label_in_a_valid_gzip_file_is_called_altered(folder):
    path = folder / TEST_FILES[1]
    labels = bytearray(gzip.decompress(path.read_bytes()))
    labels[-1] = (labels[-1] + 1) % 10
    path.write_bytes(gzip.compress(bytes(labels)))
    with pytest.raises(ValueError, match="altered"):
        idx.load("mnist", "test", folder)


def test_something_else_than_gzip_is_called_so(folder):
    (folder / TEST_FILES[0]).write_text("<html>404</html>")
    with pytest.raises(ValueError, match="no gzip file"):
        idx.load("mnist", "test", folder)


def test_the_right_data_compressed_anew_are_accepted(published, folder):
    # The Debian package dataset-fashion-mnist ships such files: other .gz, the published data inside.
    path = folder / TEST_FILES[1]
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), compresslevel=1, mtime=0))
    assert hashlib.sha256(path.read_bytes()).hexdigest()[:8] != "f7ae60f9"
    expected = idx.load("mnist", "test", published / "mnist")
    np.testing.assert_array_equal(idx.load("mnist", "test", folder).labels, expected.labels)


@pytest.mark.parametrize("compress_anew", [False, True])
@pytest.mark.parametrize("name", TEST_FILES)
def test_a_file_of_the_other_data_set_is_named_as_that(published, folder, name, compress_anew):
    other = (published / "fashion_mnist" / name).read_bytes()
    (folder / name).write_bytes(gzip.compress(gzip.decompress(other)) if compress_anew else other)
    with pytest.raises(ValueError, match=f"this is fashion_mnist's file {name}, not mnist's {name}"):
        idx.load("mnist", "test", folder)


def test_a_file_of_another_split_is_named_as_that(published, folder):
    shutil.copyfile(published / "mnist" / "train-labels-idx1-ubyte.gz", folder / TEST_FILES[1])
    with pytest.raises(ValueError, match=r"this is mnist's file train-labels-idx1-ubyte\.gz, not"):
        idx.load("mnist", "test", folder)


@pytest.mark.parametrize("shape", [(0,), (7,), (2, 3), (2, 3, 4), (3, 0, 4)])
def test_parse_reads_what_the_format_says(shape):
    values = bytes(range(int(np.prod(shape))))
    data = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + values
    parsed = idx.parse(data, origin="here")
    assert parsed.shape == shape and parsed.dtype == np.uint8
    assert parsed.tobytes() == values


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "must begin with 00 00 08, found ''"),
        (b"\x00\x00\x08", "must begin"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x01abcd", "found '00 00 0d 01'"),
        (b"\x01\x00\x08\x01\x00\x00\x00\x01a", "found '01 00 08 01'"),
        (b"\x00\x00\x08\x03\x00\x00\x00\x01", "3 axes takes 16 bytes, found 8"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x05abcd", r"says \(5,\), 5 values; found 4"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x03abcd", r"says \(3,\), 3 values; found 4"),
        # 2^32 - 1 to the third power does not fit 64 bits.
        (b"\x00\x00\x08\x03" + b"\xff" * 12, "79228162458924105385300197375 values; found 0"),
    ],
)
def test_parse_refuses_a_wrong_header_or_length_and_says_where(data, complaint):
    with pytest.raises(ValueError, match=f"here.*{complaint}"):
        idx.parse(data, origin="here")
