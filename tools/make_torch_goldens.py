"""Run torchvision's and timm's networks on weights that can be drawn again, and keep their logits for the tests.

    python tools/make_torch_goldens.py

Needs torch, torchvision and timm, and writes tests/models/goldens/torch_networks.npz (under 1 MB). Takes about two
minutes on two cores. Each network of ours is to give the same logits for the same weights and images.

Every tensor of a network is drawn by NumPy from a generator that is seeded by the tensor's name, and so are the images:
the names and the shapes are all that has to be kept. The same libraries give the same file but for the last digits of
the logits, in which machines differ.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

GOLDENS = Path(__file__).resolve().parents[1] / "tests" / "models" / "goldens" / "torch_networks.npz"
PERIOD = 1_000_003
"""Values drawn for one tensor; longer ones repeat them. A prime, so that no axis is a whole number of periods."""


class Case(NamedTuple):
    """A network of a library and the size of the images it is run on, in pixels."""

    library: str
    architecture: str
    size: tuple[int, int]

    @property
    def label(self) -> str:
        """What the logits are kept under: "torchvision/resnet18/224x224"."""
        return "/".join([self.library, self.architecture, "x".join(map(str, self.size))])


VGGS = [f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")]
CASES = [
    *(Case("torchvision", name, (224, 224)) for name in ("resnet18", "resnet34", "resnet50")),
    Case("torchvision", "resnet18", (97, 130)),
    *(Case("torchvision", name, (64, 111)) for name in VGGS),
    Case("torchvision", "inception_v3", (299, 299)),
    Case("torchvision", "vit_b_16", (224, 224)),
    *(Case("timm", f"vit_{width}_patch16_224", (224, 224)) for width in ("tiny", "small", "base")),
    Case("timm", "vgg11_bn", (224, 224)),
]
NAMES_ALONE = [Case("timm", name, (224, 224)) for name in ("resnet18", "resnet34", "resnet50", "vgg16", "inception_v3")]
"""Networks that are not run: only the names and shapes of their tensors are kept."""


def seeded_tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The values of a tensor, from its name and shape alone.

    Kernels are normal with variance 2 / fan-in, which keeps the size of activations through ReLUs. What a BatchNorm or
    LayerNorm has is near 1 for scales and variances and near 0 for shifts and means, but not at them.
    """
    parameter = name.rpartition(".")[2]
    if parameter == "num_batches_tracked":
        return np.array(7, np.int64)
    random = np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"))
    if parameter == "running_var" or (parameter == "weight" and len(shape) == 1):
        return random.uniform(0.5, 1.25, shape).astype(np.float32)
    values = random.standard_normal(min(int(np.prod(shape)), PERIOD), np.float32)
    return np.resize(values * np.float32(_scale(parameter, shape)), shape)


def _scale(parameter: str, shape: tuple[int, ...]) -> float:
    if parameter in ("bias", "in_proj_bias", "running_mean"):
        return 0.1
    if parameter in ("cls_token", "class_token", "pos_embed", "pos_embedding"):
        return 0.5
    return float(np.sqrt(2 / np.prod(shape[1:])))


def seeded_images(size: tuple[int, int]) -> np.ndarray:
    """Two images of normal values, 8 x 8 patches of one value each under noise, `[2, height, width, 3]`.

    The mean over an image of pure noise is nearly that over any other, and logits would hardly depend on the image.
    """
    random = np.random.default_rng(size)
    patches = random.standard_normal((2, 8, 8, 3), np.float32)
    rows, columns = (np.arange(n) * 8 // n for n in size)
    return patches[:, rows][:, :, columns] + random.standard_normal((2, *size, 3), np.float32) / 2


def build(case: Case) -> Any:
    """The network, in its library's own random weights."""
    if case.library == "timm":
        import timm

        return timm.create_model(case.architecture)
    import torchvision

    # The auxiliary classifier stays in, as it is in the published files; `transform_input` would change the images.
    inception = {"transform_input": False, "aux_logits": True, "init_weights": False}
    return getattr(torchvision.models, case.architecture)(**(inception if case.architecture == "inception_v3" else {}))


def shapes_of(network: Any) -> dict[str, tuple[int, ...]]:
    """The names and shapes of a network's tensors, in the order of its state dict."""
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def logits_of(network: Any, size: tuple[int, int]) -> np.ndarray:
    """The logits of the seeded images by a network with the seeded weights."""
    import torch

    tensors = {name: torch.from_numpy(seeded_tensor(name, shape)) for name, shape in shapes_of(network).items()}
    network.load_state_dict(tensors)
    with torch.inference_mode():
        return network.eval()(torch.from_numpy(seeded_images(size).transpose(0, 3, 1, 2).copy())).numpy()


def main() -> None:
    """Write the file of the tests."""
    import timm
    import torch
    import torchvision

    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    kept: dict[str, Any] = {}
    for case in [*CASES, *NAMES_ALONE]:
        network = build(case)
        shapes[f"{case.library}/{case.architecture}"] = shapes_of(network)
        if case in CASES:
            logits = logits_of(network, case.size)
            print(*case, "logits of size", np.abs(logits).max(), "spread", logits.std(axis=1), flush=True)
            kept[case.label] = logits
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__, "timm": timm.__version__}
    kept |= {"shapes": np.array(json.dumps(shapes)), "versions": np.array(json.dumps(versions))}
    GOLDENS.parent.mkdir(exist_ok=True)
    np.savez_compressed(GOLDENS, **kept)


if __name__ == "__main__":
    main()
