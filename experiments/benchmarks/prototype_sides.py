"""ProtoPNet by this library and by the original's arithmetic, held against each other."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from prototype_networks import Network

from saliency_jax.prototypes import Stage, fit, project

AGREE = 1e-4
"""How far a term of the loss may be from the other side's, relative to it."""
TIE = 1e-5
"""Patches whose distances differ by less, relative to the depth, are as near."""
CHECKED_EPOCHS = 2
"""Of each stage: the second one's loss is that of parameters that both sides have changed."""


def trained(network: Network, stages: tuple[Stage, ...]) -> tuple[np.ndarray, list[float]]:
    """The terms of the loss of each epoch by this library, and the seconds from one epoch's end to the next one's."""
    ends = [time.perf_counter()]
    found = fit(
        network.model,
        network.variables,
        network.images,
        network.labels,
        key=jax.random.key(0),
        stages=stages,
        recipe=network.recipe,
        on_epoch=lambda *_: ends.append(time.perf_counter()),
    )
    return np.array([epoch.terms for epoch in found.history]), np.diff(ends).tolist()


def projected(network: Network) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, row and column of each prototype's patch by this library, `[prototype, 3]`; patches; distances."""
    found = project(
        network.model, network.variables, network.images, network.labels, batch_size=network.recipe.batch_size
    )
    source = found.sources
    places = np.stack([source.image, source.row, source.column], axis=1)
    return places, np.asarray(found.variables["params"]["prototype_vectors"]), source.distance


def peer(network: Network, fast: bool) -> Any:
    """The PyTorch side with the network's first weights."""
    import prototype_peer
    import torch

    params, statistics = network.variables["params"], network.variables.get("batch_stats")
    if network.model.backbone is None:
        features = torch.nn.Sequential()
    elif statistics is None:
        features = prototype_peer.cnn(params["backbone"]["model"])
    else:
        features = prototype_peer.resnet18(params["backbone"]["model"], statistics["backbone"]["model"])
    return prototype_peer.Peer(features, params, network.images, network.labels, network.recipe, fast)


def loss_difference(network: Network) -> float:
    """How far the terms of the loss are apart after epochs of every stage, relative to their values.

    The minibatch is as large as the data here, so that the order in which each side draws images makes no difference.

    Raises:
        SystemExit: by more than AGREE.
    """
    count = max(network.model.classes, network.recipe.batch_size)
    whole = replace(network.recipe, batch_size=count)
    network = network._replace(images=network.images[:count], labels=network.labels[:count], recipe=whole)
    here, _ = trained(network, tuple(Stage(kind, CHECKED_EPOCHS) for kind in network.stages))
    side = peer(network, fast=False)
    there = np.array([side.epoch(kind) for kind in network.stages for _ in range(CHECKED_EPOCHS)])
    apart = float(np.max(np.abs(here - there) / np.abs(there)))
    if not apart <= AGREE:
        raise SystemExit(f"the terms of the loss must agree to {AGREE:g} before any time counts, got\n{here}\n{there}")
    return apart


def projection_difference(network: Network) -> dict[str, Any]:
    """How many prototypes fell on equally near patches, and how far the others' vectors are apart.

    Raises:
        SystemExit: the sides chose different patches, and not because they are as near.
    """
    (here, vectors, near), (there, other_vectors, other_near) = projected(network), peer(network, fast=False).project()
    same = (here == there).all(axis=1)
    apart = np.abs(near - other_near) / network.model.depth
    if not apart.max() <= TIE:
        worst = int(np.argmax(apart))
        raise SystemExit(
            f"the same patches must be chosen before any time counts, got {here[worst]} at {near[worst]} and "
            f"{there[worst]} at {other_near[worst]} for prototype {worst}"
        )
    vector_difference = float(np.abs(vectors - other_vectors)[same].max(initial=0.0))
    return {"prototypes": len(same), "same": int(same.sum()), "vector_difference": vector_difference}
