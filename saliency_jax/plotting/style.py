"""How figures name and colour things."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by people with any colour vision, and two markers for the second round.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
CONTROLS = ("edges", "noise", "constant")
TITLES = {
    "spearman": "Spearman rank correlation, signed",
    "spearman_abs": "Spearman rank correlation, absolute values",
    "pearson": "Pearson correlation",
    "cosine": "Cosine similarity",
    "ssim": "Structural similarity (SSIM)",
    "hog": "Correlation of oriented gradients (HOG)",
}
UNDATED: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
"""The kinds of vector graphics that are written, and what to tell matplotlib so that they hold no date."""

NAMES = {
    "smoothgrad": "SmoothGrad",
    "smoothgrad_squared": "SmoothGrad squared",
    "vargrad": "VarGrad",
    "grad_cam": "Grad-CAM",
    "guided_grad_cam": "guided Grad-CAM",
    "lrp": "LRP",
    "deep_lift": "DeepLIFT",
    "simple_taylor": "simple Taylor",
    "integrated_gradients_smoothgrad": "integrated gradients SmoothGrad",
    "spearman": "Spearman",
    "spearman_abs": "Spearman, absolute",
    "ssim": "SSIM",
    "hog": "HOG",
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
}


def readable(name: str) -> str:
    """A name for people: "gradient_times_input" as "gradient times input", "grad_cam" as "Grad-CAM"."""
    return NAMES.get(name, name.replace("_", " "))


def style(name: str, place: int) -> dict[str, Any]:
    """Line and marker of the explainer at this place of a list; controls are grey and dotted."""
    if name in CONTROLS:
        return {
            "color": "0.55",
            "linestyle": ":",
            "marker": MARKERS[CONTROLS.index(name)],
            "markerfacecolor": "white",
        }
    second_round = place >= len(COLOURS)
    return {
        "color": COLOURS[place % len(COLOURS)],
        "marker": MARKERS[place % len(MARKERS)],
        "linestyle": "--" if second_round else "-",
    }


def save(figure: Figure, path: Path | str, *, vector: Sequence[str] = ()) -> None:
    """Write a figure, as PDF or SVG beside it where that is asked for, and close it.

    Texts of vector graphics stay texts: they can be searched and edited. The same figure gives the same bytes.

    Args:
        figure: is closed when it is written.
        path: of the file; its ending chooses the format.
        vector: further endings, "pdf" or "svg".

    Raises:
        ValueError: vector has other endings.
    """
    if unknown := [ending for ending in vector if ending not in UNDATED]:
        raise ValueError(f"vector must be of {list(UNDATED)}, got {unknown}")
    path = Path(path)
    figure.savefig(path, dpi=150)
    with matplotlib.rc_context({"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": path.stem}):
        for ending in vector:
            figure.savefig(path.with_suffix(f".{ending}"), dpi=300, metadata=UNDATED[ending])
    plt.close(figure)
