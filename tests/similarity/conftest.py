"""Real images to compare."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import skimage.data

MNIST = Path(__file__).resolve().parents[2] / "../shared/data/mnist/t10k-images-idx3-ubyte.gz"


@pytest.fixture(scope="session")
def mnist():
    """The first test digits, [image, height, width] in [0, 1]."""
    if not MNIST.exists():
        pytest.skip(f"the MNIST test images are not there: {MNIST}")
    with gzip.open(MNIST) as file:
        pixels = np.frombuffer(file.read(16 + 32 * 28 * 28), np.uint8, offset=16)
    return pixels.reshape(-1, 28, 28) / 255.0


@pytest.fixture(scope="session")
def photographs():
    """Two colour photographs, [height, width, channel] in [0, 1], sides no multiple of a cell."""
    return skimage.data.astronaut()[60:263, 100:310] / 255.0, skimage.data.chelsea()[50:253, 90:300] / 255.0
