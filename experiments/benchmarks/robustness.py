"""Measures of robustness and selectivity beside those of Quantus and Captum, in one run on the same network.

    pip install torch==2.13.0 captum==0.9.0 quantus==0.6.0 zennit==0.5.1
    python experiments/benchmarks/robustness.py

The paper's CNN with the same weights on both sides, its gradient explained on both. What one side perturbs the other is
handed: the points that this library draws are the perturbations of the peers. In float64 the values of both have to
agree before any time counts; in float32 they take turns, and medians are reported with the ratio of each pair of turns.
Both are timed without what comes before: compilation here (told apart), the module there. The searches that the peers
do not have, across kinks and by ascent, are turned off. About ten minutes on two cores.

Where a peer computes something else than the definition, its own options make it compute that: Quantus divides maps by
the maximum of their batch (normalise=False here), takes an image's own minimum for black in its translations (every
image has a pixel of 0 here, as digits do), and leaves the whole image out of its curves, whose first value is dropped
here. Both peers divide max-sensitivity by the length of the map. The infidelity of Quantus is not compared: it perturbs
what it has perturbed before. Captum has no selectivity, Lipschitz estimate or continuity.

Both sides are at most as fast as their networks: a measure here costs what its gradients or forward passes cost in one
batch, and Quantus' are in batches of as many images. What is gained on Captum is what is gained on PyTorch.

Writes robustness.json and robustness.txt in the folder --out.
"""

from __future__ import annotations

import importlib
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
import tyro
from captum.attr import Saliency
from captum.metrics import infidelity as captum_infidelity
from captum.metrics import sensitivity_max
from peer_networks import Network, mnist_cnn, zennit

import saliency_jax as sj
from saliency_jax import results
from saliency_jax.robustness import (
    continuity,
    gaussian_noise,
    infidelity,
    lipschitz_estimate,
    max_sensitivity,
    perturbations,
    perturbed_images,
    selectivity,
)


def _quantus(name: str) -> Any:
    """A module of Quantus. It imports Zennit, which peer_networks brings on machines without torchvision too."""
    zennit("composites")
    return importlib.import_module(name)


quantus = _quantus("quantus")
norm_func, similarity_func = _quantus("quantus.functions.norm_func"), _quantus("quantus.functions.similarity_func")

AGREE = 1e-8
"""Quantus adds 1e-10 to the distances that it divides by."""
RADIUS = 0.1
KEY = 0
SHIFTS = tuple((0, d) for d in range(-26, 27, 2) if d)
"""The translations of Quantus' continuity at 27 steps of an image of 28 pixels; at 0 nothing moves."""


@dataclass(frozen=True)
class Options:
    """Measures of robustness and selectivity beside those of Quantus and Captum."""

    images: int = 32
    """How many images are measured."""
    samples: int = 50
    """How many perturbations of each."""
    repeats: int = 3
    """How many turns each side takes."""
    compared: int = 3
    """Of how many images the values are compared in float64."""
    threads: int | None = None
    """How many threads PyTorch uses; as many as there are cores if not given."""
    out: Path = Path("runs/benchmarks")
    """The folder for the results."""


class Problem(NamedTuple):
    """The same images and weights on both sides.

    Attributes:
        network, params, images, targets: here.
        model, x, y: there, channels first.
        samples: perturbations of each image.
    """

    network: Network
    params: Any
    images: jax.Array
    targets: jax.Array
    model: torch.nn.Module
    x: np.ndarray
    y: np.ndarray
    samples: int


Pair = tuple[Callable[[], np.ndarray], Callable[[], np.ndarray]]


def problem(options: Options, count: int, dtype: Any) -> Problem:
    """The first images of a fixed draw; digits are not needed, since nothing is said of the explainer."""
    network = mnist_cnn()
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(options.images, *network.image_shape)).astype(np.float32)[:count].astype(dtype)
    images[:, 0, 0] = 0
    targets = rng.integers(0, network.classes, options.images)[:count]
    params = jax.tree.map(lambda v: jnp.asarray(np.asarray(v), dtype), network.params)
    model = network.torch_model().eval().to(torch.float64 if dtype == np.float64 else torch.float32)
    return Problem(
        network,
        params,
        jnp.asarray(images),
        jnp.asarray(targets, jnp.int32),
        model,
        images.transpose(0, 3, 1, 2).copy(),
        targets,
        options.samples,
    )


def ours(of: Problem, measure: Callable, value: Callable[[Any], Any], **options: Any) -> Callable[[], np.ndarray]:
    """A measure by this library, and what of its Dataset is compared."""
    call = partial(
        measure,
        of.network.apply,
        of.params,
        of.images,
        of.targets,
        {"gradient": sj.gradient},
        key=jax.random.key(KEY),
        **options,
    )
    return lambda: np.asarray(value(call().isel(explainer=0)))


def gradients(model: Any, inputs: Any, targets: Any, **_: Any) -> np.ndarray:
    """The gradient of a batch there, as Quantus asks for it: one backward pass."""
    dtype = next(model.parameters()).dtype
    x = torch.as_tensor(np.asarray(inputs), dtype=dtype).requires_grad_(True)
    chosen = model(x)[torch.arange(len(x)), torch.as_tensor(np.asarray(targets))]
    return torch.autograd.grad(chosen.sum(), x)[0].numpy()


def by_quantus(metric: Any, of: Problem) -> Callable[[], np.ndarray]:
    """A metric of Quantus on this problem, which explains the images itself."""

    def call() -> np.ndarray:
        # It warns of everything that it does; what it warns of is in the head of this file.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = metric(
                model=of.model,
                x_batch=of.x,
                y_batch=of.y,
                a_batch=gradients(of.model, of.x, of.y),
                explain_func=gradients,
                device="cpu",
                batch_size=len(of.x),
                softmax=False,
                channel_first=True,
            )
        return np.asarray(found)

    return call


def handed(points: jax.Array) -> Callable[..., np.ndarray]:
    """A perturbation function of Quantus that hands out points `[sample, batch, ...]` one after the other."""
    rows = np.asarray(points).transpose(0, 1, 4, 2, 3).reshape(len(points), points.shape[1], -1)
    turn = {"next": 0}

    def perturb(arr: np.ndarray, **_: Any) -> np.ndarray:
        found = rows[turn["next"] % len(rows)]
        turn["next"] += 1
        return found

    return perturb


def channels_first(points: jax.Array) -> torch.Tensor:
    """Points `[sample, batch, ...]` in the order in which Captum asks for them: all samples of one image together."""
    moved = np.asarray(points).transpose(1, 0, 4, 2, 3)
    return torch.tensor(np.ascontiguousarray(moved)).reshape(-1, *moved.shape[2:])


QUIET = {"disable_warnings": True, "display_progressbar": False, "return_aggregate": False, "abs": False}


def max_sensitivity_captum(of: Problem) -> Pair:
    """Max-sensitivity in Captum."""
    points = channels_first(_points(of, "linf"))
    explain = Saliency(of.model)

    def there() -> np.ndarray:
        return sensitivity_max(
            partial(explain.attribute, abs=False),
            torch.tensor(of.x),
            perturb_func=lambda inputs: points,
            n_perturb_samples=of.samples,
            target=torch.tensor(of.y),
        ).numpy()

    return _max_sensitivity(of), there


def max_sensitivity_quantus(of: Problem) -> Pair:
    """Max-sensitivity in Quantus."""
    metric = quantus.MaxSensitivity(
        nr_samples=of.samples,
        normalise=False,
        perturb_func=handed(_points(of, "linf")),
        norm_numerator=norm_func.fro_norm,
        norm_denominator=norm_func.fro_norm,
        similarity_func=similarity_func.difference,
        **QUIET,
    )
    return _max_sensitivity(of), by_quantus(metric, of)


def lipschitz_quantus(of: Problem) -> Pair:
    """The local Lipschitz estimate in Quantus."""
    metric = quantus.LocalLipschitzEstimate(
        nr_samples=of.samples, normalise=False, perturb_func=handed(_points(of, "l2")), **QUIET
    )
    here = ours(
        of,
        lipschitz_estimate,
        lambda found: found.lipschitz_estimate,
        radius=RADIUS,
        samples=of.samples,
        kinks=0,
        ascent=0,
    )
    return here, by_quantus(metric, of)


def continuity_quantus(of: Problem) -> Pair:
    """Translations in Quantus' continuity."""
    metric = quantus.Continuity(nr_steps=len(SHIFTS) + 1, normalise=False, **QUIET)
    here = ours(
        of,
        continuity,
        lambda found: found.by_search.sel(search="translations"),
        radius=RADIUS,
        translations=SHIFTS,
        samples=1,
        kinks=0,
        ascent=0,
    )
    return here, by_quantus(metric, of)


def selectivity_quantus(of: Problem) -> Pair:
    """Patches of 4 x 4 pixels in Quantus."""
    metric = quantus.Selectivity(patch_size=4, normalise=False, perturb_baseline="black", **QUIET)
    return _curve(of, patch=4), by_quantus(metric, of)


def pixel_flipping_quantus(of: Problem) -> Pair:
    """Pixel flipping, 28 pixels at a time, in Quantus."""
    metric = quantus.PixelFlipping(features_in_step=28, normalise=False, perturb_baseline="black", **QUIET)
    return _curve(of, patch=1, patches_in_step=28), by_quantus(metric, of)


def infidelity_captum(of: Problem) -> Pair:
    """Infidelity in Captum."""
    noise = gaussian_noise(RADIUS)
    taken = channels_first(perturbations(of.images, noise, key=jax.random.key(KEY), samples=of.samples))
    target = torch.tensor(of.y)

    def there() -> np.ndarray:
        x = torch.tensor(of.x)
        maps = torch.tensor(gradients(of.model, of.x, of.y))
        found = captum_infidelity(
            of.model,
            lambda inputs: (taken, inputs - taken),
            x,
            maps,
            target=target,
            n_perturb_samples=of.samples,
        )
        return found.numpy()

    here = ours(of, infidelity, lambda found: found.infidelity, perturbation=noise, samples=of.samples)
    return here, there


def _points(of: Problem, norm: Literal["l2", "linf"]) -> jax.Array:
    return perturbed_images(of.images, key=jax.random.key(KEY), radius=RADIUS, norm=norm, samples=of.samples)


def _max_sensitivity(of: Problem) -> Callable[[], np.ndarray]:
    return ours(
        of,
        max_sensitivity,
        lambda found: found.relative_max_sensitivity,
        radius=RADIUS,
        samples=of.samples,
        kinks=0,
        ascent=0,
    )


def _curve(of: Problem, **options: int) -> Callable[[], np.ndarray]:
    return ours(of, selectivity, lambda found: found.curve[:, 1:], **options)


MEASURES: dict[str, tuple[str, Callable[[Problem], Pair]]] = {
    "max-sensitivity": ("Quantus", max_sensitivity_quantus),
    "local Lipschitz": ("Quantus", lipschitz_quantus),
    "continuity": ("Quantus", continuity_quantus),
    "selectivity": ("Quantus", selectivity_quantus),
    "pixel flipping": ("Quantus", pixel_flipping_quantus),
    "max-sensitivity ": ("Captum", max_sensitivity_captum),
    "infidelity": ("Captum", infidelity_captum),
}


def compare(name: str, options: Options) -> dict[str, Any]:
    """One measure's values in float64, then its times in float32."""
    peer, make = MEASURES[name]
    # Quantus makes every array one of PyTorch's default type.
    torch.set_default_dtype(torch.float64)
    with jax.enable_x64(True):
        here, there = make(problem(options, options.compared, np.float64))
        values, of_peer = here(), there()
    torch.set_default_dtype(torch.float32)
    difference = float(np.abs(values - of_peer).max() / np.abs(values).max())
    here, there = make(problem(options, options.images, np.float32))
    began = time.perf_counter()
    here()
    first = time.perf_counter() - began
    there()
    turns = [(_seconds(here), _seconds(there)) for _ in range(options.repeats)]
    ratios = sorted(theirs / own for own, theirs in turns)
    return {
        "peer": peer,
        "difference_float64": difference,
        "agree": difference <= AGREE,
        "first_call_s": first,
        "seconds": median(own for own, _ in turns),
        "peer_seconds": median(theirs for _, theirs in turns),
        "times_faster": median(ratios),
        "times_faster_low": ratios[0],
        "times_faster_high": ratios[-1],
    }


def _seconds(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def main(options: Options) -> dict[str, Any]:
    """Measure, write and print."""
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    found = {
        "options": {name: str(value) for name, value in asdict(options).items()},
        "versions": {"jax": jax.__version__, "torch": torch.__version__, "quantus": quantus.__version__},
        "device": str(jax.devices()[0]),
        "measures": {name: compare(name, options) for name in MEASURES},
    }
    options.out.mkdir(parents=True, exist_ok=True)
    results.write_bytes(options.out / "robustness.json", json.dumps(found, indent=1).encode())
    text = table(found)
    results.write_bytes(options.out / "robustness.txt", text.encode())
    print(text)
    return found


def table(found: dict[str, Any]) -> str:
    """The measurements, a measure a row, for people."""
    versions = found["versions"]
    lines = [
        f"JAX {versions['jax']} on {found['device']}, PyTorch {versions['torch']}, Quantus {versions['quantus']}",
        f"{found['options']['images']} images, {found['options']['samples']} perturbations of each",
        "",
        f"{'measure':18s}{'peer':10s}{'s':>9s}{'peer s':>9s}{'times faster':>22s}{'first call':>12s}"
        f"{'difference in float64':>24s}",
    ]
    for name, row in found["measures"].items():
        spread = f"{row['times_faster']:.1f} ({row['times_faster_low']:.1f}-{row['times_faster_high']:.1f})"
        lines.append(
            f"{name.strip():18s}{row['peer']:10s}{row['seconds']:9.3f}{row['peer_seconds']:9.3f}{spread:>22s}"
            f"{row['first_call_s']:10.1f} s{row['difference_float64']:24.1e}"
            + ("" if row["agree"] else "  THE VALUES DIFFER")
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
