"""How figures name and colour things."""

from __future__ import annotations

from typing import Any

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


def save(figure: Figure, path: Any) -> None:
    """Write a figure and close it; the ending of the path chooses the format."""
    figure.savefig(path, dpi=150)
    plt.close(figure)
