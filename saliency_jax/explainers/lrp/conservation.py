"""Where relevance goes: its sum at every layer, and what the biases took."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from saliency_jax.checks import check_image
from saliency_jax.explainers.lrp import composites
from saliency_jax.explainers.lrp.composites import Composite
from saliency_jax.explainers.lrp.propagation import relevance_plan
from saliency_jax.tracing.operations import turns
from saliency_jax.tracing.override import run_planned
from saliency_jax.typing import Image, Map, Score


class Conservation(NamedTuple):
    """What became of a score.

    Attributes:
        score: what was handed out.
        map: the relevance of the image.
        relevance: operation -> the sum of the relevance of its result, in execution order; in a scan one for each turn.
        biases: operation -> what its biases took; for a softmax, the constant term of its expansion.
        stabilizers: operation -> what its stabilizer took: nothing where epsilon is small beside every result that has
            relevance, and all that a result has to which no input contributes by the operation's rule.
        lost: the share of the score that is nowhere: what rules gave away or made that do not conserve.
    """

    score: Array
    map: Map
    relevance: dict[str, Array]
    biases: dict[str, Array]
    stabilizers: dict[str, Array]
    lost: Array


def conservation(
    score: Score,
    image: Image,
    *,
    composite: Composite | Callable[[], Composite] = composites.epsilon_plus_flat,
) -> Conservation:
    """The relevance that `lrp` gives an image, and where all of the score went on the way.

    Args:
        score: `score(image) -> scalar`.
        image: one image.
        composite: the rules, as for `lrp`.

    Returns:
        The sums by operation; `lost = (score - sum(map) - sum(biases) - sum(stabilizers)) / score`.

    Raises:
        TypeError, ValueError: as `lrp`.
    """
    check_image(image)
    image = jnp.asarray(image)
    planned, visitors = relevance_plan(score, image, composite, report=True)
    lengths = turns(planned.plan)
    wide = jnp.promote_types(image.dtype, jnp.float32)
    ledger = {name: jnp.zeros((*lengths[name], 3), wide) for name in visitors}

    def output(x: Array, ledger: dict[str, Array]) -> Array:
        return jnp.asarray(run_planned(planned, (x,), visitors, ledger).outputs)

    value, pull = jax.vjp(output, image, ledger)
    relevance, booked = pull(value)
    sums, biases, stabilizers = ({name: booked[name][..., i] for name in visitors} for i in range(3))
    taken = sum((jnp.sum(entry) for entry in (*biases.values(), *stabilizers.values())), jnp.zeros((), wide))
    lost = (value - relevance.sum() - taken) / jnp.where(value == 0, 1, value)
    return Conservation(value, relevance, sums, biases, stabilizers, lost)
