"""What it saves to maximize many units at once: the time of that against one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax import maximization as mx
from saliency_jax.keys import numbered
from saliency_jax.tracing import compiled


def timed(
    apply: Callable, params: Any, tap: str, shape: tuple[int, ...], *, units: int, steps: int, key: Any, rounds: int = 5
) -> str:
    """A line about some units of a tap: each way compiled once before, then both in turns."""
    channels, keys = jnp.arange(units), numbered(key, units)

    def one(channel: Any, key: Any) -> jax.Array:
        score = mx.channel_score(apply, params, tap, channel)
        return mx.maximize_activation(score, shape, key, steps=steps, terms=(mx.l2(1e-3),)).image

    single, at_once = compiled(one), compiled(jax.vmap(one))
    began = time.perf_counter()
    jax.block_until_ready(one(channels[0], keys[0]))
    plain = time.perf_counter() - began

    def one_by_one(channels: Any, keys: Any) -> list[jax.Array]:
        return [single(channel, key).block_until_ready() for channel, key in zip(channels, keys, strict=True)]

    alone, together = np.stack(one_by_one(channels, keys)), np.asarray(at_once(channels, keys))
    difference = float(np.abs(alone - together).max() / np.abs(alone).max())
    seconds: dict[str, list[float]] = {"one after the other": [], "at once": []}
    for _ in range(rounds):
        for name, run in (("one after the other", one_by_one), ("at once", at_once)):
            began = time.perf_counter()
            jax.block_until_ready(run(channels, keys))
            seconds[name].append(time.perf_counter() - began)
    ratios = [a / b for a, b in zip(*seconds.values(), strict=True)]
    medians = ", ".join(f"{name} {median(times):.3f} s" for name, times in seconds.items())
    return (
        f"{tap:8s}{medians}: {median(ratios):.2f} times faster at once "
        f"({min(ratios):.2f} to {max(ratios):.2f}), images differ by {difference:.0e} of the largest value; "
        f"a plain call, which compiles, takes {plain:.2f} s for one"
    )
