"""Elementwise equations that are one activation: ReLUs in any spelling, and every other function of one value."""

from __future__ import annotations

from collections.abc import Sequence

from saliency_jax.tracing.piecewise import is_relu
from saliency_jax.tracing.primitives import CASTS, ELEMENTWISE, MOVEMENT, SCALINGS
from saliency_jax.tracing.program import Step
from saliency_jax.tracing.reading import Group, Reading, common_source, is_affine_step, passable


def relu(reading: Reading, index: int) -> Group | None:
    """max(x, 0), cut off at some height or not: the longest chain to a step that is one and ends in no other."""
    program = reading.program
    if not passable(program.steps[index], ELEMENTWISE - CASTS):
        return None
    output = program.steps[index].outputs[0]
    members: list[int] = []
    longest: list[int] = []
    maker: int | None = index
    while maker is not None and passable(program.steps[maker], ELEMENTWISE):
        found = common_source(reading, maker, ELEMENTWISE)
        if found is None or not _is_known(reading, found[1]):
            break
        source, part = found
        alone = is_relu([program.steps[i] for i in part], source, program.steps[maker].outputs[0], reading.constants)
        if alone and longest:
            break
        members = sorted({*part, *members})
        same = program.avals[source].shape == program.avals[output].shape
        same = same and program.avals[source].dtype == program.avals[output].dtype
        if same and is_relu([program.steps[i] for i in members], source, output, reading.constants):
            longest = members
        elif alone:
            break
        maker = reading.maker.get(source)
    return ("relu", longest) if longest else None


def _is_known(reading: Reading, members: Sequence[int]) -> bool:
    """Whether all that these steps read is made from the image or one number everywhere."""
    reads = (number for i in members for number in reading.program.steps[i].inputs)
    return all(number in reading.made or number in reading.constants for number in reads)


def pointwise(reading: Reading, index: int) -> Group | None:
    """An activation: everything between a step and its common source is elementwise."""
    step = reading.program.steps[index]
    if not passable(step, ELEMENTWISE) or len(step.outputs) != 1:
        return None
    made = {number for number in step.inputs if number in reading.made}
    if len(made) == 1 and step.primitive in SCALINGS | MOVEMENT:
        square = step.primitive in ("mul", "div") and list(step.inputs).count(*made) == 2
        inverse = step.primitive == "div" and step.inputs[1] in made
        if not (square or inverse):
            return None
    found = common_source(reading, index, ELEMENTWISE)
    if found is None or _is_residual(reading, step, *found):
        return None
    source, members = found
    avals = reading.program.avals
    return ("activation", members) if avals[source].shape == avals[step.outputs[0]].shape else None


def _is_residual(reading: Reading, step: Step, source: int, members: Sequence[int]) -> bool:
    """Whether a step adds a branch of a network, though nothing in it mixes places: x + relu(a x + b)."""
    if step.primitive not in ("add", "add_any", "sub") or len(reading.lives(step)) < 2:
        return False
    return not _is_known(reading, members) or any(_is_affine_in(reading, source, side) for side in step.inputs)


def _is_affine_in(reading: Reading, source: int, number: int) -> bool:
    """Whether a value comes from a source by scalings, shifts and casts alone."""
    while number != source:
        maker = reading.maker.get(number)
        if maker is None or not (is_affine_step(reading, maker) or reading.program.steps[maker].primitive in CASTS):
            return False
        lives = reading.lives(reading.program.steps[maker])
        if len(lives) != 1:
            return False
        [number] = lives
    return True
