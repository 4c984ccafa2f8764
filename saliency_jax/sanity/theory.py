"""Explanations that are known beforehand: of a linear model, of one convolution, and of a product with the image."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array, lax
from jaxtyping import ArrayLike

from saliency_jax.checks import check_image, check_images, check_key
from saliency_jax.keys import named, numbered
from saliency_jax.sanity.measurement import comparison
from saliency_jax.sanity.nulls import UNRELATED, null_partners
from saliency_jax.similarity import METRICS
from saliency_jax.typing import Image, Images, Map, Metric, Score

Padding = Literal["SAME", "VALID"]
_LAYOUT = ("NHWC", "HWIO", "NHWC")


def linear_score(weights: Image, bias: ArrayLike = 0.0) -> Score:
    """The linear model f(x) = sum_i w_i x_i + b, as a score.

    Args:
        weights: w, shaped like the image.
        bias: b, one number.

    Returns:
        `score(image) -> scalar`, which raises ValueError for an image of another shape.
    """

    def score(image: Any) -> Array:
        if jnp.shape(image) != jnp.shape(weights):
            raise ValueError(f"image must be shaped like the weights {jnp.shape(weights)}, got {jnp.shape(image)}")
        return jnp.vdot(jnp.asarray(weights), image) + bias

    return score


def linear_maps(weights: Image, bias: ArrayLike, image: Image, *, baseline: ArrayLike = 0.0) -> dict[str, Map]:
    """What each explainer must say of the linear model f(x) = sum_i w_i x_i + b, in closed form.

    gradient = SmoothGrad = w; SmoothGrad squared = sensitivity = w^2; VarGrad = 0, since noise on the image does not
    move the gradient; gradient x input = simple Taylor = LRP-0 = w x; integrated gradients = DeepLIFT = w (x - x0);
    LRP with its flat rule for the first layer = f(x) / n for each of n values.

    The paper prints w (x - x0) / 2 for integrated gradients. The factor 1/2 is wrong: the gradient is w at every point
    of the path, its mean is w, and only w (x - x0) sums to f(x) - f(x0).

    Args:
        weights: w, shaped like the image.
        bias: b, one number.
        image: x.
        baseline: x0, a number or an array shaped like the image.

    Returns:
        Name -> map. The names are those of `saliency_jax.EXPLAINERS`, and "lrp_zero" for `lrp` with `composites.zero`.

    Raises:
        TypeError: the image is not floating point.
        ValueError: the image is empty or not finite, or the weights are not shaped like it.

    Source: Adebayo et al. 2018, section 5.3; the other explainers by their definitions.
    """
    check_image(image)
    value = linear_score(weights, bias)(image)
    weights, image = jnp.asarray(weights), jnp.asarray(image)
    product, difference = weights * image, weights * (image - baseline)
    return {
        "gradient": weights,
        "smoothgrad": weights,
        "smoothgrad_squared": jnp.square(weights),
        "vargrad": jnp.zeros_like(weights),
        "sensitivity": jnp.square(weights),
        "gradient_times_input": product,
        "simple_taylor": product,
        "integrated_gradients": difference,
        "deep_lift": difference,
        "lrp_zero": product,
        "lrp": jnp.broadcast_to(value / image.size, image.shape),
    }


def sum_pool_score(kernel: ArrayLike, bias: ArrayLike, *, padding: Padding = "SAME") -> Score:
    """One convolution, ReLU and a sum over all places and filters: l(x) = sum_ijf relu((w_f * x)_ij + b_f).

    (w_f * x)_ij = sum_klc w_klcf x_{i+k, j+l, c}, with stride 1, k and l counted from the middle of the kernel for
    "SAME" and from its corner for "VALID".

    Args:
        kernel: w, `[height, width, channel, filter]`.
        bias: b, `[filter]`.
        padding: "SAME" continues the image with zeros and gives one place a pixel; "VALID" takes whole windows only.

    Returns:
        `score(image) -> scalar`; it raises what `activation_pattern` raises.

    Source: Adebayo et al. 2018, section 5.3 and figure 27 (there without a bias).
    """
    return lambda image: jnp.sum(jax.nn.relu(_convolved(image, kernel, bias, padding)))


def activation_pattern(image: Image, kernel: ArrayLike, bias: ArrayLike, *, padding: Padding = "SAME") -> Array:
    """Where the ReLU of `sum_pool_score` is on: a_ijf = 1[(w_f * x)_ij + b_f > 0].

    The paper writes >= 0. At exactly 0, where a blank part of an image stands under a filter without a bias, JAX's
    relu has the gradient 0, and so has the pattern.

    Args:
        image: `[height, width, channel]`.
        kernel: `[height, width, channel, filter]`.
        bias: `[filter]`.
        padding: "SAME" or "VALID".

    Returns:
        `[height, width, filter]` of zeros and ones in the dtype of the convolution; smaller by the kernel's size less
        one where padding is "VALID".

    Raises:
        TypeError: the image is not floating point.
        ValueError: the image is empty or not finite, shapes do not fit one another, padding is unknown.
    """
    convolved = _convolved(image, kernel, bias, padding)
    return (convolved > 0).astype(convolved.dtype)


def sum_pool_gradient(image: Image, kernel: ArrayLike, bias: ArrayLike, *, padding: Padding = "SAME") -> Map:
    """The gradient of `sum_pool_score` in closed form: dl/dx_ijc = sum_klf a_{i-k, j-l, f} w_klcf.

    a is the `activation_pattern`, 0 outside of its borders. The image enters through a alone: the map is constant
    where the pattern is, as inside of a uniform region, and changes only where the pattern changes, at edges. That is
    why the gradient of an untrained convolution looks like an edge detector.

    The paper writes a_{i+k, j+l}, which counts the kernel from its other end, as a convolution and not as the
    correlation that networks compute.

    Args, Raises: as `activation_pattern`.

    Returns:
        A map shaped like the image.

    Source: Adebayo et al. 2018, section 5.3.
    """
    pattern = activation_pattern(image, kernel, bias, padding=padding)
    kernel = jnp.asarray(kernel)
    turned = jnp.swapaxes(kernel[::-1, ::-1], 2, 3).astype(pattern.dtype)
    pads = [
        (size - 1 - low, size - 1 - high)
        for size, (low, high) in zip(kernel.shape[:2], _pads(kernel, padding), strict=True)
    ]
    return _correlated(pattern, turned, pads)


def _convolved(image: Image, kernel: ArrayLike, bias: ArrayLike, padding: Padding) -> Array:
    """w * x + b, `[height, width, filter]`, with everything that can be wrong looked at."""
    check_image(image)
    image, kernel, bias = jnp.asarray(image), jnp.asarray(kernel), jnp.asarray(bias)
    if image.ndim != 3:
        raise ValueError(f"image must be [height, width, channel], got shape {image.shape}")
    if kernel.ndim != 4 or kernel.shape[2] != image.shape[2]:
        raise ValueError(
            f"kernel must be [height, width, channel, filter] with the {image.shape[2]} channels of the image, "
            f"got shape {kernel.shape}"
        )
    if bias.shape != kernel.shape[3:]:
        raise ValueError(f"bias must hold one number for each of the {kernel.shape[3]} filters, got shape {bias.shape}")
    if padding not in get_args(Padding):
        raise ValueError(f"padding must be one of {list(get_args(Padding))}, got {padding!r}")
    if padding == "VALID" and (kernel.shape[0] > image.shape[0] or kernel.shape[1] > image.shape[1]):
        raise ValueError(f"kernel must not be larger than the image {image.shape} without padding, got {kernel.shape}")
    return _correlated(image, kernel.astype(image.dtype), _pads(kernel, padding)) + bias[None, None, :]


def _correlated(image: Array, kernel: Array, pads: list[tuple[int, int]]) -> Array:
    # Full precision: a rounding at 0 would switch a ReLU.
    return lax.conv_general_dilated(
        image[None], kernel, (1, 1), pads, dimension_numbers=_LAYOUT, precision=lax.Precision.HIGHEST
    )[0]


def _pads(kernel: Array, padding: Padding) -> list[tuple[int, int]]:
    """Zeros before and after the image along its height and width."""
    if padding == "VALID":
        return [(0, 0), (0, 0)]
    return [((size - 1) // 2, size // 2) for size in kernel.shape[:2]]


def sparse_product_correlation(density: ArrayLike) -> Array:
    """The absolute rank correlation of x * u and x * v for a flat image x and independent noises u and v.

    rho(p) = 3 (1 - p) / (3 (1 - p) + p^2), where a share p of the values of x is one and the same number and the rest
    is 0. In units of the number of values, the zeros of both products share the centred rank -p / 2 and the others
    have ranks of mean (1 - p) / 2 and variance p^2 / 12 that are independent: the covariance is p (1 - p) / 4, the
    variance p^3 / 12 more. It is the value for many values; that of the signed ranks is 0.

    Args:
        density: p in (0, 1], any shape.

    Returns:
        The correlations, shaped like density. 0.9955 at p = 0.11, 0 at p = 1.
    """
    density = jnp.asarray(density)
    return 3 * (1 - density) / (3 * (1 - density) + jnp.square(density))


def input_dominance(
    images: Images, key: Any, *, seeds: int = 1, metrics: Mapping[str, Metric] | None = None
) -> xr.Dataset:
    """How alike two maps are that share nothing but a product with the image: x * u and x * v.

    u and v are independent standard normal noises. Whatever such maps have in common comes from the image: the zeros
    of a sparse image stand at the same places of both, and their shared lowest rank alone gives absolute values a rank
    correlation near 1 (`sparse_product_correlation`). Signed values put the zeros in the middle, and have none.

    Args:
        images: `[batch, height, width, channel]`.
        key: a JAX key.
        seeds: how many pairs of noises for each image; image i of seed s draws by s and i alone.
        metrics: similarity by name; signed and absolute Spearman where not given.

    Returns:
        `similarity` (explainer, metric, seed, image) for the explainers "noise_times_input", x * u against x * v, and
        "noise", u against v; `null` (null_kind, explainer, metric, image), the first seed's x * u
        against what is made of x * v: that of another image, its pixels shuffled, noise; `density` (image), the share
        of values that are not 0. A blank image has no rank correlation: NaN.

    Raises:
        TypeError: the images are not floating point.
        ValueError: the images are no batch or not finite, key is None, seeds is under 1.

    Source: Adebayo et al. 2018, section 5.2 and figure 19.

    Cost: 2 * seeds comparisons of each image by each metric; the noises of all seeds are held in memory.
    """
    check_images(images)
    check_key(key, "input_dominance")
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1, got {seeds}")
    images = jnp.asarray(images)
    metrics = {name: METRICS[name] for name in ("spearman", "spearman_abs")} if metrics is None else metrics
    first, second = _product_pairs(images, key, seeds)
    flat = (x.reshape(-1, *images.shape[1:]) for x in (first, second))
    scores = np.asarray(comparison(metrics)(*flat).scores).reshape(len(metrics), *first.shape[:3]).swapaxes(0, 1)
    return xr.Dataset(
        {
            "similarity": (("explainer", "metric", "seed", "image"), scores[:, :, :seeds]),
            "null": (("explainer", "metric", "null_kind", "image"), scores[:, :, seeds:]),
            "density": ("image", np.asarray(jnp.mean(images != 0, axis=(1, 2, 3)))),
        },
        coords={
            "null_kind": list(UNRELATED),
            "explainer": ["noise_times_input", "noise"],
            "metric": list(metrics),
            "seed": np.arange(seeds),
            "image": np.arange(len(images)),
        },
        attrs={"test": "input_dominance"},
    ).transpose("null_kind", "explainer", "metric", "seed", "image")


@partial(jax.jit, static_argnames="seeds")
def _product_pairs(images: Array, key: Any, seeds: int) -> tuple[Array, Array]:
    """The two maps of every comparison, `[explainer, seed and then null kind, image, height, width, channel]`."""

    def noises(name: str) -> Array:
        draw = jax.vmap(lambda k: jax.random.normal(k, images.shape[1:], images.dtype))
        return jax.vmap(lambda k: draw(numbered(k, len(images))))(numbered(named(key, name), seeds))

    first, second = (jnp.stack([images[None] * noise, noise]) for noise in map(noises, ("first", "second")))
    strangers = jax.vmap(lambda maps: null_partners(maps, named(key, "null")))(second[:, 0])
    partners = jnp.stack([strangers[kind] for kind in UNRELATED], axis=1)
    unrelated = jnp.broadcast_to(first[:, :1], partners.shape)
    return jnp.concatenate([first, unrelated], axis=1), jnp.concatenate([second, partners], axis=1)
