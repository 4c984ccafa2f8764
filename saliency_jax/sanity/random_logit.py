"""The random logit test: does a map change with the class that is explained?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from jax.sharding import Mesh

from saliency_jax.keys import named, numbered
from saliency_jax.sanity.comparisons import compare_situations, of_explainers, one_model
from saliency_jax.scores import class_count
from saliency_jax.typing import Apply, Explainer, Images, Metric, Params

OTHER_CLASS = "other_class"


def random_logit(
    apply: Apply,
    params: Params,
    images: Images,
    targets: Any,
    explainers: Mapping[str, Explainer],
    *,
    key: Any,
    metrics: Mapping[str, Metric] | None = None,
    seeds: int | Sequence[int] = 1,
    batch_size: int | None = None,
    mesh: Mesh | None = None,
) -> xr.Dataset:
    """Compare every explainer's map of the target class with its map of another class of the same image.

    similarity[e, m, 0, k, i] = metric_m(explain_e(f_t, image_i), explain_e(f_r, image_i)), t = target_i, r = r_ki drawn
    uniformly among the other classes. An explainer whose map stays the same does not say what speaks for its class.

    Cost: (1 + seeds) * images explanations for each explainer.

    Args:
        apply: the model, `apply(params, images) -> logits`; the number of classes is read from it.
        params: its trained parameters.
        images: `[batch, height, width, channel]`, in the units that the model takes.
        targets: the class to explain for each image, `[batch]` integers.
        explainers: name -> explainer.
        key: a JAX key; the other class of image i in seed k depends on the key, k and i alone.
        metrics: name -> similarity of two maps; those of `parameter_randomization` where None.
        seeds: how many other classes are drawn for each image, or the numbers of the draws.
        batch_size: images explained at once on each device; see `batched`.
        mesh: devices to share the images among; see `batched`.

    Returns:
        A Dataset with `similarity` (explainer, metric, stage, seed, image), the one stage being "other_class",
        `null`, `constant_maps` and `nonfinite_maps` as in `parameter_randomization`; `targets` (image) and
        `explained_class` (stage, seed, image).

    Raises:
        ValueError: an argument is wrong, or the model has but one class.
        TypeError: images are not floating point, targets not integers.

    Source: Sixt, Granz and Landgraf 2020, "When explanations lie", section 5.
    """
    sweep = one_model(
        apply,
        params,
        images,
        targets,
        explainers,
        test="random_logit",
        situation=OTHER_CLASS,
        key=key,
        metrics=metrics,
        seeds=seeds,
        batch_size=batch_size,
        mesh=mesh,
    )
    classes = class_count(apply, params, sweep.images)
    others = [
        other_classes(sweep.targets, classes, jax.random.fold_in(named(key, OTHER_CLASS), s)) for s in sweep.seeds
    ]
    parts = {}
    for name in explainers:
        explain = sweep.explain(name)
        reference, *maps = (explain(sweep.params, classes) for classes in (sweep.targets, *others))
        parts[name] = compare_situations(sweep, reference, maps)
    found = of_explainers(parts, seeds=sweep.seeds, images=len(sweep.images), test="random_logit")
    return found.assign(
        targets=("image", np.asarray(sweep.targets)),
        explained_class=(("stage", "seed", "image"), np.asarray(others)[None]),
    )


def other_classes(targets: Array, classes: int, key: Any) -> Array:
    """For each target a class drawn uniformly among all others, `[batch]`; that of image i by `fold_in(key, i)`.

    Raises:
        ValueError: there is but one class.
    """
    if classes < 2:
        raise ValueError(f"the model must have at least two classes to draw another one, got {classes}")
    # A turn of 1 to classes - 1 places among the classes reaches every other one, and never the same.
    turns = jax.vmap(lambda k: jax.random.randint(k, (), 1, classes))(numbered(key, len(targets)))
    return jnp.asarray((targets + turns) % classes, targets.dtype)
