"""What the units of a pretrained network answer to most: images that are made, and photographs."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from photographs import Network

import saliency_jax as sj
from saliency_jax import maximization as mx
from saliency_jax.data.preprocessing import displayed
from saliency_jax.keys import named, numbered
from saliency_jax.tracing import compiled

SHOWN = 4
"""How many photographs stand beside a unit."""


def units(
    network: Network, images: np.ndarray, tap: str, channels: tuple[int, ...], *, steps: int, key: Any
) -> xr.Dataset:
    """Two maxima of each channel of a tap, and the photographs that excite it most, with what they excite it to."""
    preprocessing = network.preprocessing
    matrix = mx.colour_matrix(images)
    magnitude = mx.mean_magnitude(np.asarray(mx.decorrelated(images, matrix)))
    low = np.asarray(preprocessing.shift)
    high = low + 255 * np.asarray(preprocessing.scale)
    robust = mx.compose(mx.jitter(8), mx.scale(0.9, 1.1), mx.rotate(10.0), mx.jitter(4))
    crops = mx.compose(mx.crop(0.3, 0.9), mx.noise(0.05 * float(np.ptp(images))))
    kinds = {
        "Fourier": (mx.bounded(mx.recoloured(mx.fourier(), matrix), low, high), robust, 1),
        "MACO": (mx.bounded(mx.recoloured(mx.maco(magnitude), matrix), low, high), crops, 2),
    }
    redirected = min(16, steps - 1)

    def maximum(name: str) -> mx.Maximum:
        parameterization, transform, copies = kinds[name]

        def one(item: tuple[Any, Any]) -> mx.Maximum:
            score = mx.channel_score(network.model.apply, network.params, tap, item[0])
            return mx.maximize_activation(
                score,
                images.shape[1:],
                item[1],
                steps=steps,
                parameterization=parameterization,
                transform=transform,
                copies=copies,
                redirected_steps=redirected,
            )

        run = compiled(lambda items: jax.lax.map(one, items, batch_size=4))
        found = run((jnp.asarray(channels), numbered(named(key, name), len(channels))))
        mx.check_alive(found, redirected_steps=redirected)
        return found

    found = {name: maximum(name) for name in kinds}
    chosen = np.asarray(channels)
    answers = excitations(network, images, tap)[:, chosen]
    best = np.argsort(-answers, axis=0, kind="stable")[:SHOWN].T
    reached = [np.diag(excitations(network, np.asarray(m.image), tap)[:, chosen]) for m in found.values()]
    pictures = [displayed(np.asarray(m.image), preprocessing) for m in found.values()]
    shown = np.concatenate([np.stack(pictures, axis=1), displayed(images[best], preprocessing)], axis=1)
    values = np.concatenate([np.stack(reached, axis=1), np.take_along_axis(answers.T, best, axis=1)], axis=1)
    names = [*found, *(f"photograph {i + 1}" for i in range(best.shape[1]))]
    return xr.Dataset(
        {
            "image": (("unit", "shown", "height", "width", "colour"), shown.astype(np.float32) / 255),
            "activation": (("unit", "shown"), values),
        },
        {"unit": list(channels), "shown": names},
        {"tap": tap, "photographs": len(images)},
    )


def excitations(network: Network, images: np.ndarray, tap: str) -> np.ndarray:
    """What was maximized, the mean over its places, of every channel of a tap in every image: `[image, channel]`."""

    def one(image: Any) -> jax.Array:
        [activation] = sj.activations(network.model.apply, network.params, image[None], [tap]).values()
        return activation[0].reshape(-1, activation.shape[-1]).mean(axis=0)

    return np.asarray(compiled(lambda images: jax.lax.map(one, images, batch_size=8))(jnp.asarray(images)))
