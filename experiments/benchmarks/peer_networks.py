"""The networks of the comparison with PyTorch's libraries, on both sides with the same weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from peer_resnet import ResNet50, drawn, torch_resnet50
from peer_vit import torch_vit
from torch_sides import fill, tensor, torch_layout

from saliency_jax.models import CNN, SqueezeNet, ViT
from saliency_jax.models.inception import INCEPTIONS, InceptionV3
from saliency_jax.models.vit import VITS
from saliency_jax.tracing.layers import leaf_paths

ONE_PASS = ("gradient", "guided_backprop", "grad_cam", "lrp")
SAMPLED = ("integrated_gradients", "smoothgrad")


class Network(NamedTuple):
    """One network on both sides.

    Attributes:
        apply: the JAX function.
        draw: parameters from a key, each variable by its own initializer.
        torch_model: the PyTorch module with given parameters.
        image_shape: of one image, channels last.
        classes: how many logits.
        cam: of the PyTorch module, the one whose result is the last spatial activation.
        left_out: explainer -> why the two sides are not compared.
        needs: packages that the PyTorch module needs beside torch.
    """

    apply: Callable
    draw: Callable[[jax.Array], Any]
    torch_model: Callable[[Any], torch.nn.Module]
    image_shape: tuple[int, int, int]
    classes: int
    cam: Callable[[Any], torch.nn.Module] | None = None
    left_out: Mapping[str, str] = {}
    needs: tuple[str, ...] = ()

    @property
    def params(self) -> Any:
        """The parameters that are explained."""
        return self.draw(jax.random.key(0))


def mnist_cnn() -> Network:
    """The paper's CNN."""
    model = CNN()
    return Network(
        model.apply,
        lambda key: model.init(key, jnp.zeros((1, 28, 28, 1))),
        _torch_cnn,
        (28, 28, 1),
        classes=10,
        cam=lambda network: network[4],
    )


def _torch_cnn(params: Any) -> torch.nn.Sequential:
    p = params["params"]
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(1, 32, 5, padding="same"),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(32, 64, 5, padding="same"),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(3136, 1024),
        torch.nn.ReLU(),
        torch.nn.Linear(1024, 10),
    )
    # Flattened features stand channels first there and channels last here.
    dense = np.asarray(p["dense"]["kernel"]).reshape(7, 7, 64, 1024).transpose(2, 0, 1, 3).reshape(-1, 1024)
    fill(layers[0], p["conv1"])
    fill(layers[3], p["conv2"])
    fill(layers[7], {"kernel": dense, "bias": p["dense"]["bias"]})
    fill(layers[9], p["logits"])
    return layers


def squeezenet() -> Network:
    """SqueezeNet 1.1, its ReLUs there as modules."""
    return _of_photographs(SqueezeNet(), _torch_squeezenet, cam=lambda network: network[-3])


class TorchFire(torch.nn.Module):
    """A squeezing convolution and two expanding ones side by side."""

    def __init__(self, ours: Any):
        super().__init__()
        for name in ("squeeze1x1", "expand1x1", "expand3x3"):
            size, _, inputs, outputs = ours[name]["kernel"].shape
            setattr(self, name, torch.nn.Conv2d(inputs, outputs, size, padding="same"))
            fill(getattr(self, name), ours[name])
        self.relu, self.relu1, self.relu3 = (torch.nn.ReLU() for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Activations to activations."""
        x = self.relu(self.squeeze1x1(x))
        return torch.cat([self.relu1(self.expand1x1(x)), self.relu3(self.expand3x3(x))], dim=1)


def _torch_squeezenet(params: Any) -> torch.nn.Sequential:
    p = params["params"]
    stem, last = torch.nn.Conv2d(3, 64, 3, 2), torch.nn.Conv2d(512, 1000, 1)
    fill(stem, p["conv1"])
    fill(last, p["conv10"])
    fires = [
        part
        for i in range(2, 10)
        for part in (TorchFire(p[f"fire{i}"]), *([torch.nn.MaxPool2d(3, 2)] if i in (3, 5) else []))
    ]
    ends = last, torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    return torch.nn.Sequential(stem, torch.nn.ReLU(), torch.nn.MaxPool2d(3, 2), *fires, *ends)


def resnet50() -> Network:
    """A ResNet-50."""
    return _of_photographs(ResNet50(), torch_resnet50, draw=drawn, cam=lambda network: network[-4].relu3)


def vit_s() -> Network:
    """The library's ViT-S."""
    return _of_photographs(
        ViT(**VITS["vit_small_patch16_224"]),
        torch_vit,
        left_out={
            "guided_backprop": "a vision transformer has no ReLU",
            "grad_cam": "its tokens are no spatial activation",
            "lrp": "Zennit has no rules for attention, LayerNorm and GELU",
        },
    )


def inception_v3() -> Network:
    """The library's Inception v3 with BatchNorm, and torchvision's."""
    model = InceptionV3(**INCEPTIONS["torchvision"])

    def draw(key: jax.Array) -> Any:
        initial = jax.jit(model.init)(key, jnp.zeros((1, 299, 299, 3)))
        # Means other than 0 and variances other than 1, so that a mistake in either would show.
        statistics = jax.tree.map(lambda v: v * 0.9 + 0.1 * jnp.linspace(-1, 1, v.size), initial["batch_stats"])
        return {**initial, "batch_stats": statistics}

    functional = "torchvision calls ReLUs and pools as functions, which modules' hooks do not see"
    return Network(
        model.apply,
        draw,
        _torch_inception,
        (299, 299, 3),
        classes=1000,
        cam=lambda network: network.Mixed_7c,
        left_out={"guided_backprop": functional, "lrp": functional},
        needs=("torchvision",),
    )


def _torch_inception(params: Any) -> torch.nn.Module:
    from torchvision.models import inception_v3

    network = inception_v3(weights=None, init_weights=False, aux_logits=False, transform_input=False)
    ours = zip(leaf_paths(params), jax.tree.leaves(params), strict=True)
    left_over = network.load_state_dict(
        {torch_name(path): tensor(torch_layout(leaf)) for path, leaf in ours}, strict=False
    )
    assert not left_over.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in left_over.missing_keys)
    return network


def torch_name(path: str) -> str:
    """A leaf's name in torchvision: "params/Mixed_5b/branch1x1/conv/kernel" as "Mixed_5b.branch1x1.conv.weight"."""
    _, *modules, leaf = path.split("/")
    names = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
    return ".".join([*("fc" if module == "Logits" else module for module in modules), names.get(leaf, leaf)])


def _of_photographs(
    model: Any, torch_model: Callable[[Any], torch.nn.Module], *, draw: Callable | None = None, **more: Any
) -> Network:
    """A Linen model of photographs of 224 pixels and a thousand classes."""
    shape = (224, 224, 3)

    def with_biases(key: jax.Array) -> Any:
        return _with_biases(jax.jit(model.init)(key, jnp.zeros((1, *shape))), key)

    return Network(model.apply, draw or with_biases, torch_model, shape, classes=1000, **more)


def _with_biases(params: Any, key: jax.Array) -> Any:
    """Parameters whose zeros, as those of new biases, are small random numbers: a mistake in them would show."""
    keys = iter(jax.random.split(jax.random.fold_in(key, 1), len(jax.tree.leaves(params))))
    return jax.tree.map(lambda v: v + 0.02 * jax.random.normal(next(keys), v.shape, v.dtype), params)


NETWORKS: dict[str, Callable[[], Network]] = {
    "mnist_cnn": mnist_cnn,
    "squeezenet": squeezenet,
    "resnet50": resnet50,
    "vit_s": vit_s,
    "inception_v3": inception_v3,
}
