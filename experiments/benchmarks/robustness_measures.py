"""The measures of robustness and selectivity that both sides compute, and how far their values are apart."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
import robustness_peers as peers
import robustness_problem as ours
import robustness_work as work
import torch
from robustness_problem import Problem, Values, problem
from robustness_work import Work


class Measure(NamedTuple):
    """A measure on both sides.

    Attributes:
        peer: its name.
        ours, theirs: what makes each side's function of a problem.
        work: what the measure cannot do without.
    """

    peer: str
    ours: Callable[[Problem], Values]
    theirs: Callable[[Problem], Values]
    work: Callable[[Problem], Work]


SIDE = 4
"""Of the patches that selectivity takes away, one after the other."""
ROW = 28
"""Pixels that pixel flipping takes away at a time."""
MEASURES = {
    "max-sensitivity": Measure("Quantus", ours.relative_max_sensitivity, peers.max_sensitivity_quantus, work.of_draws),
    "local Lipschitz": Measure("Quantus", ours.local_lipschitz, peers.lipschitz_quantus, work.of_draws),
    "continuity": Measure("Quantus", ours.continuity_of_translations, peers.continuity_quantus, work.of_translations),
    "selectivity": Measure(
        "Quantus", partial(ours.patch_curve, patch=SIDE), peers.selectivity_quantus, partial(work.of_curve, patch=SIDE)
    ),
    "pixel flipping": Measure(
        "Quantus",
        partial(ours.patch_curve, patch=1, patches_in_step=ROW),
        peers.pixel_flipping_quantus,
        partial(work.of_curve, patch=1, patches_in_step=ROW),
    ),
    "max-sensitivity ": Measure("Captum", ours.relative_max_sensitivity, peers.max_sensitivity_captum, work.of_draws),
    "infidelity": Measure("Captum", ours.gaussian_infidelity, peers.infidelity_captum, work.of_changes),
}


def difference_in_double(measure: Measure, *, images: int, samples: int, compared: int) -> float:
    """How far the two sides' values are apart in float64, over the largest.

    Args:
        measure: on both sides.
        images: of how many images the first are taken.
        samples: perturbations of each image.
        compared: of how many images the values are compared.
    """
    # Quantus makes every array one of PyTorch's default type.
    torch.set_default_dtype(torch.float64)
    try:
        with jax.enable_x64(True):
            of = problem(images, compared, samples, np.float64)
            here, there = measure.ours(of)(), measure.theirs(of)()
    finally:
        torch.set_default_dtype(torch.float32)
    return float(np.abs(here - there).max() / np.abs(here).max())
