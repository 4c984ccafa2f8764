"""What the experiments on photographs share: their options, a network with published weights, and the pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import xarray as xr
from inception_birds import PREPROCESSING as BIRDS_PREPROCESSING
from inception_birds import whole_network
from tqdm import tqdm

from saliency_jax.data import birds, images
from saliency_jax.data.imagenet_classes import class_names as imagenet_class_names
from saliency_jax.data.preprocessing import Preprocessing, displayed, standardized
from saliency_jax.models.inception import INCEPTIONS, InceptionV3
from saliency_jax.models.pretrained import PRETRAINED, load_pretrained
from saliency_jax.models.resnet import RESNETS, ResNet
from saliency_jax.models.vgg import VGG, VGGS
from saliency_jax.models.weights.safetensors_file import load_safetensors
from saliency_jax.scores import argmax_class
from saliency_jax.tracing import compiled

BIRDS_NETWORK = "inception_v3_birds"
TORCHVISION: dict[str, Callable[[], nn.Module]] = {
    **{name: partial(ResNet, **settings) for name, settings in RESNETS.items()},
    **{name: partial(VGG, **settings) for name, settings in VGGS.items()},
    "inception_v3": partial(InceptionV3, **INCEPTIONS["torchvision"]),
}
"""Networks whose weights are read from a .safetensors file with torchvision's names."""
NETWORKS = (BIRDS_NETWORK, *PRETRAINED, *TORCHVISION)


@dataclass(frozen=True)
class Photographs:
    """Which network on which pictures, and where results go."""

    images: tuple[Path, ...]
    """Pictures: files, folders of files, or .npz archives of encoded pictures."""
    network: str = "squeezenet1_1"
    """Published: squeezenet1_1, efficientnet_lite0, mobilenet_v2. Completed here: inception_v3_birds.
    From torchvision's weights as .safetensors: resnet18 to 50, vgg11 to 19, with _bn, inception_v3."""
    weights: Path | None = None
    """The file of its weights; not needed where an installed package brings it."""
    head: Path = Path("runs/inception_birds")
    """For inception_v3_birds: the folder in which inception_birds.py trained the last blocks."""
    limit: int | None = None
    """How many pictures of each folder or archive are used, spread evenly over it; all if not given."""
    seed: int = 0
    """The seed of everything that is drawn."""
    out: Path = Path("runs/photographs")
    """The folder for the results; the same options again go on with what is there."""
    compilation_cache: Path | None = Path(".jax_cache")
    """Where compiled programs are kept for the next run; None to keep none."""


class Network(NamedTuple):
    """A network with its weights.

    Attributes:
        model: the Flax module.
        params: its variables.
        preprocessing: what makes its images of a picture.
        class_names: the name of each logit.
    """

    model: nn.Module
    params: Any
    preprocessing: Preprocessing
    class_names: tuple[str, ...]


class Explained(NamedTuple):
    """The pictures as images of a network, and what it says they are.

    Attributes:
        names: of the pictures.
        images: `[n, size, size, 3]`, preprocessed.
        predicted: the class that the network gives each, `[n]`.
        network: the network.
        classes: the name of the class that each picture is of; empty where nobody said.
    """

    names: tuple[str, ...]
    images: np.ndarray
    predicted: np.ndarray
    network: Network
    classes: tuple[str, ...]

    def accuracy(self) -> float:
        """The share of pictures that the network takes for what they are; NaN where a class is not among its own."""
        if not set(self.classes) <= set(self.network.class_names):
            return float("nan")
        said = [self.network.class_names[int(c)] for c in self.predicted]
        return float(np.mean([a == b for a, b in zip(said, self.classes, strict=True)]))

    def described(self) -> str:
        """A line a picture, of the first ten: what the network sees in it."""
        classes = [self.network.class_names[int(c)] for c in self.predicted[:10]]
        lines = [f"{name}: {found}" for name, found in zip(self.names, classes, strict=False)]
        rest = len(self.names) - len(lines)
        return "\n".join([*lines, *([f"and {rest} more"] if rest else [])])

    def displayed(self, images: xr.DataArray) -> xr.DataArray:
        """Images of the network as the colours of the pictures, in [0, 1]."""
        colours = displayed(np.asarray(images), self.network.preprocessing).astype(np.float32) / 255
        return images.copy(data=colours)


def prepare(options: Photographs) -> tuple[Network, Explained]:
    """Load the network and the pictures, and ask the one what the others are."""
    network = load_network(options)
    sources = [spread(pictures_at(path), options.limit) for path in options.images]
    loaded: list[np.ndarray] = []
    for pictures in sources:
        with tqdm(desc="reading pictures", unit="picture", leave=False) as bar:
            loaded.append(images.load(pictures, network.preprocessing, progress=lambda *_, bar=bar: bar.update()))
    together = np.concatenate(loaded)
    predict = compiled(lambda params, x: argmax_class(network.model.apply, params, x))
    predicted = np.asarray(predict(network.params, jnp.asarray(together)))
    names = tuple(name for pictures in sources for name in pictures.names)
    classes = tuple(name for pictures in sources for name in _classes(pictures))
    return network, Explained(names, together, predicted, network, classes)


def spread(pictures: images.Pictures, limit: int | None) -> images.Pictures:
    """Some of the pictures, spread evenly: archives and folders stand in the order of their classes."""
    count = len(pictures.sources)
    if limit is not None and limit < 1:
        raise SystemExit(f"--limit must be at least 1, got {limit}")
    if limit is None or limit >= count:
        return pictures
    return images.take(pictures, np.arange(limit) * count // limit)


def pictures_at(path: Path) -> images.Pictures:
    """The pictures in a folder, an archive or a file; of an archive of birds those of the test split."""
    if path.is_dir():
        return images.from_folder(path)
    if path.suffix != ".npz":
        return images.from_files([path])
    if "is_train" in images.read_arrays(path):
        return birds.load(path, "test", sha256=None)
    return images.from_archive(path, class_names=imagenet_class_names())


def _classes(pictures: images.Pictures) -> list[str]:
    """The name of each picture's class; "" where nobody said."""
    if pictures.labels is None:
        return [""] * len(pictures.sources)
    return [pictures.class_names[int(label)] for label in pictures.labels]


def load_network(options: Photographs) -> Network:
    """The network that the options name, with its weights."""
    name, path = options.network, options.weights
    if name in PRETRAINED:
        found = load_pretrained(name, path)
        names = ("background",) * found.class_offset + imagenet_class_names()
        return Network(found.model, found.params, found.preprocessing, names)
    if name not in NETWORKS:
        raise SystemExit(f"--network must be one of {', '.join(NETWORKS)}; got {name}")
    if path is None:
        raise SystemExit(f"--network {name} needs --weights, the file of its weights")
    if name == BIRDS_NETWORK:
        whole = whole_network(path, options.head)
        classes = whole.variables["params"]["Logits"]["bias"].size
        return Network(whole.model, whole.variables, BIRDS_PREPROCESSING, _bird_names(options, classes))
    model = TORCHVISION[name]()
    # torchvision brings what its Inception is given from its own scale to that of -1 to 1, in which it was trained.
    inception = Preprocessing(299, crop=299 / 342, resample="bilinear")
    preprocessing = inception if name == "inception_v3" else standardized(224)
    size = preprocessing.size
    params = load_safetensors(path, model, names="torchvision", image_shape=(size, size, 3))
    return Network(model, params, preprocessing, imagenet_class_names())


def _bird_names(options: Photographs, classes: int) -> tuple[str, ...]:
    """The names in an archive of birds, where one is among the pictures; else numbers."""
    for path in options.images:
        if path.suffix == ".npz":
            arrays: Mapping[str, np.ndarray] = images.read_arrays(path)
            if "class_name" in arrays and len(arrays["class_name"]) == classes:
                return tuple(map(str, arrays["class_name"]))
    return tuple(f"bird {i}" for i in range(classes))
