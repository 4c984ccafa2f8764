"""The course of a training: its epochs, what each gave, its checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from saliency_jax import checkpoints
from saliency_jax.presets import Training
from saliency_jax.training.checks import Labels, check_course, check_data, check_fit
from saliency_jax.training.epoch import State, optimizer_of, run_epoch
from saliency_jax.typing import Apply, Images, Params, PRNGKey


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
    check_data(apply, params, images, labels)
    check_fit(params, config, len(images))
    if not save_seconds >= 0:
        raise ValueError(f"save_seconds must not be negative, got {save_seconds}")
    origin = None if folder is None else _origin(params, images, labels, key, config)
    images, labels = jnp.asarray(images), jnp.asarray(labels)
    # An epoch takes its buffers over, so the caller's parameters are copied first.
    state = State(jax.tree.map(lambda leaf: jnp.array(leaf, jnp.asarray(leaf).dtype), params), None)
    state = state._replace(optimizer=optimizer_of(config).init(state.params))
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
        state, step_losses, correct, finite = run_epoch(
            apply, config, state, images, labels, jax.random.fold_in(key, epoch), steps=steps
        )
        step_losses = np.asarray(step_losses, np.float64)
        check_course(step_losses, bool(finite), epoch + 1, config)
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
    folder: checkpoints.Folder, like: State, origin: dict[str, Any] | None
) -> tuple[State, list[float], list[float]]:
    """State, losses and accuracies of the newest checkpoint; ValueError where it is of another training."""
    metadata = checkpoints.read_metadata(folder)
    checkpoints.check_origin(metadata["origin"], origin or {})
    state = checkpoints.restore(folder, like._asdict())
    return State(**state), metadata["loss"], metadata["accuracy"]
