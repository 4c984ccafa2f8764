"""Work that does not fit a device's memory: done in smaller chunks, with a word about it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import jax

from saliency_jax.tracing.memory import free_bytes

Result = TypeVar("Result")


class ChunkHalvedWarning(RuntimeWarning):
    """A chunk did not fit a device's memory, and the work goes on in chunks of half its size."""


def with_halved_chunks(run: Callable[[int], Result], chunk: int) -> tuple[Result, int]:
    """Run some work in chunks, of half the size wherever the device runs out of memory.

    The chunks are c, floor(c / 2), floor(c / 4), ..., 1; the first that fits does all the work.

    Args:
        run: `run(chunk)` does the whole work, at most `chunk` items at once, and gives a pytree of arrays. It is called
            again from the start with a smaller chunk, so it must not consume its arguments.
        chunk: how many items to begin with, at least 1.

    Returns:
        What `run` gave, finished on the device, and the chunk that did fit, which later calls had better begin with.

    Raises:
        ValueError: chunk is under 1.
        jax.errors.JaxRuntimeError: a single item does not fit, with a note of the memory that is free; or the memory is
            exhausted where several processes share a program and have to agree about its chunks; or anything else that
            `run` raises, untouched.

    Warns:
        ChunkHalvedWarning: each time that a chunk is halved, with its size and the device's own words.

    Cost: each halving compiles the work anew. The host waits for the work: a device reports what it lacks while it
        runs, after the call has returned.
    """
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}")
    while True:
        try:
            return jax.block_until_ready(run(chunk)), chunk
        except jax.errors.JaxRuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if chunk == 1 or jax.process_count() > 1:
                error.add_note(_why_not_smaller(chunk))
                raise
            said = str(error).splitlines()[0]
        # Outside of the except clause, where the error no longer holds on to the arrays of what failed.
        warnings.warn(
            f"{chunk} at once do not fit the device's memory ({said}): going on with {chunk // 2} at once",
            ChunkHalvedWarning,
            stacklevel=2,
        )
        chunk //= 2


def is_out_of_memory(error: Any) -> bool:
    """Whether an error is XLA's status RESOURCE_EXHAUSTED: an allocation, or a program, that a device cannot hold."""
    return isinstance(error, jax.errors.JaxRuntimeError) and str(error).startswith("RESOURCE_EXHAUSTED")


def _why_not_smaller(chunk: int) -> str:
    if chunk == 1:
        return f"with 1 item at once, the least there is; {free_bytes() / 1e9:.1f} GB are free on the first device"
    return (
        f"with {chunk} items at once on {jax.process_count()} processes, which must all take one chunk: "
        f"start them all with a batch_size of {chunk // 2} or less"
    )
