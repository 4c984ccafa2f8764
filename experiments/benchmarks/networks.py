"""Does every explainer work on every network of the library, and what does it cost beside a gradient?

    python experiments/benchmarks/networks.py

explains two small images of noise by every explainer with each network, its weights drawn at random with biases other
than 0, and reports the finite maps, the time of the first call (compilation) and the time a map in units of that
network's gradient. Where all nonlinearities are ReLUs and pools, LRP-0 has to equal gradient x input: the largest
difference is told. About forty minutes on two cores, nearly all of them compilation. A dash stands where an explainer
refuses a network: guided backpropagation needs a ReLU, which a vision transformer has not.
Writes networks.json and networks.txt in the folder --out; networks that are finished are kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import tyro
from turns import seconds, timed

import saliency_jax as sj
from saliency_jax import models, results

NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "squeezenet1_1": (partial(models.SqueezeNet, **models.SQUEEZENETS["squeezenet1_1"]), 64),
    "resnet18": (partial(models.ResNet, **models.RESNETS["resnet18"]), 64),
    "resnet50": (partial(models.ResNet, **models.RESNETS["resnet50"]), 64),
    "vgg11": (partial(models.VGG, **models.VGGS["vgg11"]), 64),
    "vgg11_bn": (partial(models.VGG, **models.VGGS["vgg11_bn"]), 64),
    "inception_v3": (partial(models.InceptionV3, **models.INCEPTIONS["graph_2015"]), 107),
    "inception_v3 with BatchNorm": (partial(models.InceptionV3, **models.INCEPTIONS["torchvision"]), 107),
    "efficientnet_lite0": (partial(models.EfficientNetLite, **models.EFFICIENTNETS["efficientnet_lite0"]), 64),
    "mobilenet_v2": (partial(models.MobileNetV2, **models.MOBILENETS["mobilenet_v2"]), 64),
    "vit_tiny_patch16": (partial(models.ViT, **(models.VITS["vit_tiny_patch16_224"] | {"image_size": 64})), 64),
}
"""Name -> the module and the size of its images here."""
PIECEWISE_LINEAR = tuple(name for name in NETWORKS if not name.startswith("vit"))


@dataclass(frozen=True)
class Options:
    """Does every explainer work on every network of the library, and what does it cost beside a gradient?"""

    networks: tuple[str, ...] = tuple(NETWORKS)
    """Which networks."""
    explainers: tuple[str, ...] = tuple(sj.EXPLAINERS)
    """Which explainers, by their names in saliency_jax.EXPLAINERS."""
    out: Path = Path("runs/benchmarks")
    """The folder for the results."""


def measure(name: str, explainers: tuple[str, ...]) -> dict[str, Any]:
    """One network under every explainer."""
    make, size = NETWORKS[name]
    model = make()
    images = jax.random.normal(jax.random.key(1), (2, size, size, 3))
    params = drawn(model, images)
    found: dict[str, Any] = {}
    for explainer in explainers:
        run = sj.batched(sj.EXPLAINERS[explainer], model.apply)
        call = partial(run, params, images, jnp.array([3, 7]), jax.random.key(2))
        try:
            maps, first = timed(call)
        except ValueError as refusal:
            found[explainer] = {"refused": str(refusal)}
            continue
        found[explainer] = {
            "finite": bool(jnp.isfinite(maps).all()),
            "first_call_s": first,
            "s_a_map": seconds(call) / len(images),
        }
    if name in PIECEWISE_LINEAR:
        found["lrp_0"] = {"difference_to_gradient_times_input": lrp_0_difference(model, params, images)}
    return found


def drawn(model: nn.Module, images: jax.Array) -> Any:
    """Random variables, with biases and statistics that are not trivial."""
    params = jax.jit(model.init)(jax.random.key(0), images)
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(3), len(leaves))
    moved = [
        leaf + 0.1 * jnp.abs(jax.random.normal(key, leaf.shape)) if leaf.ndim == 1 else leaf
        for key, leaf in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(tree, moved)


def lrp_0_difference(model: nn.Module, params: Any, images: jax.Array) -> float:
    """The largest difference between LRP-0 and gradient x input, in units of the largest value."""
    targets = jnp.array([3, 7])
    zero = partial(sj.lrp, composite=sj.composites.zero)
    relevance = sj.batched(zero, model.apply)(params, images, targets)
    expected = sj.batched(sj.gradient_times_input, model.apply)(params, images, targets)
    return float(jnp.abs(relevance - expected).max() / jnp.abs(expected).max())


def main(options: Options) -> dict[str, Any]:
    """Measure, write and print."""
    if unknown := [name for name in options.networks if name not in NETWORKS]:
        raise SystemExit(f"--networks must be among {', '.join(NETWORKS)}; got {', '.join(unknown)}")
    options.out.mkdir(parents=True, exist_ok=True)
    kept = options.out / "networks.json"
    found: dict[str, Any] = json.loads(kept.read_text()) if kept.is_file() else {}
    for name in options.networks:
        if set(options.explainers) - set(found.get(name, {})):
            found[name] = measure(name, options.explainers)
            results.write_bytes(kept, json.dumps(found, indent=1).encode())
            print(f"{name}: done", flush=True)
    text = table({name: found[name] for name in options.networks}, options.explainers)
    results.write_bytes(options.out / "networks.txt", text.encode())
    print(text)
    return found


def table(found: dict[str, Any], explainers: tuple[str, ...]) -> str:
    """The time a map in gradients, an explainer a row and a network a column."""
    lines = ["time of a map in units of the network's gradient; - where it is refused, ! where a map is not finite", ""]
    lines.append(f"{'':32s}" + "".join(f"{name.split(' ')[0]:>20s}" for name in found))
    for explainer in explainers:
        lines.append(f"{explainer:32s}" + "".join(f"{_cell(rows, explainer):>20s}" for rows in found.values()))
    exact = [rows.get("lrp_0", {}).get("difference_to_gradient_times_input") for rows in found.values()]
    lines.append(
        f"{'LRP-0 - gradient x input':32s}" + "".join(f"{'-' if x is None else f'{x:.0e}':>20s}" for x in exact)
    )
    slowest = [max(row.get("first_call_s", 0) for row in rows.values()) for rows in found.values()]
    lines.append(f"{'slowest first call, s':32s}" + "".join(f"{x:20.0f}" for x in slowest))
    return "\n".join([*lines, ""])


def _cell(rows: dict[str, Any], explainer: str) -> str:
    row = rows[explainer]
    if "refused" in row:
        return "-"
    gradient = rows.get("gradient", {}).get("s_a_map")
    cost = f"{row['s_a_map'] / gradient:.1f}" if gradient else f"{row['s_a_map']:.2f} s"
    return cost if row["finite"] else f"{cost} !"


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
