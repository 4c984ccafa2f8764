"""Other backward rules for a function's operations: the same values, other gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from jax import Array

from saliency_jax.checks import check_function
from saliency_jax.tracing.execution import Visited, Visitor, run
from saliency_jax.tracing.naming import Planned, plan_of
from saliency_jax.tracing.operations import KINDS, Operation


class Site(NamedTuple):
    """One operation at the values that it is run with: what a backward rule is given.

    Attributes:
        operation: its kind, name and steps.
        function: `function(*inputs) -> output`, the operation with its weights and constants.
        inputs: its inputs that depend on the function's arguments.
        output: its result; a tuple where it has several.
        sides: its weights and constants, as `operation.sides` numbers them.
        given: what the engine hands to this operation beside its values; None for most.
    """

    operation: Operation
    function: Callable[..., Any]
    inputs: tuple[Array, ...]
    output: Any
    sides: tuple[Any, ...] = ()
    given: Any = None

    def gradient(self, cotangent: Any) -> tuple[Array, ...]:
        """What the operation's own rule gives for each input: `cotangent` times its Jacobian."""
        return jax.vjp(self.function, *self.inputs)[1](cotangent)


class Cotangents(NamedTuple):
    """What a backward rule returns that also answers whoever handed something to its operation.

    Attributes:
        inputs: one cotangent for each of the site's inputs.
        given: the cotangent of `site.given`.
    """

    inputs: Sequence[Array]
    given: Any


BackwardRule = Callable[[Site, Any], Sequence[Array] | Cotangents]
"""`rule(site, cotangent) -> cotangents`, one for each of the site's inputs."""


def override(f: Callable, rules: Mapping[str, BackwardRule]) -> Callable:
    """`f` with other backward rules for chosen kinds of operations: the same values, bit for bit.

    All operations are found that depend on `f`'s arguments, in calls, rematerialized blocks, scans, branches and, where
    a rule applies there, behind custom derivatives. What has no rule keeps its own derivative.

    Args:
        f: a function of arrays that JAX can trace. Its arguments are what is differentiated; what it closes over keeps
            its true derivative.
        rules: kind of operation -> `rule(site, cotangent) -> cotangents of the site's inputs`; the kinds are those of
            `saliency_jax.tracing.operations.KINDS`, such as "relu", "convolution" or "softmax".

    Returns:
        A function of the same arguments and results.

    Raises:
        TypeError: f is no function, or rules no mapping.
        ValueError: a kind that does not exist.
        ValueError: when called, a rule applies inside an equation that cannot be entered; it is named.
    """
    check_function(f, "f")
    if not isinstance(rules, Mapping):
        raise TypeError(f"rules must be a mapping of kinds to backward rules, got {rules!r}")
    unknown = sorted(map(str, set(rules) - set(KINDS)))
    if unknown:
        raise ValueError(f"rules must be for kinds among {', '.join(KINDS)}; got {', '.join(unknown)}")

    def overridden(*args: Any) -> Any:
        planned = plan_of(f, *args)
        visitors = {op.name: backward(rules[op.kind]) for op in planned.plan.everything() if op.kind in rules}
        # Nothing to replace: the very same program, which XLA then also folds and fuses in the same way.
        return run_planned(planned, args, visitors).outputs if visitors else f(*args)

    return overridden


def run_planned(
    planned: Planned, args: Sequence[Any], visitors: Mapping[str, Visitor], given: Mapping[str, Any] | None = None
) -> Visited:
    """Run a plan at new arguments; the results in the function's own tree."""
    outputs, observed = run(planned.plan, [*planned.params, *jax.tree.leaves(args)], visitors, given)
    return Visited(jax.tree.unflatten(jax.tree.structure(planned.outputs), outputs), observed)


def backward(rule: BackwardRule) -> Visitor:
    """A visitor that leaves an operation's results as they are and gives it the backward rule."""

    def visitor(operation: Operation, inputs: Sequence[Any], sides: Sequence[Any], given: Any) -> Visited:
        @jax.custom_vjp
        def replaced(inputs: Sequence[Any], sides: Sequence[Any], given: Any) -> Any:
            return _result(operation.run(inputs, sides))

        def forward(inputs: Sequence[Any], sides: Sequence[Any], given: Any) -> tuple[Any, Any]:
            output = _result(operation.run(inputs, sides))
            return output, (inputs, sides, given, output)

        def back(saved: Any, cotangent: Any) -> tuple[Any, Any, Any]:
            inputs, sides, given, output = saved

            def function(*values: Any) -> Any:
                return _result(operation.run(values, sides))

            site = Site(operation, function, tuple(inputs), output, tuple(sides), given)
            found = rule(site, cotangent)
            # Whoever differentiates in the weights gets their true gradient; XLA drops what nobody asks for.
            _, of_sides = jax.vjp(lambda sides: _result(operation.run(inputs, sides)), sides)
            of_inputs, of_given = found if isinstance(found, Cotangents) else (found, None)
            return list(of_inputs), of_sides(cotangent)[0], of_given

        replaced.defvjp(forward, back)
        output = replaced(list(inputs), list(sides), given)
        return Visited(list(output) if isinstance(output, tuple) else [output])

    return visitor


def _result(outputs: Sequence[Any]) -> Any:
    return outputs[0] if len(outputs) == 1 else tuple(outputs)
