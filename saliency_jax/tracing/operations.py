"""What a model is made of: operations, each one or several steps of its program, and the plan of them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from saliency_jax.tracing.program import Program, Step


class Operation(NamedTuple):
    """One or several steps that are one thing to a person: a convolution and its bias, a ReLU in any spelling.

    Attributes:
        kind: "convolution", "dense", "relu", ...: one of `KINDS`; for a step that no gradient passes, "constant".
        name: its address, unique in the plan.
        steps: in order of execution.
        inputs: the numbers of the values that depend on what is explained, without repetition.
        sides: the numbers of all other values that it reads: weights and constants.
        outputs: the numbers of its results.
        scope: the names around it in the program.
        layer: the layer whose parameters it reads, by the name that `layers` gives it; None where it reads none.
        bodies: the plans of the jaxprs that a scan, a branch, a rematerialized block or a custom rule runs.
        positive: whether its inputs have been shown to be nowhere negative.
    """

    kind: str
    name: str
    steps: tuple[Step, ...]
    inputs: tuple[int, ...]
    sides: tuple[int, ...]
    outputs: tuple[int, ...]
    scope: str
    layer: str | None = None
    bodies: tuple[Plan, ...] = ()
    positive: bool = False

    @property
    def primitive(self) -> str:
        """The primitive of its first step."""
        return self.steps[0].primitive

    def run(self, inputs: Sequence[Any], sides: Sequence[Any]) -> list[Any]:
        """What its steps give, bit for bit."""
        values = dict(zip((*self.inputs, *self.sides), (*inputs, *sides), strict=True))
        for step in self.steps:
            values.update(zip(step.outputs, step.run(*(values[number] for number in step.inputs)), strict=True))
        return [values[number] for number in self.outputs]


class Plan(NamedTuple):
    """A program as operations.

    Attributes:
        program: the flat jaxpr.
        operations: in order of execution; what no result needs is left out.
        live: the numbers of the values that depend on what is explained and that a gradient can pass.
    """

    program: Program
    operations: tuple[Operation, ...]
    live: frozenset[int]

    def everything(self) -> Iterator[Operation]:
        """All operations at every depth, in order of execution; a container after what it holds."""
        for operation in self.operations:
            for body in operation.bodies:
                yield from body.everything()
            yield operation

    def renamed(self, rename: Callable[[Operation], Operation]) -> Plan:
        """The plan with every operation, at every depth, replaced."""
        operations = tuple(
            rename(operation._replace(bodies=tuple(body.renamed(rename) for body in operation.bodies)))
            for operation in self.operations
        )
        return self._replace(operations=operations)


def turns(plan: Plan, around: tuple[int, ...] = ()) -> dict[str, tuple[int, ...]]:
    """Operation name -> the lengths of the scans that it stands in, the outermost first."""
    found: dict[str, tuple[int, ...]] = {}
    for operation in plan.operations:
        length = (operation.steps[0].equation.params["length"],) if operation.kind == "scan" else ()
        for body in operation.bodies:
            found |= turns(body, (*around, *length))
        found[operation.name] = around
    return found


LINEAR = ("convolution", "dense", "average_pool", "affine", "normalization")
"""Kinds with one input and a result that is affine in it, once a normalization's statistics are held fixed."""

KINDS = (
    *LINEAR,
    "relu",
    "activation",
    "max_pool",
    "sum",
    "product",
    "quotient",
    "matrix_product",
    "softmax",
    "linear",
    "concatenation",
    "movement",
    "custom",
    "scan",
    "branch",
    "remat",
    "loop",
    "unknown",
)
"""Every kind that a value which depends on the image can come from."""
