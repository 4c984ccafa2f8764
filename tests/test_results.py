import itertools
import os
import stat
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from saliency_jax import results
from saliency_jax.results import (
    file_name,
    open_run,
    part,
    read_dataset,
    write_bytes,
    write_csv,
    write_dataset,
)

NAMES = [
    *("a/b", "a%2fb", "a%2Fb", "..", ".", "", "%", "%25", "~", "a b", "a+b", "a\0b", "a:b\\c"),
    *("ä", "a\u0308", "/0", "\u02f0", "\U0001f600"),
]


def measurement():
    """Numbers with NaN and infinities, integers, text; no dimension, a dimension of no size."""
    values = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    values[0, 1, 2], values[1, 0, 0], values[1, 2, 3] = np.nan, np.inf, -0.0
    return xr.Dataset(
        {
            "similarity": (("explainer", "stage", "image"), values),
            "double": ("image", np.array([np.pi, -1e-300, np.nan, 5e-324])),
            "count": ("stage", np.array([-(2**31), 0, 2**31 - 1], np.int32)),
            "scalar": ((), np.float32(0.1)),
            "title": ("stage", ["ä/b", "", "x" * 40]),
            "images": (("kept_image", "height"), np.zeros((0, 3), np.float32)),
        },
        coords={
            "explainer": ["gradient", "näherung"],
            "stage": ["logits", "dense", "конв"],
            "image": np.arange(4),
        },
        attrs={"order": "top_down", "protocol": "ä", "stddev": 0.01, "seeds": 3},
    )


def test_a_dataset_comes_back_identical(tmp_path):
    want = measurement()
    write_dataset(want, tmp_path / "m.nc")
    got = read_dataset(tmp_path / "m.nc")
    xr.testing.assert_identical(got, want)
    for name in ("similarity", "double", "count", "scalar"):
        assert got[name].dtype == want[name].dtype
        assert got[name].values.tobytes() == want[name].values.tobytes()


def test_a_dataset_that_was_read_no_longer_needs_its_file(tmp_path):
    path = tmp_path / "m.nc"
    write_dataset(measurement(), path)
    got = read_dataset(path)
    path.unlink()
    xr.testing.assert_identical(got, measurement())


def test_an_integer_that_the_format_cannot_hold_is_refused_and_not_changed(tmp_path):
    with pytest.raises(ValueError):
        write_dataset(xr.Dataset({"count": ("image", np.array([2**31]))}), tmp_path / "m.nc")
    assert not list(tmp_path.iterdir())


def test_a_file_cut_anywhere_is_refused_or_has_lost_nothing_but_padding(tmp_path):
    want = measurement()
    write_dataset(want, tmp_path / "m.nc")
    content = (tmp_path / "m.nc").read_bytes()
    for length in range(len(content)):
        (tmp_path / "cut.nc").write_bytes(content[:length])
        try:
            got = read_dataset(tmp_path / "cut.nc")
        except ValueError:
            continue
        assert length > len(content) - 4
        xr.testing.assert_identical(got, want)


def test_no_file_and_no_netcdf_file_are_told_apart(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no results at .*m\.nc"):
        read_dataset(tmp_path / "m.nc")
    (tmp_path / "m.nc").write_text("not netCDF")
    with pytest.raises(ValueError, match=r"m.nc is not a readable netCDF file"):
        read_dataset(tmp_path / "m.nc")


def test_write_bytes_puts_the_new_file_in_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "file"
    for content in (b"first", b"", bytes(100_000)):
        write_bytes(path, content)
        assert path.read_bytes() == content
        assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()])
def test_whatever_breaks_a_write_off_the_old_file_stays_and_nothing_else(tmp_path, monkeypatch, step, error):
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def breaks(*args, **kwargs):
        raise error

    with monkeypatch.context() as patch:
        if step == "open":
            patch.setattr(results, "open", breaks, raising=False)
        else:
            patch.setattr(os, step, breaks)
        with pytest.raises(type(error)) as caught:
            write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    assert any(str(path) in note and "finished before are whole" in note for note in caught.value.__notes__)


def test_the_content_is_on_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    path, steps = tmp_path / "file", []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor):
        fsync(descriptor)
        steps.append(("fsync", os.fstat(descriptor).st_size, os.fstat(descriptor).st_ino))

    def renamed(source, target):
        steps.append(("replace", os.stat(source).st_size, os.stat(source).st_ino))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    write_bytes(path, b"12345")
    assert steps == [("fsync", 5, path.stat().st_ino), ("replace", 5, path.stat().st_ino)]


@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="there is no /dev/full, which is a full disk, on this system"
)
def test_a_full_disk_is_said_by_the_systems_own_error(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_bytes(path, b"old")
    open_anything = partial(open, "/dev/full")
    with monkeypatch.context() as patch:
        patch.setattr(results, "open", lambda path, mode: open_anything(mode), raising=False)
        with pytest.raises(OSError, match="No space left on device"):
            write_bytes(path, b"new")
    assert path.read_bytes() == b"old"


@pytest.fixture
def read_only_folder():
    """A folder that the test cannot write to: root, which can, becomes nobody for as long as the test runs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "file").write_bytes(b"old")
        folder.chmod(0o555)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            if os.access(folder, os.W_OK, effective_ids=True):
                pytest.skip("this user writes to read-only folders")
            yield folder
        finally:
            if root:
                os.seteuid(0)
            folder.chmod(stat.S_IRWXU)


def test_a_folder_that_cannot_be_written_is_named(read_only_folder):
    for name in ("file", "new"):
        with pytest.raises(PermissionError) as caught:
            write_bytes(read_only_folder / name, b"content")
        assert any(str(read_only_folder) in note for note in caught.value.__notes__)
    with pytest.raises(PermissionError, match=str(read_only_folder)):
        open_run(read_only_folder, {"seeds": [1]})
    assert [(path.name, path.read_bytes()) for path in read_only_folder.iterdir()] == [("file", b"old")]


def test_the_long_csv_has_a_row_a_measurement_and_reads_back_to_the_same_numbers(tmp_path):
    want = measurement()
    write_csv(want, tmp_path / "m.csv")
    rows = pd.read_csv(tmp_path / "m.csv")
    assert list(rows.columns) == ["explainer", "stage", "image", "similarity"]
    assert len(rows) == want.similarity.size
    for row in rows.itertuples():
        value = want.similarity.sel(explainer=row.explainer, stage=row.stage, image=row.image).item()
        np.testing.assert_equal(np.float32(row.similarity), np.float32(value))
    assert not rows.duplicated(["explainer", "stage", "image"]).any()


def test_the_csv_of_another_variable_has_its_dimensions_and_numbers_for_what_has_no_labels(tmp_path):
    unlabelled = xr.Dataset(
        {"null": (("kind", "image"), np.array([[0.5, np.nan], [1.5, -2.0]]))}, coords={"kind": ["a,b", 'c"d']}
    )
    write_csv(unlabelled, tmp_path / "m.csv", variable="null")
    rows = pd.read_csv(tmp_path / "m.csv")
    assert rows.kind.tolist() == ["a,b", "a,b", 'c"d', 'c"d'] and rows.image.tolist() == [0, 1, 0, 1]
    np.testing.assert_array_equal(rows["null"], [0.5, np.nan, 1.5, -2.0])


def test_file_names_do_not_meet_and_stay_in_their_folder(tmp_path):
    found = [f"{file_name(name)}.nc" for name in NAMES]
    assert len(set(found)) == len(NAMES)
    assert all("/" not in name and "\0" not in name and name.isascii() for name in found)
    for name in found:
        assert (tmp_path / name).resolve().parent == tmp_path.resolve()
        (tmp_path / name).touch()
    assert len(list(tmp_path.iterdir())) == len(NAMES)


def test_all_short_names_over_an_awkward_alphabet_have_different_file_names():
    names = ["".join(letters) for n in range(5) for letters in itertools.product("/%2f0\u02f0", repeat=n)]
    assert len(set(map(file_name, names))) == len(names)


@pytest.mark.parametrize("name", ["gradient-0", "models-12", "a.b_c-d"])
def test_plain_names_are_their_own_file_names(name):
    assert file_name(name) == name


def test_a_part_is_measured_once_and_then_read(tmp_path):
    calls = []

    def measure():
        calls.append(1)
        return measurement()

    for _ in range(3):
        xr.testing.assert_identical(part(tmp_path, "a/b", measure), measurement())
    assert len(calls) == 1
    part(None, "a/b", measure)
    assert len(calls) == 2 and len(list(tmp_path.iterdir())) == 1


def test_a_run_folder_is_made_and_opened_again_by_the_same_configuration_only(tmp_path):
    folder = tmp_path / "one" / "two"
    configuration = {"seeds": [0, 1], "explainers": {"gradient": "g", "edges": "e"}, "kept": 4}
    open_run(folder, configuration)
    open_run(folder, {name: configuration[name] for name in reversed(configuration)})
    open_run(folder, {**configuration, "seeds": (0, 1)})
    with pytest.raises(ValueError, match=r"kept: 4 there, 5 asked\): choose another folder"):
        open_run(folder, {**configuration, "kept": 5})
    with pytest.raises(
        ValueError, match=r'\(explainers/edges: "e" there, null asked; seeds: \[0, 1\] there, \[1\] asked\)'
    ):
        open_run(folder, {**configuration, "explainers": {"gradient": "g"}, "seeds": [1]})
    with pytest.raises(ValueError, match="extra: null there, 1 asked"):
        open_run(folder, {**configuration, "extra": 1})


def test_long_texts_are_shown_where_they_differ(tmp_path):
    texts = [f"{'x' * 500}samples={n}{'y' * 500}" for n in (25, 50)]
    open_run(tmp_path, {"explainer": texts[0]})
    with pytest.raises(
        ValueError, match=r"explainer: \.\.\.x+samples=25y+\.\.\. there, \.\.\.x+samples=50y+\.\.\. asked"
    ) as caught:
        open_run(tmp_path, {"explainer": texts[1]})
    assert len(str(caught.value)) < 600


def test_parts_without_their_configuration_are_not_taken_for_ones_own(tmp_path):
    write_dataset(measurement(), tmp_path / "models-0.nc")
    with pytest.raises(ValueError, match=r"holds models-0.nc and no configuration.json"):
        open_run(tmp_path, {"seeds": [0]})
    assert [path.name for path in tmp_path.iterdir()] == ["models-0.nc"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_a_configuration_that_cannot_be_read_is_named(tmp_path, content):
    (tmp_path / "configuration.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"configuration.json is not readable JSON"):
        open_run(tmp_path, {"seeds": [0]})
    assert (tmp_path / "configuration.json").read_bytes() == content


@pytest.mark.parametrize("theirs", [0, 1])
def test_a_second_process_that_makes_the_folder_in_the_same_moment_is_noticed(tmp_path, monkeypatch, theirs):
    link = os.link

    def they_come_first(source, target):
        monkeypatch.setattr(os, "link", link)
        open_run(tmp_path, {"seeds": [theirs]})
        link(source, target)

    monkeypatch.setattr(os, "link", they_come_first)
    if theirs == 0:
        open_run(tmp_path, {"seeds": [0]})
    else:
        with pytest.raises(ValueError, match=r"seeds: \[1\] there, \[0\] asked"):
            open_run(tmp_path, {"seeds": [0]})
    assert [path.name for path in tmp_path.iterdir()] == ["configuration.json"]


def test_a_file_system_without_links_holds_a_run_all_the_same(tmp_path, monkeypatch):
    def no_links(source, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    open_run(tmp_path, {"seeds": [0]})
    open_run(tmp_path, {"seeds": [0]})
    assert [path.name for path in tmp_path.iterdir()] == ["configuration.json"]


def digested():
    """With an attribute that looks like the digest of a part's bytes."""
    values = np.array([0.5, np.nan, -0.0], np.float32)
    return xr.Dataset({"similarity": ("image", values)}, attrs={"params": "0" * 64, "weights": "ab" * 32})


class Again(Exception):
    pass


def test_a_part_with_any_byte_changed_or_cut_off_is_set_aside_and_measured_again(tmp_path):
    path = tmp_path / "a.nc"
    part(tmp_path, "a", digested)
    content = path.read_bytes()
    damages = [content[:i] + bytes([content[i] ^ 1 << i % 8]) + content[i + 1 :] for i in range(len(content))]
    damages += [content[:length] for length in range(0, len(content), 7)] + [content + b"\0"]

    def again():
        raise Again

    for damaged in damages:
        path.write_bytes(damaged)
        with pytest.raises(Again):
            part(tmp_path, "a", again)
        assert not path.exists() and (tmp_path / "a.unreadable").read_bytes() == damaged
    xr.testing.assert_identical(part(tmp_path, "a", digested), digested())
    assert path.read_bytes() == content


def test_a_part_that_is_read_has_the_attributes_that_were_measured_and_is_a_plain_file_to_others(tmp_path):
    part(tmp_path, "a", digested)
    xr.testing.assert_identical(part(tmp_path, "a", lambda: pytest.fail("measured again")), digested())
    xr.testing.assert_identical(read_dataset(tmp_path / "a.nc").drop_attrs(), digested().drop_attrs())


def test_a_part_from_before_there_were_digests_is_read(tmp_path):
    write_dataset(measurement(), tmp_path / "a.nc")
    xr.testing.assert_identical(part(tmp_path, "a", lambda: pytest.fail("measured again")), measurement())


def test_two_processes_that_both_set_a_damaged_part_aside_do_not_fall_over_each_other(tmp_path, monkeypatch):
    (tmp_path / "a.nc").write_bytes(b"damaged")
    replace = Path.replace

    def second_comes_first(path, target):
        monkeypatch.setattr(Path, "replace", replace)
        replace(path, target)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", second_comes_first)
    xr.testing.assert_identical(part(tmp_path, "a", digested), digested())


def test_a_part_that_the_system_cannot_read_is_not_taken_for_a_damaged_one(tmp_path):
    (tmp_path / "a.nc").mkdir()
    with pytest.raises(IsADirectoryError):
        part(tmp_path, "a", lambda: pytest.fail("measured again"))
    assert (tmp_path / "a.nc").is_dir()
