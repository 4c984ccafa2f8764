"""Signals that ask a run to stop: what is being measured is finished and written first."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax

SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""What a scheduler sends before it kills, and what Ctrl-C sends."""


class Interrupted(SystemExit):
    """A run was asked to stop and did so at the end of a part; the same command goes on from there.

    A script that lets it pass ends with the code 128 + signal (SIGTERM: 143, SIGINT: 130), as shells expect. It is no
    `Exception`, so that what catches those does not swallow it.

    Attributes:
        code: the exit status.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.code = 128 + number


@contextlib.contextmanager
def finishing_first(finished: str) -> Iterator[None]:
    """Hold SIGTERM and SIGINT back until the block is through, then stop.

    The first signal is said on standard error and kept; the second does what it did before the block. Handlers that
    somebody else has set, and signals that are ignored, stay as they are. Outside of the main thread, which alone may
    set handlers, and in a run of several processes, which would have to stop together, nothing is held back.

    Args:
        finished: what is finished where the block went through, for the message.

    Raises:
        Interrupted: a signal came and the block went through; an error of the block's own goes before it.
    """
    first = {number: _first_handler(number) for number in SIGNALS} if _may_set_handlers() else {}
    came: list[int] = []
    handler = _Holding({number: found for number, found in first.items() if _is_default(found)}, came)
    before = {number: signal.signal(number, handler) for number in handler.first}
    try:
        yield
    finally:
        for number, found in before.items():
            signal.signal(number, found)
    if came:
        message = f"{_name(came[0])}: {finished}"
        print(message, file=sys.stderr)
        raise Interrupted(message, came[0])


@dataclass(frozen=True)
class _Holding:
    """A handler that keeps the first signal and gives the second one its old effect."""

    first: Mapping[int, Any]
    came: list[int]

    def __call__(self, number: int, frame: Any) -> None:
        self.came.append(number)
        signal.signal(number, self.first[number])
        # The system's own call: Python's buffers may be in the middle of a write.
        with contextlib.suppress(OSError):
            os.write(2, f"\n{_name(number)}: stopping at the end of this part; once more to stop now\n".encode())


def _may_set_handlers() -> bool:
    return threading.current_thread() is threading.main_thread() and not jax.distributed.is_initialized()


def _first_handler(number: int) -> Any:
    """What a signal did before any block around this one: the innermost of them is the one to stop at."""
    found = signal.getsignal(number)
    return found.first[number] if isinstance(found, _Holding) else found


def _is_default(handler: Any) -> bool:
    return handler in (signal.SIG_DFL, signal.default_int_handler)


def _name(number: int) -> str:
    return signal.Signals(number).name
