"""Relevance from a score back to the image: one rule for each operation, the gradient's way for what moves values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from saliency_jax.checks import check_function, check_image, check_score_output
from saliency_jax.explainers.lrp import composites, rules
from saliency_jax.explainers.lrp.composites import Composite, First, find_rule, pairs_of
from saliency_jax.explainers.lrp.folding import fold_scalings
from saliency_jax.explainers.lrp.shares import Rule, Shares, Unfolded
from saliency_jax.tracing.canonical import canonical_convolutions
from saliency_jax.tracing.execution import Visitor, where
from saliency_jax.tracing.naming import Planned, plan_of
from saliency_jax.tracing.operations import Operation, turns
from saliency_jax.tracing.override import Cotangents, Site, backward, run_planned
from saliency_jax.tracing.signs import mark_positive
from saliency_jax.tracing.taps import check_activations
from saliency_jax.typing import Image, Map, Score

_MOVES = ("constant", "movement", "concatenation")
_ENTERED = ("custom", "scan", "branch", "remat")


def lrp(
    score: Score,
    image: Image,
    key: Any = None,
    *,
    composite: Composite | Callable[[], Composite] = composites.epsilon_plus_flat,
) -> Map:
    """Layer-wise relevance propagation: the score, handed back from layer to layer by the rules of a composite.

    Propagation starts with R = score(image). Where no rule loses relevance, R sums to the score over the image; what
    biases take is reported by `conservation`.

    Args:
        score: `score(image) -> scalar`; with the logit of a class (`class_score`) as its value.
        image: one image, usually `[height, width, channel]`.
        key: not used; explainers share one signature.
        composite: ordered pairs of a match and a rule, or a function that makes them: `composites.<name>`, with its
            options fixed by `functools.partial`.

    Returns:
        A map shaped like the image, in units of the score.

    Raises:
        TypeError: the image is not floating point, or the score is not a real scalar.
        ValueError: the image is empty or not finite, or a composite matches a kind that does not exist; or
            an equation for which there is no rule; it is named, with the place where it stands.

    Source: Bach et al. 2015; Montavon et al. 2019 for the composites; Achtibat et al. 2024 for attention.
    """
    check_image(image)
    image = jnp.asarray(image)
    planned, visitors = relevance_plan(score, image, composite)

    def relevance(x: Array) -> Array:
        output, pull = jax.vjp(lambda v: run_planned(planned, (v,), visitors).outputs, x)
        return pull(output)[0]

    return canonical_convolutions(relevance)(image)


def relevance_plan(
    score: Score, image: Array, composite: Composite | Callable[[], Composite], *, report: bool = False
) -> tuple[Planned, dict[str, Visitor]]:
    """A score's plan, its scalings folded, and a visitor for each operation that needs a rule.

    Args:
        score: `score(image) -> scalar`.
        image: one image.
        composite: the rules.
        report: whether each operation is handed three numbers, whose cotangents are the relevance of its result, what
            its bias took, and what its stabilizer took.

    Raises:
        ValueError: an operation without a rule.
    """
    check_function(score, "score")
    planned = plan_of(score, image)
    check_score_output(planned.outputs)
    check_activations(planned, image)
    pairs = pairs_of(composite)
    unfolded = list(planned.plan.everything())
    plan = fold_scalings(planned.plan, lambda o: isinstance(find_rule(pairs, o, unfolded), Unfolded))
    plan, _ = mark_positive(plan)
    operations = list(plan.everything())
    lengths = turns(plan)
    visitors = {}
    for operation in operations:
        rule = find_rule(pairs, operation, operations)
        if rule is rules.moved and not (report and len(operation.outputs) == 1):
            # Its own gradient does the same.
            continue
        if rule is not None:
            if any(length > 1 for length in lengths[operation.name]):
                _check_order(operation, pairs, operations)
            visitors[operation.name] = backward(_as_backward(rule, report=report))
        elif operation.kind not in (*_MOVES, *_ENTERED):
            raise ValueError(
                f"LRP has no rule for the {operation.primitive} at {where(operation)}, of kind {operation.kind!r}: "
                f"give one in the composite, or write that part of the model in other operations"
            )
    return planned._replace(plan=plan), visitors


def _check_order(operation: Operation, pairs: Composite, operations: Sequence[Operation]) -> None:
    """Raise where a rule for the first layer would be used in every turn of a scan."""
    if any(isinstance(match, First) and match(operation, operations) for match, _ in pairs):
        raise ValueError(
            f"the composite has a rule for the first layer, which is {where(operation)} and stands in a scan: all its "
            f"turns share one rule; use a composite without such a rule, or take the first turn out of the scan"
        )


def _as_backward(rule: Rule, *, report: bool) -> Callable[[Site, Array], Any]:
    def back(site: Site, relevance: Array) -> Any:
        shares = Shares(*rule(site, relevance))
        inputs = [share.astype(x.dtype) for share, x in zip(shares.inputs, site.inputs, strict=True)]
        if not report:
            return inputs
        sums = (jnp.sum(relevance), shares.bias, shares.stabilizer)
        return Cotangents(inputs, jnp.stack([jnp.asarray(entry, site.given.dtype) for entry in sums]))

    return back
