"""Several explainers of one image at once: what they have in common is computed once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from saliency_jax.checks import check_function, check_image, check_key
from saliency_jax.explainers.smoothing import OverNoise, moments_of_maps
from saliency_jax.typing import Explainer, Image, Map, Score


def together(explainers: Mapping[str, Explainer]) -> Callable[..., dict[str, Map]]:
    """Explainers by name as one function `explain_all(score, image, key=None) -> {name: map}`.

    SmoothGrad, SmoothGrad-squared and VarGrad of the same explainer and noise are made from the same gradients, those
    of the largest number of samples among them; alone each draws the very same copies from the same key. Gradients and
    passes that explainers have in common outside of a loop (gradient x input and the gradient; guided Grad-CAM, guided
    backpropagation and Grad-CAM) are one computation where the function is compiled as a whole, as `batched` does:

        maps = batched(together(EXPLAINERS), model.apply)(params, images, targets, key)
        maps["vargrad"]

    Args:
        explainers: name -> explainer.

    Returns:
        The function; its maps are in the order of the explainers, each what its explainer gives to rounding.

    Raises:
        TypeError: explainers is no mapping from names to functions.
        ValueError: it is empty; when called, what the explainers raise.

    Cost: one program for all: the memory is that of the explainer that needs the most, the compile time the sum.
    """
    if not isinstance(explainers, Mapping):
        raise TypeError(f"explainers must be a mapping from names to functions, got {type(explainers).__name__}")
    if not explainers:
        raise ValueError("explainers must name at least one function, got none")
    for explain in explainers.values():
        check_function(explain, "explainers")
    families = list(families_of(explainers).values())

    def explain_all(score: Score, image: Image, key: Any = None) -> dict[str, Map]:
        found: dict[str, Map] = {}
        for family in families:
            found |= _explain_family(family, score, image, key)
        return {name: found[name] for name in explainers}

    return explain_all


def families_of(explainers: Mapping[str, Explainer]) -> dict[Any, dict[str, Explainer]]:
    """The explainers in groups, in order of their first: those over the same noise together, every other by itself."""
    families: dict[Any, dict[str, Explainer]] = {}
    for name, explain in explainers.items():
        # By identity: an explainer that holds arrays has no hash.
        shared = (id(explain.explain), explain.noise, explain.at_once) if isinstance(explain, OverNoise) else name
        families.setdefault(shared, {})[name] = explain
    return families


def _explain_family(family: Mapping[str, Explainer], score: Score, image: Image, key: Any) -> dict[str, Map]:
    statistics = {name: explain for name, explain in family.items() if isinstance(explain, OverNoise)}
    if len(statistics) < 2:
        return {name: explain(score, image, key) for name, explain in family.items()}
    check_image(image)
    first = next(iter(statistics.values()))
    check_key(key, first.name)
    counts = sorted({statistic.samples for statistic in statistics.values()})
    moments = dict(zip(counts, moments_of_maps(first, counts, score, jnp.asarray(image), key), strict=True))
    return {name: statistic.summary(moments[statistic.samples]) for name, statistic in statistics.items()}
