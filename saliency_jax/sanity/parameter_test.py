"""The model parameter randomization test: what an explainer's maps do when the weights are replaced by noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr
from jax.sharding import Mesh

from saliency_jax.checks import check_images
from saliency_jax.sanity.protocols import Protocol, find_protocol, metrics_for
from saliency_jax.sanity.random_models import random_models
from saliency_jax.sanity.randomization import Order
from saliency_jax.sanity.sweep import Progress, run
from saliency_jax.tracing.layers import Layer
from saliency_jax.typing import Apply, Explainer, Images, Init, Metric, Params


def parameter_randomization(
    apply: Apply,
    params: Params,
    init: Init,
    images: Images,
    targets: Any,
    explainers: Mapping[str, Explainer],
    *,
    key: Any,
    order: Order = "top_down",
    metrics: Mapping[str, Metric] | None = None,
    seeds: int | Sequence[int] = 5,
    protocol: str | Protocol = "paper",
    layers: Sequence[Layer] | None = None,
    evaluation: tuple[Any, Any] | None = None,
    kept_images: int = 4,
    batch_size: int | None = None,
    mesh: Mesh | None = None,
    folder: Path | str | None = None,
    progress: Progress = lambda name, done, total: None,
) -> xr.Dataset:
    """Compare every explainer's maps of the trained model with its maps of models with random layers.

    similarity[e, m, s, k, i] = metric_m(explain_e(trained, image_i), explain_e(stage s of seed k, image_i)).

    Every stage of every seed draws fresh weights. Explainers that draw noise draw the same for every model, so that
    only the weights differ. An explainer is compiled once for the whole test, and the metrics once for all explainers.

    Cost: (1 + stages * seeds) * images explanations for each explainer.

    Args:
        apply: the model, `apply(params, images) -> logits`.
        params: its trained parameters.
        init: its initializer, `init(key) -> params`; the protocol decides whether it is used.
        images: `[batch, height, width, channel]`, in the units that the model takes.
        targets: the class to explain for each image, `[batch]` integers: its label, or what the model predicts.
        explainers: name -> explainer, such as `saliency_jax.EXPLAINERS` or a part of it.
        key: a JAX key; everything that is drawn comes from it, by name.
        order: "top_down" (the paper's cascade), "bottom_up", or "independent" (one layer at a time).
        metrics: name -> similarity of two maps; where None the protocol's, without HOG on images of under 48 pixels.
        seeds: how many random models, or their numbers; the results of one seed do not depend on the others.
        protocol: "paper", "released_code", or a Protocol.
        layers: what to randomize, in execution order; `saliency_jax.layers` of the model where None.
        evaluation: (images, labels) on which each model's accuracy and logits are reported; (images, targets) where
            None.
        kept_images: the maps of this many first images are kept for pictures, of the first seed.
        batch_size: images explained at once on each device; see `batched`.
        mesh: devices to share the images among; see `batched`.
        folder: where finished parts are kept. A run that was broken off goes on from them; a folder of another
            configuration is refused.
        progress: called as `progress(name, done, total)` after each part.

    Returns:
        A Dataset with the variables
        `similarity` (explainer, metric, stage, seed, image): NaN where a metric is not defined, as for a constant map;
        `null` (null_kind, explainer, metric, image): the trained model's maps against another image's map, against
        themselves with the pixels shuffled, against noise, and against themselves as they are;
        `constant_maps`, `nonfinite_maps` (explainer, stage, seed): how many of the images' maps were constant, or
        held a NaN or infinite value;
        `accuracy`, `logit_low`, `logit_high`, `logit_spread` (model, seed), model being "trained" or a stage;
        `explained_class` (stage, seed, image);
        `maps` (explainer, model, kept_image, height, width, channel), the `images` they explain, and `targets`.

    Raises:
        ValueError: an argument is wrong, named with the rule and the value; or the folder is of another run.
        TypeError: images are not floating point, targets not integers.

    Source: Adebayo et al. 2018, sections 3 and 4.
    """
    protocol = find_protocol(protocol)
    check_images(images)
    sweep, configuration = random_models(
        apply,
        params,
        init,
        images,
        targets,
        explainers,
        test="parameter_randomization",
        key=key,
        order=order,
        metrics=metrics_for(protocol, *images.shape[1:3]) if metrics is None else metrics,
        seeds=seeds,
        protocol=protocol,
        layers=layers,
        evaluation=evaluation,
        kept_images=kept_images,
        batch_size=batch_size,
        mesh=mesh,
    )
    return run(sweep, configuration, folder=folder, progress=progress).assign_attrs(
        test="parameter_randomization",
        protocol=protocol.name,
        order=order,
        explained_class=protocol.explained_class,
    )
