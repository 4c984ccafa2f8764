"""Weights from .safetensors files: a header of names and shapes, then numbers, and nothing that could run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import numpy as np

from saliency_jax.models.weights import timm_names, torchvision_names
from saliency_jax.models.weights.fitting import fit
from saliency_jax.typing import Params

NAMES = {"torchvision": torchvision_names.NAMINGS, "timm": timm_names.NAMINGS}
"""Whose names a file has -> network -> naming."""

_HALF = ("F16", "BF16")
_KEPT = ("F32", "F64", "I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64", "BOOL")


def load_safetensors(
    path: str | os.PathLike[str], model: nn.Module, *, names: str, image_shape: Sequence[int] = (224, 224, 3)
) -> Params:
    """The variables of a network here from weights that torchvision or timm named.

        model = ResNet(**RESNETS["resnet50"])
        params = load_safetensors("resnet50.safetensors", model, names="torchvision")

    Nothing is guessed from the file: the model says what has to be in it.

    Args:
        path: the .safetensors file.
        model: the network that the weights are of, one of `NAMES[names]`: ResNet, VGG, ViT, InceptionV3.
        names: whose names the file has, "torchvision" or "timm".
        image_shape: `(height, width, channel)` of the images; matters to ViT alone, whose positions fit one size.

    Returns:
        The variables as `model.apply` takes them, NumPy arrays in float32.

    Raises:
        ModuleNotFoundError: the package safetensors, of the extra `weights`, is missing.
        FileNotFoundError: there is no such file.
        TypeError: the model is none whose names are known.
        ValueError: unknown names; a file that is truncated, no .safetensors or in a number format that is not read;
            weights of another architecture, a tensor that is missing, of another shape or not finite.

    Source: the state dicts of torchvision 0.28 and timm 1.0.
    """
    if names not in NAMES:
        raise ValueError(f"names must be one of {', '.join(NAMES)}; got {names!r}")
    namings = NAMES[names]
    if type(model) not in namings:
        known = ", ".join(network.__name__ for network in namings)
        raise TypeError(f"model must be one of {known}, whose names in {names} are known; got {type(model).__name__}")
    arrays = namings[type(model)](read_safetensors(path), model)
    return fit(arrays, model, image_shape, source=os.fspath(path))


def read_safetensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The tensors of a .safetensors file by their names.

    Half precision (float16 and bfloat16) becomes float32, which holds every value of either; other numbers stay as
    they are.

    Args:
        path: the file.

    Returns:
        Name -> values, in the file's order of names.

    Raises:
        ModuleNotFoundError: the package safetensors, of the extra `weights`, is missing.
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated or no .safetensors, or a tensor is in a number format that is not read.

    Source: the safetensors format, https://github.com/huggingface/safetensors.
    """
    try:
        import safetensors
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "reading .safetensors needs the package safetensors: pip install 'saliency-jax[weights]'", name=error.name
        ) from error
    file_path = Path(path)
    if not file_path.is_file():
        raise FileNotFoundError(f"path must be a .safetensors file, there is none at {file_path}")
    try:
        with safetensors.safe_open(file_path, framework="numpy") as file:
            names = file.keys()
            return {name: _tensor(file, name, file_path) for name in names}
    except safetensors.SafetensorError as error:
        raise ValueError(f"{file_path} must be a whole .safetensors file: {error}") from error


def _tensor(file: Any, name: str, path: Path) -> np.ndarray:
    code = file.get_slice(name).get_dtype()
    if code in _HALF:
        return file.get_tensor(name).astype(np.float32)
    if code not in _KEPT:
        raise ValueError(f"{path}: tensor {name!r} must hold numbers of 16, 32 or 64 bits, found {code}")
    return file.get_tensor(name)
