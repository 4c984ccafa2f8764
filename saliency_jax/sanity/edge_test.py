"""How much of a map is an edge detector: its similarity to the edges of the image, beside those of another image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from jax.sharding import Mesh

from saliency_jax.explainers import edges
from saliency_jax.keys import named
from saliency_jax.sanity.comparisons import of_explainers, one_model
from saliency_jax.sanity.nulls import null_partners
from saliency_jax.typing import Apply, Explainer, Images, Metric, Params

EDGES = "edges"


def edge_similarity(
    apply: Apply,
    params: Params,
    images: Images,
    targets: Any,
    explainers: Mapping[str, Explainer],
    *,
    key: Any,
    metrics: Mapping[str, Metric] | None = None,
    batch_size: int | None = None,
    mesh: Mesh | None = None,
) -> xr.Dataset:
    """Compare every explainer's maps with the Sobel edges of the same image, and of another one.

    similarity[e, m, 0, 0, i] = metric_m(edges(x_i), explain_e(f, x_i)), null["other_image"][e, m, i] =
    metric_m(edges(x_j), explain_e(f, x_i)), j another image. All images of a data set may have their edges in the same
    places, as centred digits do: only what the first is above the second says something of this image's edges.

    Cost: images explanations for each explainer.

    Args:
        apply: the model, `apply(params, images) -> logits`.
        params: its parameters: compare those of a trained and of a random model.
        images: `[batch, height, width, channel]`, in the units that the model takes.
        targets: the class to explain for each image, `[batch]` integers.
        explainers: name -> explainer.
        key: a JAX key.
        metrics: name -> similarity of two maps; those of `parameter_randomization` where None. Edges have no sign: the
            absolute ones are those to read.
        batch_size: images explained at once on each device; see `batched`.
        mesh: devices to share the images among; see `batched`.

    Returns:
        A Dataset with `similarity` (explainer, metric, stage, seed, image), the one stage being "edges" and the one
        seed 0, and `null` (null_kind, explainer, metric, image): the map against another image's edges, the edges'
        pixels shuffled, noise, and itself.

    Raises:
        ValueError: an argument is wrong.
        TypeError: images are not floating point, targets not integers.

    Source: the edge detector of Adebayo et al. 2018, figures 1 and 37, which are pictures without a number.
    """
    sweep = one_model(
        apply,
        params,
        images,
        targets,
        explainers,
        test="edge_similarity",
        situation=EDGES,
        key=key,
        metrics=metrics,
        batch_size=batch_size,
        mesh=mesh,
    )
    of_images = jax.jit(jax.vmap(lambda image: edges(_no_score, image)))(sweep.images)
    partners = null_partners(of_images, named(key, "null"))

    def compared(maps: Array) -> xr.Dataset:
        found = sweep.compare(of_images, maps)
        nulls = {kind: sweep.compare(partner, maps).scores for kind, partner in partners.items()}
        nulls["itself"] = sweep.compare(maps, maps).scores
        scores = np.stack([np.asarray(null, np.float32) for null in nulls.values()])
        of_maps = xr.Dataset(
            {
                "similarity": (("metric", "image"), np.asarray(found.scores, np.float32)),
                "constant_maps": ((), np.int32(found.constant)),
                "nonfinite_maps": ((), np.int32(found.nonfinite)),
            }
        )
        of_nulls = xr.Dataset({"null": (("null_kind", "metric", "image"), scores)})
        names = {"metric": list(sweep.metrics), "null_kind": list(nulls), "stage": [EDGES]}
        return of_maps.expand_dims(["stage", "seed"]).merge(of_nulls).assign_coords(names)

    parts = {name: compared(sweep.explain(name)(sweep.params, sweep.targets)) for name in explainers}
    return of_explainers(parts, seeds=(0,), images=len(sweep.images), test="edge_similarity")


def _no_score(image: Array) -> Array:
    """Edges ask for a score and do not look at it."""
    return jnp.zeros((), image.dtype)
