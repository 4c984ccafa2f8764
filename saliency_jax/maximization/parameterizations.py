"""What is climbed in: pixels, Fourier coefficients, a decoder's code; with ranges, colours and masks around them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from saliency_jax.checks import (
    check_finite,
    check_finite_number,
    check_function,
    check_image,
    check_integer,
    dtype_of,
    is_concrete,
)
from saliency_jax.maximization.colours import check_channels, check_matrix, decorrelated, recolour
from saliency_jax.maximization.terms import check_weight

Shape = tuple[int, ...]
NO_INVERSE = (
    "the parameterization has no code for a given image; give it one by _replace(code=...), or begin with a shape "
    "where that is possible"
)


def no_prior(code: Any) -> Array:
    """The log density of a code of which nothing is known: 0."""
    return jnp.zeros(())


class Parameterization(NamedTuple):
    """Images as functions of a code, in which the ascent takes its steps.

    Attributes:
        init: `init(key, shape) -> code`, where to begin; any pytree of arrays.
        image: `image(code, shape) -> image` of that shape.
        code: `code(image) -> code`, to begin with an image; None where there is no inverse.
        log_prior: `log_prior(code) -> scalar`, added to the objective.
    """

    init: Callable[[Any, Shape], Any]
    image: Callable[[Any, Shape], Array]
    code: Callable[[Array], Any] | None = None
    log_prior: Callable[[Any], Array] = no_prior


def pixels(*, noise: float = 0.01, centre: float = 0.0) -> Parameterization:
    """The image itself. It begins as Gaussian noise around `centre`, in units of the image; any shape.

    Raises:
        ValueError: noise is negative, or noise or centre not finite.
        TypeError: noise or centre is no number.
    """
    check_weight(noise, "noise")
    check_finite_number(centre, "centre")
    return Parameterization(
        init=lambda key, shape: centre + noise * jax.random.normal(key, shape),
        image=lambda code, shape: code,
        code=lambda image: image,
    )


def fourier(*, decay: float = 1.0, noise: float = 0.01) -> Parameterization:
    """Fourier coefficients, each scaled by frequency^-decay: steps of one size make images with natural spectra.

    x = irfft2(g (a + ib)), g_f = max(f, 1 / max(height, width))^-decay, f in cycles a pixel, for each channel apart; g
    is scaled so that independent a, b of deviation s give an image of about deviation s.

    Args:
        decay: 1 for the spectrum of natural images.
        noise: deviation of the first coefficients, and about that of the first image.

    Returns:
        A parameterization of images `[height, width, channel]` of any size and number of channels; its code is two
        arrays `[height, width // 2 + 1, channel]`, real and imaginary parts.

    Raises:
        ValueError: decay or noise is negative; when used, the shape is not `[height, width, channel]`.

    Source: Olah, Mordvintsev and Schubert 2017, "Feature visualization", preconditioning and parameterization.
    """
    check_weight(decay, "decay")
    check_weight(noise, "noise")

    def init(key: Any, shape: Shape) -> tuple[Array, Array]:
        check_spatial(shape)
        real, imaginary = noise * jax.random.normal(key, (2, *half_spectrum(shape)))
        return real, imaginary

    def image(code: Any, shape: Shape) -> Array:
        real, imaginary = code
        gains = _gains(shape, decay, real.dtype)
        return jnp.fft.irfft2(jax.lax.complex(gains * real, gains * imaginary), s=shape[:2], axes=(0, 1), norm="ortho")

    def code(image: Array) -> tuple[Array, Array]:
        check_spatial(image.shape)
        spectrum = jnp.fft.rfft2(image, axes=(0, 1), norm="ortho") / _gains(image.shape, decay, image.dtype)
        return spectrum.real, spectrum.imag

    return Parameterization(init, image, code)


def decoder(
    decode: Callable[[Array], Array], code_shape: Sequence[int], *, penalty: Any = 0.0, noise: float = 1.0
) -> Parameterization:
    """The code z of a generator g: x = g(z), with the log density -penalty ||z||^2 added to the objective.

    Args:
        decode: `decode(code) -> image`, one at a time, its parameters fixed.
        code_shape: of z.
        penalty: weight of the squared norm; 1/2 for a code that was trained to be standard normal.
        noise: deviation of the first code.

    Raises:
        ValueError: penalty or noise is negative, or a size of the code is under 1.
        TypeError: decode is no function, or an argument of another kind.

    Source: Nguyen et al. 2016, equation 1; Montavon et al. 2018, section 3.3.
    """
    check_function(decode, "decode")
    if isinstance(code_shape, str) or not isinstance(code_shape, Sequence):
        raise TypeError(f"code_shape must be a sequence of sizes, got {code_shape!r}")
    for size in code_shape:
        check_integer(size, "code_shape")
    if any(size < 1 for size in code_shape):
        raise ValueError(f"code_shape must have positive sizes, got {tuple(code_shape)}")
    check_weight(penalty, "penalty")
    check_weight(noise, "noise")
    return Parameterization(
        init=lambda key, shape: noise * jax.random.normal(key, tuple(code_shape)),
        image=lambda code, shape: decode(code),
        log_prior=lambda code: -penalty * jnp.sum(jnp.square(code)),
    )


def bounded(inner: Parameterization, low: Any, high: Any) -> Parameterization:
    """Images strictly between two bounds: x = low + (high - low) / (1 + exp(-u)), u from another parameterization.

    Args:
        inner: gives u, of any values.
        low: one number, or one for each channel.
        high: the same, above low.

    Raises:
        TypeError: inner is no parameterization, or a bound no number.
        ValueError: low is not below high; when begun with an image, a value that is not strictly between them (the
            bounds themselves are at infinite u).
    """
    check_parameterization(inner, "inner")
    for name, bound in (("low", low), ("high", high)):
        _check_bound(bound, name)
    low, high = np.asarray(low, np.float32), np.asarray(high, np.float32)
    if low.ndim > 1 or high.ndim > 1 or not np.all(np.isfinite(low) & np.isfinite(high) & (low < high)):
        raise ValueError(f"low must be below high and both finite, got {low.tolist()} and {high.tolist()}")

    def bounds(shape: Shape) -> tuple[Array, Array]:
        return jnp.broadcast_to(low, shape), jnp.broadcast_to(high, shape)

    def image(code: Any, shape: Shape) -> Array:
        bottom, top = bounds(shape)
        return bottom + (top - bottom) * jax.nn.sigmoid(inner.image(code, shape))

    def code(image: Array) -> Any:
        bottom, top = bounds(image.shape)
        if is_concrete(image):
            values = np.asarray(image)
            outside = values.size - int(np.sum((values > low) & (values < high)))
            if outside:
                raise ValueError(
                    f"image must lie strictly between {low.tolist()} and {high.tolist()}, found {outside} values of "
                    f"{values.size} that do not, from {values.min()} to {values.max()}"
                )
        return _inverse(inner)(jax.scipy.special.logit((image - bottom) / (top - bottom)))

    return inner._replace(image=image, code=None if inner.code is None else code)


def _check_bound(bound: Any, argument: str) -> None:
    """Raise TypeError unless a bound is one real number or several, ValueError where one is not finite."""
    if not jnp.issubdtype(dtype_of(bound, argument), jnp.number) or jnp.iscomplexobj(np.asarray(bound)):
        raise TypeError(f"{argument} must be real numbers, got {bound!r}")
    check_finite(bound, argument)


def recoloured(inner: Parameterization, matrix: Any) -> Parameterization:
    """Images whose channels go together as in the user's own: x = M u at every pixel, u from another parameterization.

    Args:
        inner: gives u.
        matrix: `[channel, channel]`, from `colour_matrix`.

    Raises:
        ValueError: the matrix is not square, has no inverse or does not fit the image's channels.
        TypeError: inner is no parameterization, or the matrix not floating point.

    Source: Olah, Mordvintsev and Schubert 2017, "Feature visualization", preconditioning.
    """
    check_parameterization(inner, "inner")
    check_matrix(matrix)

    def init(key: Any, shape: Shape) -> Any:
        check_channels(shape, matrix)
        return inner.init(key, shape)

    return inner._replace(
        init=init,
        image=lambda code, shape: recolour(inner.image(code, shape), matrix),
        code=None if inner.code is None else lambda image: _inverse(inner)(decorrelated(image, matrix)),
    )


def masked(inner: Parameterization, mask: Any, image: Any) -> Parameterization:
    """One image in which only some places are free: x = u where the mask is True, the image elsewhere.

    Args:
        inner: gives u.
        mask: boolean, shaped like the image or like one channel of it.
        image: what stands still.

    Raises:
        TypeError: the mask is not boolean, or the image not floating point.
        ValueError: the mask does not fit the image, or hides all of it; when used, another shape is asked for.
    """
    check_parameterization(inner, "inner")
    check_image(image)
    mask, fixed = np.asarray(mask), jnp.asarray(image)
    if mask.dtype != bool:
        raise TypeError(f"mask must be boolean, got {mask.dtype}")
    if mask.shape not in (fixed.shape, fixed.shape[:-1]):
        raise ValueError(f"mask must be shaped like the image {fixed.shape} or one channel of it, got {mask.shape}")
    if not mask.any():
        raise ValueError(f"mask must leave something free, got {mask.size} places and none of them True")
    free = np.broadcast_to(mask.reshape(*mask.shape, *(1,) * (fixed.ndim - mask.ndim)), fixed.shape)

    def shown(code: Any, shape: Shape) -> Array:
        if shape != fixed.shape:
            raise ValueError(f"the masked image has shape {fixed.shape}, got {shape} to maximize")
        return jnp.where(free, inner.image(code, shape), fixed)

    return inner._replace(image=shown)


def check_parameterization(value: Any, argument: str) -> None:
    """Raise TypeError unless this is a Parameterization."""
    if not isinstance(value, Parameterization):
        raise TypeError(f"{argument} must be a Parameterization, got {type(value).__name__}")


def half_spectrum(shape: Shape) -> Shape:
    """The shape of `rfft2` of an image `[height, width, channel]`."""
    return (shape[0], shape[1] // 2 + 1, shape[2])


def check_spatial(shape: Shape) -> None:
    """Raise ValueError unless this is the shape of an image `[height, width, channel]`."""
    if len(shape) != 3:
        raise ValueError(f"a spectrum needs an image [height, width, channel], got shape {tuple(shape)}")


def _gains(shape: Shape, decay: float, dtype: Any) -> Array:
    """The scale of every coefficient, `[height, width // 2 + 1, channel]`."""
    height, width, _ = shape
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]
    gains = np.maximum(np.hypot(rows, columns), 1 / max(height, width)) ** -decay
    # Real and imaginary part together have twice the variance of one.
    gains /= math.sqrt(2 * np.mean(gains**2))
    return jnp.broadcast_to(jnp.asarray(gains[:, : width // 2 + 1, None], dtype), half_spectrum(shape))


def _inverse(inner: Parameterization) -> Callable[[Array], Any]:
    if inner.code is None:
        raise ValueError(NO_INVERSE)
    return inner.code
