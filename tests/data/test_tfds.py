"""TFDS: preparation from the published files, and the refusal of what is not the data set."""

import gzip
import importlib.util
import io
import json
import shutil
import sys

import numpy as np
import pytest

from saliency_jax.data import idx, tfds

official = pytest.importorskip("tensorflow_datasets", reason="the extra [tfds] is not installed")

NAMES = ("mnist", "fashion_mnist")
TENSORFLOW = importlib.util.find_spec("tensorflow") is not None
needs_tensorflow = pytest.mark.skipif(
    not TENSORFLOW, reason="the official builder needs TensorFlow, which is not installed"
)


@pytest.fixture(scope="module")
def prepared(published, tmp_path_factory):
    """Both data sets in one folder, where TFDS's own extraction is poisoned for whoever relies on it."""
    data_dir = tmp_path_factory.mktemp("tfds")
    extracted = data_dir / "downloads" / "extracted"
    extracted.mkdir(parents=True)
    for file in (published / "mnist").glob("*.gz"):
        with gzip.open(file) as source, (extracted / f"GZIP.{file.name}").open("wb") as target:
            shutil.copyfileobj(source, target)
    for name in NAMES:
        tfds.prepare(name, published / name, data_dir)
    return data_dir


def _prepare_unchecked(name, images, labels, data_dir):
    """A test split under the name of a data set, as somebody else may have prepared it."""
    from PIL import Image

    def examples():
        for position, (image, label) in enumerate(zip(images, labels, strict=True)):
            png = io.BytesIO()
            Image.fromarray(image).save(png, "PNG")
            yield position, {"image": png.getvalue(), "label": int(label)}

    base = official.builder_cls(name)
    builder_name = name

    class Unchecked(base, skip_registration=True):
        name = builder_name

        def _split_generators(self, download_manager):
            return {"test": examples()}

    Unchecked(data_dir=data_dir).download_and_prepare(
        file_format="array_record",
        download_config=official.download.DownloadConfig(try_download_gcs=False),
    )


def _records(split):
    grey = np.rint(split.images * 255).astype(np.uint8)
    return sorted(image.tobytes() + bytes([label]) for image, label in zip(grey, split.labels, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", NAMES)
def test_two_data_sets_prepared_in_one_folder_are_both_equal_to_their_files(prepared, published, name, split):
    through_tfds = tfds.load(name, split, prepared)
    from_files = idx.load(name, split, published / name)
    assert through_tfds.images.dtype == np.float32 and through_tfds.labels.dtype == np.int32
    assert through_tfds.images.shape == from_files.images.shape
    assert through_tfds.class_names == from_files.class_names
    assert _records(through_tfds) == _records(from_files)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_prepared_data_have_the_version_and_features_of_the_official_builder(prepared, name):
    builder = official.builder(name, data_dir=str(prepared))
    assert builder.data_path.exists()
    assert str(builder.version) == str(official.builder_cls(name).VERSION)
    assert builder.info.splits["train"].num_examples == 60_000
    assert builder.info.splits["test"].num_examples == 10_000
    assert builder.info.features["image"].shape == (28, 28, 1)
    # TFDS keeps the names of the classes itself: an outside check of ours and of their order.
    assert tuple(builder.info.features["label"].names) == tfds.load(name, "test", prepared).class_names


@pytest.mark.slow
def test_preparing_again_keeps_what_is_there_and_leaves_nothing_behind(prepared, published):
    before = {path: path.stat().st_mtime_ns for path in prepared.rglob("*record*")}
    assert len(before) == 4
    folder = tfds.prepare("mnist", published / "mnist", prepared)
    assert folder.parent == prepared / "mnist"
    assert {path: path.stat().st_mtime_ns for path in prepared.rglob("*record*")} == before
    assert sorted(path.name for path in prepared.iterdir()) == ["downloads", "fashion_mnist", "mnist"]


@pytest.mark.slow
@needs_tensorflow
@pytest.mark.parametrize("name", NAMES)
def test_with_tensorflow_the_official_builder_prepares(prepared, name):
    info = json.loads(next((prepared / name).rglob("dataset_info.json")).read_text())
    assert info["moduleName"] == "tensorflow_datasets.image_classification.mnist"


@pytest.mark.slow
def test_files_compressed_anew_are_prepared_by_our_builder_in_the_same_order(prepared, published, tmp_path):
    for file in (published / "mnist").glob("*.gz"):
        compressed = gzip.compress(gzip.decompress(file.read_bytes()), compresslevel=1)
        (tmp_path / file.name).write_bytes(compressed)
    folder = tfds.prepare("mnist", tmp_path, tmp_path / "data")
    assert json.loads((folder / "dataset_info.json").read_text())["moduleName"].startswith("saliency_jax")
    ours, other = tfds.load("mnist", "test", tmp_path / "data"), tfds.load("mnist", "test", prepared)
    np.testing.assert_array_equal(ours.images, other.images)
    np.testing.assert_array_equal(ours.labels, other.labels)


def test_mnist_under_the_name_of_fashion_mnist_is_refused(published, tmp_path):
    images, labels = idx.read_split("mnist", "test", published / "mnist")
    _prepare_unchecked("fashion_mnist", images, labels, tmp_path)
    with pytest.raises(ValueError, match=r"recorded as fashion_mnist test is mnist test.*remove that folder"):
        tfds.load("fashion_mnist", "test", tmp_path)


@pytest.mark.slow
def test_a_split_with_one_wrong_label_is_refused_and_the_right_one_is_not(published, tmp_path):
    images, labels = idx.read_split("mnist", "test", published / "mnist")
    _prepare_unchecked("mnist", images, labels, tmp_path / "right")
    assert len(tfds.load("mnist", "test", tmp_path / "right").images) == 10_000
    wrong = labels.copy()
    wrong[7] = (wrong[7] + 1) % 10
    _prepare_unchecked("mnist", images, wrong, tmp_path / "wrong")
    with pytest.raises(ValueError, match="of no data set known here"):
        tfds.load("mnist", "test", tmp_path / "wrong")


def test_an_incomplete_split_is_refused(published, tmp_path):
    images, labels = idx.read_split("mnist", "test", published / "mnist")
    _prepare_unchecked("mnist", images[:20], labels[:20], tmp_path)
    with pytest.raises(ValueError, match=r"shape \(10000, 28, 28\), found \(20, 28, 28\)"):
        tfds.load("mnist", "test", tmp_path)


def test_what_is_not_prepared_is_named_with_the_function_that_prepares_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no mnist in .*prepare\('mnist', idx_dir, data_dir\)"):
        tfds.load("mnist", "test", tmp_path)


def test_files_of_the_other_data_set_are_refused_before_anything_is_written(published, tmp_path):
    with pytest.raises(ValueError, match=r"this is mnist's file .*, not fashion_mnist's"):
        tfds.prepare("fashion_mnist", published / "mnist", tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_missing_files_are_all_named(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        tfds.prepare("mnist", tmp_path, tmp_path / "data")
    assert all(f"{part}-ubyte.gz" in str(caught.value) for part in ("train-images-idx3", "t10k-labels-idx1"))


def test_an_unknown_name_is_refused_by_prepare(tmp_path):
    with pytest.raises(ValueError, match="name must be one of"):
        tfds.prepare("kmnist", tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("tensorflow_datasets", "tensorflow-datasets"),
        ("importlib_resources", "importlib-resources"),
        ("PIL", "pillow"),
        ("array_record", "array-record"),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch, tmp_path, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    message = rf"needs {package}, not installed here: pip install 'saliency-jax\[tfds\]'"
    with pytest.raises(ModuleNotFoundError, match=message):
        tfds.load("mnist", "test", tmp_path)
    with pytest.raises(ModuleNotFoundError, match=message):
        tfds.prepare("mnist", tmp_path, tmp_path)
