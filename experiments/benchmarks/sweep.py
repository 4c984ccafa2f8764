"""What a parameter randomization sweep costs beside its bare gradients, and what each explainer costs a map.

    python experiments/benchmarks/sweep.py

Times, in one process, (a) a whole sweep with everything that it measures and writes and (b) the same number of
gradients of the same model by one compiled call after another, before and after it; their ratio should stay under 1.2
with compilation told apart. Then each explainer's time a map in units of one gradient; SmoothGrad, SmoothGrad-squared
and VarGrad together beside SmoothGrad alone; and the library's gradient against jax.grad through flax.linen.max_pool,
beside that of the same network with strided slices in place of the pooling: what it would take if pooling cost nothing.
About eight minutes on two cores.
Writes sweep.json and sweep.txt in the folder --out.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import tyro
from turns import compilation_clock, first_call, in_turns, ratios, seconds

import saliency_jax as sj
from saliency_jax import data, results
from saliency_jax.models import CNN
from saliency_jax.tracing import compiled

GRADIENTS_A_MAP = {
    "gradient": 1,
    "gradient_times_input": 1,
    "sensitivity": 1,
    "smoothgrad": 50,
    "integrated_gradients": 50,
    "smoothgrad_squared": 50,
    "vargrad": 25,
}
SHARED = ("smoothgrad_squared", "vargrad")
"""What a sweep makes of the gradients of SmoothGrad."""


@dataclass(frozen=True)
class Options:
    """What a parameter randomization sweep costs beside its bare gradients, and what each explainer costs a map."""

    images: int = 64
    """How many test images are explained."""
    seeds: int = 2
    """How many random models for each of the four stages."""
    sweeps: int = 3
    """How many sweeps are timed, each between two turns of bare gradients; medians are reported."""
    repeats: int = 3
    """How often each short measurement is repeated; medians are reported."""
    batch: int = 64
    """The batch of the bare gradient calls."""
    out: Path = Path("runs/benchmarks")
    """The folder for the results."""


def flax_pool(hidden: jax.Array) -> jax.Array:
    """Flax's max pooling of two by two."""
    return nn.max_pool(hidden, (2, 2), (2, 2))


def every_second(hidden: jax.Array) -> jax.Array:
    """One pixel of two by two: as small as `flax_pool` makes it, for next to nothing."""
    return hidden[:, ::2, ::2]


class PoolingCNN(nn.Module):
    """The same network with any pooling, such as Flax's, as a user would write it."""

    pool: Callable[[jax.Array], jax.Array] = flax_pool

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """The logits of a batch."""
        hidden = self.pool(nn.relu(nn.Conv(32, (5, 5), name="conv1")(images)))
        hidden = self.pool(nn.relu(nn.Conv(64, (5, 5), name="conv2")(hidden)))
        hidden = nn.relu(nn.Dense(1024, name="dense")(hidden.reshape(len(hidden), -1)))
        return nn.Dense(10, name="logits")(hidden)


def bare_gradients(apply: Any) -> Callable[[Any, jax.Array, jax.Array], jax.Array]:
    """The gradients of a batch's logits, compiled, by the library's own `gradient` and nothing around it."""
    return compiled(
        jax.vmap(lambda params, x, c: sj.gradient(sj.class_score(apply, params, c), x), in_axes=(None, 0, 0))
    )


def main(options: Options) -> dict[str, Any]:
    """Measure, write and print."""
    split = data.load("mnist", "test")
    images = jnp.asarray(split.images[: max(options.images, options.batch)])
    targets = jnp.asarray(split.labels[: len(images)])
    model = CNN()
    params = model.init(jax.random.key(0), images[:1])
    gradients = bare_gradients(model.apply)
    batch = images[: options.batch], targets[: options.batch]
    bare = partial(gradients, params, *batch)
    seconds(bare)  # It compiles.
    a_batch = [seconds(bare) for _ in range(options.repeats)]
    found = {
        "options": {name: str(value) for name, value in asdict(options).items()},
        "jax": jax.__version__,
        "device": str(jax.devices()[0]),
        "gradient_ms": 1e3 * median(a_batch) / options.batch,
        "sweep": measure_sweep(model, params, images, targets, options, bare),
        "explainers": measure_explainers(model, params, images, targets, options, bare),
        "together": measure_together(model, params, images, targets, options),
        "pooling": measure_pooling(*batch, options),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    results.write_bytes(options.out / "sweep.json", json.dumps(found, indent=1).encode())
    text = table(found)
    results.write_bytes(options.out / "sweep.txt", text.encode())
    print(text)
    return found


def measure_sweep(
    model: CNN, params: Any, images: Any, targets: Any, options: Options, bare: Callable[[], Any]
) -> dict[str, float]:
    """Medians of the time of a sweep, of its compilation, and of as many gradients by bare calls before and after it.

    Every sweep compiles anew, and has its own ratio to the calls next to it: these machines change their speed.
    """
    explainers = {name: sj.EXPLAINERS[name] for name in GRADIENTS_A_MAP}
    maps = options.images * (1 + 4 * options.seeds)
    gradients = sum(count for name, count in GRADIENTS_A_MAP.items() if name not in SHARED)
    calls = -(-maps * gradients // options.batch)
    clock = compilation_clock()

    def bare_calls() -> float:
        return seconds(lambda: [bare() for _ in range(calls)])

    def turn(before: float) -> dict[str, float]:
        with TemporaryDirectory() as folder:
            sweep = partial(
                sj.parameter_randomization,
                model.apply,
                params,
                lambda key: model.init(key, images[:1]),
                images[: options.images],
                targets[: options.images],
                explainers,
                key=jax.random.key(1),
                seeds=options.seeds,
                folder=Path(folder) / "run",
            )
            _, whole, compiling = first_call(sweep, clock)
        after = bare_calls()
        return {
            "whole_s": whole,
            "compile_s": compiling,
            "bare_before_s": before,
            "bare_after_s": after,
            "ratio": (whole - compiling) / ((before + after) / 2),
            "ratio_with_compilation": whole / ((before + after) / 2),
        }

    turns = [turn(bare_calls())]
    while len(turns) < options.sweeps:
        turns.append(turn(turns[-1]["bare_after_s"]))
    return {
        "gradients": calls * options.batch,
        **{name: median(one[name] for one in turns) for name in turns[0]},
        "lowest_ratio": min(one["ratio"] for one in turns),
        "highest_ratio": max(one["ratio"] for one in turns),
    }


def measure_explainers(
    model: CNN, params: Any, images: Any, targets: Any, options: Options, bare: Callable[[], Any]
) -> dict[str, dict[str, float]]:
    """Each explainer's time a map, beside the bare gradient in the same turn."""
    found = {}
    for name, gradients in GRADIENTS_A_MAP.items():
        explain = sj.batched(sj.EXPLAINERS[name], model.apply)
        call = partial(explain, params, images[: options.images], targets[: options.images], jax.random.key(0))
        sides = {"map": partial(seconds, call), "gradient": partial(seconds, bare)}
        in_turns(sides, 1)
        turns = in_turns(sides, options.repeats)
        a_map = [turn / options.images for turn in turns["map"]]
        a_gradient = [turn / options.batch for turn in turns["gradient"]]
        found[name] = {
            "ms_a_map": 1e3 * median(a_map),
            "gradients_a_map": gradients,
            "ratio_to_its_gradients": median(ratios(a_map, a_gradient)) / gradients,
        }
    return found


def measure_together(model: CNN, params: Any, images: Any, targets: Any, options: Options) -> dict[str, float]:
    """The three statistics over noise together, from the same gradients, beside one of them alone."""
    wrappers = {"smoothgrad": sj.smoothgrad, "smoothgrad_squared": sj.smoothgrad_squared, "vargrad": sj.vargrad}
    explainers = {name: wrapper(sj.gradient, samples=50) for name, wrapper in wrappers.items()}
    arguments = (params, images[: options.images], targets[: options.images], jax.random.key(0))
    ways: dict[str, Callable[..., Any]] = {"together": sj.together(explainers), "alone": explainers["smoothgrad"]}
    calls = {name: partial(sj.batched(way, model.apply), *arguments) for name, way in ways.items()}
    sides = {name: partial(seconds, call) for name, call in calls.items()}
    in_turns(sides, 1)
    turns = in_turns(sides, options.repeats)
    return {
        "together_s": median(turns["together"]),
        "alone_s": median(turns["alone"]),
        "ratio": median(ratios(turns["together"], turns["alone"])),
    }


def measure_pooling(images: Any, targets: Any, options: Options) -> dict[str, dict[str, float]]:
    """Gradients through Flax's max pooling, by jax.grad and by the library: of a network, and of a pooling alone."""
    params = PoolingCNN().init(jax.random.key(0), images[:1])

    def of_network(take: Callable, pool: Callable = flax_pool) -> Callable:
        return lambda x, c: take(sj.class_score(PoolingCNN(pool).apply, params, c), x)

    def of_pooling(take: Callable) -> Callable:
        return lambda x, w: take(lambda y: jnp.vdot(w, nn.max_pool(y[None], (2, 2), (2, 2))), x)

    # Half of the values are zeros, as after a ReLU: many windows hold nothing else, and all of their places tie.
    activations = jax.nn.relu(jax.random.normal(jax.random.key(1), (len(images), 28, 28, 32)))
    weights = jax.random.normal(jax.random.key(2), (len(images), 1, 14, 14, 32))
    return {
        "network": _two_ways(of_network, (images, targets), options, free=partial(of_network, pool=every_second)),
        "pooling alone": _two_ways(of_pooling, (activations, weights), options),
    }


def _two_ways(
    of: Callable[[Callable], Callable],
    items: tuple,
    options: Options,
    *,
    free: Callable[[Callable], Callable] | None = None,
) -> dict[str, float]:
    """A batch of gradients by jax.grad and by the library's `gradient`; and by jax.grad where pooling costs nothing."""
    plain, library = (jax.vmap(of(take)) for take in (lambda f, x: jax.grad(f)(x), sj.gradient))
    # By the same kernels: another order of sums lets a tie of two places, or a ReLU near 0, fall to the other side.
    difference = jnp.abs(compiled(plain)(*items) - compiled(library)(*items)).max()
    ways: dict[str, Callable] = {"jax.grad": jax.jit(plain), "library": compiled(library)}
    if free:
        ways["free"] = jax.jit(jax.vmap(free(lambda f, x: jax.grad(f)(x))))
    sides = {name: partial(seconds, partial(way, *items)) for name, way in ways.items()}
    in_turns(sides, 1)
    turns = in_turns(sides, 3 * options.repeats)
    return {
        "jax_grad_ms": 1e3 * median(turns["jax.grad"]),
        "library_ms": 1e3 * median(turns["library"]),
        "ratio": median(ratios(turns["jax.grad"], turns["library"])),
        "largest_difference": float(difference),
        **({"free_ms": 1e3 * median(turns["free"])} if free else {}),
    }


def table(found: dict[str, Any]) -> str:
    """The measurements for people."""
    sweep, together, pooling = found["sweep"], found["together"], found["pooling"]
    lines = [
        f"JAX {found['jax']} on {found['device']}; one gradient of the CNN: {found['gradient_ms']:.3f} ms",
        "",
        f"sweep: {sweep['whole_s']:.1f} s, of which {sweep['compile_s']:.1f} s compiling; its {sweep['gradients']:,} "
        f"gradients alone: {sweep['bare_before_s']:.1f} s before, {sweep['bare_after_s']:.1f} s after",
        f"ratio {sweep['ratio']:.2f}, {sweep['lowest_ratio']:.2f} to {sweep['highest_ratio']:.2f} (with compilation "
        f"{sweep['ratio_with_compilation']:.2f})",
        "",
        f"{'explainer':24s}{'ms a map':>10s}{'gradients':>11s}{'time / gradients':>18s}",
    ]
    for name, row in found["explainers"].items():
        lines.append(
            f"{name:24s}{row['ms_a_map']:10.2f}{row['gradients_a_map']:11d}{row['ratio_to_its_gradients']:18.2f}"
        )
    lines += [
        "",
        f"SmoothGrad, SmoothGrad-squared and VarGrad together: {together['together_s']:.2f} s, SmoothGrad alone "
        f"{together['alone_s']:.2f} s: ratio {together['ratio']:.2f}",
        "",
    ]
    for name, row in pooling.items():
        lines.append(
            f"gradient through flax.linen.max_pool, {name}: jax.grad {row['jax_grad_ms']:.1f} ms, the library "
            f"{row['library_ms']:.1f} ms: {row['ratio']:.2f} times faster, largest difference "
            f"{row['largest_difference']:.1e}"
            + (f"; jax.grad where pooling costs nothing {row['free_ms']:.1f} ms" if "free_ms" in row else "")
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
