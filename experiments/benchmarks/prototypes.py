"""How many images a second ProtoPNet trains on and projects, beside the original's arithmetic in PyTorch, in one run.

    pip install torch==2.13.0
    python experiments/benchmarks/prototypes.py

Three networks, the same weights and images on both sides: digits of 28x28 pixels with the paper's CNN and 100
prototypes; images of 224x224 with ResNet-18 and 500; and stored activations of 8x8 places and 1280 channels with 500
and no backbone. The PyTorch side is `prototype_peer.py`, as the original lays activations out and with channels last.
After two epochs of each stage the terms of the loss have to agree to 1e-4, and the projections have to choose the same
patches, but for such as are as near to 1e-5, before any time counts. Then the sides take turns; medians are reported,
and the ratio of each pair of turns. The first call, which compiles, is told apart. Images lie in memory on both sides
and nothing is drawn into files, so that the arithmetic is timed and not the loading.
On two cores with other work digits take two minutes and stored activations one, with --repeats 3; ResNet-18 takes far
longer, less with --size 112. Without PyTorch only this library is timed.
Writes prototypes.json and prototypes.txt in the folder --out.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from saliency_jax import data, results
from saliency_jax.models import CNN
from saliency_jax.models.resnet import RESNETS, ResNet
from saliency_jax.prototypes import ProtoPNet, Recipe, Stage, Trunk, fit, project
from saliency_jax.prototypes.schedule import Kind

AGREE = 1e-4
"""How far a term of the loss may be from the other side's, relative to it."""
TIE = 1e-5
"""Patches whose distances differ by less, relative to the depth, are as near."""
PAUSE = 0.5
"""Seconds between two sides' turns, until the threads of the one no longer wait for work on the other's cores."""
OURS, ORIGINAL, FAST = SIDES = ("saliency_jax", "PyTorch", "PyTorch, channels last")
CHECKED_EPOCHS = 2
"""Of each stage: the second one's loss is that of parameters that both sides have changed."""


@dataclass(frozen=True)
class Options:
    """ProtoPNet's training and projection beside the original's arithmetic in PyTorch."""

    networks: tuple[str, ...] = ("digits", "resnet18", "activations")
    """Which networks: digits, resnet18, activations."""
    repeats: int = 5
    """How many turns each side takes."""
    digits: int = 800
    """How many digits; batches of 80."""
    images: int = 64
    """How many images for ResNet-18, at least one a class of 50; batches of 16."""
    activations: int = 400
    """How many stored activations, at least one a class of 50; batches of 80."""
    size: int = 224
    """Height and width of the images for ResNet-18, in pixels."""
    threads: int | None = None
    """How many threads PyTorch uses; as many as there are cores if not given."""
    out: Path = Path("runs/benchmarks")
    """The folder for the results."""


class Network(NamedTuple):
    """A network with its data; labels go through the classes again and again."""

    model: ProtoPNet
    variables: Any
    images: np.ndarray
    labels: np.ndarray
    recipe: Recipe
    stages: tuple[Kind, ...]


def digits(options: Options) -> Network:
    """MNIST with the paper's CNN up to its second pooling: 7x7 places."""
    found = data.load("mnist", "train", source="embedded")
    every = [np.flatnonzero(np.asarray(found.labels) == c)[: -(-options.digits // 10)] for c in range(10)]
    chosen = np.stack(every, axis=1).ravel()[: options.digits]
    model = ProtoPNet(classes=10, prototypes=100, backbone=Trunk(CNN()), depth=64)
    return _network(model, np.asarray(found.images)[chosen], 80, ("warm", "joint", "last_layer"))


def resnet18(options: Options) -> Network:
    """Coloured squares with ResNet-18 up to its last block: 7x7 places of 224x224 pixels."""
    rng = np.random.default_rng(0)
    squares = rng.normal(size=(options.images, 7, 7, 3))
    places = np.arange(options.size) * 7 // options.size
    images = squares[:, places][:, :, places] + 0.1 * rng.normal(size=(options.images, options.size, options.size, 3))
    model = ProtoPNet(classes=50, prototypes=500, backbone=Trunk(ResNet(**RESNETS["resnet18"])), depth=128)
    network = _network(model, images, 16, ("warm", "joint", "last_layer"))
    return network._replace(variables=_as_if_trained(network.variables))


def activations(options: Options) -> Network:
    """Stored activations, as of a trunk that stays as it is; joint epochs are warm ones."""
    rng = np.random.default_rng(0)
    images = np.maximum(rng.standard_normal((options.activations, 8, 8, 1280), np.float32), 0)
    model = ProtoPNet(classes=50, prototypes=500, depth=128)
    return _network(model, images, 80, ("warm", "last_layer"))


NETWORKS: dict[str, Callable[[Options], Network]] = {
    "digits": digits,
    "resnet18": resnet18,
    "activations": activations,
}


def _network(model: ProtoPNet, images: np.ndarray, batch_size: int, stages: tuple[Kind, ...]) -> Network:
    images = images.astype(np.float32)
    variables = jax.jit(model.init)(jax.random.key(0), jnp.asarray(images[:1]))
    labels = np.arange(len(images)) % model.classes
    return Network(model, variables, images, labels, Recipe(batch_size=min(batch_size, len(images))), stages)


def _as_if_trained(variables: Any) -> Any:
    """BatchNorm with statistics that are neither 0 nor 1, and blocks that add little, as in a trained network.

    Otherwise activations grow with every block, and the sigmoids of the add-on layers are all 0 or 1.
    """
    keys = iter(jax.random.split(jax.random.key(1), 1000))

    def changed(path: Any, leaf: jax.Array) -> jax.Array:
        *_, module, name = (part.key for part in path)
        if name == "mean":
            return 0.1 * jax.random.normal(next(keys), leaf.shape)
        if name == "var":
            return jax.random.uniform(next(keys), leaf.shape, minval=0.5, maxval=1.5)
        return 0.2 * leaf if (module, name) == ("bn2", "scale") else leaf

    return jax.tree_util.tree_map_with_path(changed, variables)


def peer(network: Network, fast: bool) -> Any:
    """The PyTorch side with the network's first weights."""
    import prototype_peer
    import torch

    params, statistics = network.variables["params"], network.variables.get("batch_stats")
    if network.model.backbone is None:
        features = torch.nn.Sequential()
    elif statistics is None:
        features = prototype_peer.cnn(params["backbone"]["model"])
    else:
        features = prototype_peer.resnet18(params["backbone"]["model"], statistics["backbone"]["model"])
    return prototype_peer.Peer(features, params, network.images, network.labels, network.recipe, fast)


def trained(network: Network, stages: tuple[Stage, ...]) -> tuple[np.ndarray, list[float]]:
    """The terms of the loss of each epoch by this library, and the seconds from one epoch's end to the next one's."""
    ends = [time.perf_counter()]
    found = fit(
        network.model,
        network.variables,
        network.images,
        network.labels,
        key=jax.random.key(0),
        stages=stages,
        recipe=network.recipe,
        on_epoch=lambda *_: ends.append(time.perf_counter()),
    )
    return np.array([epoch.terms for epoch in found.history]), np.diff(ends).tolist()


def projected(network: Network) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, row and column of each prototype's patch by this library, `[prototype, 3]`; patches; distances."""
    found = project(
        network.model, network.variables, network.images, network.labels, batch_size=network.recipe.batch_size
    )
    source = found.sources
    places = np.stack([source.image, source.row, source.column], axis=1)
    return places, np.asarray(found.variables["params"]["prototype_vectors"]), source.distance


def loss_difference(network: Network) -> float:
    """How far the terms of the loss are apart after epochs of every stage, relative to their values.

    The minibatch is as large as the data here, so that the order in which each side draws images makes no difference.

    Raises:
        SystemExit: by more than AGREE.
    """
    count = max(network.model.classes, network.recipe.batch_size)
    whole = replace(network.recipe, batch_size=count)
    network = network._replace(images=network.images[:count], labels=network.labels[:count], recipe=whole)
    here, _ = trained(network, tuple(Stage(kind, CHECKED_EPOCHS) for kind in network.stages))
    side = peer(network, fast=False)
    there = np.array([side.epoch(kind) for kind in network.stages for _ in range(CHECKED_EPOCHS)])
    apart = float(np.max(np.abs(here - there) / np.abs(there)))
    if not apart <= AGREE:
        raise SystemExit(f"the terms of the loss must agree to {AGREE:g} before any time counts, got\n{here}\n{there}")
    return apart


def projection_difference(network: Network) -> dict[str, Any]:
    """How many prototypes fell on equally near patches, and how far the others' vectors are apart.

    Raises:
        SystemExit: the sides chose different patches, and not because they are as near.
    """
    (here, vectors, near), (there, other_vectors, other_near) = projected(network), peer(network, fast=False).project()
    same = (here == there).all(axis=1)
    apart = np.abs(near - other_near) / network.model.depth
    if not apart.max() <= TIE:
        worst = int(np.argmax(apart))
        raise SystemExit(
            f"the same patches must be chosen before any time counts, got {here[worst]} at {near[worst]} and "
            f"{there[worst]} at {other_near[worst]} for prototype {worst}"
        )
    vector_difference = float(np.abs(vectors - other_vectors)[same].max(initial=0.0))
    return {"prototypes": len(same), "same": int(same.sum()), "vector_difference": vector_difference}


def compare(network: Network, repeats: int, clock: Callable[[], float]) -> dict[str, Any]:
    """Images a second of every stage on each side, after the sides have been held against each other."""
    found: dict[str, Any] = {"images": len(network.images), "shape": list(network.images.shape[1:])}
    found |= {
        "batch_size": network.recipe.batch_size,
        "prototypes": len(network.variables["params"]["prototype_vectors"]),
    }
    sides: dict[str, Any] = {OURS: None}
    kinds: tuple[Kind, ...] = (*network.stages, "project")
    firsts = {kind: timed_first(network, kind, clock) for kind in kinds}
    if find_spec("torch"):
        found["loss_difference"] = loss_difference(network)
        found["projection"] = projection_difference(network)
        sides |= {ORIGINAL: peer(network, fast=False), FAST: peer(network, fast=True)}
    found["stages"] = {}
    for kind in kinds:
        found["stages"][kind] = firsts[kind] | stage(network, kind, sides, repeats)
        print(f"{kind}: {found['stages'][kind]}", file=sys.stderr, flush=True)
    return found


def stage(network: Network, kind: Kind, sides: dict[str, Any], repeats: int) -> dict[str, Any]:
    """One stage's images a second on each side, and how many times as many ours are."""
    turns = [{name: turn(network, kind, side) for name, side in sides.items()} for _ in range(repeats)]
    steps = len(network.images) // network.recipe.batch_size
    images = len(network.images) if kind == "project" else steps * network.recipe.batch_size
    found = {}
    for name in sides:
        ratios = sorted(seconds[name] / seconds[OURS] for seconds in turns)
        found[name] = {
            "images_a_second": images / median(seconds[name] for seconds in turns),
            "times_faster": median(ratios),
            "times_faster_low": ratios[0],
            "times_faster_high": ratios[-1],
        }
    return {"sides": found}


def timed_first(network: Network, kind: Kind, clock: Callable[[], float]) -> dict[str, float]:
    """The seconds of this library's first call, a training of one epoch or a projection; XLA's compilation in it."""
    began, compiling = time.perf_counter(), clock()
    projected(network) if kind == "project" else trained(network, (Stage(kind, 1),))
    return {"first_s": time.perf_counter() - began, "compile_s": clock() - compiling}


def turn(network: Network, kind: Kind, side: Any) -> float:
    """The seconds of an epoch or of a projection; of ours, a training's second epoch."""
    time.sleep(PAUSE)
    if side is None and kind != "project":
        return trained(network, (Stage(kind, 2),))[1][-1]
    began = time.perf_counter()
    if kind == "project":
        projected(network) if side is None else side.project()
    else:
        side.epoch(kind)
    return time.perf_counter() - began


def compile_seconds() -> Callable[[], float]:
    """A clock that reads how long XLA has compiled since it was made."""
    spent = [0.0]

    def listen(event: str, duration_secs: float, **_: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            spent[0] += duration_secs

    jax.monitoring.register_event_duration_secs_listener(listen)
    return lambda: spent[0]


def main(options: Options) -> dict[str, Any]:
    """Measure, write and print."""
    unknown = [name for name in options.networks if name not in NETWORKS]
    if unknown or not options.networks:
        raise SystemExit(f"--networks must be among {', '.join(NETWORKS)}, got {' '.join(unknown) or 'none'}")
    if min(options.images, options.activations) < 50 or options.digits < 10 or options.repeats < 1:
        raise SystemExit("--images and --activations must be at least 50, --digits 10 and --repeats 1")
    if find_spec("torch") and options.threads is not None:
        import torch

        torch.set_num_threads(options.threads)
    found: dict[str, Any] = {
        "load_before": os.getloadavg()[0],
        "options": {name: str(value) for name, value in asdict(options).items()},
        "versions": {name: version(name) for name in ("jax", "flax", "torch") if find_spec(name)},
        "device": str(jax.devices()[0]),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }
    clock = compile_seconds()
    found["networks"] = {name: compare(NETWORKS[name](options), options.repeats, clock) for name in options.networks}
    options.out.mkdir(parents=True, exist_ok=True)
    results.write_bytes(options.out / "prototypes.json", json.dumps(found, indent=1).encode())
    text = table(found)
    results.write_bytes(options.out / "prototypes.txt", text.encode())
    print(text)
    return found


def table(found: dict[str, Any]) -> str:
    """The measurements, a stage a row, for people."""
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    lines = [f"{versions}; {found['device']}, {found['cores']} cores, load before {found['load_before']:.1f}"]
    if "torch" not in found["versions"]:
        lines.append("PyTorch is not installed and was left out: pip install torch==2.13.0")
    for name, row in found["networks"].items():
        shape = "x".join(map(str, row["shape"]))
        lines += [
            "",
            f"{name}: {row['images']} of {shape}, batches of {row['batch_size']}, {row['prototypes']} prototypes",
        ]
        if "loss_difference" in row:
            same, count = (row["projection"][name] for name in ("same", "prototypes"))
            lines.append(
                f"terms of the loss within {row['loss_difference']:.1e}; the same patch for {same} of "
                f"{count} prototypes" + ("" if same == count else ", one as near for the others")
            )
        names = list(next(iter(row["stages"].values()))["sides"])
        lines.append(
            f"{'images a second':16s}{OURS:>13s}"
            + "".join(f"{side:>24s}{'ours are times as many':>28s}" for side in names[1:])
            + f"{'first call':>12s}{'compiling':>11s}"
        )
        for kind, measured in row["stages"].items():
            line = f"{kind:16s}{measured['sides'][OURS]['images_a_second']:13.1f}"
            for side in names[1:]:
                one = measured["sides"][side]
                times = f"{one['times_faster']:.2f} [{one['times_faster_low']:.2f}, {one['times_faster_high']:.2f}]"
                line += f"{one['images_a_second']:24.1f}{times:>28s}"
            lines.append(line + f"{measured['first_s']:10.1f} s{measured['compile_s']:9.1f} s")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
