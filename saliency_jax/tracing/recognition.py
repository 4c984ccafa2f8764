"""From a flat program to operations: which equations together are a convolution with its bias, a ReLU, a softmax.

The steps are visited from the last to the first, and each that is needed becomes the end of the largest operation that
is known to end so. A step inside an operation whose result is needed elsewhere as well is run for itself too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from saliency_jax.tracing.compat import opened, scan_counts
from saliency_jax.tracing.operations import Operation, Plan
from saliency_jax.tracing.piecewise import extend_constants, is_relu, uniform_constants
from saliency_jax.tracing.primitives import (
    CASTS,
    CONTAINERS,
    CUSTOM,
    ELEMENTWISE,
    ELEMENTWISE_UNARY,
    MAXIMA,
    MOVEMENT,
    PRODUCTS,
    REARRANGEMENTS,
    REMATERIALIZED,
    SCALINGS,
    STATISTICS,
    SUMS,
)
from saliency_jax.tracing.program import Program, Step, flat_program

FARTHEST = 64
"""How many steps back the common source of an activation or a normalization is looked for."""


class _Reading(NamedTuple):
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


Group = tuple[str, list[int]]


def recognize(
    program: Program, live: Sequence[bool], owners: Sequence[str | None] = (), made: Sequence[bool] | None = None
) -> Plan:
    """The operations of a program.

    Args:
        program: a flat program.
        live: for each of its inputs, whether it depends on what is explained and a gradient passes it.
        owners: for each input, the name of the layer whose parameter it is; None where it is none.
        made: for each input, whether it depends on what is explained at all; as `live` where not given.

    Returns:
        The plan; its operations have no names yet.
    """
    reading = _read(program, live, live if made is None else made, owners or [None] * len(program.inputs))
    needed = set(program.outputs)
    found: list[Operation] = []
    for index in reversed(range(len(program.steps))):
        step = program.steps[index]
        if not needed.intersection(step.outputs):
            continue
        kind, members = _group(reading, index)
        operation = _operation(reading, kind, [program.steps[i] for i in members], step.outputs)
        needed.update((*operation.inputs, *operation.sides))
        found.append(operation)
    return Plan(program, tuple(reversed(found)), reading.live)


def _read(program: Program, live: Sequence[bool], made: Sequence[bool], owners: Sequence[str | None]) -> _Reading:
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
    return _Reading(program, reaching, frozenset(mades), maker, readers, constants, owner)


def _reaching(program: Program, lives: set[int]) -> set[int]:
    """The values from which a gradient path leads to a result: none does through a stop_gradient or a comparison."""
    reaching = set(program.outputs)
    for step in reversed(program.steps):
        if reaching.intersection(step.outputs) and lives.intersection(step.outputs):
            reaching.update(step.inputs)
    return reaching


def _operation(reading: _Reading, kind: str, steps: Sequence[Step], outputs: tuple[int, ...]) -> Operation:
    written = {number for step in steps for number in step.outputs}
    reads = [number for step in steps for number in dict.fromkeys(step.inputs) if number not in written]
    inputs = tuple(number for number in dict.fromkeys(reads) if number in reading.live)
    sides = tuple(number for number in dict.fromkeys(reads) if number not in reading.live)
    bodies = tuple(_bodies(reading, steps[0])) if kind in _CONTAINER_KINDS else ()
    layer = next((reading.owner[number] for number in sides if number in reading.owner), None)
    return Operation(kind, "", tuple(steps), inputs, sides, outputs, steps[0].scope, layer, bodies)


def _group(reading: _Reading, index: int) -> Group:
    """The kind of the operation that ends with a step, and the indices of its steps in order."""
    step = reading.program.steps[index]
    if not reading.live.intersection(step.outputs):
        return "constant", [index]
    for pattern in (_relu, _pointwise, _softmax, _normalization, _biased_product, _average, _affine):
        found = pattern(reading, index)
        if found is not None:
            return found
    return _single(reading, step), [index]


def _single(reading: _Reading, step: Step) -> str:
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


def _common_source(reading: _Reading, index: int, allowed: frozenset[str]) -> tuple[int, list[int]] | None:
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
        if maker is None or not _passable(program.steps[maker], allowed):
            return None
        members.add(maker)
        front.remove(latest)
        front.update(number for number in program.steps[maker].inputs if number in reading.made)
    if len(front) != 1 or not front <= reading.live:
        return None
    return front.pop(), sorted(members)


def _passable(step: Step, allowed: frozenset[str]) -> bool:
    if step.primitive in CUSTOM:
        return _is_elementwise_call(step)
    return step.primitive in allowed


def _is_elementwise_call(step: Step) -> bool:
    """Whether a custom rule stands around elementwise equations alone, as around jax.nn.relu."""
    body = flat_program(step.equation.params["call_jaxpr"])
    shapes = {body.avals[number].shape for number in (*body.inputs, *body.outputs) if body.avals[number].shape}
    return len(shapes) <= 1 and all(_passable(s, ELEMENTWISE | {"broadcast_in_dim"}) for s in body.steps)


def _relu(reading: _Reading, index: int) -> Group | None:
    """max(x, 0), cut off at some height or not: the longest chain to a step that is one and ends in no other."""
    program = reading.program
    if not _passable(program.steps[index], ELEMENTWISE - CASTS):
        return None
    output = program.steps[index].outputs[0]
    members: list[int] = []
    longest: list[int] = []
    maker: int | None = index
    while maker is not None and _passable(program.steps[maker], ELEMENTWISE):
        found = _common_source(reading, maker, ELEMENTWISE)
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


def _is_known(reading: _Reading, members: Sequence[int]) -> bool:
    """Whether all that these steps read is made from the image or one number everywhere."""
    reads = (number for i in members for number in reading.program.steps[i].inputs)
    return all(number in reading.made or number in reading.constants for number in reads)


def _pointwise(reading: _Reading, index: int) -> Group | None:
    """An activation: everything between a step and its common source is elementwise."""
    step = reading.program.steps[index]
    if not _passable(step, ELEMENTWISE) or len(step.outputs) != 1:
        return None
    made = {number for number in step.inputs if number in reading.made}
    if len(made) == 1 and step.primitive in SCALINGS | MOVEMENT:
        square = step.primitive in ("mul", "div") and list(step.inputs).count(*made) == 2
        inverse = step.primitive == "div" and step.inputs[1] in made
        if not (square or inverse):
            return None
    found = _common_source(reading, index, ELEMENTWISE)
    if found is None or _is_residual(reading, step, *found):
        return None
    source, members = found
    avals = reading.program.avals
    return ("activation", members) if avals[source].shape == avals[step.outputs[0]].shape else None


def _is_residual(reading: _Reading, step: Step, source: int, members: Sequence[int]) -> bool:
    """Whether a step adds a branch of a network, though nothing in it mixes places: x + relu(a x + b)."""
    if step.primitive not in ("add", "add_any", "sub") or len(reading.lives(step)) < 2:
        return False
    return not _is_known(reading, members) or any(_is_affine_in(reading, source, side) for side in step.inputs)


def _is_affine_in(reading: _Reading, source: int, number: int) -> bool:
    """Whether a value comes from a source by scalings, shifts and casts alone."""
    while number != source:
        maker = reading.maker.get(number)
        if maker is None or not (_is_affine_step(reading, maker) or reading.program.steps[maker].primitive in CASTS):
            return False
        lives = reading.lives(reading.program.steps[maker])
        if len(lives) != 1:
            return False
        [number] = lives
    return True


def _softmax(reading: _Reading, index: int) -> Group | None:
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


def _normalization(reading: _Reading, index: int) -> Group | None:
    """x, centred or not, over the root of a mean of its squares: LayerNorm, RMSNorm, GroupNorm, L2 norms."""
    step = reading.program.steps[index]
    lives = reading.lives(step)
    if step.primitive not in ("mul", "div") or len(lives) != 2:
        return None
    factors = lives if step.primitive == "mul" else step.inputs[1:]
    if not any(_is_root(reading, number) for number in factors):
        return None
    found = _common_source(reading, index, STATISTICS)
    return None if found is None else ("normalization", found[1])


def _is_root(reading: _Reading, number: int) -> bool:
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


def _biased_product(reading: _Reading, index: int) -> Group | None:
    """A matrix product or convolution and the addition of its own bias."""
    program = reading.program
    step = program.steps[index]
    lives = reading.lives(step)
    if step.primitive != "add" or len(lives) != 1 or reading.readers[lives[0]] != 1:
        return None
    if program.avals[lives[0]].shape != program.avals[step.outputs[0]].shape:
        return None
    rearranged = _behind_rearrangements(reading, lives[0])
    if rearranged is None or _owner(reading, rearranged[0]) != _owner(reading, index):
        return None
    kind = _single(reading, program.steps[rearranged[0]])
    return (kind, [*rearranged, index]) if kind in ("dense", "convolution") else None


def _behind_rearrangements(reading: _Reading, number: int) -> list[int] | None:
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


def _owner(reading: _Reading, index: int) -> str | None:
    """The layer whose parameters a step reads; where parameters are not known, the scope it stands in."""
    step = reading.program.steps[index]
    names = [reading.owner[number] for number in step.inputs if number in reading.owner]
    if names:
        return names[0]
    return None if reading.owner else step.scope


def _average(reading: _Reading, index: int) -> Group | None:
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
    rearranged = _behind_rearrangements(reading, lives[0])
    if rearranged is None or program.steps[rearranged[0]].primitive not in SUMS:
        return None
    maker = rearranged[0]
    counted = all(number in reading.constants for number in step.inputs if number != lives[0])
    if not counted and not (step.primitive == "div" and program.steps[maker].primitive == "reduce_window_sum"):
        return None
    return "average_pool", [*rearranged, index]


def _affine(reading: _Reading, index: int) -> Group | None:
    """Scalings and shifts by values that do not depend on the image: inference BatchNorm and its like."""
    program = reading.program
    members: list[int] = []
    owner = None
    while _is_affine_step(reading, index):
        names = [reading.owner[number] for number in program.steps[index].inputs if number in reading.owner]
        if members and any(ends(reading, index) for ends in (_relu, _biased_product, _average)):
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


def _is_affine_step(reading: _Reading, index: int) -> bool:
    step = reading.program.steps[index]
    made = [number for number in step.inputs if number in reading.made]
    lives = reading.lives(step)
    if len(lives) != 1 or step.primitive not in SCALINGS:
        return False
    # What was cut off by a stop_gradient is a constant to a gradient, and so to everything here.
    return made.count(lives[0]) == 1 and not (step.primitive == "div" and step.inputs[1] == lives[0])


_CONTAINER_KINDS = ("scan", "branch", "remat", "loop", "custom", "unknown")


def _bodies(reading: _Reading, step: Step) -> list[Plan]:
    """The plans of the jaxprs that a step runs, with what is live inside them."""
    params, name = step.equation.params, step.primitive
    live = [number in reading.live for number in step.inputs]
    made = [number in reading.made for number in step.inputs]
    owners = [reading.owner.get(number) for number in step.inputs]
    if name == "cond":
        return [_body(branch, live[1:], made[1:], owners[1:]) for branch in params["branches"]]
    if name == "scan":
        first, count = scan_counts(params)
        return [_loop_body(params["jaxpr"], live, made, owners, first, count)]
    if name == "while":
        skip, first = params["cond_nconsts"], params["body_nconsts"]
        count = len(step.outputs)
        return [_loop_body(params["body_jaxpr"], live[skip:], made[skip:], owners[skip:], first, count)]
    if name in CONTAINERS:
        [body] = [params[key] for key in ("jaxpr", "call_jaxpr", "fun_jaxpr") if key in params]
        return [_body(body, live, made, owners)]
    return [_body_of_unknown(body, live, made, owners) for body in _jaxprs_in(params)]


def _jaxprs_in(params: Any) -> list[Any]:
    """The jaxprs that the parameters of an equation hold; how a scatter combines two numbers is none of its work."""
    if isinstance(params, Mapping):
        return _jaxprs_in([value for key, value in params.items() if key != "update_jaxpr"])
    if isinstance(params, (tuple, list)):
        return [jaxpr for value in params for jaxpr in _jaxprs_in(value)]
    return [params] if hasattr(opened(params)[0], "eqns") else []


def _body_of_unknown(jaxpr: Any, live: Sequence[bool], made: Sequence[bool], owners: Sequence[str | None]) -> Plan:
    """The plan of a jaxpr whose inputs may not be those of the equation that holds it: then any may be live."""
    count = len(opened(jaxpr)[0].invars)
    if count == len(live):
        return _body(jaxpr, live, made, owners)
    return _body(jaxpr, [True] * count, [True] * count, [None] * count)


def _body(jaxpr: Any, live: Sequence[bool], made: Sequence[bool], owners: Sequence[str | None]) -> Plan:
    return recognize(flat_program(jaxpr), live, owners, made)


def _loop_body(
    jaxpr: Any, live: Sequence[bool], made: Sequence[bool], owners: Sequence[str | None], first: int, count: int
) -> Plan:
    """The plan of a loop's body; what one turn makes live is live in the next."""
    live, made = list(live), list(made)
    program = flat_program(jaxpr)
    while True:
        reading = _read(program, live, made, owners)
        before = (list(live), list(made))
        for i, number in enumerate(program.outputs[:count]):
            live[first + i] |= number in reading.live
            made[first + i] |= number in reading.made
        if (live, made) == before:
            return recognize(program, live, owners, made)
