"""Run ProtoPNet's arithmetic and some steps of its training in PyTorch, and keep inputs and results for the tests.

    python tools/make_protopnet_goldens.py

Needs torch, and writes tests/prototypes/goldens/torch_training.npz (under 60 kB). Takes seconds. The networks are
small, their parameters and images random; gradients are PyTorch's own, and so is Adam with its weight decay.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

GOLDENS = Path(__file__).resolve().parents[1] / "tests" / "prototypes" / "goldens" / "torch_training.npz"
CLASSES, PER_CLASS, CHANNELS, SIDE, IMAGES = 3, 2, 12, 6, 9
EPOCHS, DECAY_EVERY = 5, 2
RATES = {"backbone": 1e-3, "add_on": 3e-3, "prototype_vectors": 3e-3}
WEIGHT_DECAY = 1e-3

Parameters = dict[str, torch.Tensor]


class Case(NamedTuple):
    """A kind of network: the widths of its add-on layers, the last of which is the depth of the prototypes."""

    label: str
    widths: tuple[int, ...]
    distance: str
    similarity: str


CASES = [
    Case("regular", (4, 4), "l2", "log"),
    Case("bottleneck", (6, 6, 5, 5), "l2", "linear"),
    Case("cosine", (4, 4), "cosine", "log"),
]


def drawn(case: Case, random: np.random.RandomState) -> Parameters:
    """Parameters by name, kernels as PyTorch has them: `[out, in, height, width]`."""
    shapes = {"backbone/conv": (CHANNELS, 3, 3, 3)}
    shapes |= {
        f"add_on/conv{i}": (width, before, 1, 1)
        for i, (before, width) in enumerate(zip((CHANNELS, *case.widths), case.widths, strict=False), start=1)
    }
    parameters: dict[str, np.ndarray] = {}
    for name, shape in shapes.items():
        parameters[f"{name}/kernel"] = random.randn(*shape) * np.sqrt(2 / np.prod(shape[1:]))
        parameters[f"{name}/bias"] = 0.1 * random.randn(shape[0])
    prototypes = CLASSES * PER_CLASS
    parameters["prototype_vectors"] = random.rand(prototypes, case.widths[-1])
    parameters["last_layer/kernel"] = random.randn(prototypes, CLASSES)
    return {name: torch.tensor(value, dtype=torch.float32, requires_grad=True) for name, value in parameters.items()}


def distances(case: Case, parameters: Parameters, images: torch.Tensor) -> torch.Tensor:
    """The distance of every patch to every prototype, `[batch, prototype, height, width]`."""
    hidden = functional.conv2d(images, parameters["backbone/conv/kernel"], parameters["backbone/conv/bias"], padding=1)
    hidden = functional.relu(hidden)
    for i in range(1, len(case.widths) + 1):
        hidden = functional.conv2d(hidden, parameters[f"add_on/conv{i}/kernel"], parameters[f"add_on/conv{i}/bias"])
        hidden = torch.sigmoid(hidden) if i == len(case.widths) else functional.relu(hidden)
    patches, prototypes = hidden[:, None], parameters["prototype_vectors"][None, :, :, None, None]
    if case.distance == "cosine":
        return 1 - functional.cosine_similarity(patches, prototypes, dim=2)
    return ((patches - prototypes) ** 2).sum(2)


def forward(case: Case, parameters: Parameters, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and the smallest distance of each image to each prototype."""
    nearest = distances(case, parameters, images).amin((2, 3))
    similar = torch.log((nearest + 1) / (nearest + 1e-4)) if case.similarity == "log" else -nearest
    return similar @ parameters["last_layer/kernel"], nearest


def terms(logits: torch.Tensor, nearest: torch.Tensor, last: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross entropy, cluster, separation and L1."""
    own = functional.one_hot(torch.arange(CLASSES).repeat_interleave(PER_CLASS)).T[labels]
    nowhere = torch.tensor(torch.inf)
    off = 1 - functional.one_hot(torch.arange(CLASSES).repeat_interleave(PER_CLASS))
    return torch.stack(
        [
            functional.cross_entropy(logits, labels),
            torch.where(own == 1, nearest, nowhere).amin(1).mean(),
            torch.where(own == 0, nearest, nowhere).amin(1).mean(),
            (last * off).abs().sum(),
        ]
    )


def loss(case: Case, parameters: Parameters, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The loss with the paper's weights, its terms, and the logits."""
    logits, nearest = forward(case, parameters, images)
    found = terms(logits, nearest, parameters["last_layer/kernel"], labels)
    return found @ torch.tensor([1.0, 0.8, -0.08, 1e-4]), found, logits


def trained(case: Case, parameters: Parameters, images: torch.Tensor, labels: torch.Tensor) -> list[np.ndarray]:
    """The terms met in each joint epoch of one minibatch; parameters are changed in place."""
    groups = [
        {
            "params": [value for name, value in parameters.items() if name.startswith(group)],
            "lr": rate,
            "weight_decay": 0.0 if group == "prototype_vectors" else WEIGHT_DECAY,
        }
        for group, rate in RATES.items()
    ]
    adam = torch.optim.Adam(groups)
    lowered = torch.optim.lr_scheduler.StepLR(adam, step_size=DECAY_EVERY, gamma=0.1)
    met = []
    for _ in range(EPOCHS):
        adam.zero_grad()
        value, found, _ = loss(case, parameters, images, labels)
        value.backward()
        adam.step()
        lowered.step()
        met.append(found.detach().numpy())
    return met


def arrays_of(case: Case, random: np.random.RandomState) -> dict[str, np.ndarray]:
    """Inputs and results of one network."""
    parameters = drawn(case, random)
    images = torch.tensor(random.rand(IMAGES, 3, SIDE, SIDE), dtype=torch.float32)
    labels = torch.arange(IMAGES) % CLASSES
    found = {f"before/{name}": value.detach().numpy().copy() for name, value in parameters.items()}
    value, parts, logits = loss(case, parameters, images, labels)
    gradients = torch.autograd.grad(value, list(parameters.values()))
    found |= {f"gradient/{name}": gradient.numpy() for name, gradient in zip(parameters, gradients, strict=True)}
    found |= {"images": images.numpy(), "labels": labels.numpy(), "logits": logits.detach().numpy()}
    found |= {"terms": parts.detach().numpy(), "course": np.stack(trained(case, parameters, images, labels))}
    found |= {f"after/{name}": value.detach().numpy() for name, value in parameters.items()}
    return {f"{case.label}/{name}": array for name, array in found.items()}


def main() -> None:
    """Write the goldens."""
    random = np.random.RandomState(0)
    arrays: dict[str, Any] = {"version": np.array(torch.__version__)}
    for case in CASES:
        arrays |= arrays_of(case, random)
    GOLDENS.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(GOLDENS, **arrays)
    print(f"{GOLDENS}: {GOLDENS.stat().st_size} bytes, torch {torch.__version__}")


if __name__ == "__main__":
    main()
