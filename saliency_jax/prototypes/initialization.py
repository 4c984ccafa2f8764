"""Where prototypes begin: at patches of training images of their class, drawn at random."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.checks import check_batch, check_one_key, check_targets
from saliency_jax.keys import named
from saliency_jax.prototypes.checks import check_count, check_variables
from saliency_jax.prototypes.network import ProtoPNet, prototype_classes
from saliency_jax.prototypes.projection import Labels, Projection, Sources
from saliency_jax.tracing import compiled
from saliency_jax.typing import Images, Params, PRNGKey


def drawn_patches(
    model: ProtoPNet, variables: Params, images: Images, labels: Labels, key: PRNGKey, *, batch_size: int = 80
) -> Projection:
    """Make every prototype a patch of an image of its class, image and place drawn at random.

    Prototypes that begin as uniform noise lie close together beside the patches, so that several of a class learn the
    same part. As many prototypes of a class as it has images begin in different images.

    Args:
        model: the network.
        variables: its variables.
        images: `[n, height, width, channel]`.
        labels: their classes, `[n]`.
        key: draws images and places.
        batch_size: images at a time.

    Returns:
        As `project`; the distance, of what the prototypes were before, is NaN.

    Raises:
        ValueError: a class that has prototypes has no image, a label is no class, or batch_size is under 1.
        TypeError: labels are not integer, images not floating point, or the key is none.

    Cost: a forward pass for each prototype.
    """
    check_batch(images)
    check_variables(model, variables)
    check_targets(labels, batch=len(images), classes=model.classes, argument="labels")
    check_count(batch_size, "batch_size")
    check_one_key(key)
    classes, labels = np.asarray(prototype_classes(model)), np.asarray(labels)
    if missing := sorted(set(classes.tolist()) - set(labels.tolist())):
        raise ValueError(f"labels must name an image of every class that has prototypes, none is of {missing[:5]}")
    chosen = np.empty(len(classes), np.int32)
    order = np.asarray(jax.random.permutation(named(key, "images"), len(labels)))
    for c in np.unique(classes):
        own = order[labels[order] == c]
        slots = np.flatnonzero(classes == c)
        chosen[slots] = own[np.arange(len(slots)) % len(own)]
    shape = jax.eval_shape(lambda x: model.apply(variables, x, method="patches"), jnp.asarray(images[:1])).shape
    places = np.asarray(jax.random.randint(named(key, "places"), (len(classes),), 0, shape[1] * shape[2]))

    @compiled
    def patches_at(variables: Params, batch: jax.Array, places: jax.Array) -> jax.Array:
        patches = model.apply(variables, batch, method="patches")
        flat = patches.reshape(len(batch), -1, patches.shape[-1])
        return jnp.take_along_axis(flat, places[:, None, None], axis=1)[:, 0]

    drawn = [
        patches_at(variables, jnp.asarray(images[chosen[i : i + batch_size]]), jnp.asarray(places[i : i + batch_size]))
        for i in range(0, len(classes), batch_size)
    ]
    begun = {**variables, "params": {**variables["params"], "prototype_vectors": jnp.concatenate(drawn)}}
    nothing = np.full(len(classes), np.nan, np.float32)
    return Projection(begun, Sources(chosen, places // shape[2], places % shape[2], nothing))
