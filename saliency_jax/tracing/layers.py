"""The layers of any model in the order in which it runs them, read from its jaxpr.

Flattened pytrees are alphabetical and NNX leaves no names in a jaxpr, so neither gives the order. What does, for every
framework, is where each parameter first meets something that depends on the image: casts, reshapes and normalizations
of the weights alone, which may all stand at the top of a program, do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from saliency_jax.checks import check_function, check_images, check_integer, check_sequence
from saliency_jax.tracing.compat import (
    Equation,
    Jaxpr,
    is_literal,
    opened,
    scan_counts,
    trace,
    without_dead_code,
)
from saliency_jax.typing import Apply, Images, Params

MATRIX_PRODUCTS = ("dot_general", "conv_general_dilated")
LINEN_COLLECTIONS = ("params", "batch_stats")
ROOT = "params"
"""The name of a layer whose parameters are one bare array."""


class Layer(NamedTuple):
    """A group of parameters that one step of the model uses.

    Attributes:
        name: the path of the module that owns them, without its collection: "block1/conv".
        paths: the paths of the parameter leaves, in order of first use: ("params/block1/conv/kernel", ...).
    """

    name: str
    paths: tuple[str, ...]


class _Use(NamedTuple):
    """Where a leaf first meets the image: a place in the order of execution, and whether in a matrix product."""

    place: int
    in_product: bool


def layers(apply: Apply, params: Params, images: Images) -> tuple[Layer, ...]:
    """The layers of a model, in execution order.

    The leaves of one module form a layer: a kernel and its bias, or the scale, shift and statistics of a
    normalization. Where several kernels share one container (a flat dict of arrays), each opens a layer that is named
    after it and that takes in the leaves used after it. A leaf that never meets the image is in no layer.

    Args:
        apply: the model, `apply(params, images) -> logits`.
        params: its parameters, any pytree.
        images: a batch `[batch, height, width, channel]`; only its shape and dtype are used.

    Returns:
        One Layer for each group, first executed first.

    Raises:
        ValueError: images are no batch of images, params do not fit the model, or no parameter meets the image.
        TypeError: images are not floating point.
    """
    check_images(images)
    return ordered_layers(params, first_uses(apply, params, images))


def blocks(found: Sequence[Layer], *, depth: int = 1) -> tuple[Layer, ...]:
    """Layers joined into the modules that hold them: the stages in which a large network is randomized.

    Layers whose names begin with the same `depth` parts are one block, at the place of the first of them. The blocks of
    an Inception v3 are its stem's convolutions, its eleven mixed modules and its logits.

    Args:
        found: layers in execution order, as `layers` gives them.
        depth: how many parts of "stage1/block0/conv1" name a block.

    Returns:
        One Layer for each block, with the leaves of all its layers.

    Raises:
        ValueError: depth is under 1.
        TypeError: found are no layers, or depth is no integer.
    """
    check_sequence(found, Layer, "found")
    check_integer(depth, "depth")
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    joined: dict[str, tuple[str, ...]] = {}
    for layer in found:
        name = "/".join(layer.name.split("/")[:depth])
        joined[name] = joined.get(name, ()) + layer.paths
    return tuple(Layer(name, paths) for name, paths in joined.items())


def path_string(path: Sequence[Any]) -> str:
    """A leaf's path as text: "params/conv1/kernel"."""
    return jax.tree_util.keystr(tuple(path), simple=True, separator="/")


def leaf_paths(params: Params) -> tuple[str, ...]:
    """The paths of all leaves, in the order of `jax.tree.leaves`."""
    return tuple(path_string(path) for path, _ in jax.tree_util.tree_leaves_with_path(params))


def same_structure(a: Params, b: Params) -> bool:
    """Whether two pytrees have one structure."""
    structures = {jax.tree.structure(a), jax.tree.structure(b)}
    return len(structures) == 1


def first_uses(apply: Apply, params: Params, images: Images) -> dict[int, _Use]:
    """Leaf index -> where it first meets the image, for the floating-point leaves that do and that matter."""
    check_function(apply, "apply")
    leaves, structure = jax.tree.flatten(params)
    try:
        traced = trace(lambda leaves, x: apply(jax.tree.unflatten(structure, leaves), x), leaves, images)
    except Exception as error:
        error.add_note(f"while tracing apply(params, images) with images {images.shape}: do params fit the model?")
        raise
    found = uses_in(traced.jaxpr, leaves)
    if not found:
        raise ValueError("apply(params, images) must use its params: no leaf of params meets the images")
    return found


def uses_in(jaxpr: Jaxpr, leaves: Sequence[Any]) -> dict[int, _Use]:
    """`first_uses` in a jaxpr whose first inputs are the leaves and whose others are what is explained."""
    origins = [_Origin(i >= len(leaves), frozenset([i] if i < len(leaves) else [])) for i in range(len(jaxpr.invars))]
    uses: dict[int, _Use] = {}
    # An auxiliary head whose logits nobody takes is no layer, though it runs inside the model's jit.
    _follow(without_dead_code(jaxpr), origins, uses)
    return {i: use for i, use in uses.items() if jnp.issubdtype(jnp.result_type(leaves[i]), jnp.floating)}


def layer_names(params: Params, jaxpr: Jaxpr) -> list[str | None]:
    """For each leaf of params, the name of its layer; None for one that never meets what is explained."""
    uses = uses_in(jaxpr, jax.tree.leaves(params))
    by_path = {path: layer.name for layer in ordered_layers(params, uses) for path in layer.paths}
    return [by_path.get(path) for path in leaf_paths(params)]


def ordered_layers(params: Params, uses: dict[int, _Use]) -> tuple[Layer, ...]:
    """The leaves grouped by the module that holds them, the groups by first use."""
    with_paths = jax.tree_util.tree_leaves_with_path(params)
    containers: dict[str, list[int]] = {}
    for i in sorted(uses, key=lambda i: uses[i].place):
        containers.setdefault(_container(with_paths[i][0]), []).append(i)
    groups = [group for name, members in containers.items() for group in _groups(name, members, uses, with_paths)]
    groups.sort(key=lambda group: min(uses[i].place for i in group[1]))
    return tuple(Layer(name, tuple(path_string(with_paths[i][0]) for i in members)) for name, members in groups)


def _groups(
    container: str, members: list[int], uses: dict[int, _Use], with_paths: Sequence[Any]
) -> list[tuple[str, list[int]]]:
    """One group for a module; several where a container holds several kernels, or is the root of the tree."""
    if container and sum(uses[i].in_product for i in members) <= 1:
        return [(container, members)]
    groups: list[tuple[str, list[int]]] = []
    open_kernel = False
    for i in members:
        if uses[i].in_product or not open_kernel:
            # A pytree that is one bare array has a path without parts.
            leaf = [ROOT, *_names(with_paths[i][0])][-1]
            groups.append((f"{container}/{leaf}" if container else leaf, []))
            open_kernel = uses[i].in_product
        groups[-1][1].append(i)
    return groups


def _names(path: Sequence[Any]) -> list[str]:
    """The parts of a leaf's path that name a module or a parameter.

    A Linen collection ("params", "batch_stats") is no module, and the box that some frameworks put around an array
    (NNX's Variable, Linen's Partitioned: an attribute called value) is no parameter's name.
    """
    parts = list(path)
    if len(parts) > 1 and isinstance(parts[-1], jax.tree_util.GetAttrKey) and parts[-1].name == "value":
        parts = parts[:-1]
    names = [path_string([part]) for part in parts]
    linen = len(names) > 1 and isinstance(parts[0], jax.tree_util.DictKey) and names[0] in LINEN_COLLECTIONS
    return names[1:] if linen else names


def _container(path: Sequence[Any]) -> str:
    return "/".join(_names(path)[:-1])


class _Origin(NamedTuple):
    """What a value is made of: whether it depends on the image, and the leaves that it is made of alone."""

    on_image: bool
    leaves: frozenset[int]


_NOTHING = _Origin(False, frozenset())


def _follow(jaxpr: Jaxpr, inputs: Sequence[_Origin], uses: dict[int, _Use]) -> list[_Origin]:
    """The origins of a jaxpr's outputs; what meets the image on the way is written into `uses`."""
    origins = dict.fromkeys(jaxpr.constvars, _NOTHING) | dict(zip(jaxpr.invars, inputs, strict=True))

    def read(atom: Any) -> _Origin:
        return _NOTHING if is_literal(atom) else origins[atom]

    for equation in jaxpr.eqns:
        outputs = _follow_equation(equation, [read(atom) for atom in equation.invars], uses)
        origins.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _follow_equation(equation: Equation, inputs: list[_Origin], uses: dict[int, _Use]) -> list[_Origin]:
    inner = _inner(equation, inputs)
    if inner is not None:
        return _follow_inner(equation, inner, uses)
    if any(origin.on_image for origin in inputs):
        in_product = equation.primitive.name in MATRIX_PRODUCTS
        for leaf in sorted(frozenset().union(*(origin.leaves for origin in inputs if not origin.on_image))):
            uses.setdefault(leaf, _Use(len(uses), in_product))
        return [_Origin(True, frozenset())] * len(equation.outvars)
    together = _Origin(False, frozenset().union(*(origin.leaves for origin in inputs)))
    return [together] * len(equation.outvars)


def _inner(equation: Equation, inputs: list[_Origin]) -> list[tuple[Jaxpr, list[_Origin]]] | None:
    """The jaxprs that an equation runs, each with the origins of its inputs; None where it runs none that is known."""
    params, name = equation.params, equation.primitive.name
    if name == "cond":
        return [(opened(branch)[0], inputs[1:]) for branch in params["branches"]]
    if name == "while":
        return [(opened(params["body_jaxpr"])[0], inputs[params["cond_nconsts"] :])]
    for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        if key in params:
            body = opened(params[key])[0]
            return [(body, inputs)] if len(body.invars) == len(inputs) else None
    return None


def _follow_inner(equation: Equation, inner: list[tuple[Jaxpr, list[_Origin]]], uses: dict[int, _Use]) -> list[_Origin]:
    """Walk the bodies; a loop's carry is walked until what it is made of no longer changes."""
    name = equation.primitive.name
    if name == "scan":
        first, count = scan_counts(equation.params)
    elif name == "while":
        first, count = equation.params["body_nconsts"], len(equation.outvars)
    else:
        branches = [_follow(body, inputs, uses) for body, inputs in inner]
        return [_join(outputs) for outputs in zip(*branches, strict=True)]
    [(body, inputs)] = inner
    while True:
        # What meets the image only in a later turn of the loop is found by the walk that knows it.
        outputs = _follow(body, inputs, trial := dict(uses))
        carry = [_join(pair) for pair in zip(inputs[first : first + count], outputs[:count], strict=True)]
        if carry == inputs[first : first + count]:
            uses.update(trial)
            return outputs
        inputs = [*inputs[:first], *carry, *inputs[first + count :]]


def _join(origins: Sequence[_Origin]) -> _Origin:
    on_image = any(origin.on_image for origin in origins)
    return _Origin(on_image, frozenset() if on_image else frozenset().union(*(o.leaves for o in origins)))
