"""The input invariance test: two models of one function, the second of which sees every image shifted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from jax.sharding import Mesh
from jaxtyping import ArrayLike

from saliency_jax.explainers.baseline import broadcast_baseline
from saliency_jax.sanity.comparisons import compare_situations, of_explainers, one_model
from saliency_jax.scores import logits_of
from saliency_jax.tracing import compiled
from saliency_jax.typing import Apply, Explainer, Images, Metric, Params

SHIFTED = "shifted_input"


def shifted_model(apply: Apply, shift: ArrayLike) -> Apply:
    """The model that gives for image + shift what `apply` gives for the image: `apply(params, images - shift)`.

    For a model whose first layer is W x + b it is the one with the bias b - W shift, as a function of the image. As a
    program it is not: it takes the shift off before the first layer.

    Args:
        apply: the model.
        shift: a number or one image, in the images' units.
    """

    def shifted(params: Params, images: Any) -> Array:
        return apply(params, images - jnp.broadcast_to(jnp.asarray(shift, images.dtype), images.shape))

    return shifted


def input_invariance(
    apply: Apply,
    params: Params,
    images: Images,
    targets: Any,
    explainers: Mapping[str, Explainer],
    *,
    shift: ArrayLike,
    key: Any,
    shifted_explainers: Mapping[str, Explainer] | None = None,
    shifted: tuple[Apply, Params] | None = None,
    metrics: Mapping[str, Metric] | None = None,
    batch_size: int | None = None,
    mesh: Mesh | None = None,
) -> xr.Dataset:
    """Compare every explainer's map of an image with its map of the shifted image by the model that undoes the shift.

    similarity[e, m, 0, 0, i] = metric_m(explain_e(f, x_i), explain_e(g, x_i + shift)), g(x) = f(x - shift).

    f and g give the same logits, and their gradients are the same; what changes in a map comes from the explainer's
    own reference point, as in gradient x input. An explainer that looks into the model's layers, such as LRP, sees the
    same input to the first layer in both, since g takes the shift off before it: to put it to the test give in
    `shifted` the model whose first bias makes up for the shift.

    Cost: 2 * images explanations for each explainer.

    Args:
        apply: the model f, `apply(params, images) -> logits`.
        params: its parameters.
        images: `[batch, height, width, channel]`, in the units that the model takes.
        targets: the class to explain for each image, `[batch]` integers.
        explainers: name -> explainer.
        shift: what is added to every image, a number or one image, in the images' units.
        key: a JAX key for explainers that draw; both models' maps share the noise.
        shifted_explainers: name -> what explains g in its stead, such as integrated gradients from a baseline that is
            shifted as well.
        shifted: (apply, params) of another g, such as f with another first bias; `shifted_model(apply, shift)` with
            params where None.
        metrics: name -> similarity of two maps; those of `parameter_randomization` where None.
        batch_size: images explained at once on each device; see `batched`.
        mesh: devices to share the images among; see `batched`.

    Returns:
        A Dataset with `similarity` (explainer, metric, stage, seed, image), the one stage being "shifted_input" and
        the one seed 0; `largest_difference` (explainer, stage, seed, image): max |difference of the maps| over the
        largest magnitude of the first, NaN where that is 0; `null`, `constant_maps` and `nonfinite_maps` as in
        `parameter_randomization`; `logit_difference` (image): the largest difference of the two models' logits, which
        is what x + shift - shift rounds, and more only where `shifted` is not the same function.

    Raises:
        ValueError: an argument is wrong, the shift does not fit the images, or shifted_explainers have a name that
            explainers have not.
        TypeError: images are not floating point, targets not integers.

    Source: Kindermans et al. 2017, "The (un)reliability of saliency methods", section 2.
    """
    sweep = one_model(
        apply,
        params,
        images,
        targets,
        explainers,
        test="input_invariance",
        situation=SHIFTED,
        key=key,
        metrics=metrics,
        batch_size=batch_size,
        mesh=mesh,
    )
    instead = dict(shifted_explainers or {})
    if unknown := sorted(instead.keys() - explainers.keys()):
        raise ValueError(f"shifted_explainers must have names of explainers {sorted(explainers)}, got {unknown}")
    moved = sweep.images + broadcast_baseline(shift, sweep.images[0], "shift")[None]
    model, weights = (shifted_model(apply, shift), sweep.params) if shifted is None else shifted
    other = sweep._replace(apply=model, params=weights, images=moved, explainers={**explainers, **instead})
    parts = {}
    for name in explainers:
        explain, explain_shifted = sweep.explain(name), other.explain(name)
        maps, moved_maps = explain(sweep.params, sweep.targets), explain_shifted(other.params, other.targets)
        difference = np.asarray(_largest_difference(maps, moved_maps))[None, None]
        parts[name] = compare_situations(sweep, maps, [moved_maps]).assign(
            largest_difference=(("stage", "seed", "image"), difference)
        )
    found = of_explainers(parts, seeds=sweep.seeds, images=len(moved), test="input_invariance")
    logits = [compiled(lambda p, x, f=s.apply: logits_of(f, p, x))(s.params, s.images) for s in (sweep, other)]
    return found.assign(logit_difference=("image", np.abs(np.asarray(logits[0] - logits[1])).max(axis=1)))


@jax.jit
def _largest_difference(a: Array, b: Array) -> Array:
    """max|a - b| / max|a| of each pair of maps."""
    axes = tuple(range(1, a.ndim))
    return jnp.abs(a - b).max(axis=axes) / jnp.abs(a).max(axis=axes)
