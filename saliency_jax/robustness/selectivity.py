"""Selectivity: how fast the score falls, or rises, as the patches that a map ranks highest go, or come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from jaxtyping import ArrayLike

from saliency_jax.checks import check_finite_number
from saliency_jax.keys import named
from saliency_jax.robustness.balls import check_count
from saliency_jax.robustness.fills import broadcast_fill
from saliency_jax.robustness.measurement import (
    Subject,
    Variables,
    check_depends,
    explanation,
    map_of,
    measured,
    over_explainers,
    subject,
)
from saliency_jax.sanity.removal import RANKINGS, Ranking, check_ranking, removal_ranks
from saliency_jax.scores import Kind, class_score
from saliency_jax.tracing import compiled
from saliency_jax.tracing.memory import memory_to_use, peak_bytes
from saliency_jax.typing import Apply, Explainer, Images, Params, Score

Direction = Literal["deletion", "insertion"]
AT_ONCE = 256
"""The most images that go through the model together."""
TIES = "ties"


class _Settings(NamedTuple):
    patch: int
    direction: Direction
    ranking: Ranking
    patches_in_step: int


def selectivity(
    apply: Apply,
    params: Params,
    images: Images,
    targets: Any,
    explainers: Mapping[str, Explainer],
    *,
    key: Any,
    patch: int = 4,
    direction: Direction = "deletion",
    recompute: bool = False,
    fill: ArrayLike = 0.0,
    ranking: Ranking = "signed",
    patches_in_step: int = 1,
    image_range: tuple[float, float] | None = None,
    kind: Kind = "logit",
    batch_size: int | None = None,
) -> xr.Dataset:
    """The score of every image as its patches are removed, or put in, those of the highest relevance first.

    curve[k] = f(x without the k patches of the largest sum of R), k = 0, 1, ...; the area under it is the measure

    Under "deletion" the whole image comes first and a small area is good; under "insertion" it is the empty one, and a
    large area is. Patches of one pixel are pixel flipping. Give "noise" of `saliency_jax.EXPLAINERS` along, a random
    order: an explainer that does no better has found nothing. Altered images are of no kind that the model was trained
    on; `saliency_jax.sanity.roar` trains it anew.

    Where `recompute` is set, the altered image is explained again after each step, and ranks the patches that are left;
    otherwise the first map ranks them all. The paper can be read in both ways. Under "insertion" the map of what is
    there then ranks what is not: those that are multiplied by the image say nothing of black pixels. Ties are broken
    at random.

    Args:
        apply, params, images, targets, explainers, key: as in `lipschitz_estimate`. The logit is explained.
        patch: the side of the square patches, in pixels; those at the right and lower border can be smaller.
        direction: "deletion" or "insertion".
        recompute: whether every altered image is explained again.
        fill: what stands where a patch is not there: a number, one for each channel, one image, or an image for each,
            such as the blurred images. In units of the images.
        ranking: "signed" ranks a patch by the sum of its relevance, "absolute" by that of its absolute values.
        patches_in_step: how many go at once; the last step takes what is left.
        image_range: the least and the greatest value that a pixel can have, to have the images and the fill checked.
        kind: what of the logits is recorded, as in `class_score`.
        batch_size: images explained at once, as in `lipschitz_estimate`.

    Returns:
        A Dataset with `curve` (explainer, image, fraction), the score after each step, `fraction` being the share of
        the patches that are gone, or there, from 0 to 1; and `area` (explainer, image), that under the curve by the
        trapezoidal rule, in units of the score. NaN where a map on the way was not finite, since a NaN has no rank.

    Raises:
        ValueError: an argument is wrong, named with the rule and the value; one patch hides the whole image; or the
            score does not depend on the image.
        TypeError: images are not floating point, targets not integers.

    Source: Montavon, Samek and Mueller 2018, section 7.2, with patches of 4 pixels for digits; Bach et al. 2015 and
        Samek et al. 2017 for pixel flipping; Petsiuk, Das and Saenko 2018 for deletion and insertion.

    Cost: for each image and explainer patches / patches_in_step + 1 forward passes, and one explanation, or where it is
        recomputed as many.
    """
    of = subject(
        apply, params, images, targets, explainers, measure="selectivity", key=key, kind=kind, batch_size=batch_size
    )
    settings = _checked(of, patch, direction, ranking, patches_in_step)
    filled = broadcast_fill(fill, of.images)
    if image_range is not None:
        _check_range(of.images, "images", image_range)
        _check_range(filled, "fill", image_range)
    check_depends(of, filled, "all their patches are replaced by the fill")
    counts = steps_of(settings, of.images.shape)
    parts: dict[str, Variables] = {}
    for name, explain in of.explainers.items():
        if recompute:
            curve = measured(_recomputed, explain, settings, {"fill": filled}, of, draws=TIES)["curve"]
        else:
            logit = of._replace(kind="logit")
            maps = jnp.asarray(measured(explanation, explain, None, {}, logit, draws=TIES)["map"])
            curve = _curves_of(maps, of, settings, filled, counts)
        area = _area(curve, counts / counts[-1])
        parts[name] = {"curve": (("image", "fraction"), curve), "area": (("image",), area)}
    coords = {"image": range(len(of.images)), "fraction": counts / counts[-1]}
    attrs = {"measure": "selectivity", "recompute": int(recompute), "kind": kind, **settings._asdict()}
    return over_explainers(parts, coords, attrs)


def _checked(of: Subject, patch: int, direction: Direction, ranking: Ranking, patches_in_step: int) -> _Settings:
    check_count(patch, "patch", 1)
    check_count(patches_in_step, "patches_in_step", 1)
    check_ranking(ranking)
    if direction not in ("deletion", "insertion"):
        raise ValueError(f"direction must be 'deletion' or 'insertion', got {direction!r}")
    height, width = of.images.shape[1:3]
    if patch >= max(height, width):
        raise ValueError(
            f"patch must be smaller than the image of {height} x {width} pixels, which one patch of {patch} hides whole"
        )
    return _Settings(int(patch), direction, ranking, int(patches_in_step))


def _check_range(values: Array, argument: str, image_range: tuple[float, float]) -> None:
    if not isinstance(image_range, Sequence) or len(image_range) != 2:
        raise ValueError(f"image_range must be two numbers, the lower first, got {image_range!r}")
    low, high = image_range
    for end in image_range:
        check_finite_number(end, "image_range")
    least, most = float(values.min()), float(values.max())
    if not low < high or least < low or most > high:
        raise ValueError(f"{argument} must lie in image_range {image_range!r}, found values {least:g} to {most:g}")


def steps_of(settings: _Settings, shape: tuple[int, ...]) -> np.ndarray:
    """How many patches are gone, or there, after each step, from 0 to all."""
    patches = (-(-shape[1] // settings.patch)) * (-(-shape[2] // settings.patch))
    return np.append(np.arange(0, patches, settings.patches_in_step), patches)


def patch_sums(maps: Array, patch: int, ranking: Ranking) -> Array:
    """What ranks each patch of maps `[batch, height, width, channel]`: `[batch, down, right]`."""
    relevance = RANKINGS[ranking](maps)
    count, height, width = relevance.shape
    padded = jnp.pad(relevance, ((0, 0), (0, -height % patch), (0, -width % patch)))
    down, right = padded.shape[1] // patch, padded.shape[2] // patch
    return padded.reshape(count, down, patch, right, patch).sum(axis=(2, 4))


def altered(image: Array, hidden: Array, fill: Array, patch: int) -> Array:
    """An image whose hidden patches `[down, right]` are replaced by the fill."""
    pixels = jnp.repeat(jnp.repeat(hidden, patch, axis=0), patch, axis=1)[: image.shape[0], : image.shape[1]]
    return jnp.where(pixels[..., None], fill, image)


def _curves_of(maps: Array, of: Subject, settings: _Settings, fill: Array, counts: np.ndarray) -> np.ndarray:
    """The curves of maps that rank all patches at once."""
    structure = jax.tree.structure(of.params)
    leaves = tuple(jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x)) for x in jax.tree.leaves(of.params))
    image = jax.ShapeDtypeStruct(of.images.shape[1:], of.images.dtype)
    return np.asarray(
        _curves(
            of.params,
            (of.images, of.targets, fill),
            maps,
            named(of.key, TIES),
            jnp.asarray(counts),
            apply=of.apply,
            kind=of.kind,
            settings=settings,
            at_once=_forward_at_once(of.apply, of.kind, structure, leaves, image),
        )
    )


@lru_cache(maxsize=256)
def _forward_at_once(apply: Apply, kind: Kind, structure: Any, leaves: tuple, image: Any) -> int:
    def forward(params: Params, image: Array) -> Array:
        return class_score(apply, params, 0, kind=kind)(image)

    one = peak_bytes(forward, jax.tree.unflatten(structure, leaves), image)
    return max(1, min(memory_to_use() // max(one, 1), AT_ONCE))


@partial(compiled, static_argnames=("apply", "kind", "settings", "at_once"))
def _curves(
    params: Params,
    items: tuple[Array, Array, Array],
    maps: Array,
    key: Any,
    counts: Array,
    *,
    apply: Apply,
    kind: Kind,
    settings: _Settings,
    at_once: int,
) -> Array:
    images, targets, fill = items
    ranks = removal_ranks(patch_sums(maps, settings.patch, settings.ranking)[..., None], ranking="signed", key=key)
    total = len(images) * len(counts)
    chunks = -(-total // at_once)
    size = -(-total // chunks)

    def score(place: Array) -> Array:
        i, step = place // len(counts), place % len(counts)
        hidden = ranks[i] < counts[step] if settings.direction == "deletion" else ranks[i] >= counts[step]
        image = altered(images[i], hidden, fill[i], settings.patch)
        return class_score(apply, params, targets[i], kind=kind)(image)

    # Images and steps are one long list: few images fill a batch with their steps, and many with each other.
    places = jnp.minimum(jnp.arange(chunks * size), total - 1).reshape(chunks, size)
    curves = jax.lax.map(jax.vmap(score), places).reshape(-1)[:total].reshape(len(images), len(counts))
    ranked = jnp.isfinite(maps).all(axis=(1, 2, 3))
    return jnp.where(ranked[:, None], curves, jnp.nan)


def _recomputed(explain: Explainer, score: Any, image: Array, keys: Any, settings: _Settings, numbers: Any) -> Any:
    """The curve of one image that is explained again after each step."""
    logit: Score = class_score(score.apply, score.params, score.target)
    counts = steps_of(settings, (1, *image.shape))
    grid = tuple(-(-size // settings.patch) for size in image.shape[:2])
    ties = jax.random.permutation(keys[1], counts[-1])
    deleting = settings.direction == "deletion"

    def picture(taken: Array) -> Array:
        hidden = (taken if deleting else ~taken).reshape(grid)
        return altered(image, hidden, numbers["fill"], settings.patch)

    def step(state: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
        taken, broken = state
        now = picture(taken)
        found = map_of(explain, logit, now, keys[0])
        relevance = patch_sums(found[None], settings.patch, settings.ranking).ravel()
        recorded = jnp.where(broken, jnp.nan, score(now))
        order = jnp.lexsort((ties, jnp.where(taken, jnp.inf, -relevance)))
        taken = taken.at[order[: settings.patches_in_step]].set(True)
        return (taken, broken | ~jnp.isfinite(found).all()), recorded

    start = (jnp.zeros(counts[-1], bool), jnp.zeros((), bool))
    (taken, broken), recorded = jax.lax.scan(step, start, None, length=len(counts) - 1)
    last = jnp.where(broken, jnp.nan, score(picture(taken)))
    return {"curve": jnp.append(recorded, last)}


def _area(curve: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    curve = curve.astype(np.float64)
    return (np.diff(fraction) * (curve[:, 1:] + curve[:, :-1]) / 2).sum(axis=1)
