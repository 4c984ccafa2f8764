"""What do more devices bring? Explanations a second over 1, 2, 4 and 8 devices of one CPU, beside a model of it.

    python experiments/benchmarks/scaling.py

times `batched` with the gradient and with SmoothGrad, and a whole parameter randomization sweep, for the same images
shared among more and more devices. The devices are parts of one CPU, so the curve has to stop where its cores are all
at work; the model says where from what was measured beside it: how many cores one device keeps busy by itself, how many
the machine gives to all, and which part of a sweep is not shared out. About five minutes on two cores.

In the folder --out: scaling.json, scaling.txt, scaling.png.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tqdm import tqdm
from turns import compilation_clock, in_turns, ratios, spread, timed

import saliency_jax as sj
from saliency_jax import data, plotting, results
from saliency_jax.models import CNN
from saliency_jax.typing import Explainer

MACHINE = "arithmetic alone"
"""The work that every device does by itself: nothing is shared, sent or awaited."""
SMOOTHGRAD = "SmoothGrad"
SWEEP = "sweep of SmoothGrad"
NOT_SHARED = "sweep of edges"
"""A sweep whose maps cost next to nothing: what is left is what one device does, whatever their number."""


@dataclass(frozen=True)
class Options:
    """What do more devices bring? Explanations a second over 1, 2, 4 and 8 devices of one CPU, beside a model of it."""

    devices: Annotated[tuple[int, ...], tyro.conf.arg(metavar="N ...")] = (1, 2, 4, 8)
    """Among how many devices the images are shared; the first has to be 1."""
    images: int = 128
    """How many images are explained at once."""
    samples: int = 10
    """How many noisy copies SmoothGrad takes."""
    repeats: int = 5
    """How often each work is timed on each number of devices, in turns; medians are reported."""
    sweeps: int = 2
    """How often each sweep is timed on each number of devices."""
    out: Path = Path("runs/benchmarks")
    """The folder for the results."""


def main(options: Options) -> dict[str, Any]:
    """Measure, write and print."""
    if options.devices[:1] != (1,) or max(options.devices) > jax.device_count():
        raise SystemExit(f"--devices must begin with 1 and reach at most {jax.device_count()}, got {options.devices}")
    meshes = {n: Mesh(np.asarray(jax.devices()[:n]), ("images",)) for n in options.devices}
    split = data.load("mnist", "test")
    images, targets = jnp.asarray(split.images[: options.images]), jnp.asarray(split.labels[: options.images])
    model = CNN()
    params = model.init(jax.random.key(0), images[:1])
    smoothed = sj.smoothgrad(sj.gradient, samples=options.samples)
    explained = {"gradient": sj.gradient, SMOOTHGRAD: smoothed}
    given = (params, images, targets, jax.random.key(1))
    works: dict[str, Callable[[Mesh], Callable[[], Any]]] = {
        MACHINE: arithmetic,
        **{name: partial(explaining, explain, model.apply, given) for name, explain in explained.items()},
    }
    clock = compilation_clock()
    sweeps = {
        name: partial(sweeping, explain, model, given)
        for name, explain in {SWEEP: smoothed, NOT_SHARED: sj.EXPLAINERS["edges"]}.items()
    }
    repeats = {name: options.sweeps if name in sweeps else options.repeats for name in works | sweeps}
    found = {}
    for name, work in tqdm((works | sweeps).items(), desc="measuring", unit="work", leave=False):
        found[name] = measured(work, meshes, repeats[name], clock)
    result = {
        "jax": jax.__version__,
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
        "options": {"images": options.images, "samples": options.samples, "devices": list(options.devices)},
        "bytes": traffic(given),
        "works": found,
        "model": {name: predicted(name, found, options.devices) for name in found if name != NOT_SHARED},
    }
    options.out.mkdir(parents=True, exist_ok=True)
    results.write_bytes(options.out / "scaling.json", json.dumps(result, indent=1).encode())
    text = table(result)
    results.write_bytes(options.out / "scaling.txt", text.encode())
    plotting.save(figure(result), options.out / "scaling.png")
    print(text)
    return result


def arithmetic(mesh: Mesh) -> Callable[[], Any]:
    """As much work for all devices together whatever their number, each on numbers that stay in its cache."""
    devices, turns = mesh.size, 200_000

    def alone(x: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, turns // devices, lambda _, y: jnp.tanh(y), x)

    divided = PartitionSpec("images")
    shared = jax.jit(jax.shard_map(alone, mesh=mesh, in_specs=divided, out_specs=divided))
    numbers = jax.device_put(jnp.ones((devices, 4096)), NamedSharding(mesh, divided))
    return compiled_before(partial(shared, numbers))


def explaining(explain: Explainer, apply: Any, given: tuple[Any, ...], mesh: Mesh) -> Callable[[], Any]:
    """One call of `batched`."""
    return compiled_before(partial(sj.batched(explain, apply, mesh=mesh), *given))


def compiled_before(call: Callable[[], Any]) -> Callable[[], Any]:
    """A call that was made once before."""
    jax.block_until_ready(call())
    return call


def sweeping(explain: Explainer, model: CNN, given: tuple[Any, ...], mesh: Mesh) -> Callable[[], Any]:
    """A whole sweep: four stages of one random model, compared by the metrics of the test; each call compiles."""
    params, images, targets, key = given

    def sweep() -> None:
        # A Dataset is no pytree: there is nothing to wait for.
        sj.parameter_randomization(
            model.apply,
            params,
            lambda key: model.init(key, images[:1]),
            images,
            targets,
            {"one": explain},
            key=key,
            seeds=1,
            mesh=mesh,
        )

    return sweep


def measured(
    work: Callable[[Mesh], Callable[[], Any]],
    meshes: Mapping[int, Mesh],
    repeats: int,
    clock: Callable[[], float],
) -> dict[str, Any]:
    """The seconds of a work on each number of devices, and the cores that it kept busy.

    Args:
        work: makes the call of a mesh.
        meshes: by the number of devices.
        repeats: how many turns each takes.
        clock: what it reads passes while a call compiles, and is taken from its seconds.
    """
    calls = {n: work(mesh) for n, mesh in meshes.items()}
    cores: dict[int, list[float]] = {n: [] for n in meshes}

    def turn(n: int) -> float:
        compiled, used = clock(), time.process_time()
        _, wall = timed(calls[n])
        cores[n].append((time.process_time() - used) / wall)
        return wall - (clock() - compiled)

    walls = in_turns({n: partial(turn, n) for n in meshes}, repeats)
    return {
        "seconds": {n: median(found) for n, found in walls.items()},
        "cores": {n: median(found) for n, found in cores.items()},
        "speed_up": {n: spread("times", ratios(walls[1], walls[n])) for n in meshes},
    }


def traffic(given: tuple[Any, ...]) -> dict[str, int]:
    """Bytes that a call moves: once for the model, and for each image there and back."""
    params, images, targets, key = given
    of_key = jax.random.key_data(key).nbytes
    return {
        "params": sum(leaf.nbytes for leaf in jax.tree.leaves(params)),
        "image_in": images[0].nbytes + targets[0].nbytes + of_key,
        "map_out": images[0].nbytes,
    }


def predicted(name: str, found: Mapping[str, Any], devices: tuple[int, ...]) -> dict[int, float]:
    """How many times as fast as on one device: T(1) / T(n), T(n) = s + (T(1) - s) / min(n, C / u).

    C is the number of cores that the machine gives to n devices at arithmetic, u how many of them one device keeps busy
    by itself at this work, of a sweep at its explanations, and s what is not shared out: of a sweep what it takes
    without its maps, of anything else nothing.
    """
    once, of_one = found[name]["seconds"][1], found[SMOOTHGRAD if name == SWEEP else name]["cores"][1]
    alone = min(found[NOT_SHARED]["seconds"][1], once) if name == SWEEP else 0.0
    most = {n: max(found[MACHINE]["cores"][n] / of_one, 1.0) for n in devices}
    return {n: once / (alone + (once - alone) / min(n, most[n])) for n in devices}


def table(result: Mapping[str, Any]) -> str:
    """The measurements for people."""
    options, moved = result["options"], result["bytes"]
    load = result["load_average"][1]
    given = max(result["works"][MACHINE]["cores"].values())
    lines = [
        f"JAX {result['jax']} on {result['cores']} cores, load average {load:.1f}, of which this run got {given:.2f}; "
        f"{options['images']} images, SmoothGrad of {options['samples']} copies",
        f"bytes: {moved['params']:,} of parameters, {moved['image_in']:,} in and {moved['map_out']:,} out for an image",
        "",
        f"{'work':24s}{'devices':>8s}{'seconds':>10s}{'images/s':>10s}{'cores':>7s}{'times as fast':>26s}{'model':>8s}",
    ]
    for name, work in result["works"].items():
        for n in options["devices"]:
            times = work["speed_up"][n]
            faster = f"{times['times']:.2f} [{times['times_low']:.2f}, {times['times_high']:.2f}]"
            model = f"{result['model'][name][n]:.2f}" if name in result["model"] else ""
            rate = "" if name == MACHINE else f"{options['images'] / work['seconds'][n]:.1f}"
            lines.append(
                f"{name if n == 1 else '':24s}{n:>8d}{work['seconds'][n]:>10.3f}{rate:>10s}{work['cores'][n]:>7.2f}"
                f"{faster:>26s}{model:>8s}"
            )
    return "\n".join([*lines, ""])


def figure(result: Mapping[str, Any]) -> Figure:
    """Measured and predicted, a panel a work."""
    shown = [name for name in result["works"] if name in result["model"]]
    drawn = Figure(figsize=(2.9 * len(shown), 2.9), layout="constrained")
    panels = drawn.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for panel, name in zip(panels, shown, strict=True):
        draw(panel, result["options"]["devices"], result["works"][name]["speed_up"], result["model"][name])
        panel.set_title(name, fontsize="medium")
    panels[0].set_ylabel("times as fast as on one device")
    panels[0].set_ylim(
        0, 1.1 * max(highest(result["works"][name]["speed_up"], result["model"][name]) for name in shown)
    )
    drawn.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    drawn.supxlabel(f"devices, parts of a CPU of {result['cores']} cores", fontsize="medium")
    return drawn


def highest(measured: Mapping[int, Any], model: Mapping[int, float]) -> float:
    """The top of what is drawn of a work."""
    return max([*(times["times_high"] for times in measured.values()), *model.values()])


def draw(panel: Axes, devices: list[int], measured: Mapping[int, Any], model: Mapping[int, float]) -> None:
    """One work's curve."""
    middle = [measured[n]["times"] for n in devices]
    below = [measured[n]["times"] - measured[n]["times_low"] for n in devices]
    above = [measured[n]["times_high"] - measured[n]["times"] for n in devices]
    panel.plot(devices, devices, color="0.8", linewidth=1, label="each as much as the first")
    panel.plot(devices, [model[n] for n in devices], color="0.4", linestyle="--", label="model")
    panel.errorbar(devices, middle, yerr=[below, above], fmt="o", capsize=3, label="measured: median, range")
    panel.set_xscale("log", base=2)
    panel.set_xticks(devices, [str(n) for n in devices])
    panel.minorticks_off()


if __name__ == "__main__":
    chosen = tyro.cli(Options, description=__doc__)
    jax.config.update("jax_num_cpu_devices", max(chosen.devices))
    main(chosen)
