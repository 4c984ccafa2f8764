"""Which activations are the outputs of a network's blocks."""

from __future__ import annotations

from collections.abc import Sequence

from saliency_jax.checks import check_integer, check_sequence
from saliency_jax.tracing.taps import Tap

_MERGES = ("concatenation", "sum")


def block_outputs(found: Sequence[Tap], *, depth: int = 1) -> tuple[Tap, ...]:
    """One activation for each block, and what the last layer reads: the depth profile of a large network.

    A block is what the first `depth` parts of the names say. Its output is the concatenation or sum that carries the
    block's own name, where its branches meet; else the last activation of its layers, after activation and pooling.

    Args:
        found: activations in execution order, as `taps` gives them.
        depth: how many parts of "stage1/block0/conv1" name a block.

    Returns:
        Taps in execution order, the last two of the model among them.

    Raises:
        ValueError: depth is under 1.
        TypeError: found are no taps, or depth is no integer.
    """
    check_sequence(found, Tap, "found")
    check_integer(depth, "depth")
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    names = ["/".join(tap.name.split("/")[:depth]) for tap in found]
    merged = {
        address: place
        for place, tap in enumerate(found)
        if tap.kind in _MERGES
        for address in tap.addresses
        if address in names
    }
    last = {name: place for place, name in enumerate(names)} | merged
    places = sorted({*last.values(), *range(max(len(found) - 2, 0), len(found))})
    return tuple(found[place] for place in places)
