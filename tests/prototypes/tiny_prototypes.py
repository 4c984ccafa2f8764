"""Tiny ProtoPNets, and what they compute by hand: slowly, by loops, in float64."""

from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saliency_jax.prototypes import ProtoPNet, own_class

HERE = Path(__file__).resolve().parent
SHARED = (HERE.parents[1] / "../shared/goldens/protopnet_torch.npz").resolve()


class Convolution(nn.Module):
    """One convolution of 3x3 with ReLU."""

    channels: int

    @nn.compact
    def __call__(self, images):
        return jax.nn.relu(nn.Conv(self.channels, (3, 3), padding=[(1, 1), (1, 1)], name="conv")(images))


class Normalized(nn.Module):
    """One convolution with BatchNorm by its running averages."""

    channels: int = 5
    kernel: int = 3

    @nn.compact
    def __call__(self, images):
        hidden = nn.Conv(self.channels, (self.kernel, self.kernel), name="conv")(images)
        return jax.nn.relu(nn.BatchNorm(use_running_average=True, name="norm")(hidden))


def golden():
    """Arrays of the original class in PyTorch, with a stub as backbone."""
    if not SHARED.exists():
        pytest.skip(f"the original's arrays are not here: no file {SHARED}")
    with np.load(SHARED) as file:
        return dict(file)


GOLDEN_MODEL = ProtoPNet(classes=4, prototypes=12, depth=8, backbone=Convolution(16))


def channels_last(kernel):
    """PyTorch's `[out, in, height, width]` as `[height, width, in, out]`."""
    return np.transpose(kernel, (2, 3, 1, 0))


def golden_variables(arrays):
    def layer(name):
        return {"kernel": channels_last(arrays[f"p_{name}.weight"]), "bias": arrays[f"p_{name}.bias"]}

    return {
        "params": {
            "backbone": {"conv": layer("features.c")},
            "add_on": {"conv1": layer("add_on_layers.0"), "conv2": layer("add_on_layers.2")},
            "prototype_vectors": arrays["p_prototype_vectors"][:, :, 0, 0],
            "last_layer": {"kernel": arrays["p_last_layer.weight"].T},
        }
    }


def drawn_images(count):
    return np.random.RandomState(0).rand(count, 6, 7, 3).astype(np.float32)


def compared(model, variables, images):
    """What the network makes of images on its way to their logits."""
    return jax.jit(lambda v, x: model.apply(v, x, method="compare"))(variables, images)


def drawn_variables(model, images, seed=0):
    """Variables of a model without compiling its initializers; running averages are far from 0 and 1."""
    random = np.random.RandomState(seed)
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)

    def drawn(path, leaf):
        name = path[-1].key
        if name in ("prototype_vectors", "var", "scale"):
            values = random.rand(*leaf.shape) + 0.5 * (name != "prototype_vectors")
        elif path[-2].key == "last_layer":
            values = 1.5 * own_class(model) - 0.5
        else:
            fan_in = max(np.prod(leaf.shape[:-1]), 1)
            values = random.randn(*leaf.shape) * (np.sqrt(2 / fan_in) if name == "kernel" else 0.3)
        return jnp.float32(values)

    return jax.tree_util.tree_map_with_path(drawn, shapes)


def exact(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def convolved(images, layer):
    """A convolution that keeps the size, zeros around, as a sum over the places of its kernel."""
    kernel = layer["kernel"]
    side = kernel.shape[0]
    padded = np.pad(images, ((0, 0), (side // 2,) * 2, (side // 2,) * 2, (0, 0)))
    height, width = images.shape[1:3]
    return layer["bias"] + sum(
        padded[:, i : i + height, j : j + width] @ kernel[i, j] for i in range(side) for j in range(side)
    )


def patches_by_hand(params, images):
    hidden = np.maximum(convolved(images, params["backbone"]["conv"]), 0)
    names = sorted(params["add_on"])
    for name in names:
        hidden = convolved(hidden, params["add_on"][name])
        hidden = 1 / (1 + np.exp(-hidden)) if name == names[-1] else np.maximum(hidden, 0)
    return hidden


def distance_by_hand(a, b, kind):
    if kind == "l2":
        return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))
    lengths = np.sqrt(sum(x**2 for x in a)) * np.sqrt(sum(y**2 for y in b))
    return 1 - (sum(x * y for x, y in zip(a, b, strict=True)) / lengths if lengths > 0 else 0)


def distances_by_hand(patches, prototypes, kind="l2"):
    """`[image, row, column, prototype]`."""
    found = np.zeros((*patches.shape[:3], len(prototypes)))
    for place in np.ndindex(*found.shape):
        found[place] = distance_by_hand(patches[place[:3]], prototypes[place[3]], kind)
    return found


def similarity_by_hand(distances, kind="log"):
    return np.log((distances + 1) / (distances + 1e-4)) if kind == "log" else -distances


def terms_by_hand(logits, nearest, labels, last_layer, classes):
    """Cross entropy, cluster, separation and L1, by one loop each."""
    entropy = np.mean([np.log(np.exp(row - row[y]).sum()) for row, y in zip(logits, labels, strict=True)])
    cluster, separation = (
        np.mean(
            [
                min(d for d, c in zip(row, classes, strict=True) if (c == y) == wanted)
                for row, y in zip(nearest, labels, strict=True)
            ]
        )
        for wanted in (True, False)
    )
    penalty = sum(abs(last_layer[j, c]) for j, c in np.ndindex(*last_layer.shape) if classes[j] != c)
    return np.array([entropy, cluster, separation, penalty])


def projected_by_hand(distances, labels, classes):
    """Image, row and column of the first nearest patch of the own class of each prototype, and its distance."""
    rows = []
    for j, c in enumerate(classes):
        best = (np.inf,)
        for place in np.ndindex(*distances.shape[:3]):
            if labels[place[0]] == c and distances[(*place, j)] < best[0]:
                best = (distances[(*place, j)], *place)
        rows.append((*best[1:], best[0]))
    return np.array(rows)
