"""The two protocols that go by the name of the paper: what its text says, and what its released code does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from saliency_jax.sanity.initializers import Fresh, own_initializer, truncated_normal
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


def _rank_and_structure(ssim: str) -> dict[str, Metric]:
    return {"spearman": METRICS["spearman"], "spearman_abs": METRICS["spearman_abs"], "ssim": METRICS[ssim]}


PROTOCOLS: dict[str, Protocol] = {
    "paper": Protocol("paper", lambda init: truncated_normal(), "original", _rank_and_structure("ssim")),
    "released_code": Protocol("released_code", own_initializer, "argmax", _rank_and_structure("ssim_released_code")),
}
"""The paper's text: weights and biases from a normal of 0.01 cut at two deviations, the class that was explained first.
The released code: each variable's own initializer, the class with the largest logit of the randomized model."""


def find_protocol(protocol: str | Protocol) -> Protocol:
    """A protocol by its name, or itself.

    Raises:
        ValueError: the name is unknown.
    """
    if isinstance(protocol, Protocol):
        return protocol
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol must be one of {sorted(PROTOCOLS)} or a Protocol, got {protocol!r}")
    return PROTOCOLS[protocol]
