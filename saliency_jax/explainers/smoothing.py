"""SmoothGrad, its square and VarGrad: statistics of any explainer's maps over noisy copies of the image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from saliency_jax.checks import check_finite_number, check_function, check_image, check_integer, check_key, check_map
from saliency_jax.explainers.chunks import fold_chunks
from saliency_jax.keys import named
from saliency_jax.typing import Explainer, Image, Map, Score


class Moments(NamedTuple):
    """The running mean of maps and the sum of their squared deviations from it, over so many samples."""

    samples: Array
    mean: Array
    deviations: Array


def smoothgrad(explain: Explainer, *, samples: int = 50, noise: float = 0.15, at_once: int | None = None) -> Explainer:
    """An explainer averaged over noisy copies of the image: R = mean_i explain(x + e_i), e_i ~ N(0, s^2).

    The standard deviation is a fraction of the image's range, s = noise * (max x - min x): a constant image has no
    range, gets no noise, and its map is the plain explainer's.

    Args:
        explain: the explainer to smooth, `explain(score, image, key=None) -> map`.
        samples: how many noisy copies.
        noise: s as a fraction of the image's range.
        at_once: how many copies are explained together; more is faster on an accelerator and takes more memory.

    Returns:
        An explainer that needs a key. Sample i draws from `fold_in(key, i)`, whatever the chunks.

    Raises:
        ValueError: samples or at_once is under 1, noise is negative; when called, the key is None.

    Source: Smilkov et al. 2017, equation 1; without absolute values, as the notebooks of Adebayo et al. 2018 call it.
    """
    return OverNoise(explain, _mean, "smoothgrad", samples, noise, at_once)


def smoothgrad_squared(
    explain: Explainer, *, samples: int = 50, noise: float = 0.15, at_once: int | None = None
) -> Explainer:
    """The mean of an explainer's squared maps over noisy copies of the image: R = mean_i explain(x + e_i)^2.

    Args, Returns, Raises: as `smoothgrad`.

    Source: Hooker et al. 2019, section 4.1.
    """
    return OverNoise(explain, _mean_square, "smoothgrad_squared", samples, noise, at_once)


def vargrad(explain: Explainer, *, samples: int = 50, noise: float = 0.15, at_once: int | None = None) -> Explainer:
    """The variance of an explainer's maps over noisy copies of the image: R = mean_i (explain(x + e_i) - mean)^2.

    The deviations are taken from the running mean, so that equal maps (those of a linear model) give exactly 0.

    Args, Returns, Raises: as `smoothgrad`.

    Source: Adebayo et al. 2018 (workshop), "Local explanation methods for deep neural networks lack sensitivity to
    parameter values", section 2.
    """
    return OverNoise(explain, _variance, "vargrad", samples, noise, at_once)


@dataclass(frozen=True)
class OverNoise:
    """What the wrappers return: an explainer that says what it is made of, so that others can share its noisy copies.

    Attributes:
        explain, samples, noise, at_once: as the arguments of `smoothgrad`.
        summary: the map from the moments of the copies' maps.
        name: of the wrapper, for its errors.
    """

    explain: Explainer
    summary: Callable[[Moments], Array]
    name: str
    samples: int
    noise: float
    at_once: int | None

    def __post_init__(self) -> None:
        check_function(self.explain, "explain")
        check_integer(self.samples, "samples")
        check_finite_number(self.noise, "noise")
        if self.samples < 1:
            raise ValueError(f"samples must be at least 1, got {self.samples}")
        if self.noise < 0:
            raise ValueError(f"noise must be a fraction of the image's range and not negative, got {self.noise}")
        if self.at_once is not None:
            check_integer(self.at_once, "at_once")
            if self.at_once < 1:
                raise ValueError(f"at_once must be at least 1, got {self.at_once}")

    def __call__(self, score: Score, image: Image, key: Any = None) -> Map:
        """The statistic for one image."""
        check_image(image)
        check_key(key, self.name)
        image = jnp.asarray(image)
        [moments] = moments_of_maps(self, [self.samples], score, image, key)
        return self.summary(moments)


def moments_of_maps(
    over: OverNoise, counts: Sequence[int], score: Score, image: Array, key: Any
) -> tuple[Moments, ...]:
    """The moments of the maps of the first counts[0], counts[1], ... noisy copies: counts rise.

    Cost: explanations of the last count of copies.
    """
    scale = over.noise * (jnp.max(image) - jnp.min(image))

    def explain_sample(i: Array) -> Array:
        sample_key = jax.random.fold_in(key, i)
        draw = jax.random.normal(sample_key, image.shape, image.dtype)
        found = over.explain(score, image + scale * draw, named(sample_key, "explain"))
        check_map(found, image)
        return found

    zeros = jnp.zeros_like(image)
    moments = Moments(jnp.zeros((), image.dtype), zeros, zeros)
    found = []
    for first, last in pairwise((0, *counts)):

        def add_chunk(moments: Moments, indices: Array, valid: Array, first: int = first) -> Moments:
            return _merged(moments, jax.vmap(explain_sample)(first + indices), valid)

        moments = fold_chunks(add_chunk, moments, last - first, at_once=over.at_once)
        found.append(moments)
    return tuple(found)


def _mean(moments: Moments) -> Array:
    return moments.mean


def _mean_square(moments: Moments) -> Array:
    return jnp.square(moments.mean) + moments.deviations / moments.samples


def _variance(moments: Moments) -> Array:
    return moments.deviations / moments.samples


def _merged(moments: Moments, maps: Array, valid: Array) -> Moments:
    """The moments with a chunk of maps added (Chan, Golub and LeVeque 1983, equation 2.1): equal maps stay exact."""
    weights = valid.astype(maps.dtype).reshape(-1, *(1,) * (maps.ndim - 1))
    count = jnp.sum(weights)
    mean = maps[0] + jnp.sum(weights * (maps - maps[:1]), axis=0) / count
    deviations = jnp.sum(weights * jnp.square(maps - mean[None]), axis=0)
    total = moments.samples + count
    # The first chunk is taken over whole: there is no running mean yet to correct.
    first = moments.samples == 0
    shift = jnp.where(first, 0, mean - moments.mean)
    return Moments(
        total,
        jnp.where(first, mean, moments.mean + shift * count / total),
        moments.deviations + deviations + jnp.square(shift) * moments.samples * count / total,
    )
