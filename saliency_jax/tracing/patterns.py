"""Equations that are one operation together: products with their bias, pools, softmax, normalizations, scalings."""

from __future__ import annotations

from saliency_jax.tracing.pointwise import relu
from saliency_jax.tracing.primitives import (
    CUSTOM,
    ELEMENTWISE_UNARY,
    MAXIMA,
    MOVEMENT,
    PRODUCTS,
    REMATERIALIZED,
    STATISTICS,
    SUMS,
)
from saliency_jax.tracing.program import Step
from saliency_jax.tracing.reading import (
    FARTHEST,
    Group,
    Reading,
    behind_rearrangements,
    common_source,
    is_affine_step,
)


def kind_of_step(reading: Reading, step: Step) -> str:
    """The kind of a step by itself."""
    name, lives = step.primitive, reading.lives(step)
    if name in PRODUCTS:
        linear = "dense" if name == "dot_general" else "convolution"
        return linear if len(lives) == 1 and step.inputs.count(lives[0]) == 1 else "matrix_product"
    if name == "concatenate" and len(lives) > 1:
        return "concatenation"
    if name in MOVEMENT:
        return "movement"
    if name in MAXIMA:
        return "max_pool"
    kinds = {"add": "sum", "add_any": "sum", "sub": "sum", "mul": "product", "div": "quotient", "cumsum": "linear"}
    kinds |= dict.fromkeys(REMATERIALIZED, "remat") | dict.fromkeys(CUSTOM, "custom")
    kinds |= {"scan": "scan", "cond": "branch", "while": "loop"}
    kinds |= dict.fromkeys(ELEMENTWISE_UNARY | {"pow", "atan2"}, "activation")
    return kinds.get(name, "unknown")


def softmax(reading: Reading, index: int) -> Group | None:
    """exp(x) / sum(exp(x)), with or without the maximum taken off first."""
    program = reading.program
    step = program.steps[index]
    if step.primitive != "div" or len(reading.lives(step)) != 2:
        return None
    exponential, total = step.inputs
    members = [index]
    while (maker := reading.maker.get(total)) is not None and program.steps[maker].primitive != "reduce_sum":
        if program.steps[maker].primitive not in ("broadcast_in_dim", "reshape", "convert_element_type"):
            return None
        members.append(maker)
        total = program.steps[maker].inputs[0]
    top = reading.maker.get(exponential)
    if maker is None or top is None or program.steps[maker].inputs != (exponential,):
        return None
    if program.steps[top].primitive != "exp":
        return None
    shift = reading.maker.get(program.steps[top].inputs[0])
    if shift is not None and program.steps[shift].primitive == "sub":
        # The maximum is taken off against overflow, behind a stop_gradient; softmax itself does not see it.
        hidden = program.steps[shift].inputs[1] in reading.made - reading.live
        if hidden and reading.readers[program.steps[top].inputs[0]] == 1:
            members.append(shift)
    return "softmax", sorted([*members, maker, top])


def normalization(reading: Reading, index: int) -> Group | None:
    """x, centred or not, over the root of a mean of its squares: LayerNorm, RMSNorm, GroupNorm, L2 norms."""
    step = reading.program.steps[index]
    lives = reading.lives(step)
    if step.primitive not in ("mul", "div") or len(lives) != 2:
        return None
    factors = lives if step.primitive == "mul" else step.inputs[1:]
    if not any(_is_root(reading, number) for number in factors):
        return None
    found = common_source(reading, index, STATISTICS)
    return None if found is None else ("normalization", found[1])


def _is_root(reading: Reading, number: int) -> bool:
    """Whether a value is a root, or the inverse of one, of something summed, up to scaling and broadcasting."""
    for _ in range(FARTHEST):
        maker = reading.maker.get(number)
        if maker is None:
            return False
        step = reading.program.steps[maker]
        if step.primitive in ("sqrt", "rsqrt"):
            return True
        lives = reading.lives(step)
        if step.primitive not in ("mul", "div", "add", "max", "broadcast_in_dim", "reshape", "convert_element_type"):
            return False
        if len(lives) != 1:
            return False
        [number] = lives
    return False


def biased_product(reading: Reading, index: int) -> Group | None:
    """A matrix product or convolution and the addition of its own bias."""
    program = reading.program
    step = program.steps[index]
    lives = reading.lives(step)
    if step.primitive != "add" or len(lives) != 1 or reading.readers[lives[0]] != 1:
        return None
    if program.avals[lives[0]].shape != program.avals[step.outputs[0]].shape:
        return None
    rearranged = behind_rearrangements(reading, lives[0])
    if rearranged is None or _owner(reading, rearranged[0]) != _owner(reading, index):
        return None
    kind = kind_of_step(reading, program.steps[rearranged[0]])
    return (kind, [*rearranged, index]) if kind in ("dense", "convolution") else None


def _owner(reading: Reading, index: int) -> str | None:
    """The layer whose parameters a step reads; where parameters are not known, the scope it stands in."""
    step = reading.program.steps[index]
    names = [reading.owner[number] for number in step.inputs if number in reading.owner]
    if names:
        return names[0]
    return None if reading.owner else step.scope


def average(reading: Reading, index: int) -> Group | None:
    """A sum over a window or over axes, with the division by the count."""
    program = reading.program
    step = program.steps[index]
    if step.primitive in SUMS:
        return "average_pool", [index]
    lives = reading.lives(step)
    if step.primitive not in ("div", "mul") or len(lives) != 1 or reading.readers[lives[0]] != 1:
        return None
    if step.primitive == "div" and step.inputs[0] != lives[0]:
        return None
    rearranged = behind_rearrangements(reading, lives[0])
    if rearranged is None or program.steps[rearranged[0]].primitive not in SUMS:
        return None
    maker = rearranged[0]
    counted = all(number in reading.constants for number in step.inputs if number != lives[0])
    if not counted and not (step.primitive == "div" and program.steps[maker].primitive == "reduce_window_sum"):
        return None
    return "average_pool", [*rearranged, index]


def affine(reading: Reading, index: int) -> Group | None:
    """Scalings and shifts by values that do not depend on the image: inference BatchNorm and its like."""
    program = reading.program
    members: list[int] = []
    owner = None
    while is_affine_step(reading, index):
        names = [reading.owner[number] for number in program.steps[index].inputs if number in reading.owner]
        if members and any(ends(reading, index) for ends in (relu, biased_product, average)):
            break
        if owner is not None and names and names[0] != owner:
            break
        owner = names[0] if names else owner
        members.append(index)
        [number] = reading.lives(program.steps[index])
        maker = reading.maker.get(number)
        if maker is None or reading.readers[number] != 1:
            break
        index = maker
    return ("affine", sorted(members)) if members else None
