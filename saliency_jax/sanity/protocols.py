"""The two protocols that go by the name of the paper: what its text says, and what its released code does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from saliency_jax.sanity.initializers import Fresh, kept, own_initializer, truncated_normal, with_statistics
from saliency_jax.similarity import METRICS
from saliency_jax.typing import Init, Metric

ExplainedClass = Literal["original", "argmax"]


class Protocol(NamedTuple):
    """How a randomization test is run; change one entry with `PROTOCOLS["paper"]._replace(...)`.

    Attributes:
        name: for the record.
        fresh: from the model's initializer to where random weights come from.
        explained_class: "original" explains the given targets at every stage, "argmax" the class that the randomized
            model itself predicts.
        metrics: similarity by name.
    """

    name: str
    fresh: Callable[[Init], Fresh]
    explained_class: ExplainedClass
    metrics: Mapping[str, Metric]


def _metrics(ssim: str, hog: str) -> dict[str, Metric]:
    names = {"spearman": "spearman", "spearman_abs": "spearman_abs", "ssim": ssim, "hog": hog}
    return {name: METRICS[metric] for name, metric in names.items()}


PROTOCOLS: dict[str, Protocol] = {
    "paper": Protocol(
        "paper",
        lambda init: with_statistics(truncated_normal(), own_initializer(init)),
        "original",
        _metrics("ssim", "hog"),
    ),
    "released_code": Protocol(
        "released_code",
        lambda init: with_statistics(own_initializer(init), kept),
        "argmax",
        _metrics("ssim_released_code", "hog_released_code"),
    ),
}
"""Where the paper's text and its released code differ:

| | paper | released_code |
| --- | --- | --- |
| weights and biases | normal of 0.01, cut at two deviations | each variable's own initializer |
| statistics of a BatchNorm | as those of a new network | stay trained |
| explained class | the one that was explained first | the randomized model's own prediction |
| SSIM | maps over their largest magnitude, window of 5 | maps onto [0, 1], Gaussian window, data range 2 |
| HOG | maps over their largest magnitude, Pearson | maps onto [0, 1], Spearman |
"""

HOG_BLOCK = 48
"""The side in pixels of the smallest map that has a HOG block of 3 x 3 cells of 16 pixels."""


def metrics_for(protocol: Protocol, height: int, width: int) -> Mapping[str, Metric]:
    """The protocol's metrics that are defined for maps of this size: HOG is not for those of MNIST."""
    return {name: f for name, f in protocol.metrics.items() if name != "hog" or min(height, width) >= HOG_BLOCK}


def find_protocol(protocol: str | Protocol) -> Protocol:
    """A protocol by its name, or itself.

    Raises:
        ValueError: the name is unknown.
    """
    if isinstance(protocol, Protocol):
        return protocol
    if not isinstance(protocol, str) or protocol not in PROTOCOLS:
        raise ValueError(f"protocol must be one of {sorted(PROTOCOLS)} or a Protocol, got {protocol!r}")
    return PROTOCOLS[protocol]
