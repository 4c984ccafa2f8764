"""The published files of MNIST and Fashion-MNIST, where this checkout has them beside it."""

from pathlib import Path

import pytest

SHARED = (Path(__file__).resolve().parents[2] / "../shared/data").resolve()


@pytest.fixture(scope="session")
def published() -> Path:
    """A folder with a folder of IDX files for each data set."""
    if not SHARED.is_dir():
        pytest.skip(f"the published IDX files are not here: no folder {SHARED}")
    return SHARED
