"""Gradients, guided backpropagation, LRP and averages of gradients beside Captum and Zennit, in one run.

    pip install torch==2.13.0 captum==0.9.0 zennit==0.5.1
    python experiments/benchmarks/peers.py

and, with torchvision as well, integrated gradients of 50 points and SmoothGrad of 50 samples on Inception v3:

    python experiments/benchmarks/peers.py --networks inception_v3

For each network both sides explain the same images with the same weights and settings. In float64 their maps of one
image have to agree to 1e-9 of the largest value before any time counts; in float32, where a ReLU near 0 can fall to
either side, the difference is reported. Then they take turns; medians are reported, and the ratio of each pair of
turns. Compilation is told apart. Each side's own gradient is measured beside it. About five minutes on two cores, most
of them ResNet-50's; Inception v3 takes half an hour.
Writes peers.json and peers.txt in the folder --out.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

missing = [name for name in ("torch", "captum", "zennit") if find_spec(name) is None]
if missing:
    raise SystemExit(f"peers.py needs {', '.join(missing)}: pip install torch==2.13.0 captum==0.9.0 zennit==0.5.1")

import jax
import jax.numpy as jnp
import numpy as np
import torch
import tyro
from peer_networks import NETWORKS, Network, zennit
from turns import in_turns, ratios, seconds_a_call, spread, timed

import saliency_jax as sj
from saliency_jax import results

AGREE = 1e-9
TURN = 0.3
"""The least seconds of a turn."""
SAMPLES = 50
NOISE = 0.15
TOGETHER = 8
"""Of the peer's samples, how many it computes at once: more need more memory and are no faster on a CPU."""
OURS = sj.EXPLAINERS | {
    "integrated_gradients": partial(sj.integrated_gradients, steps=SAMPLES),
    "smoothgrad": sj.smoothgrad(sj.gradient, samples=SAMPLES, noise=NOISE),
}
ONE_BY_ONE = ("gradient", "guided_backprop", "lrp")
"""Explainers of one backward pass, whose maps are compared in float64."""


@dataclass(frozen=True)
class Options:
    """Guided backpropagation and LRP beside Captum and Zennit."""

    networks: tuple[str, ...] = ("mnist_cnn", "resnet50")
    """Which networks: mnist_cnn, resnet50, inception_v3."""
    batch: int | None = None
    """How many images at once; 32 for the MNIST CNN, 8 for ResNet-50 and 4 for Inception v3 if not given."""
    repeats: int = 7
    """How many turns each side takes."""
    threads: int | None = None
    """How many threads PyTorch uses; as many as there are cores if not given."""
    out: Path = Path("runs/benchmarks")
    """The folder for the results."""


def ours(network: Network, name: str, images: np.ndarray, targets: np.ndarray) -> Callable[[], jax.Array]:
    """Maps by this library, as `batched` compiles them."""
    explain = sj.batched(OURS[name], network.apply, batch_size=network.chunk)
    arguments = jnp.asarray(images), jnp.asarray(targets), jax.random.key(0)
    return lambda: jax.block_until_ready(explain(network.params, *arguments))


def theirs(network: Network, name: str, images: np.ndarray, targets: np.ndarray) -> Callable[[], np.ndarray]:
    """Maps by Captum (gradient, guided backpropagation) or Zennit (LRP), channels last."""
    model = network.torch_model().eval().to(torch.float64 if images.dtype == np.float64 else torch.float32)
    x = torch.tensor(images.transpose(0, 3, 1, 2)).contiguous(memory_format=torch.channels_last)
    model = model.to(memory_format=torch.channels_last)
    c = torch.tensor(targets)
    if name == "lrp":
        return _zennit(model, x, c)
    from captum.attr import GuidedBackprop, IntegratedGradients, NoiseTunnel, Saliency

    # Noise is a share of the range of the images here, and a standard deviation there.
    noisy = {"nt_samples": SAMPLES, "nt_samples_batch_size": TOGETHER, "stdevs": NOISE * float(np.ptp(images))}
    explainers: dict[str, tuple[Any, dict[str, Any]]] = {
        "gradient": (Saliency, {"abs": False}),
        "guided_backprop": (GuidedBackprop, {}),
        "integrated_gradients": (IntegratedGradients, {"n_steps": SAMPLES, "internal_batch_size": TOGETHER}),
        "smoothgrad": (lambda model: NoiseTunnel(Saliency(model)), {"abs": False, **noisy}),
    }
    make, options = explainers[name]
    explainer = make(model)
    return lambda: explainer.attribute(x, target=c, **options).detach().numpy().transpose(0, 2, 3, 1)


def _zennit(model: torch.nn.Module, x: torch.Tensor, c: torch.Tensor) -> Callable[[], np.ndarray]:
    # Registered once, outside of what is timed.
    merge = zennit("canonizers").SequentialMergeBatchNorm()
    composite = zennit("composites").EpsilonPlusFlat(canonizers=[merge])
    attributor = zennit("attribution").Gradient(model=model, composite=composite)
    attributor.__enter__()
    for module in model.modules():
        # Zennit 0.5.1 merges a BatchNorm into its convolution and leaves its eps to act once more.
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 0.0

    def start(logits: torch.Tensor) -> torch.Tensor:
        chosen = torch.nn.functional.one_hot(c, logits.shape[1])
        return (logits * chosen).detach()

    return lambda: attributor(x, start)[1].detach().numpy().transpose(0, 2, 3, 1)


def compare(network: Network, options: Options) -> dict[str, Any]:
    """Time one network's explainers on both sides, after their maps have been held against each other."""
    batch = options.batch or network.batch
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(batch, *network.image_shape)).astype(np.float32)
    targets = rng.integers(0, network.classes, batch)
    found: dict[str, Any] = {"batch": batch}
    sides: dict[tuple[str, str], Callable[[], float]] = {}
    for name in network.explainers:
        here = ours(network, name, images, targets)
        maps, first = timed(here)
        there = theirs(network, name, images, targets)
        double = images[:1].astype(np.float64)
        exact = in_double(network, name, double, targets[:1]) if name in ONE_BY_ONE else None
        found[name] = {
            "first_call_s": first,
            "largest_difference": None if name == "smoothgrad" else _difference(np.asarray(maps), there()),
            "largest_difference_float64": exact,
            "agree": exact is None or exact <= AGREE,
        }
        for side, call in (("ours", here), ("peer's", there)):
            sides[name, side] = partial(seconds_a_call, call, least=TURN)
    turns = in_turns(sides, options.repeats)
    for name in network.explainers:
        own, others = turns[name, "ours"], turns[name, "peer's"]
        found[name] |= {
            "ms_a_map": 1e3 * median(own) / batch,
            "peer_ms_a_map": 1e3 * median(others) / batch,
            **spread("times_faster", ratios(others, own)),
            "gradients": median(ratios(own, turns["gradient", "ours"])),
            "peer_gradients": median(ratios(others, turns["gradient", "peer's"])),
        }
    return found


def in_double(network: Network, name: str, images: np.ndarray, targets: np.ndarray) -> float:
    """How far the two sides' maps are apart in float64."""
    with jax.enable_x64(True):
        params = jax.tree.map(lambda v: jnp.asarray(np.asarray(v), jnp.float64), network.params)
        here = np.asarray(ours(network._replace(params=params), name, images, targets)())
    return _difference(here, theirs(network, name, images, targets)())


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / np.abs(a).max())


def main(options: Options) -> dict[str, Any]:
    """Measure, write and print."""
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    found = {
        "options": {name: str(value) for name, value in asdict(options).items()},
        "versions": {"jax": jax.__version__, "torch": torch.__version__},
        "device": str(jax.devices()[0]),
        "networks": {name: compare(NETWORKS[name](), options) for name in options.networks},
    }
    options.out.mkdir(parents=True, exist_ok=True)
    results.write_bytes(options.out / "peers.json", json.dumps(found, indent=1).encode())
    text = table(found)
    results.write_bytes(options.out / "peers.txt", text.encode())
    print(text)
    return found


def table(found: dict[str, Any]) -> str:
    """The measurements, an explainer a row, for people."""
    lines = [f"JAX {found['versions']['jax']} on {found['device']}, PyTorch {found['versions']['torch']}", ""]
    lines.append(
        f"{'network':14s}{'explainer':22s}{'ms a map':>9s}{'peer':>9s}{'times faster':>20s}{'gradients':>11s}"
        f"{'peer':>7s}{'first call':>12s}{'difference':>12s}{'in float64':>12s}"
    )
    for network, rows in found["networks"].items():
        for name, row in rows.items():
            if isinstance(row, dict):
                spread = f"{row['times_faster']:.2f} ({row['times_faster_low']:.2f}-{row['times_faster_high']:.2f})"
                lines.append(
                    f"{network:14s}{name:22s}{row['ms_a_map']:9.2f}{row['peer_ms_a_map']:9.2f}{spread:>20s}"
                    f"{row['gradients']:11.2f}{row['peer_gradients']:7.2f}{row['first_call_s']:10.1f} s"
                    f"{_digits(row['largest_difference'])}{_digits(row['largest_difference_float64'])}"
                    + ("" if row["agree"] else "  THE MAPS DIFFER")
                )
    return "\n".join([*lines, ""])


def _digits(difference: float | None) -> str:
    """A difference, or a dash where the two sides draw noise of their own or were not compared."""
    return f"{'-':>12s}" if difference is None else f"{difference:12.1e}"


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
