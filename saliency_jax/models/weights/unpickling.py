"""Pickles as data: what a pickle would call is written down, and nothing is called.

A pickle is a program for a small machine that may look up any function of any module and call it. The machine here
has the same stack and the same memory, but a function's name stays a name and a call becomes a record of the call, so
that a pickle can do nothing whatever is in it. Readers of a format then make arrays out of the records that they know.
"""

from __future__ import annotations

import pickletools
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, NamedTuple


class Name(NamedTuple):
    """A function or class that a pickle names, never looked up: "torch.FloatStorage"."""

    path: str


class PersistentId(NamedTuple):
    """A reference to something outside of the pickle, as the format has it."""

    value: Any


@dataclass
class Call:
    """A call that a pickle asks for, never made.

    Attributes:
        path: the name of what it would call: "numpy.dtype".
        arguments: with what.
        items: the keys and values that it would put into the result, in order.
        state: what it would hand to the result's `__setstate__`; None where it hands nothing.
    """

    path: str
    arguments: tuple
    items: list[tuple[Any, Any]] = field(default_factory=list)
    state: Any = None


_NOTHING_TO_DO = frozenset({"PROTO", "FRAME"})
_INTEGERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4")
_FLOATS = ("FLOAT", "BINFLOAT")
_TEXTS = ("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8")
_BYTES = ("SHORT_BINBYTES", "BINBYTES", "BINBYTES8")
_VALUES = frozenset((*_INTEGERS, *_FLOATS, *_TEXTS, *_BYTES))
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def read_pickle(file: BytesIO, *, allowed: Collection[str], source: str) -> Any:
    """What one pickle holds: containers, numbers, text and bytes, with a Call wherever it would call something.

    Args:
        file: the pickle, read to its end and no further, so that several may follow one another.
        allowed: the names that the format has: "numpy.ndarray", "torch.FloatStorage", ...
        source: what the pickle was read from, for the messages.

    Returns:
        The object, whose functions, calls and outside references are Name, Call and PersistentId.

    Raises:
        ValueError: the pickle names anything that is not allowed, uses an operation that arrays do not need, or is
            truncated or damaged.
    """
    try:
        return _run(file, frozenset(allowed))
    except Refused as refusal:
        raise ValueError(f"{source}: {refusal}") from None
    # What the standard library and the stack do with bytes that are no pickle.
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        raise ValueError(f"{source} must be a whole pickle, it is truncated or damaged: {error}") from error


def described(content: Any) -> str:
    """What a piece of a pickle is, in a few words: its own text could be without end."""
    match content:
        case Call(path):
            return f"a call of {path}"
        case Name(path):
            return f"the name {path}"
        case str() | int() | float() | None:
            return f"{content!r:.60}"
        case _:
            return f"a {type(content).__name__}"


class Refused(Exception):
    """A pickle asks for what no file of arrays asks for."""


def _run(file: BytesIO, allowed: frozenset[str]) -> Any:
    stack: list[Any] = []
    below: list[list[Any]] = []
    memory: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        nonlocal stack
        values, stack = stack, below.pop()
        return values

    for name, argument in _operations(file):
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _TUPLES:
            stack.append(tuple(reversed([stack.pop() for _ in range(_TUPLES[name])])))
        elif name == "MARK":
            below.append(stack)
            stack = []
        elif name == "TUPLE":
            values = since_mark()
            stack.append(tuple(values))
        elif name in ("EMPTY_LIST", "EMPTY_DICT"):
            stack.append([] if name == "EMPTY_LIST" else {})
        elif name in ("APPEND", "APPENDS"):
            values = since_mark() if name == "APPENDS" else [stack.pop()]
            _extend(stack[-1], values)
        elif name in ("SETITEM", "SETITEMS"):
            values = since_mark() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
            _put(stack[-1], values)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memory[len(memory) if name == "MEMOIZE" else argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memory[argument])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            path = argument.split(" ") if name == "GLOBAL" else [stack.pop(-2), stack.pop()]
            stack.append(_allowed(".".join(path), allowed))
        elif name == "REDUCE":
            arguments, called = stack.pop(), stack.pop()
            stack.append(_call(called, arguments))
        elif name == "BUILD":
            state = stack.pop()
            _build(stack[-1], state)
        elif name == "BINPERSID":
            stack.append(PersistentId(stack.pop()))
        elif name == "STOP":
            [result] = stack
            return result
        elif name not in _NOTHING_TO_DO:
            raise Refused(f"a file of arrays must not use the pickle operation {name}; nothing of it was run")
    raise ValueError("it has no end")


def _operations(file: BytesIO) -> Iterator[tuple[str, Any]]:
    return ((operation.name, argument) for operation, argument, _ in pickletools.genops(file))


def _allowed(path: str, allowed: frozenset[str]) -> Name:
    if path not in allowed:
        raise Refused(
            f"a file of arrays may name only {', '.join(sorted(allowed)) or 'nothing'}; "
            f"it names {path!r}, and nothing of it was run"
        )
    return Name(path)


def _call(called: Any, arguments: Any) -> Call:
    if not isinstance(called, Name) or not isinstance(arguments, tuple):
        raise Refused(f"a pickle may call only what it names, it calls {described(called)}; nothing of it was run")
    return Call(called.path, arguments)


def _extend(container: Any, values: list[Any]) -> None:
    if not isinstance(container, list):
        raise TypeError(f"it appends to a {type(container).__name__}")
    container.extend(values)


def _put(container: Any, values: list[Any]) -> None:
    pairs = list(zip(values[::2], values[1::2], strict=True))
    if not all(isinstance(key, str | int) for key, _ in pairs):
        raise TypeError("it has a key that is no name and no number")
    if isinstance(container, Call):
        container.items.extend(pairs)
    elif isinstance(container, dict):
        container.update(pairs)
    else:
        raise TypeError(f"it puts items into a {type(container).__name__}")


def _build(built: Any, state: Any) -> None:
    if not isinstance(built, Call) or built.state is not None:
        raise TypeError(f"it sets the state of a {type(built).__name__} or sets it twice")
    built.state = state
