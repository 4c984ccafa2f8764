"""In which order the parts of ProtoPNet are trained, and how."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, NamedTuple

from saliency_jax.checks import check_finite_number, check_integer, check_number
from saliency_jax.prototypes.losses import Weights

Kind = Literal["warm", "joint", "project", "last_layer"]

TRAINED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "warm": ("add_on", "prototype_vectors"),
        "joint": ("backbone", "add_on", "prototype_vectors"),
        "project": (),
        "last_layer": ("last_layer",),
    }
)
"""Which groups of parameters a stage trains; all others stay as they are, to the bit."""


class Stage(NamedTuple):
    """A part of the training: what is trained and for how many epochs; a projection is one step of its own."""

    kind: Kind
    epochs: int = 1


@dataclass(frozen=True)
class Recipe:
    """How ProtoPNet is trained: Adam with a rate for each group of parameters; the defaults are the paper's.

    Attributes:
        batch_size: images in a minibatch.
        backbone_rate: learning rate of the backbone, in the joint stage.
        add_on_rate: of the add-on layers.
        prototype_rate: of the prototypes.
        last_layer_rate: of the last layer.
        weight_decay: times the parameter, added to the gradients of backbone and add-on layers.
        decay: factor of the rates of the joint stage ...
        decay_every: ... after so many of its epochs.
        weights: of the terms of the loss.

    Raises:
        ValueError: a field is out of its range.

    Source: Chen et al. (2019), supplement; github.com/cfchen-duke/ProtoPNet, settings.py. The program there lowers the
        rates one epoch earlier than it says, as it steps its schedule first.
    """

    batch_size: int = 80
    backbone_rate: float = 1e-4
    add_on_rate: float = 3e-3
    prototype_rate: float = 3e-3
    last_layer_rate: float = 1e-4
    weight_decay: float = 1e-3
    decay: float = 0.1
    decay_every: int = 5
    weights: Weights = field(default_factory=Weights)

    def __post_init__(self) -> None:
        for name in ("batch_size", "decay_every"):
            check_integer(getattr(self, name), name)
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("backbone_rate", "add_on_rate", "prototype_rate", "last_layer_rate", "weight_decay", "decay"):
            check_number(getattr(self, name), name)
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must not be negative and be finite, got {getattr(self, name)}")
        if not isinstance(self.weights, Weights):
            raise TypeError(f"weights must be losses.Weights, got {type(self.weights).__name__}")
        for weight in self.weights:
            check_finite_number(weight, "weights")


PAPER = Recipe()
"""The paper's."""


def schedule(
    *, warm: int = 5, joint: int = 5, cycles: int = 1, between: int = 10, last_layer: int = 20
) -> tuple[Stage, ...]:
    """Warm, joint, then projection and last layer, and both again after some more joint epochs.

    Args:
        warm: epochs of add-on layers and prototypes alone.
        joint: epochs of all but the last layer before the first projection.
        cycles: how many projections.
        between: joint epochs from one projection to the next.
        last_layer: epochs of the last layer after each projection.

    Returns:
        The stages, in order; those of no epochs are left out.

    Raises:
        ValueError: a number is negative, or there is no cycle.

    Source: Chen et al. (2019), section 2.2; the numbers of github.com/cfchen-duke/ProtoPNet, which goes on for up to
        100 cycles.
    """
    given = {"warm": warm, "joint": joint, "between": between, "last_layer": last_layer}
    check_integer(cycles, "cycles")
    for name, value in given.items():
        check_integer(value, name)
        if value < 0:
            raise ValueError(f"{name} must not be negative, got {value}")
    if cycles < 1:
        raise ValueError(f"cycles must be at least 1, got {cycles}")
    ended = (Stage("project"), Stage("last_layer", last_layer))
    stages = (Stage("warm", warm), Stage("joint", joint), *ended, *((Stage("joint", between), *ended) * (cycles - 1)))
    return tuple(stage for stage in stages if stage.epochs)
