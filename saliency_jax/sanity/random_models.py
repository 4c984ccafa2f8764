"""A trained model and its randomized forms, for the tests that measure more of them than a similarity of two maps."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from saliency_jax.checks import check_images, check_key
from saliency_jax.keys import named
from saliency_jax.sanity.fingerprint import describe
from saliency_jax.sanity.parts import Sweep
from saliency_jax.sanity.protocols import Protocol, find_protocol
from saliency_jax.sanity.randomization import Order, randomize, stages
from saliency_jax.sanity.sweep import checked_sweep
from saliency_jax.tracing.layers import Layer
from saliency_jax.tracing.layers import layers as find_layers
from saliency_jax.typing import Apply, Explainer, Images, Init, Metric, Params

RANDOM = "random"
"""The name of the model all of whose layers are random."""


def random_models(
    apply: Apply,
    params: Params,
    init: Init,
    images: Images,
    targets: Any,
    explainers: Mapping[str, Explainer],
    *,
    test: str,
    key: Any,
    order: Order,
    metrics: Mapping[str, Metric] | None = None,
    seeds: int | Sequence[int],
    protocol: str | Protocol,
    layers: Sequence[Layer] | None,
    evaluation: tuple[Any, Any] | None,
    kept_images: int = 0,
    batch_size: int | None,
    mesh: Mesh | None,
) -> tuple[Sweep, dict[str, Any]]:
    """The models of `parameter_randomization`, with the same weights for the same key, its arguments checked.

    Args:
        test: the name of the test that asks, for messages.
        metrics: those of the protocol where None, for tests that compare no maps.
        apply, params, init, images, targets, explainers, key, order, seeds, protocol, layers, evaluation, kept_images,
            batch_size, mesh: as in `parameter_randomization`.

    Returns:
        The sweep, and what its numbers depend on beside its own entries, as `run` takes it.

    Raises:
        ValueError, TypeError: as `parameter_randomization`.
    """
    protocol = find_protocol(protocol)
    check_images(images)
    check_key(key, test)
    chosen = stages(find_layers(apply, params, jnp.asarray(images)) if layers is None else layers, order=order)
    fresh = protocol.fresh(init)

    def randomized(seed: int, stage: int) -> Params:
        """The model of one stage of one seed, its weights drawn for this stage alone."""
        name, random = chosen[stage]
        drawn = fresh(named(jax.random.fold_in(named(key, "fresh"), seed), name), params)
        return randomize(params, drawn, random)

    sweep = checked_sweep(
        apply,
        params,
        images,
        targets,
        explainers,
        test=test,
        key=key,
        metrics=protocol.metrics if metrics is None else metrics,
        stages=tuple(name for name, _ in chosen),
        seeds=seed_numbers(seeds),
        randomized=randomized,
        explained_class=protocol.explained_class,
        evaluation=evaluation,
        kept_images=kept_images,
        batch_size=batch_size,
        mesh=mesh,
    )
    paths = [[name, [path for layer in random for path in layer.paths]] for name, random in chosen]
    return sweep, {"test": test, "fresh": describe(fresh), "stages": paths}


def fully_random(sweep: Sweep) -> Sweep:
    """Of a cascade the last stage alone, at which every layer is random; it is called "random"."""
    last = len(sweep.stages) - 1
    return sweep._replace(stages=(RANDOM,), randomized=lambda seed, _: sweep.randomized(seed, last))


def seed_numbers(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """The numbers of the seeds: 0 .. n - 1 where only their count is given.

    Raises:
        ValueError: there is none, two are one, or a key cannot take them.
        TypeError: they are not integers.
    """
    rule = "seeds must be a positive number or different integers in [0, 2**32)"
    if isinstance(seeds, int) and seeds > 2**32:
        raise ValueError(f"{rule}, got {seeds!r}")
    try:
        numbers = tuple(range(seeds)) if isinstance(seeds, int) else tuple(map(operator.index, seeds))
    except TypeError as error:
        raise TypeError(f"{rule}, got {seeds!r}") from error
    if not numbers or len(set(numbers)) != len(numbers) or min(numbers) < 0 or max(numbers) >= 2**32:
        raise ValueError(f"{rule}, got {seeds!r}")
    return numbers
