"""The measures of robustness.py as Captum and Quantus compute them, handed what this library has drawn."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
import torch
from captum.attr import Saliency
from captum.metrics import infidelity, sensitivity_max
from robustness_problem import SHIFTS, Problem, Values, noise, points
from torch_sides import zennit


def _quantus(name: str) -> Any:
    """A module of Quantus. It imports Zennit, which torch_sides brings on machines without torchvision too."""
    zennit("composites")
    return importlib.import_module(name)


quantus = _quantus("quantus")
norm_func, similarity_func = _quantus("quantus.functions.norm_func"), _quantus("quantus.functions.similarity_func")

QUIET = {"disable_warnings": True, "display_progressbar": False, "return_aggregate": False, "abs": False}


def gradients(model: Any, inputs: Any, targets: Any, **_: Any) -> np.ndarray:
    """The gradient of a batch there, as Quantus asks for it: one backward pass."""
    dtype = next(model.parameters()).dtype
    x = torch.as_tensor(np.asarray(inputs), dtype=dtype).requires_grad_(True)
    chosen = model(x)[torch.arange(len(x)), torch.as_tensor(np.asarray(targets))]
    return torch.autograd.grad(chosen.sum(), x)[0].numpy()


def by_quantus(metric: Any, of: Problem) -> Values:
    """A metric of Quantus on this problem, which explains the images itself."""

    def call() -> np.ndarray:
        # It warns of everything that it does; what it warns of stands at the top of robustness.py.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = metric(
                model=of.model,
                x_batch=of.x,
                y_batch=of.y,
                a_batch=gradients(of.model, of.x, of.y),
                explain_func=gradients,
                device="cpu",
                batch_size=len(of.x),
                softmax=False,
                channel_first=True,
            )
        return np.asarray(found)

    return call


def handed(points: jax.Array) -> Callable[..., np.ndarray]:
    """A perturbation function of Quantus that hands out points `[sample, batch, ...]` one after the other."""
    rows = np.asarray(points).transpose(0, 1, 4, 2, 3).reshape(len(points), points.shape[1], -1)
    turn = {"next": 0}

    def perturb(arr: np.ndarray, **_: Any) -> np.ndarray:
        found = rows[turn["next"] % len(rows)]
        turn["next"] += 1
        return found

    return perturb


def channels_first(points: jax.Array) -> torch.Tensor:
    """Points `[sample, batch, ...]` in the order in which Captum asks for them: all samples of one image together."""
    moved = np.asarray(points).transpose(1, 0, 4, 2, 3)
    return torch.tensor(np.ascontiguousarray(moved)).reshape(-1, *moved.shape[2:])


def max_sensitivity_captum(of: Problem) -> Values:
    """Max-sensitivity in Captum."""
    taken = channels_first(points(of, "linf"))
    explain = Saliency(of.model)

    def call() -> np.ndarray:
        return sensitivity_max(
            partial(explain.attribute, abs=False),
            torch.tensor(of.x),
            perturb_func=lambda inputs: taken,
            n_perturb_samples=of.samples,
            target=torch.tensor(of.y),
        ).numpy()

    return call


def infidelity_captum(of: Problem) -> Values:
    """Infidelity in Captum."""
    taken = channels_first(noise(of))
    target = torch.tensor(of.y)

    def call() -> np.ndarray:
        x = torch.tensor(of.x)
        maps = torch.tensor(gradients(of.model, of.x, of.y))
        found = infidelity(
            of.model,
            lambda inputs: (taken, inputs - taken),
            x,
            maps,
            target=target,
            n_perturb_samples=of.samples,
        )
        return found.numpy()

    return call


def max_sensitivity_quantus(of: Problem) -> Values:
    """Max-sensitivity in Quantus."""
    metric = quantus.MaxSensitivity(
        nr_samples=of.samples,
        normalise=False,
        perturb_func=handed(points(of, "linf")),
        norm_numerator=norm_func.fro_norm,
        norm_denominator=norm_func.fro_norm,
        similarity_func=similarity_func.difference,
        **QUIET,
    )
    return by_quantus(metric, of)


def lipschitz_quantus(of: Problem) -> Values:
    """The local Lipschitz estimate in Quantus."""
    metric = quantus.LocalLipschitzEstimate(
        nr_samples=of.samples, normalise=False, perturb_func=handed(points(of, "l2")), **QUIET
    )
    return by_quantus(metric, of)


def continuity_quantus(of: Problem) -> Values:
    """Translations in Quantus' continuity."""
    return by_quantus(quantus.Continuity(nr_steps=len(SHIFTS) + 1, normalise=False, **QUIET), of)


def selectivity_quantus(of: Problem) -> Values:
    """Patches of 4 x 4 pixels in Quantus."""
    return by_quantus(quantus.Selectivity(patch_size=4, normalise=False, perturb_baseline="black", **QUIET), of)


def pixel_flipping_quantus(of: Problem) -> Values:
    """Pixel flipping, 28 pixels at a time, in Quantus."""
    metric = quantus.PixelFlipping(features_in_step=28, normalise=False, perturb_baseline="black", **QUIET)
    return by_quantus(metric, of)
