"""All tests in one picture: which explainers pass what."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from saliency_jax.plotting.style import readable
from saliency_jax.sanity.evidence import OUTCOMES

# Told apart without colours by their marks, and by people with any colour vision.
FILLS = dict(zip(OUTCOMES, ("#9ecae9", "#f6e3a1", "#e8917a", "#dddddd"), strict=True))
MARKS = dict(zip(OUTCOMES, ("", "~", "x", "?"), strict=True))


def evidence_table(found: xr.Dataset) -> Figure:
    """A row an explainer, a column a test: the figure between 0 and 1, coloured by the outcome.

    Args:
        found: what `saliency_jax.sanity.evidence` returned.
    """
    names, tests = [[str(x) for x in found[dim].values] for dim in ("explainer", "test")]
    figure, axes = plt.subplots(figsize=(2.6 + 0.68 * len(tests), 2.6 + 0.36 * len(names)), layout="constrained")
    for row, name in enumerate(names):
        for column, test in enumerate(tests):
            cell = found.sel(explainer=name, test=test)
            outcome, value = str(cell.outcome.item()), float(cell.value)
            if not outcome:
                axes.text(column, row, "not\nmeasured", ha="center", va="center", fontsize=6, color="0.6")
                continue
            axes.add_patch(plt.Rectangle((column - 0.48, row - 0.46), 0.96, 0.92, color=FILLS[outcome], linewidth=0))
            number = "" if np.isnan(value) else f"{value:.2f}"
            axes.text(column, row, f"{number} {MARKS[outcome]}".strip(), ha="center", va="center", fontsize=9)
    axes.set(xlim=(-0.5, len(tests) - 0.5), ylim=(len(names) - 0.5, -0.5))
    axes.set_xticks(range(len(tests)), [readable(test).replace(": ", ":\n") for test in tests], fontsize=8)
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    plt.setp(axes.get_xticklabels(), rotation=40, ha="left", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), list(map(readable, names)), fontsize=9)
    axes.spines[:].set_visible(False)
    key = [Patch(color=FILLS[o], label=f"{o} {MARKS[o] and f'({MARKS[o]})'}".strip()) for o in OUTCOMES]
    figure.legend(handles=key, loc="outside lower center", ncols=len(key), frameon=False, fontsize=9)
    figure.suptitle("Which explainers pass which test? 1: as it should be, 0: the opposite", fontsize=12)
    return figure
