"""What a coarser precision does to the maps, and what it gains: float32 beside TF32 and bfloat16.

    python experiments/benchmarks/precision.py

trains the paper's CNN on the embedded digits for a minute, explains the same digits in every precision, and holds the
maps against those of float32 products at full precision: Spearman's correlation of absolute and of signed values, and
the largest difference over the largest value. Both have to be read beside what changes the maps otherwise: SmoothGrad
with another key stands among the rows. The sides take turns, and the ratio of each pair of turns is reported. TF32 is
what an accelerator of NVIDIA does by default; elsewhere it is float32. Three minutes on two cores.

Writes precision.json and precision.txt in the folder --out.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import tyro
from arithmetic import measured_machine
from turns import PAUSE, in_turns, ratios, seconds_a_call, spread

import saliency_jax as sj
from saliency_jax import data, plotting, results
from saliency_jax.models import CNN
from saliency_jax.presets import PRESETS
from saliency_jax.training import train

FULL = "float32"
PRECISIONS: dict[str, tuple[str, Any]] = {
    FULL: ("highest", jnp.float32),
    "TF32": ("tensorfloat32", jnp.float32),
    "bfloat16": ("default", jnp.bfloat16),
}
"""Name -> the precision of products that JAX is asked for, and the dtype of parameters and activations."""


@dataclass(frozen=True)
class Options:
    """What a coarser precision does to the maps, and what it gains."""

    explainers: tuple[str, ...] = ("gradient", "guided_backprop", "integrated_gradients", "smoothgrad", "lrp")
    """Which explainers."""
    images: int = 64
    """How many digits are explained."""
    repeats: int = 5
    """How many turns each precision takes."""
    out: Path = Path("runs/benchmarks")
    """The folder for the results."""


def explained(
    name: str, precision: str, params: Any, images: Any, targets: Any, seed: int = 0
) -> Callable[[], jax.Array]:
    """`call() -> maps` of one explainer in one precision."""
    products, dtype = PRECISIONS[precision]
    explain = sj.batched(sj.EXPLAINERS[name], sj.in_precision(CNN().apply, dtype))

    def call() -> jax.Array:
        with jax.default_matmul_precision(products):
            return jax.block_until_ready(explain(params, images, targets, jax.random.key(seed)))

    return call


def compared(reference: jax.Array, maps: jax.Array) -> dict[str, float]:
    """How alike two sets of maps are: means over the images, and the largest difference."""
    absolute, signed = (jax.vmap(partial(sj.spearman, absolute=choice))(reference, maps) for choice in (True, False))
    largest = jnp.abs(reference - maps).max() / jnp.abs(reference).max()
    return {
        "spearman_abs": float(jnp.nanmean(absolute)),
        "spearman": float(jnp.nanmean(signed)),
        "lowest_spearman": float(jnp.nanmin(signed)),
        "largest_difference": float(largest),
    }


def measured(name: str, params: Any, images: Any, targets: Any, repeats: int) -> list[dict[str, Any]]:
    """One explainer in every precision."""
    calls = {precision: explained(name, precision, params, images, targets) for precision in PRECISIONS}
    maps = {precision: call() for precision, call in calls.items()}
    turns = in_turns({p: partial(seconds_a_call, call, least=0.3) for p, call in calls.items()}, repeats, pause=PAUSE)
    rows = [
        {
            "explainer": name,
            "precision": precision,
            "ms_a_map": 1e3 * median(turns[precision]) / len(images),
            **spread("times_faster", ratios(turns[FULL], turns[precision])),
            **compared(maps[FULL], maps[precision]),
        }
        for precision in PRECISIONS
    ]
    if name == "smoothgrad":
        other = explained(name, FULL, params, images, targets, seed=1)()
        rows.append({"explainer": name, "precision": "another key", **compared(maps[FULL], other)})
    return rows


def main(options: Options) -> dict[str, Any]:
    """Train, measure, write and print."""
    digits, tests = data.load("mnist", "train"), data.load("mnist", "test")
    model = CNN()
    initial = model.init(jax.random.key(0), digits.images[:1])
    config = PRESETS["demo_cnn"]
    params = train(model.apply, initial, digits.images, digits.labels, key=jax.random.key(1), config=config).params
    images, targets = jnp.asarray(tests.images[: options.images]), jnp.asarray(tests.labels[: options.images])
    rates = {name: measured_machine(dtype).operations for name, (_, dtype) in PRECISIONS.items() if name != "TF32"}
    rows = [row for name in options.explainers for row in measured(name, params, images, targets, options.repeats)]
    found = {
        "options": {name: str(value) for name, value in asdict(options).items()},
        "jax": jax.__version__,
        "device": str(jax.devices()[0]),
        "operations_a_second": rates,
        "rows": rows,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    results.write_bytes(options.out / "precision.json", json.dumps(found, indent=1).encode())
    text = table(found)
    results.write_bytes(options.out / "precision.txt", text.encode())
    print(text)
    return found


def table(found: dict[str, Any]) -> str:
    """The measurements for people."""
    rates = ", ".join(f"{rate / 1e9:.0f} GFLOP/s in {name}" for name, rate in found["operations_a_second"].items())
    lines = [
        f"JAX {found['jax']} on {found['device']}; products of matrices: {rates}",
        "",
        f"{'explainer':24s}{'precision':14s}{'ms a map':>10s}{'times faster':>22s}{'absolute':>10s}{'signed':>8s}"
        f"{'lowest':>8s}{'difference':>12s}",
    ]
    for row in found["rows"]:
        time = f"{'':32s}"
        if "ms_a_map" in row:
            faster = f"{row['times_faster']:.2f} ({row['times_faster_low']:.2f}-{row['times_faster_high']:.2f})"
            time = f"{row['ms_a_map']:10.3f}{faster:>22s}"
        lines.append(
            f"{plotting.readable(row['explainer']):24s}{row['precision']:14s}{time}{row['spearman_abs']:10.4f}"
            f"{row['spearman']:8.4f}{row['lowest_spearman']:8.4f}{row['largest_difference']:12.1e}"
        )
    lines += ["", "Spearman against float32: means over the images, and the lowest of the signed ones."]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
