"""The page of inception_birds.py: what it reached, beside a linear probe, and the course of the training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from pages import write_findings

from saliency_jax import plotting
from saliency_jax.report import Table


def report(measured: Mapping[str, float], options: Any, docstring: str | None) -> None:
    """Write course.png and report.html beside the results.

    Args:
        measured: `accuracy`, `linear_probe`, and the number of `pictures` that they are of.
        options: those of inception_birds.py.
        docstring: of inception_birds.py.
    """
    course = np.loadtxt(options.out / "course.csv", delimiter=",", skiprows=1, ndmin=2)
    plotting.save(figure(course, measured["linear_probe"]), options.out / "course.png")
    write_findings(
        [
            f"The completed network tells {measured['accuracy']:.1%} of {measured['pictures']} pictures rightly; a "
            f"linear probe on the mean activations of its published part {measured['linear_probe']:.1%}.",
        ],
        options,
        "inception_birds.py",
        docstring,
        figures={
            "course.png": (
                "The accuracy after each epoch of the training, and that of the linear probe (dotted).",
                "A line that rises over the epochs; the table has its points.",
            )
        },
        tables=[
            Table(
                "The course of the training",
                ["Epoch", "training loss", "accuracy"],
                [[f"{epoch:.0f}", f"{loss:.3f}", f"{accuracy:.4f}"] for epoch, loss, accuracy in course],
            )
        ],
    )


def figure(course: np.ndarray, probe: float) -> Figure:
    """Accuracy over the epochs, `course` being [epoch, (number, loss, accuracy)]."""
    drawn, axes = plt.subplots(figsize=(6.5, 4), layout="constrained")
    axes.plot(course[:, 0], course[:, 2], color=plotting.COLOURS[0], marker="o", label="completed network")
    axes.axhline(probe, color="0.4", linestyle=":", label="linear probe")
    axes.set(xlabel="epoch", ylabel="accuracy")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return drawn
