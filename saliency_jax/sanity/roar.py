"""Remove and retrain (ROAR): does a model that never saw the pixels an explainer points at still learn the task?"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from jaxtyping import ArrayLike

from saliency_jax.batches import batched
from saliency_jax.checks import check_images, check_key, check_targets
from saliency_jax.keys import named
from saliency_jax.results import open_run, part
from saliency_jax.sanity.fingerprint import describe, digest
from saliency_jax.sanity.measurement import model_state
from saliency_jax.sanity.parts import strongly_typed
from saliency_jax.sanity.removal import Ranking, check_ranking, checked_fill, pixel_count, removal_ranks, remove_ranked
from saliency_jax.scores import argmax_class, class_count
from saliency_jax.typing import Apply, Explainer, Images, Params
from saliency_jax.version import __version__

Progress = Callable[[str, int, int], None]
Retrain = Callable[[Array, Array, Any], Params]
"""`retrain(images, labels, key) -> params`: a training from fresh weights, everything random in it from the key."""

FRACTIONS = (0.1, 0.3, 0.5, 0.7, 0.9)


class _Test(NamedTuple):
    """A test with all its choices made (see `roar`)."""

    apply: Apply
    params: Params
    retrain: Retrain
    train: tuple[Array, Array]
    test: tuple[Array, Array]
    explainers: Mapping[str, Explainer]
    key: Any
    fractions: tuple[float, ...]
    seeds: tuple[int, ...]
    ranking: Ranking
    fill: Array
    kept_images: int
    batch_size: int | None
    state: Callable


def roar(
    apply: Apply,
    params: Params,
    retrain: Retrain,
    train: tuple[Images, Any],
    test: tuple[Images, Any],
    explainers: Mapping[str, Explainer],
    *,
    key: Any,
    fractions: Sequence[float] = FRACTIONS,
    seeds: int | Sequence[int] = 3,
    ranking: Ranking = "absolute",
    fill: ArrayLike | None = None,
    kept_images: int = 4,
    batch_size: int | None = None,
    folder: Path | str | None = None,
    progress: Progress = lambda name, done, total: None,
) -> xr.Dataset:
    """Remove the pixels that each explainer ranks highest, from training and test images, train anew, and test.

    accuracy[e, f, s] = that of retrain(removed_{e,f}(training images), labels, key_s) on removed_{e,f}(test images).

    The better an explainer finds what the task needs, the faster the accuracy falls with the fraction. Give "noise" and
    "edges" of `saliency_jax.EXPLAINERS` along: an explainer that does not fall faster than they do found nothing that
    a random ranking or the image alone would not. The explained class is the one that the given model predicts, so that
    no test label takes part; but the shape of what is removed may itself tell the class, which slows the fall.
    All explainers and fractions share the keys of the trainings. Ties are broken at random. Keep and retrain (KAR) is
    this test of the map -|R| with ranking="signed".

    Args:
        apply: the model, `apply(params, images) -> logits`.
        params: its trained parameters, those that are explained.
        retrain: `retrain(images, labels, key) -> params`, a training of the same model from fresh weights.
        train: (images `[n, height, width, channel]`, labels `[n]`).
        test: (images, labels), on which accuracy is measured.
        explainers: name -> explainer.
        key: a JAX key; everything that is drawn comes from it, by name.
        fractions: shares of the pixels to remove, in (0, 1].
        seeds: how many trainings for each explainer and fraction, or their numbers.
        ranking: "absolute" or "signed", as in `remove_pixels`.
        fill: what stands for removed pixels, a number or one for each channel; the training images' mean of each
            channel where None.
        kept_images: this many first test images are kept for pictures, as they are and with pixels removed.
        batch_size: images explained at once; see `batched`.
        folder: where finished parts are kept, one for each training. A run that was broken off goes on from them; a
            folder of another configuration is refused.
        progress: called as `progress(name, done, total)` after each part.

    Returns:
        A Dataset with the variables
        `accuracy` (explainer, fraction, seed): on the test images, trained and tested without the pixels; NaN where a
        map is not finite, since a NaN has no rank;
        `accuracy_without_retraining` (explainer, fraction): of the given model on the test images without the pixels;
        `accuracy_of_whole_images` (seed): of the same trainings with nothing removed;
        `constant_maps`, `nonfinite_maps` (explainer, split): how many of the "train" and "test" images' maps;
        `removed` (explainer, fraction, kept_image, height, width, channel) and the `images` it was made of.

    Raises:
        ValueError: an argument is wrong, named with the rule and the value; or the folder is of another run.
        TypeError: images are not floating point, labels not integers.

    Source: Hooker, Erhan, Kindermans and Kim 2019, sections 3 and 4. That what is removed can tell the class: Rong et
        al. 2022.

    Cost: (1 + explainers * fractions) * seeds trainings, and one explanation of every image for each explainer.
    """
    (train_images, train_labels), (test_images, test_labels) = train, test
    check_images(train_images, "train images")
    check_images(test_images, "test images")
    train_images, test_images = jnp.asarray(train_images), jnp.asarray(test_images)
    if train_images.shape[1:] != test_images.shape[1:]:
        shapes = f"{train_images.shape} and {test_images.shape}"
        raise ValueError(f"train and test images must have one size, got shapes {shapes}")
    classes = class_count(apply, params, train_images)
    check_targets(train_labels, batch=len(train_images), classes=classes, argument="train labels")
    check_targets(test_labels, batch=len(test_images), classes=classes, argument="test labels")
    check_key(key, "roar")
    if not isinstance(explainers, Mapping) or not explainers:
        raise ValueError(f"explainers must map at least one name to a function, got {explainers!r}")
    for fraction in fractions:
        pixel_count(fraction, train_images.shape)
    if not fractions or len(set(fractions)) != len(fractions) or min(fractions) == 0:
        raise ValueError(f"fractions must be different numbers in (0, 1], got {fractions!r}")
    check_ranking(ranking)
    if kept_images < 0:
        raise ValueError(f"kept_images must not be negative, got {kept_images}")
    chosen = _Test(
        apply=apply,
        params=strongly_typed(params),
        retrain=retrain,
        train=(train_images, jnp.asarray(train_labels).astype(jnp.int32)),
        test=(test_images, jnp.asarray(test_labels).astype(jnp.int32)),
        explainers=explainers,
        key=key,
        fractions=tuple(map(float, fractions)),
        seeds=_seed_numbers(seeds),
        ranking=ranking,
        fill=train_images.mean(axis=(0, 1, 2)) if fill is None else checked_fill(fill, train_images),
        kept_images=min(kept_images, len(test_images)),
        batch_size=batch_size,
        state=model_state(apply),
    )
    folder = None if folder is None else Path(folder)
    if folder is not None:
        open_run(folder, _configuration(chosen))
    return _run(chosen, folder, progress).assign_attrs(test="roar", ranking=ranking)


def _run(test: _Test, folder: Path | None, progress: Progress) -> xr.Dataset:
    """Measure, or read back, every part, and put them together."""
    total = len(test.seeds) + len(test.explainers) * (1 + len(test.fractions) * len(test.seeds))
    done = 0

    def finished(name: str, measure: Callable[[], xr.Dataset]) -> xr.Dataset:
        nonlocal done
        measured = part(folder, name, measure)
        done += 1
        progress(name, done, total)
        return measured

    whole = [
        finished(f"whole-{seed}", partial(_measure_training, test, test.train[0], test.test[0], seed))
        for seed in test.seeds
    ]
    of_explainers, accuracies = [], []
    for name in test.explainers:
        # Computed when they are first asked for: a resumed run may not need them.
        maps = cache(partial(_both_maps, test, name))
        ranks = cache(partial(_both_ranks, test, name, maps))
        of_explainers.append(finished(f"maps-{name}", partial(_measure_maps, test, maps, ranks)))
        usable = not of_explainers[-1].nonfinite_maps.any()
        rows = []
        for fraction in test.fractions:
            splits = cache(partial(_both_removed, test, ranks, fraction))
            measure = partial(_measure_removed, test, splits if usable else None)
            rows.append([finished(f"trained-{name}-{fraction}-{s}", partial(measure, s)) for s in test.seeds])
        accuracies.append([[float(one.accuracy) for one in row] for row in rows])
    found = xr.concat(of_explainers, dim="explainer", join="exact").assign(
        accuracy=(("explainer", "fraction", "seed"), np.asarray(accuracies, np.float32)),
        accuracy_of_whole_images=("seed", np.asarray([float(one.accuracy) for one in whole], np.float32)),
        images=(("kept_image", "height", "width", "channel"), np.asarray(test.test[0][: test.kept_images])),
    )
    return found.assign_coords(explainer=list(test.explainers), fraction=list(test.fractions), seed=list(test.seeds))


def _both_maps(test: _Test, name: str) -> tuple[Array, Array]:
    """One explainer's maps of the training and of the test images, of the classes that the model predicts."""
    run = batched(test.explainers[name], test.apply, batch_size=test.batch_size)

    def maps(images: Array, split: str) -> Array:
        predicted = argmax_class(test.apply, test.params, images)
        return run(test.params, images, predicted, named(test.key, f"explain {split}"))

    return maps(test.train[0], "train"), maps(test.test[0], "test")


def _both_ranks(test: _Test, name: str, maps: Callable[[], tuple[Array, Array]]) -> tuple[Array, Array]:
    """When each pixel of the training and of the test images goes."""
    ties = named(named(test.key, "ties"), name)
    train, held_out = maps()
    return (
        removal_ranks(train, ranking=test.ranking, key=named(ties, "train")),
        removal_ranks(held_out, ranking=test.ranking, key=named(ties, "test")),
    )


def _both_removed(test: _Test, ranks: Callable[[], tuple[Array, Array]], fraction: float) -> tuple[Array, Array]:
    """The training and the test images without the pixels that go first."""
    count = pixel_count(fraction, test.train[0].shape)
    train, held_out = (
        remove_ranked(images, order, count, test.fill)
        for (images, _), order in zip((test.train, test.test), ranks(), strict=True)
    )
    return train, held_out


def _measure_training(test: _Test, train: Array, held_out: Array, seed: int) -> xr.Dataset:
    """The accuracy of one training."""
    params = test.retrain(train, test.train[1], jax.random.fold_in(named(test.key, "retrain"), seed))
    return xr.Dataset({"accuracy": np.float32(test.state(params, held_out, test.test[1]).accuracy)})


def _measure_removed(test: _Test, splits: Callable[[], tuple[Array, Array]] | None, seed: int) -> xr.Dataset:
    """The accuracy of one training without pixels; NaN where there are no ranks to remove them by."""
    if splits is None:
        return xr.Dataset({"accuracy": np.float32(np.nan)})
    return _measure_training(test, *splits(), seed)


def _measure_maps(
    test: _Test, maps: Callable[[], tuple[Array, Array]], ranks: Callable[[], tuple[Array, Array]]
) -> xr.Dataset:
    """The blemishes of the maps, the given model's accuracy without the pixels that go, and what they leave."""
    flat = [one.reshape(len(one), -1) for one in maps()]
    nonfinite = [int(jnp.sum(~jnp.isfinite(one).all(axis=1))) for one in flat]
    constant = [int(jnp.sum(one.max(axis=1) == one.min(axis=1))) for one in flat]
    images, labels = test.test
    accuracies = np.full(len(test.fractions), np.nan, np.float32)
    pictures = np.full((len(test.fractions), *images[: test.kept_images].shape), np.nan, np.float32)
    if not any(nonfinite):
        for i, fraction in enumerate(test.fractions):
            held_out = remove_ranked(images, ranks()[1], pixel_count(fraction, images.shape), test.fill)
            accuracies[i] = test.state(test.params, held_out, labels).accuracy
            pictures[i] = held_out[: test.kept_images]
    return xr.Dataset(
        {
            "accuracy_without_retraining": ("fraction", accuracies),
            "removed": (("fraction", "kept_image", "height", "width", "channel"), pictures),
            "constant_maps": ("split", np.asarray(constant, np.int32)),
            "nonfinite_maps": ("split", np.asarray(nonfinite, np.int32)),
        },
        coords={"split": ["train", "test"]},
    )


def _seed_numbers(seeds: int | Sequence[int]) -> tuple[int, ...]:
    numbers = tuple(range(seeds)) if isinstance(seeds, int) else tuple(map(operator.index, seeds))
    if not numbers or len(set(numbers)) != len(numbers) or min(numbers) < 0 or max(numbers) >= 2**32:
        raise ValueError(f"seeds must be a positive number or different integers in [0, 2**32), got {seeds!r}")
    return numbers


def _configuration(test: _Test) -> dict[str, Any]:
    """Everything that the numbers of a run depend on, as plain values."""
    arrays = {"params": test.params, "train": test.train, "test": test.test, "key": test.key, "fill": test.fill}
    return {
        "test": "roar",
        "jax": jax.__version__,
        "saliency_jax": __version__,
        "arrays": {name: digest(tree) for name, tree in arrays.items()},
        "apply": describe(test.apply),
        "retrain": describe(test.retrain),
        "explainers": {name: describe(explain) for name, explain in test.explainers.items()},
        "fractions": list(test.fractions),
        "seeds": list(test.seeds),
        "ranking": test.ranking,
        "kept_images": test.kept_images,
    }
