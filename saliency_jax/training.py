"""Training of classifiers: an epoch is one program on the device, and the same key gives the same bits."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax
from jaxtyping import Bool, Float, Int, Shaped

from saliency_jax import checkpoints
from saliency_jax.checks import check_images, check_targets
from saliency_jax.presets import Training
from saliency_jax.tracing import canonical_convolutions, compiled, fast_pooling
from saliency_jax.tracing.layers import leaf_paths
from saliency_jax.typing import Apply, Images, Params, PRNGKey

Labels = Shaped[Array, "..."] | Shaped[np.ndarray, "..."]
"""One integer class for each image, `[n]`: kind, length and range are checked on entry."""


class History(NamedTuple):
    """What each epoch gave, averaged over its minibatches as they were met: the objective and the accuracy."""

    loss: Float[np.ndarray, " epoch"]
    accuracy: Float[np.ndarray, " epoch"]


class Trained(NamedTuple):
    """The result of a training: parameters of the same structure as the first ones, and its course."""

    params: Params
    history: History


class Progress(NamedTuple):
    """Where a training stands after an epoch: its number from 1, of how many, its averages, the seconds it took.

    The parameters are those at its end; the next epoch takes their memory, so who wants to keep them copies them.
    """

    epoch: int
    epochs: int
    loss: float
    accuracy: float
    seconds: float
    params: Params


class _State(NamedTuple):
    """What a step carries to the next."""

    params: Params
    optimizer: Any


def train(
    apply: Apply,
    params: Params,
    images: Images,
    labels: Labels,
    *,
    key: PRNGKey,
    config: Training,
    on_epoch: Callable[[Progress], None] | None = None,
    folder: checkpoints.Folder | None = None,
    save_seconds: float = 60.0,
) -> Trained:
    """Minimize cross entropy with Adam, one compiled program for each epoch.

    loss = mean_b(-log softmax(logits_b)[label_b]) + l2 * sum_{w in decayed} ||w||^2 / 2.
    Epoch e goes once through the permutation drawn from fold_in(key, e). Images that do not fill a last minibatch sit
    that epoch out; a last epoch is as short as `steps` asks. The images stay on the device all the while.

    Args:
        apply: the model, hashable; the same object again needs no second compilation.
        params: where to start, a pytree of floating-point arrays, all of which are trained. They stay valid.
        images: `[n, height, width, channel]`, floating point.
        labels: `[n]` integer classes.
        key: draws the permutations, the only random numbers. The same arguments give the same bits on a CPU; a GPU's
            kernels must be asked for that with XLA_FLAGS=--xla_gpu_deterministic_ops=true.
        config: steps, minibatches, learning rate, penalty.
        on_epoch: called with a Progress after each epoch.
        folder: where checkpoints go. A training that finds one there goes on from it, and ends with the bits of one
            that was never broken off. Data, key, config and first parameters must be the same; `apply` is taken on
            trust.
        save_seconds: time between checkpoints; 0 for one each epoch. The last epoch always has one.

    Returns:
        The trained parameters, and loss and training accuracy of each epoch.

    Raises:
        ValueError: images, labels, params and config do not fit each other, or the folder holds a training of
            something else; what differs is named.
        TypeError: images or a parameter are not floating point, or labels not integer.
        FloatingPointError: the loss or the parameters are no longer finite; the epoch and the step are named.

    Source: Adebayo et al. (2018), appendix B, and its released code.

    Cost: steps forward and backward passes; on a CPU a convolution's time does not grow by standing in a loop.
    """
    _check_data(apply, params, images, labels)
    _check_fit(params, config, len(images))
    if not save_seconds >= 0:
        raise ValueError(f"save_seconds must not be negative, got {save_seconds}")
    origin = None if folder is None else _origin(params, images, labels, key, config)
    images, labels = jnp.asarray(images), jnp.asarray(labels)
    # An epoch takes its buffers over, so the caller's parameters are copied first.
    state = _State(jax.tree.map(lambda leaf: jnp.array(leaf, jnp.asarray(leaf).dtype), params), None)
    state = state._replace(optimizer=_optimizer(config).init(state.params))
    losses: list[float] = []
    accuracies: list[float] = []
    if folder is not None and checkpoints.steps(folder):
        state, losses, accuracies = _resumed(folder, state, origin)

    per_epoch = len(images) // config.batch_size
    epochs = -(-config.steps // per_epoch)
    saved = time.monotonic()
    for epoch in range(len(losses), epochs):
        began = time.monotonic()
        steps = min(per_epoch, config.steps - epoch * per_epoch)
        state, step_losses, correct, finite = _epoch(
            apply, config, state, images, labels, jax.random.fold_in(key, epoch), steps=steps
        )
        step_losses = np.asarray(step_losses, np.float64)
        _check_course(step_losses, bool(finite), epoch + 1, config)
        losses.append(float(step_losses.mean()))
        accuracies.append(int(correct) / (steps * config.batch_size))
        now = time.monotonic()
        if folder is not None and (epoch + 1 == epochs or now - saved >= save_seconds):
            metadata = {"origin": origin, "loss": losses, "accuracy": accuracies}
            checkpoints.save(folder, epoch + 1, state._asdict(), metadata=metadata)
            saved = time.monotonic()
        if on_epoch is not None:
            on_epoch(Progress(epoch + 1, epochs, losses[-1], accuracies[-1], now - began, state.params))
    return Trained(state.params, History(np.array(losses), np.array(accuracies)))


def evaluate(apply: Apply, params: Params, images: Images, labels: Labels, *, batch_size: int = 500) -> float:
    """The share of images whose largest logit is that of their label.

    Args:
        apply: the model, hashable.
        params: its parameters.
        images: `[n, height, width, channel]`, floating point.
        labels: `[n]` integer classes.
        batch_size: images at a time; the rest that does not fill a batch is one more batch.

    Returns:
        The accuracy in [0, 1], every image counted once; of equal logits the first counts.

    Raises:
        ValueError: images, labels and params do not fit each other, or batch_size is less than 1.
        TypeError: images are not floating point, or labels not integer.
        FloatingPointError: a logit is not finite.
    """
    _check_data(apply, params, images, labels)
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    size = min(batch_size, len(images))
    correct, finite = _count_correct(apply, params, jnp.asarray(images), jnp.asarray(labels), size=size)
    if not finite:
        raise FloatingPointError("the logits are not finite: no accuracy can be told from them")
    return int(correct) / len(images)


def _optimizer(config: Training) -> optax.GradientTransformation:
    if config.schedule == "cosine":
        return optax.adam(optax.cosine_decay_schedule(config.learning_rate, config.steps))
    return optax.adam(config.learning_rate)


def _loss(
    apply: Apply, config: Training, params: Params, images: Array, labels: Array
) -> tuple[Float[Array, ""], Int[Array, ""]]:
    """The objective on a minibatch, and how many of its images are classified correctly."""
    logits = apply(params, images)
    entropy = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    penalty = sum(jnp.sum(leaf**2) for leaf in _decayed(params, config)) / 2
    correct = jnp.sum(jnp.argmax(logits, axis=-1) == labels)
    return entropy + config.l2 * penalty, correct


@partial(compiled, static_argnames=("apply", "config", "steps"), donate_argnames="state")
def _epoch(
    apply: Apply,
    config: Training,
    state: _State,
    images: Array,
    labels: Array,
    key: PRNGKey,
    *,
    steps: int,
) -> tuple[_State, Float[Array, " step"], Int[Array, ""], Bool[Array, ""]]:
    """The new state, the loss of each step, the count of correct images, and whether all parameters are finite."""
    # XLA leaves the convolutions of a gradient slow inside a loop on a CPU: 550 ms against 43 ms for a step of the CNN.
    gradient = canonical_convolutions(jax.value_and_grad(partial(_loss, fast_pooling(apply), config), has_aux=True))
    optimizer = _optimizer(config)

    def step(state: _State, batch: Int[Array, " batch"]) -> tuple[_State, tuple[Array, Array]]:
        (loss, correct), grads = gradient(state.params, images[batch], labels[batch])
        updates, optimizer_state = optimizer.update(grads, state.optimizer, state.params)
        return _State(optax.apply_updates(state.params, updates), optimizer_state), (loss, correct)

    order = jax.random.permutation(key, len(images))[: steps * config.batch_size]
    state, (losses, correct) = lax.scan(step, state, order.reshape(steps, config.batch_size))
    finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params)]).all()
    return state, losses, correct.sum(), finite


@partial(compiled, static_argnames=("apply", "size"))
def _count_correct(
    apply: Apply, params: Params, images: Array, labels: Array, *, size: int
) -> tuple[Int[Array, ""], Bool[Array, ""]]:
    """How many images are classified correctly, and whether all logits are finite."""

    def count(batch: tuple[Array, Array]) -> tuple[Array, Array]:
        logits = apply(params, batch[0])
        return jnp.sum(jnp.argmax(logits, axis=-1) == batch[1]), jnp.isfinite(logits).all()

    whole = len(images) // size
    head, rest = (
        (images[: whole * size], labels[: whole * size]),
        (images[whole * size :], labels[whole * size :]),
    )
    correct, finite = lax.map(count, jax.tree.map(lambda x: x.reshape(whole, size, *x.shape[1:]), head))
    if len(rest[0]) == 0:
        return correct.sum(), finite.all()
    rest_correct, rest_finite = count(rest)
    return correct.sum() + rest_correct, finite.all() & rest_finite


def _decayed(params: Params, config: Training) -> list[Array]:
    """The leaves whose path is, or ends with, one of those in `config.decayed`."""
    paths = zip(leaf_paths(params), jax.tree.leaves(params), strict=True)
    return [leaf for path, leaf in paths if any(f"/{path}".endswith(f"/{name}") for name in config.decayed)]


def _check_data(apply: Apply, params: Params, images: Images, labels: Labels) -> None:
    """Raise unless images are a batch, the model gives logits for them, and labels are classes among those."""
    check_images(images)
    one = jax.ShapeDtypeStruct((1, *images.shape[1:]), jnp.asarray(images[:1]).dtype)
    logits = jax.eval_shape(apply, params, one)
    if getattr(logits, "ndim", None) != 2:
        raise ValueError(f"apply must give logits [batch, class] for images {one.shape}, got {logits}")
    check_targets(labels, batch=len(images), classes=logits.shape[1], argument="labels")


def _check_fit(params: Params, config: Training, images: int) -> None:
    """Raise unless all parameters can be trained, those to be decayed exist, and a minibatch can be filled."""
    for path, leaf in zip(leaf_paths(params), jax.tree.leaves(params), strict=True):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise TypeError(f"params must be floating point, got {jnp.result_type(leaf)} at {path!r}")
    for name in config.decayed:
        if not any(f"/{path}".endswith(f"/{name}") for path in leaf_paths(params)):
            raise ValueError(f"decayed names {name!r}, which ends no parameter's path: {leaf_paths(params)}")
    if config.batch_size > images:
        raise ValueError(f"batch_size must not exceed the {images} images, got {config.batch_size}")


def _check_course(losses: np.ndarray, finite: bool, epoch: int, config: Training) -> None:
    """Raise FloatingPointError, naming the step, where a loss or the last parameters of an epoch are not finite."""
    bad = np.flatnonzero(~np.isfinite(losses))
    if bad.size:
        raise FloatingPointError(
            f"the loss is {losses[bad[0]]} at step {bad[0] + 1} of epoch {epoch}, with learning_rate="
            f"{config.learning_rate}: training stopped"
        )
    if not finite:
        raise FloatingPointError(
            f"a parameter is not finite after step {losses.size} of epoch {epoch}, with learning_rate="
            f"{config.learning_rate}: training stopped"
        )


def _origin(params: Params, images: Images, labels: Labels, key: PRNGKey, config: Training) -> dict[str, Any]:
    """What a training is a training of, in JSON: two that agree in it go the same way."""
    raw = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    return {
        **asdict(config),
        "decayed": list(config.decayed),
        "key": np.asarray(raw).tolist(),
        "params": checkpoints.checksum(params),
        "images": checkpoints.checksum(images),
        "labels": checkpoints.checksum(labels),
    }


def _resumed(
    folder: checkpoints.Folder, like: _State, origin: dict[str, Any] | None
) -> tuple[_State, list[float], list[float]]:
    """State, losses and accuracies of the newest checkpoint; ValueError where it is of another training."""
    metadata = checkpoints.read_metadata(folder)
    checkpoints.check_origin(metadata["origin"], origin or {})
    state = checkpoints.restore(folder, like._asdict())
    return _State(**state), metadata["loss"], metadata["accuracy"]
