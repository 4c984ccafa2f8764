"""Models with some of their layers replaced by random ones: `params -> params`, nothing else touched."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from saliency_jax.checks import check_sequence
from saliency_jax.tracing.layers import Layer, leaf_paths, same_structure
from saliency_jax.typing import Params

Order = Literal["top_down", "bottom_up", "independent"]
ORDERS: tuple[Order, ...] = ("top_down", "bottom_up", "independent")


class Stage(NamedTuple):
    """One step of a randomization.

    Attributes:
        name: the layer that this stage randomizes; in a cascade those before it are randomized as well.
        layers: all layers that are random at this stage.
        params: the parameters.
    """

    name: str
    layers: tuple[Layer, ...]
    params: Params


def randomize(params: Params, fresh: Params, layers: Sequence[Layer]) -> Params:
    """`params` with the leaves of `layers` taken from `fresh`; every other leaf is the very same array.

    Args:
        params: trained parameters, any pytree.
        fresh: random parameters of the same structure and shapes.
        layers: what to replace, as `saliency_jax.layers` gives them.

    Returns:
        A pytree of the structure of params.

    Raises:
        ValueError: fresh has another structure or another shape, or a layer has a path that params have not.
    """
    check_sequence(layers, Layer, "layers")
    if not same_structure(params, fresh):
        raise ValueError(
            f"fresh must have the structure of params, got {jax.tree.structure(fresh)} for {jax.tree.structure(params)}"
        )
    paths = leaf_paths(params)
    replaced = {path for layer in layers for path in layer.paths}
    if missing := sorted(replaced.difference(paths)):
        near = difflib.get_close_matches(missing[0], paths)
        raise ValueError(f"layers must name leaves of params: there is no {missing[0]!r}; near ones: {near}")

    def choose(path: str, trained: Any, drawn: Any) -> Any:
        if path not in replaced:
            return trained
        if jnp.shape(drawn) != jnp.shape(trained):
            raise ValueError(f"fresh must fit params: {path} is {jnp.shape(drawn)} and not {jnp.shape(trained)}")
        return drawn

    leaves = map(choose, paths, jax.tree.leaves(params), jax.tree.leaves(fresh))
    return jax.tree.unflatten(jax.tree.structure(params), list(leaves))


def stages(layers: Sequence[Layer], *, order: Order = "top_down") -> tuple[tuple[str, tuple[Layer, ...]], ...]:
    """What is random at each stage: (name of the stage, its layers).

    Args:
        layers: in execution order.
        order: "top_down" randomizes from the output towards the input and keeps what is randomized, "bottom_up" the
            other way, "independent" one layer at a time.

    Raises:
        ValueError: order is unknown, there are no layers, or two have one name.
    """
    if order not in ORDERS:
        raise ValueError(f"order must be one of {list(ORDERS)}, got {order!r}")
    check_sequence(layers, Layer, "layers")
    if not layers:
        raise ValueError("layers must not be empty")
    names = [layer.name for layer in layers]
    if len(set(names)) != len(names):
        raise ValueError(f"layers must have different names, got {names}")
    if order == "independent":
        return tuple((layer.name, (layer,)) for layer in reversed(layers))
    along = tuple(layers) if order == "bottom_up" else tuple(reversed(layers))
    return tuple((layer.name, along[: i + 1]) for i, layer in enumerate(along))


def cascade(
    params: Params,
    fresh: Params | Callable[[int], Params],
    layers: Sequence[Layer],
    *,
    order: Order = "top_down",
) -> tuple[Stage, ...]:
    """The models of a randomization test, one for each layer.

    Stage k of "top_down" has the k + 1 last layers random and all layers below bit for bit as trained. The weights
    that are not random are shared with params, not copied.

    Args:
        params: trained parameters.
        fresh: random parameters; or a function of the stage's number that draws new ones for each stage, as the
            paper's code does.
        layers: in execution order, as `saliency_jax.layers` gives them.
        order: "top_down", "bottom_up" or "independent".

    Returns:
        One Stage for each layer: the first randomized comes first.

    Raises:
        ValueError: as `stages` and `randomize`.

    Source: Adebayo et al. 2018, section 4.
    """
    # An Equinox model is callable as well, but it is a tree of arrays; a drawing function is a leaf of its own.
    draws = callable(fresh) and jax.tree_util.all_leaves([fresh])
    draw = fresh if draws else lambda _: fresh
    return tuple(
        Stage(name, chosen, randomize(params, draw(k), chosen))
        for k, (name, chosen) in enumerate(stages(layers, order=order))
    )
