"""Backward passes from a relevance vector at the logits, and what of it arrives where each layer reads its input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from saliency_jax.explainers.lrp import rules
from saliency_jax.explainers.lrp.composites import Composite
from saliency_jax.explainers.lrp.propagation import relevance_plan
from saliency_jax.explainers.rectifiers import deconvolved, guided
from saliency_jax.tracing import canonical_convolutions, fast_pooling
from saliency_jax.tracing.execution import Visited, Visitor
from saliency_jax.tracing.naming import Planned, plan_of
from saliency_jax.tracing.operations import Operation, Plan, turns
from saliency_jax.tracing.override import BackwardRule, backward, run_planned
from saliency_jax.typing import Apply, Params, Score

LAYERS = ("convolution", "dense")

Propagation = Callable[[Score, Array], tuple[Planned, Mapping[str, Visitor]]]
"""`propagation(score, image)` -> the plan of a score, and the visitors that give its operations their backward rules.

The score is one combination v of the logits, its last operation; what comes back from there must be v, or a multiple.
"""


@dataclass(frozen=True, eq=False)
class Combination:
    """The score v . logits of one image, which names its layers as `class_score` does."""

    apply: Apply
    params: Params
    weights: Array

    def __call__(self, image: Any) -> Array:
        """The score of one image."""
        return self.of_params(self.params, image)

    def of_params(self, params: Params, image: Any) -> Array:
        """The score of one image under other parameters of the same model."""
        return self.apply(params, image[None])[0] @ self.weights


def gradient_propagation(score: Score, image: Array) -> tuple[Planned, Mapping[str, Visitor]]:
    """The gradient."""
    return plan_of(score, image), {}


def relu_propagation(rule: BackwardRule) -> Propagation:
    """The gradient with another rule for every ReLU.

    Raises:
        ValueError: when called, the score holds no ReLU.
    """

    def propagate(score: Score, image: Array) -> tuple[Planned, Mapping[str, Visitor]]:
        planned = plan_of(score, image)
        visitors = {op.name: backward(rule) for op in planned.plan.everything() if op.kind == "relu"}
        if not visitors:
            raise ValueError("the model must hold a ReLU, in any spelling of max(x, 0), to give it another rule")
        return planned, visitors

    return propagate


def lrp_propagation(composite: Composite | Callable[[], Composite]) -> Propagation:
    """Layer-wise relevance propagation by the rules of a composite, from v itself at the logits.

    Args:
        composite: as for `lrp`.
    """

    def propagate(score: Score, image: Array) -> tuple[Planned, Mapping[str, Visitor]]:
        pairs = composite() if callable(composite) else composite
        # The combination of the logits is where relevance starts, and no layer of the model that shares it out.
        return relevance_plan(score, image, ((_is_last, rules.gradient), *pairs))

    return propagate


PROPAGATIONS: dict[str, Propagation] = {
    "gradient": gradient_propagation,
    "guided_backprop": relu_propagation(guided),
    "deconvnet": relu_propagation(deconvolved),
}
"""The backward passes that need no options, by the names of their explainers."""


def layers_of(apply: Apply, params: Params, image: Array, propagation: Propagation) -> list[str]:
    """The names of a model's convolutions and dense layers as a propagation sees them, in the order of execution.

    Raises:
        ValueError: there is none.
    """
    classes = jax.eval_shape(apply, params, image[None]).shape[-1]
    score = Combination(apply, params, jnp.ones(classes, image.dtype))
    found = [operation.name for operation, _ in _layers(propagation(score, image)[0].plan)]
    if not found:
        raise ValueError("the model must have a convolution or a dense layer that the image reaches, found none")
    return found


def relevance_at_layers(score: Combination, image: Array, propagation: Propagation) -> dict[str, Array]:
    """What a propagation hands to the input of each layer: layer -> array shaped like that input, batch first.

    Where several operations read one activation it is what comes through this layer alone. Inside a scan there is one
    entry for each turn.

    Args:
        score: a combination of the logits.
        image: one image.
        propagation: how relevance goes back.
    """
    planned, visitors = propagation(score, image)
    lengths = turns(planned.plan)
    zeros = {
        operation.name: jnp.zeros((*lengths[operation.name], *aval.shape), aval.dtype)
        for operation, aval in _layers(planned.plan)
    }
    watched = {**visitors, **{name: _watching(visitors.get(name)) for name in zeros}}

    def output(x: Array, probes: dict[str, Array]) -> Array:
        return jnp.asarray(run_planned(planned, (x,), watched, probes).outputs)

    def relevance(x: Array, probes: dict[str, Array]) -> dict[str, Array]:
        value, pull = jax.vjp(fast_pooling(output), x, probes)
        return pull(jnp.ones_like(value))[1]

    return canonical_convolutions(relevance)(image, zeros)


def _is_last(operation: Operation, operations: Sequence[Operation]) -> bool:
    return operation.name == operations[-1].name


def _layers(plan: Plan) -> Iterator[tuple[Operation, Any]]:
    """The layers of a plan, each with the shape and dtype of its input; the combination of the logits is none."""
    found = list(_everywhere(plan))
    last = plan.operations[-1].name
    return ((operation, aval) for operation, aval in found if operation.kind in LAYERS and operation.name != last)


def _everywhere(plan: Plan) -> Iterator[tuple[Operation, Any]]:
    for operation in plan.operations:
        for body in operation.bodies:
            yield from _everywhere(body)
        yield operation, plan.program.avals[operation.inputs[0]] if operation.inputs else None


def _watching(visitor: Visitor | None) -> Visitor:
    """What runs an operation as `visitor` does, and hands the cotangent of its input to the probe that it is given."""

    def watch(operation: Operation, inputs: Sequence[Any], sides: Sequence[Any], given: Any) -> Visited:
        watched = [_watched(inputs[0], given), *inputs[1:]]
        return Visited(
            operation.run(watched, sides) if visitor is None else visitor(operation, watched, sides, None)[0]
        )

    return watch


@jax.custom_vjp
def _watched(value: Array, probe: Array) -> Array:
    """The value itself; the probe gets its cotangent."""
    return value


_watched.defvjp(lambda value, probe: (value, None), lambda _, cotangent: (cotangent, cotangent))
