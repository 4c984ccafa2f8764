"""Enlarge random maps with OpenCV and keep the boxes of what is high in them, for the tests.

    python tools/make_opencv_goldens.py

Needs opencv-python-headless, and writes tests/prototypes/goldens/opencv.npz (under 60 kB): the maps, their boxes, and
some maps enlarged, to compare values with. Takes seconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

GOLDENS = Path(__file__).resolve().parents[1] / "tests" / "prototypes" / "goldens" / "opencv.npz"
MAPS = 50
PERCENTILE = 95
SIZES = [(side, image) for side in (7, 8) for image in (224, 299)]
"""Side of the grid of patches and of the image, in patches and in pixels: 200 maps in all."""
SHAPES = [((5, 9), (31, 46)), ((1, 4), (6, 20)), ((28, 20), (13, 9)), ((6, 6), (6, 6))]
"""Grid and image whose enlarged map is kept whole: neither is square, one has one row, one shrinks, one stays."""


def random_maps(random: np.random.RandomState, shape: tuple[int, int], count: int) -> np.ndarray:
    """Maps in two kinds, half each: uniform values, and similarities of random distances, which are mostly low."""
    uniform = random.rand(count - count // 2, *shape)
    distances = random.gamma(2.0, 0.5, (count // 2, *shape))
    similar = np.log((distances + 1) / (distances + 1e-4))
    return np.concatenate([uniform, similar]).astype(np.float32)


def enlarged(one: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """One map as OpenCV enlarges it, `[height, width]`."""
    return cv2.resize(one, dsize=(shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)


def box(pixels: np.ndarray) -> list[int]:
    """Top, bottom, left, right of the pixels at or above the percentile, bottom and right one past the last."""
    rows, columns = np.nonzero(pixels >= np.percentile(pixels, PERCENTILE))
    return [rows.min(), rows.max() + 1, columns.min(), columns.max() + 1]


def main() -> None:
    """Write the goldens."""
    random = np.random.RandomState(0)
    arrays: dict[str, Any] = {"version": np.array(cv2.__version__)}
    for side, image in SIZES:
        maps = random_maps(random, (side, side), MAPS)
        boxes = [box(enlarged(one, (image, image))) for one in maps]
        arrays |= {f"maps_{side}_{image}": maps, f"boxes_{side}_{image}": np.array(boxes, np.int16)}
    for i, (grid, shape) in enumerate(SHAPES):
        [one] = random_maps(random, grid, 1)
        arrays |= {f"small_{i}": one, f"large_{i}": enlarged(one, shape)}
    GOLDENS.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(GOLDENS, **arrays)
    print(f"{GOLDENS}: {GOLDENS.stat().st_size} bytes, OpenCV {cv2.__version__}")


if __name__ == "__main__":
    main()
