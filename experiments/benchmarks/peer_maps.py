"""One explainer on both sides: by this library, and by Captum or Zennit with PyTorch's fastest layout."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import torch
from captum.attr import GuidedBackprop, IntegratedGradients, LayerAttribution, LayerGradCam, NoiseTunnel, Saliency
from peer_networks import Network
from torch_sides import zennit

import saliency_jax as sj

STEPS, SAMPLES, NOISE = 64, 50, 0.15
FEW = 4
TOGETHER = 8
"""Of a peer's samples, how many it computes at once: more need more memory and are no faster on a CPU."""
OURS = sj.EXPLAINERS | {
    "integrated_gradients": partial(sj.integrated_gradients, steps=STEPS),
    "smoothgrad": sj.smoothgrad(sj.gradient, samples=SAMPLES, noise=NOISE),
}
PEERS = {name: "Zennit" if name == "lrp" else "Captum" for name in OURS}

Explain = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""`explain(images, classes) -> maps`, channels first."""


def ours(
    network: Network, params: Any, explain: Any, images: np.ndarray, targets: np.ndarray
) -> Callable[[], jax.Array]:
    """Maps by this library, as `batched` compiles them."""
    explain_batch = sj.batched(explain, network.apply)
    arguments = jnp.asarray(images), jnp.asarray(targets), jax.random.key(0)
    return lambda: jax.block_until_ready(explain_batch(params, *arguments))


def torch_module(network: Network, params: Any, dtype: Any) -> torch.nn.Module:
    """The PyTorch module in its fastest layout."""
    module = network.torch_model(params).eval().to(torch.float64 if dtype == np.float64 else torch.float32)
    return module.to(memory_format=torch.channels_last)


def theirs(
    network: Network, params: Any, name: str, images: np.ndarray, targets: np.ndarray, **options: Any
) -> Callable[[], np.ndarray]:
    """Maps by the peer, channels last; options are those of the peer's explainer."""
    explain = peer_explainer(network, torch_module(network, params, images.dtype), name, float(np.ptp(images)), options)
    x = torch.tensor(images.transpose(0, 3, 1, 2)).contiguous(memory_format=torch.channels_last)
    c = torch.tensor(targets)
    return lambda: explain(x, c).detach().numpy().transpose(0, 2, 3, 1)


def peer_explainer(
    network: Network, module: torch.nn.Module, name: str, extent: float, options: dict[str, Any] | None = None
) -> Explain:
    """The peer's explainer of a module; what can be set up before is, outside of what is timed.

    Args:
        network: of the module.
        module: what is explained.
        name: of the explainer, as in OURS.
        extent: the range of the images: noise is a share of it here, and a standard deviation there.
        options: what to change of the peer's options.
    """
    changed = options or {}
    if name == "lrp":
        return _zennit(module)
    if name == "grad_cam":
        return _grad_cam(module, network)
    noisy = {"nt_samples": SAMPLES, "nt_samples_batch_size": TOGETHER, "stdevs": NOISE * extent}
    makers: dict[str, tuple[Any, dict[str, Any]]] = {
        "gradient": (Saliency, {"abs": False}),
        "guided_backprop": (GuidedBackprop, {}),
        "integrated_gradients": (IntegratedGradients, {"n_steps": STEPS, "internal_batch_size": TOGETHER}),
        "smoothgrad": (lambda module: NoiseTunnel(Saliency(module)), {"abs": False, **noisy}),
    }
    make, settings = makers[name]
    explainer = make(module)
    return lambda x, c: explainer.attribute(x, target=c, **{**settings, **changed})


def _grad_cam(module: torch.nn.Module, network: Network) -> Explain:
    assert network.cam is not None
    explainer = LayerGradCam(module, network.cam(module))

    def explain(x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        cam = explainer.attribute(x, target=c, relu_attributions=True)
        resized = LayerAttribution.interpolate(cam, tuple(x.shape[2:]), "bilinear")
        return resized.expand(-1, x.shape[1], -1, -1)

    return explain


def _zennit(module: torch.nn.Module) -> Explain:
    merge = zennit("canonizers").SequentialMergeBatchNorm()
    composite = zennit("composites").EpsilonPlusFlat(canonizers=[merge])
    attributor = zennit("attribution").Gradient(model=module, composite=composite)
    attributor.__enter__()
    for part in module.modules():
        # Zennit 0.5.1 merges a BatchNorm into its convolution and leaves its eps to act once more.
        if isinstance(part, torch.nn.BatchNorm2d):
            part.eps = 0.0

    def explain(x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        def start(logits: torch.Tensor) -> torch.Tensor:
            return (logits * torch.nn.functional.one_hot(c, logits.shape[1])).detach()

        return attributor(x, start)[1]

    return explain


def difference_in_double(network: Network, name: str, images: np.ndarray, targets: np.ndarray) -> float:
    """How far the two sides' maps are apart in float64, over the largest value.

    A few points and samples are enough to see that both do the same; the peer is handed the noise that is drawn here.
    """
    images, counts = images.astype(np.float64), range(1, FEW + 1)
    drawn = jax.tree.map(np.asarray, network.params)
    with jax.enable_x64(True):
        params = jax.tree.map(lambda v: jnp.asarray(v, jnp.float64), drawn)
        if name != "smoothgrad":
            explain = partial(sj.integrated_gradients, steps=FEW) if name == "integrated_gradients" else OURS[name]
            steps = {"n_steps": FEW} if name == "integrated_gradients" else {}
            here = ours(network, params, explain, images, targets)()
            return difference(here, theirs(network, params, name, images, targets, **steps)())
        few = partial(sj.smoothgrad, noise=NOISE)
        here = ours(network, params, few(sj.gradient, samples=FEW), images, targets)()
        # The running means of the noisy images themselves tell each of them.
        means = [ours(network, params, few(_image, samples=i), images, targets)() for i in counts]
    copies = np.stack([i * np.asarray(means[i - 1]) - (i - 1) * np.asarray(means[i - 2]) for i in counts], axis=1)
    noise = (copies - images[:, None]).reshape(-1, *images.shape[1:])
    handed = torch.tensor(noise.transpose(0, 3, 1, 2))
    there = theirs(network, params, name, images, targets, nt_samples=FEW, nt_samples_batch_size=FEW)
    with mock.patch.object(torch, "normal", lambda mean, std: handed):
        return difference(here, there())


def _image(score: Any, image: jax.Array, key: Any = None) -> jax.Array:
    return image


def difference(a: Any, b: Any) -> float:
    """The largest difference of two arrays, over the largest value of the first."""
    a, b = np.asarray(a), np.asarray(b)
    return float(np.abs(a - b).max() / np.abs(a).max())
