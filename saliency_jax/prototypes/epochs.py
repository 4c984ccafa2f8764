"""One epoch of a stage of ProtoPNet's training, as one program on the device."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

from saliency_jax.prototypes import losses
from saliency_jax.prototypes.network import ProtoPNet, own_class
from saliency_jax.prototypes.projection import Sources
from saliency_jax.prototypes.schedule import TRAINED, Recipe
from saliency_jax.tracing import canonical_convolutions, compiled, fast_pooling
from saliency_jax.typing import Params, PRNGKey

Augment = Callable[[Any, Any], Array]
"""`augment(key, batch) -> images`: what a minibatch of the training data becomes before the network sees it."""


class State(NamedTuple):
    """What an epoch carries to the next, and a checkpoint holds."""

    params: Params
    optimizers: Any
    sources: Sources


def begin(params: Params, recipe: Recipe) -> State:
    """The state before the first epoch: an optimizer for each kind of stage, prototypes that are no patches."""
    optimizers = {kind: _optimizer(recipe).init(_trained(params, kind)) for kind in TRAINED if TRAINED[kind]}
    return State(params, optimizers, nowhere(len(params["prototype_vectors"])))


def nowhere(count: int) -> Sources:
    """The sources of prototypes that are no patches."""
    none = np.full(count, -1, np.int32)
    return Sources(none, none, none, np.full(count, np.nan, np.float32))


def _trained(params: Params, kind: str) -> Params:
    """The groups of parameters that a stage trains, those that the model has."""
    return {name: group for name, group in params.items() if name in TRAINED[kind]}


def _optimizer(recipe: Recipe) -> optax.GradientTransformation:
    """Adam with a rate for each group; the decay is added to the gradient, as in the original, and not to the step."""

    def adam(rate: float, decay: float = 0.0) -> optax.GradientTransformation:
        return optax.chain(_decayed(decay), optax.adam(rate))

    rates = {
        "backbone": adam(recipe.backbone_rate, recipe.weight_decay),
        "add_on": adam(recipe.add_on_rate, recipe.weight_decay),
        "prototype_vectors": adam(recipe.prototype_rate),
        "last_layer": adam(recipe.last_layer_rate),
    }

    def group_names(params: Params) -> Params:
        return jax.tree_util.tree_map_with_path(lambda path, _: path[0].key, params)

    return optax.partition(rates, group_names)


def _decayed(decay: float) -> optax.GradientTransformation:
    """Adds decay times the parameter to the gradients, but to no leaf whose gradient is all 0.

    A backbone may carry layers that the prototypes do not need, as a classifier's last ones: Adam would take a decay
    of theirs, however small, for a direction and move them by its rate.
    """

    def add(gradients: Params, params: Params | None) -> Params:
        return jax.tree.map(lambda g, p: g + jnp.where(jnp.any(g != 0), decay, 0.0) * p, gradients, params)

    return optax.stateless(add)


@partial(compiled, static_argnames=("model", "augment", "recipe", "kind"), donate_argnames="state")
def run_epoch(
    model: ProtoPNet,
    augment: Augment | None,
    recipe: Recipe,
    kind: str,
    state: State,
    fixed: Params,
    images: Array,
    labels: Array,
    key: PRNGKey,
    scale: Array,
) -> tuple[State, Array, Array]:
    """The new state, the mean terms of the loss, and the share of images that were classified correctly."""
    own = jnp.asarray(own_class(model))
    optimizer = _optimizer(recipe)
    held = {name: group for name, group in state.params.items() if name not in TRAINED[kind]}
    order_key, augment_key = jax.random.split(key)

    def compare(params: Params, batch: Array) -> Any:
        return model.apply({**fixed, "params": params}, batch, method="compare")

    def objective(trained: Params, batch: Array, labels: Array) -> tuple[Array, tuple[losses.Terms, Array]]:
        params = {**held, **trained}
        compared = fast_pooling(compare)(params, batch)
        found = losses.terms(compared.logits, compared.distances, labels, params["last_layer"]["kernel"], own)
        correct = jnp.mean(jnp.argmax(compared.logits, axis=-1) == labels)
        return losses.total(found, recipe.weights), (found, correct)

    gradient = canonical_convolutions(jax.value_and_grad(objective, has_aux=True))

    def step(carried: tuple[Params, Any], drawn: tuple[Array, Array]) -> tuple[tuple[Params, Any], tuple]:
        trained, adam = carried
        places, number = drawn
        batch = images[places]
        if augment is not None:
            batch = augment(jax.random.fold_in(augment_key, number), batch)
        (_, seen), grads = gradient(trained, batch, labels[places])
        updates, adam = optimizer.update(grads, adam, trained)
        return (optax.apply_updates(trained, jax.tree.map(lambda u: scale * u, updates)), adam), seen

    steps = len(images) // recipe.batch_size
    order = jax.random.permutation(order_key, len(images))[: steps * recipe.batch_size]
    begin = (_trained(state.params, kind), state.optimizers[kind])
    drawn = (order.reshape(steps, recipe.batch_size), jnp.arange(steps))
    (trained, adam), (found, correct) = lax.scan(step, begin, drawn)
    params = {**held, **trained}
    state = State(params, {**state.optimizers, kind: adam}, state.sources)
    return state, jnp.stack([term.mean() for term in found]), correct.mean()
