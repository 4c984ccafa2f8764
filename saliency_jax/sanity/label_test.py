"""The data randomization test: an explainer's maps of a model of the true labels and of one of permuted labels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.sharding import Mesh

from saliency_jax.checks import check_images, check_key, check_number, check_targets
from saliency_jax.sanity.fingerprint import digest
from saliency_jax.sanity.protocols import PROTOCOLS, ExplainedClass, metrics_for
from saliency_jax.sanity.sweep import Progress, checked_sweep, run
from saliency_jax.scores import logits_of
from saliency_jax.tracing import compiled
from saliency_jax.tracing.layers import same_structure
from saliency_jax.typing import Apply, Explainer, Images, Metric, Params

PERMUTED = "permuted_labels"
LEAST_FITTED = 0.95
"""The training accuracy that the paper asks of the model of permuted labels."""
DEVIATIONS = 5.0
"""How many standard deviations from its mean a share may lie that is said to be at chance."""


class Fit(NamedTuple):
    """What both models were trained on, and test images, to show what each of them has learned.

    Attributes:
        images: the training images, `[n, height, width, channel]`.
        labels: their true classes, `[n]`.
        permuted: the classes that the other model was trained on, `[n]`.
        test_images, test_labels: images that neither has seen, and their true classes.
    """

    images: Images
    labels: Any
    permuted: Any
    test_images: Images
    test_labels: Any


def permuted_labels(labels: Any, key: Any) -> jax.Array:
    """The same labels in random order: as many of each class, and nothing left to learn but by heart.

    Args:
        labels: `[n]` integer classes.
        key: a JAX key.
    """
    check_key(key, "permuted_labels")
    labels = jnp.asarray(labels)
    check_targets(labels, batch=labels.size, classes=int(labels.max(initial=0)) + 1, argument="labels")
    return jax.random.permutation(key, labels)


def data_randomization(
    apply: Apply,
    true_params: Params,
    random_params: Params,
    images: Images,
    targets: Any,
    explainers: Mapping[str, Explainer],
    *,
    key: Any,
    metrics: Mapping[str, Metric] | None = None,
    fit: Fit | None = None,
    least_fitted: float = LEAST_FITTED,
    explained_class: ExplainedClass = "original",
    evaluation: tuple[Any, Any] | None = None,
    kept_images: int = 4,
    batch_size: int | None = None,
    mesh: Mesh | None = None,
    folder: Path | str | None = None,
    progress: Progress = lambda name, done, total: None,
) -> xr.Dataset:
    """Compare every explainer's maps of a model of the true labels with those of a model of permuted labels.

    similarity[e, m, 0, 0, i] = metric_m(explain_e(true model, image_i), explain_e(permuted labels' model, image_i)).

    The second model has the weights of a trained one and knows nothing of how images and classes belong together: an
    explainer whose maps stay the same does not show what the first model has learned of that.

    Args:
        apply: the model, `apply(params, images) -> logits`.
        true_params: its parameters, trained on the true labels.
        random_params: its parameters, trained on permuted labels until it knows them by heart.
        images: `[batch, height, width, channel]`; images that neither model has seen, in the paper.
        targets: the class to explain for each image, `[batch]` integers.
        explainers: name -> explainer.
        key: a JAX key; everything that is drawn comes from it, by name.
        metrics: name -> similarity of two maps; where None those of the protocol "paper", as `parameter_randomization`.
        fit: shows what both models have learned. With it the test refuses a model that does not know its permuted
            labels, labels that are not permuted, and a model of permuted labels that is better than chance.
        least_fitted: the training accuracy on permuted labels under which the test is refused; 0 to refuse none.
        explained_class: of the second model: "original" for the targets, "argmax" for the class it predicts itself.
        evaluation: (images, labels) on which each model's accuracy and logits are reported; the test images of `fit`
            where None, or else (images, targets).
        kept_images, batch_size, mesh, folder, progress: as in `parameter_randomization`.

    Returns:
        A Dataset as `parameter_randomization` gives it, with the one stage "permuted_labels" and the one seed 0; with
        `fit` also `train_accuracy`, `test_accuracy` (model) and, of true and permuted labels, `label_agreement`.

    Raises:
        ValueError: an argument is wrong; labels are not permuted; the second model has not learned its labels, or is
            not at chance on test images. The message says which, with the figure and the bound.
        TypeError: images are not floating point, targets not integers.

    Source: Adebayo et al. 2018, section 5.
    """
    check_images(images)
    check_key(key, "data_randomization")
    check_number(least_fitted, "least_fitted")
    if not 0 <= least_fitted <= 1:
        raise ValueError(f"least_fitted must be in [0, 1], got {least_fitted}")
    if explained_class not in get_args(ExplainedClass):
        raise ValueError(f"explained_class must be one of {list(get_args(ExplainedClass))}, got {explained_class!r}")
    if fit is not None and not isinstance(fit, Fit):
        raise TypeError(f"fit must be a Fit, got {type(fit).__name__}")
    if not same_structure(true_params, random_params):
        raise ValueError(
            "random_params must have the structure of true_params, got "
            f"{jax.tree.structure(random_params)} for {jax.tree.structure(true_params)}"
        )
    learned = None if fit is None else what_was_learned(apply, true_params, random_params, fit, least_fitted)
    if evaluation is None and fit is not None:
        evaluation = (fit.test_images, fit.test_labels)
    sweep = checked_sweep(
        apply,
        true_params,
        images,
        targets,
        explainers,
        test="data_randomization",
        key=key,
        metrics=metrics_for(PROTOCOLS["paper"], *images.shape[1:3]) if metrics is None else metrics,
        stages=(PERMUTED,),
        seeds=(0,),
        randomized=lambda seed, stage: random_params,
        explained_class=explained_class,
        evaluation=evaluation,
        kept_images=kept_images,
        batch_size=batch_size,
        mesh=mesh,
    )
    configuration = {"test": "data_randomization", "random_params": digest(random_params)}
    found = run(sweep, configuration, folder=folder, progress=progress)
    found = found.assign_attrs(test="data_randomization", explained_class=explained_class)
    return found if learned is None else found.merge(learned, join="exact")


def what_was_learned(
    apply: Apply, true_params: Params, random_params: Params, fit: Fit, least_fitted: float = LEAST_FITTED
) -> xr.Dataset:
    """The accuracies of both models on what they were trained on and on test images, checked.

    Returns:
        `train_accuracy` (model), each on its own labels; `test_accuracy` (model); `label_agreement`: the share of
        training images whose permuted label is the true one.

    Raises:
        ValueError: as `data_randomization`.
    """
    labels, permuted = np.asarray(fit.labels), np.asarray(fit.permuted)
    if labels.shape != permuted.shape:
        raise ValueError(f"fit.permuted must have the shape of fit.labels {labels.shape}, got {permuted.shape}")
    classes = int(max(labels.max(), permuted.max())) + 1
    shares = [np.bincount(x, minlength=classes) / x.size for x in (labels, permuted)]
    chance, agreement = float(shares[0] @ shares[1]), float(np.mean(labels == permuted))
    if agreement > _bound(chance, labels.size):
        raise ValueError(
            f"fit.permuted must be permuted labels: {agreement:.3f} of them are the true ones, where a permutation "
            f"leaves {chance:.3f} (at most {_bound(chance, labels.size):.3f} by chance)"
        )
    accuracy = compiled(lambda p, x, y: jnp.mean(jnp.argmax(logits_of(apply, p, x), axis=-1) == y))
    models = (true_params, random_params)
    train = [float(accuracy(p, fit.images, jnp.asarray(y))) for p, y in zip(models, (labels, permuted), strict=True)]
    test = [float(accuracy(p, fit.test_images, jnp.asarray(fit.test_labels))) for p in models]
    if not train[1] >= least_fitted:
        raise ValueError(
            f"random_params must know the permuted labels: training accuracy at least {least_fitted}, got "
            f"{train[1]:.4f}; train longer, or pass least_fitted={train[1]:.2f} to go on all the same"
        )
    # A model of permuted labels answers with the classes in their shares, whatever the image.
    expected = float(np.bincount(np.asarray(fit.test_labels), minlength=classes)[:classes] @ shares[1])
    expected /= len(fit.test_labels)
    if test[1] > _bound(expected, len(fit.test_labels)) and least_fitted > 0:
        raise ValueError(
            f"random_params must be at chance on test images: accuracy {test[1]:.4f} where {expected:.3f} is chance "
            f"(at most {_bound(expected, len(fit.test_labels)):.3f}); least_fitted=0 goes on all the same"
        )
    return xr.Dataset(
        {
            "train_accuracy": ("model", np.asarray(train, np.float32)),
            "test_accuracy": ("model", np.asarray(test, np.float32)),
            "label_agreement": np.float32(agreement),
        },
        coords={"model": ["trained", PERMUTED]},
    )


def _bound(share: float, count: int) -> float:
    """The largest share of `count` that still passes for `share` by chance."""
    return share + DEVIATIONS * math.sqrt(share * (1 - share) / count)
