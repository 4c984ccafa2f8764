"""Pictures found in folders and archives, read when they are asked for, and named when they cannot be read."""

import numpy as np
import pytest
from PIL import Image

from saliency_jax.data.images import batches, from_archive, from_files, from_folder, load, opened, take
from saliency_jax.data.preprocessing import Preprocessing

PLAIN = Preprocessing(8, crop=1.0, scale=(1.0, 1.0, 1.0), shift=(0.0, 0.0, 0.0))


def write(path, value=0, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((9, 9, 3), value, np.uint8)).save(path, **options)
    return path


def jpeg(path, value):
    return write(path, value, quality=95).read_bytes()


def test_a_flat_folder_is_read_in_the_order_of_names(tmp_path):
    for name, value in (("b.png", 20), ("a.JPG", 10), ("c.tiff", 30), (".hidden.png", 0)):
        write(tmp_path / name, value)
    (tmp_path / "notes.txt").write_text("no picture")
    pictures = from_folder(tmp_path)
    assert pictures.names == ("a.JPG", "b.png", "c.tiff")
    assert pictures.labels is None and pictures.class_names == ()
    np.testing.assert_allclose(load(pictures, PLAIN)[:, 0, 0, 0], [10, 20, 30], atol=1)


def test_folders_in_a_folder_are_classes(tmp_path):
    for name, value in (("wren/2.png", 2), ("junco/deep/1.png", 1), ("wren/0.png", 0)):
        write(tmp_path / name, value)
    pictures = from_folder(tmp_path)
    assert pictures.names == ("junco/deep/1.png", "wren/0.png", "wren/2.png")
    assert pictures.class_names == ("junco", "wren") and pictures.labels.tolist() == [0, 1, 1]
    assert load(pictures, PLAIN)[:, 0, 0, 0].tolist() == [1, 0, 2]

    write(tmp_path / "beside.png")
    with pytest.raises(ValueError, match=r"either pictures or a folder for each class, found both: beside\.png"):
        from_folder(tmp_path)
    (tmp_path / "beside.png").unlink()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty, a class, must hold pictures"):
        from_folder(tmp_path)


def test_a_folder_without_pictures_and_files_that_are_not_there_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"must hold pictures .*found none"):
        from_folder(tmp_path)
    with pytest.raises(NotADirectoryError, match="nowhere"):
        from_folder(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"gone\.png \(1 of 2 are missing\)"):
        from_files([write(tmp_path / "there.png"), tmp_path / "gone.png"])
    with pytest.raises(ValueError, match="at least one picture"):
        from_files([])


def test_nothing_is_read_before_it_is_asked_for(tmp_path):
    files = [write(tmp_path / f"{i}.png", i) for i in range(5)]
    pictures = from_files(files)
    found = batches(pictures, PLAIN, batch_size=2)
    write(files[0], 77)
    assert next(found)[:, 0, 0, 0].tolist() == [77, 1]
    files[4].unlink()
    assert next(found)[:, 0, 0, 0].tolist() == [2, 3]
    with pytest.raises(FileNotFoundError, match=r"4\.png"):
        next(found)


def test_batches_and_load_agree_and_tell_how_far_they_are(tmp_path):
    pictures = from_files([write(tmp_path / f"{i}.png", i) for i in range(5)])
    steps = []
    whole = load(pictures, PLAIN, progress=lambda done, count: steps.append((done, count)))
    assert steps == [(i, 5) for i in range(1, 6)]
    parts = list(batches(pictures, PLAIN, batch_size=2))
    assert [len(part) for part in parts] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(load(take(pictures, [3, 1]), PLAIN), whole[[3, 1]])
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        next(batches(pictures, PLAIN, batch_size=0))
    with pytest.raises(ValueError, match="at least one, got none"):
        load(take(pictures, []), PLAIN)


def damaged(kind, content):
    return {
        "truncated": content[: len(content) // 2],
        "empty": b"",
        "text": b"this is no picture",
        "altered": content[:40] + bytes(len(content) - 40),
    }[kind]


@pytest.mark.parametrize("kind", ["truncated", "empty", "text", "altered"])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_corrupt_picture_is_named(tmp_path, kind, suffix):
    path = tmp_path / f"bad.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)
    path.write_bytes(damaged(kind, path.read_bytes()))
    pictures = from_files([write(tmp_path / "good.png"), path])
    with pytest.raises(ValueError, match=rf"bad\.{suffix} must be a picture that can be decoded"):
        load(pictures, PLAIN)
    assert opened(pictures, 0).size == (9, 9)


def test_a_picture_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    with pytest.raises(ValueError, match=r"bomb\.png must be a picture that can be decoded.*exceeds limit"):
        opened(from_files([write(tmp_path / "bomb.png")]), 0)


def test_a_picture_that_cannot_be_preprocessed_is_named(tmp_path):
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "pixel.png")
    with pytest.raises(ValueError, match="at least 8 pixels") as raised:
        load(from_files([tmp_path / "pixel.png"]), PLAIN)
    assert raised.value.__notes__ == ["while preprocessing pixel.png"]


def archive(path, contents, **arrays):
    offset = np.cumsum([0, *map(len, contents)])
    arrays = {
        "jpeg": np.frombuffer(b"".join(contents), np.uint8),
        "offset": offset,
        "label": np.array([1, 0]),
        "path": np.array(["x/1.jpg", "y/2.jpg"]),
    } | arrays
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


@pytest.fixture
def contents(tmp_path):
    return [jpeg(tmp_path / "1.jpg", 50), jpeg(tmp_path / "2.jpg", 90)]


def test_an_archive_is_cut_into_its_files(tmp_path, contents):
    pictures = from_archive(archive(tmp_path / "a.npz", contents), class_names=("a", "b"))
    assert pictures.sources == tuple(contents) and pictures.names == ("x/1.jpg", "y/2.jpg")
    assert pictures.labels.tolist() == [1, 0] and pictures.class_names == ("a", "b")
    np.testing.assert_allclose(load(pictures, PLAIN)[:, 0, 0, 0], [50, 90], atol=1)


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"offset": None}, r"lacks \['offset'\]"),
        ({"label": np.array([0, 2])}, r"labels must be in \[0, 2\), found 0 to 2"),
        ({"label": np.array([0, 1, 1])}, "one label and one name for each picture.*found 3, 2 and 3"),
        ({"offset": np.array([0, 5, 4])}, "offset must ascend from 0"),
        ({"label": np.array([None, 1])}, r"must be an \.npz of arrays"),
    ],
)
def test_an_archive_that_does_not_fit_together_is_refused(tmp_path, contents, arrays, message):
    with pytest.raises(ValueError, match=message):
        from_archive(archive(tmp_path / "a.npz", contents, **arrays), class_names=("a", "b"))


def test_a_truncated_archive_is_refused(tmp_path, contents):
    path = archive(tmp_path / "a.npz", contents)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"a\.npz must be an \.npz of arrays"):
        from_archive(path, class_names=("a", "b"))
    with pytest.raises(FileNotFoundError):
        from_archive(tmp_path / "gone.npz", class_names=("a", "b"))
