"""The published file of MobileNet v2, where this checkout has it beside it."""

from pathlib import Path

import pytest

FILE = (Path(__file__).resolve().parents[3] / "../shared/data/weights/tf2_mobilenet_v2_1.0_224_ptq.tflite").resolve()


@pytest.fixture(scope="session")
def mobilenet_file() -> Path:
    pytest.importorskip("tflite", reason="the package tflite of the extra weights is not installed")
    if not FILE.is_file():
        pytest.skip(f"the published weights are not here: no file {FILE}")
    return FILE
