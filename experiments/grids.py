"""Grids of small pictures, all of one size."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

SIDE = 1.25
"""Of a panel, in inches."""


def picture_grid(rows: int, columns: int, *, beside: float, above: float) -> tuple[Figure, np.ndarray]:
    """A figure with square panels `[row, column]`, and room for their names.

    Args:
        rows: of panels.
        columns: of panels.
        beside: inches for what stands to the left.
        above: inches for what stands above.
    """
    size = (SIDE * columns + beside, SIDE * rows + above)
    return plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
