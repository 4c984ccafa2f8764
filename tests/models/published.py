"""The published networks for the tests: loaded once, skipped, saying so, where their files are not."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from saliency_jax.models.pretrained import load_pretrained

SHARED = (Path(__file__).resolve().parents[2] / "../shared/data").resolve()
PATHS = {"mobilenet_v2": SHARED / "weights/tf2_mobilenet_v2_1.0_224_ptq.tflite"}
NAMES = ("efficientnet_lite0", "squeezenet1_1", "mobilenet_v2")


@cache
def network(name):
    path = PATHS.get(name)
    if path is not None and not path.is_file():
        pytest.skip(f"the published weights are not here: no file {path}")
    try:
        return load_pretrained(name, path)
    except ModuleNotFoundError as error:
        pytest.skip(str(error))


def shared(relative):
    if not (SHARED / relative).is_file():
        pytest.skip(f"the shared data are not here: no file {SHARED / relative}")
    return SHARED / relative


def reference():
    with np.load(shared("reference/reference_outputs.npz")) as arrays:
        return {name: arrays[name] for name in arrays.files}
