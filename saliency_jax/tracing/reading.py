"""What is known of a program's values before its steps are grouped into operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from saliency_jax.tracing.piecewise import extend_constants, uniform_constants
from saliency_jax.tracing.primitives import CUSTOM, ELEMENTWISE, REARRANGEMENTS, SCALINGS
from saliency_jax.tracing.program import Program, Step, flat_program

FARTHEST = 64
"""How many steps back the common source of an activation or a normalization is looked for."""

Group = tuple[str, list[int]]
"""A kind, and the indices of the steps that are one operation of it, in order."""


class Reading(NamedTuple):
    """What is known of a program's values before its steps are grouped.

    Attributes:
        program: the program.
        live: values that depend on the image and that a gradient passes.
        made: all values that depend on the image, comparisons and what is behind a stop_gradient included.
        maker: value -> the index of the step that writes it.
        readers: value -> how often it is read; a result counts as read.
        constants: value -> its one number, where it is the same everywhere.
        owner: value -> the layer whose parameters it is made of, for values that do not depend on the image.
    """

    program: Program
    live: frozenset[int]
    made: frozenset[int]
    maker: Mapping[int, int]
    readers: Mapping[int, int]
    constants: Mapping[int, Any]
    owner: Mapping[int, str]

    def lives(self, step: Step) -> list[int]:
        """The live values that a step reads, without repetition."""
        return [number for number in dict.fromkeys(step.inputs) if number in self.live]


def read_values(program: Program, live: Sequence[bool], made: Sequence[bool], owners: Sequence[str | None]) -> Reading:
    """What is known of a program, given for each input whether it is live, whether it is made from the image, and whose
    parameter it is."""
    lives = {number for number, is_live in zip(program.inputs, live, strict=True) if is_live}
    mades = {number for number, is_made in zip(program.inputs, made, strict=True) if is_made}
    owner = {number: name for number, name in zip(program.inputs, owners, strict=True) if name is not None}
    maker: dict[int, int] = {}
    readers: dict[int, int] = dict.fromkeys(program.outputs, 1)
    for index, step in enumerate(program.steps):
        for number in step.inputs:
            readers[number] = readers.get(number, 0) + 1
        for number in step.outputs:
            maker[number] = index
            inexact = jnp.issubdtype(program.avals[number].dtype, jnp.inexact)
            if lives.intersection(step.inputs) and inexact and step.primitive != "stop_gradient":
                lives.add(number)
            if mades.intersection(step.inputs):
                mades.add(number)
        names = [owner[number] for number in step.inputs if number in owner]
        if names and not mades.intersection(step.outputs):
            owner.update(dict.fromkeys(step.outputs, names[0]))
    constants = uniform_constants(program)
    extend_constants(program.steps, constants)
    reaching = frozenset(lives & _reaching(program, lives))
    return Reading(program, reaching, frozenset(mades), maker, readers, constants, owner)


def _reaching(program: Program, lives: set[int]) -> set[int]:
    """The values from which a gradient path leads to a result: none does through a stop_gradient or a comparison."""
    reaching = set(program.outputs)
    for step in reversed(program.steps):
        if reaching.intersection(step.outputs) and lives.intersection(step.outputs):
            reaching.update(step.inputs)
    return reaching


def common_source(reading: Reading, index: int, allowed: frozenset[str]) -> tuple[int, list[int]] | None:
    """The nearest value from which all that a step reads of the image comes through `allowed` primitives alone.

    Returns:
        The value, and the indices of the steps from it to the step, in order; None where there is none.
    """
    program = reading.program
    members = {index}
    front = {number for number in program.steps[index].inputs if number in reading.made}
    while len(front) > 1 and len(members) < FARTHEST:
        latest = max(front, key=lambda number: reading.maker.get(number, -1))
        maker = reading.maker.get(latest)
        if maker is None or not passable(program.steps[maker], allowed):
            return None
        members.add(maker)
        front.remove(latest)
        front.update(number for number in program.steps[maker].inputs if number in reading.made)
    if len(front) != 1 or not front <= reading.live:
        return None
    return front.pop(), sorted(members)


def passable(step: Step, allowed: frozenset[str]) -> bool:
    """Whether a step is of an allowed primitive, or a custom rule around elementwise ones."""
    if step.primitive in CUSTOM:
        return _is_elementwise_call(step)
    return step.primitive in allowed


def _is_elementwise_call(step: Step) -> bool:
    """Whether a custom rule stands around elementwise equations alone, as around jax.nn.relu."""
    body = flat_program(step.equation.params["call_jaxpr"])
    shapes = {body.avals[number].shape for number in (*body.inputs, *body.outputs) if body.avals[number].shape}
    return len(shapes) <= 1 and all(passable(s, ELEMENTWISE | {"broadcast_in_dim"}) for s in body.steps)


def behind_rearrangements(reading: Reading, number: int) -> list[int] | None:
    """The steps from the one that makes a value, past those that only change its shape and that nobody else reads."""
    steps = reading.program.steps
    members: list[int] = []
    while (maker := reading.maker.get(number)) is not None:
        members.append(maker)
        if steps[maker].primitive not in REARRANGEMENTS:
            return members[::-1]
        [number] = reading.lives(steps[maker])
        if reading.readers[number] != 1:
            return None
    return None


def is_affine_step(reading: Reading, index: int) -> bool:
    """Whether a step scales or shifts one value that depends on the image by something that does not."""
    step = reading.program.steps[index]
    made = [number for number in step.inputs if number in reading.made]
    lives = reading.lives(step)
    if len(lives) != 1 or step.primitive not in SCALINGS:
        return False
    # What was cut off by a stop_gradient is a constant to a gradient, and so to everything here.
    return made.count(lives[0]) == 1 and not (step.primitive == "div" and step.inputs[1] == lives[0])
