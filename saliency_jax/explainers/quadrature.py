"""Quadrature on a straight path: points in [0, 1] and their weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from saliency_jax.checks import check_integer


def quadrature(rule: str, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The points in [0, 1] and the weights of a rule of `steps` points, in float64.

    Raises:
        ValueError: the rule is unknown or steps is too small for it.
        TypeError: steps is no integer.
    """
    check_integer(steps, "steps")
    if not isinstance(rule, str) or rule not in QUADRATURES:
        raise ValueError(f"rule must be one of {sorted(QUADRATURES)}, got {rule!r}")
    least = 2 if rule in ("trapezoid", "paper") else 1
    if steps < least:
        raise ValueError(f"steps must be at least {least} for rule {rule!r}, got {steps}")
    return QUADRATURES[rule](steps)


def _gauss_legendre(steps: int) -> tuple[np.ndarray, np.ndarray]:
    points, weights = np.polynomial.legendre.leggauss(steps)
    return (points + 1) / 2, weights / 2


def _midpoint(steps: int) -> tuple[np.ndarray, np.ndarray]:
    return (np.arange(steps) + 0.5) / steps, np.full(steps, 1 / steps)


def _left(steps: int) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(steps) / steps, np.full(steps, 1 / steps)


def _right(steps: int) -> tuple[np.ndarray, np.ndarray]:
    return (np.arange(steps) + 1) / steps, np.full(steps, 1 / steps)


def _trapezoid(steps: int) -> tuple[np.ndarray, np.ndarray]:
    weights = np.full(steps, 1 / (steps - 1))
    weights[[0, -1]] /= 2
    return np.linspace(0, 1, steps), weights


def _paper(steps: int) -> tuple[np.ndarray, np.ndarray]:
    return np.linspace(0, 1, steps), np.full(steps, 1 / steps)


QUADRATURES: dict[str, Callable[[int], tuple[np.ndarray, np.ndarray]]] = {
    "gauss_legendre": _gauss_legendre,
    "midpoint": _midpoint,
    "left": _left,
    "right": _right,
    "trapezoid": _trapezoid,
    "paper": _paper,
}
"""The rules whose points and weights are fixed beforehand: name -> (points, weights) of a number of points."""
