"""The whole cascade on both sides: this library's sweep, and Quantus' with the explainers of Captum.

Both randomize the same layers with the same weights in the same order, and compare the same maps of the same images.
"""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import peer_maps
import torch
import xarray as xr
from peer_networks import Network
from torch_sides import zennit

import saliency_jax as sj
from saliency_jax import sanity

RANDOMIZED = (torch.nn.Conv2d, torch.nn.Linear, torch.nn.BatchNorm2d, torch.nn.LayerNorm)
QUIET = {"disable_warnings": True, "display_progressbar": False, "return_aggregate": False}
ABSOLUTE = {"spearman_abs": partial(sj.spearman, absolute=True)}
SIGNED = {"spearman": sj.spearman}


def quantus() -> Any:
    """Quantus. It imports Zennit, which `torch_sides` brings on machines without torchvision too."""
    zennit("composites")
    return importlib.import_module("quantus")


def fresh_weights(network: Network) -> Any:
    """The random weights of every stage: one draw, of which a stage takes the layers that it randomizes."""
    return network.draw(jax.random.key(1))


def our_cascade(
    network: Network, names: Sequence[str], images: np.ndarray, targets: np.ndarray
) -> Callable[[], xr.DataArray]:
    """`call() -> similarity[explainer, stage, image]`: a sweep from nothing, its compilation among what it does."""
    return _swept(partial(sj.parameter_randomization, metrics=ABSOLUTE), network, names, images, targets)


def our_smooth_mprt(
    network: Network, name: str, images: np.ndarray, targets: np.ndarray, *, samples: int, noise: float
) -> Callable[[], xr.DataArray]:
    """`call() -> similarity[explainer, stage, image]` of the smooth test, compilation among it."""
    test = partial(sanity.smooth_mprt, metrics=SIGNED, samples=samples, noise=noise)
    return _swept(test, network, [name], images, targets)


def _swept(
    test: Callable[..., xr.Dataset], network: Network, names: Sequence[str], images: np.ndarray, targets: np.ndarray
) -> Callable[[], xr.DataArray]:
    fresh = fresh_weights(network)
    arguments = network.apply, network.params, lambda key: fresh, jnp.asarray(images), jnp.asarray(targets)
    explainers = {name: peer_maps.OURS[name] for name in names}
    protocol = sanity.PROTOCOLS["released_code"]._replace(explained_class="original")

    def call() -> xr.DataArray:
        found = test(*arguments, explainers, key=jax.random.key(0), seeds=1, protocol=protocol, kept_images=0)
        return found["similarity"].isel(metric=0, seed=0)

    return call


def their_cascade(
    network: Network, names: Sequence[str], images: np.ndarray, targets: np.ndarray
) -> Callable[[], np.ndarray]:
    """`call() -> similarity[explainer, stage, image]`, an explainer after the other."""
    metric = partial(quantus().MPRT, layer_order="top_down", abs=True, normalise=False, **QUIET)
    return partial(_by_quantus, metric, network, names, images, targets)


def their_smooth_mprt(
    network: Network, name: str, images: np.ndarray, targets: np.ndarray, *, samples: int, noise: float
) -> Callable[[], np.ndarray]:
    """`call() -> similarity[explainer, stage, image]` of the smooth test."""
    metric = partial(
        quantus().SmoothMPRT,
        layer_order="bottom_up",
        nr_samples=samples,
        noise_magnitude=noise,
        abs=False,
        normalise=False,
        **QUIET,
    )
    return partial(_by_quantus, metric, network, [name], images, targets)


def _by_quantus(
    metric: Any, network: Network, names: Sequence[str], images: np.ndarray, targets: np.ndarray
) -> np.ndarray:
    """Scores of every explainer, `[explainer, stage, image]`."""
    module = peer_maps.torch_module(network, network.params, images.dtype)
    x = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    found = []
    with _handed_out(network, module), warnings.catch_warnings():
        # It warns of everything that it does, and so does Captum.
        warnings.simplefilter("ignore")
        for name in names:
            explain = partial(_explained, network, name, float(np.ptp(images)))
            scores = metric()(
                model=module,
                x_batch=x,
                y_batch=targets,
                a_batch=None,
                explain_func=explain,
                device="cpu",
                channel_first=True,
                batch_size=len(x),
                softmax=False,
            )
            found.append([values for stage, values in scores.items() if stage != "original"])
    return np.asarray(found)


def _explained(
    network: Network, name: str, extent: float, model: Any, inputs: Any, targets: Any, **_: Any
) -> np.ndarray:
    """Maps as Quantus asks for them."""
    dtype = next(model.parameters()).dtype
    x = torch.as_tensor(np.asarray(inputs), dtype=dtype).contiguous(memory_format=torch.channels_last)
    explain = peer_maps.peer_explainer(network, model, name, extent)
    return explain(x, torch.as_tensor(np.asarray(targets))).detach().numpy()


@contextlib.contextmanager
def _handed_out(network: Network, module: torch.nn.Module) -> Iterator[None]:
    """While it lasts, `reset_parameters` of a layer, which Quantus calls, gives it the weights of our random model."""
    random = network.torch_model(fresh_weights(network)).to(next(module.parameters()).dtype)
    for layer, fresh in zip(module.modules(), random.modules(), strict=True):
        layer.fresh = {key: value.clone() for key, value in fresh.state_dict().items() if "." not in key}

    def hand_out(layer: Any) -> None:
        layer.load_state_dict(layer.fresh, strict=False)

    original = {kind: kind.reset_parameters for kind in RANDOMIZED}
    try:
        for kind in RANDOMIZED:
            kind.reset_parameters = hand_out
        yield
    finally:
        for kind, method in original.items():
            kind.reset_parameters = method
