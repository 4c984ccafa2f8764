"""Every activation of a model by name: which there are, their values, and the gradient of a score in them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from saliency_jax.checks import check_function, check_images, is_concrete
from saliency_jax.tracing.execution import Visited, where
from saliency_jax.tracing.naming import Planned, plan_with_params
from saliency_jax.tracing.operations import Operation, Plan, turns
from saliency_jax.tracing.override import run_planned
from saliency_jax.typing import Apply, Images, Params

_NOT_TAPPED = ("constant", "movement", "custom", "scan", "branch", "remat", "loop", "unknown")


class Tap(NamedTuple):
    """One activation of a model.

    Attributes:
        name: its address, unique: the layer that it is the output of, "block1/conv", or the layer before it and its
            kind, "block1/conv/relu".
        shape: of the activation, batch first; inside a scan with the number of turns before it.
        kind: what it is the output of: "convolution", "dense", "relu", "softmax", ...
        addresses: further names: the Linen module or `jax.named_scope` whose last activation it is, and its
            `checkpoint_name`.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    addresses: tuple[str, ...] = ()


def taps(apply: Apply, params: Params, images: Images) -> tuple[Tap, ...]:
    """The activations of a model, in execution order.

    Args:
        apply: the model, `apply(params, images) -> logits`.
        params: its parameters, any pytree.
        images: a batch `[batch, height, width, channel]`; only its shape and dtype are used.

    Returns:
        One Tap for each operation whose result depends on the images and is needed for the logits: convolutions and
        dense layers with their bias, activations, poolings, norms, sums, products, concatenations.

    Raises:
        ValueError: images are no batch of images, or params do not fit the model.
        TypeError: images are not floating point.
    """
    check_function(apply, "apply")
    check_images(images)
    return planned_taps(plan_with_params(apply, params, images))


def activations(
    apply: Apply, params: Params, images: Images, names: Sequence[str | int] | None = None
) -> dict[str, Array]:
    """The values of a model's activations for a batch.

    Args:
        apply: the model, `apply(params, images) -> logits`.
        params: its parameters.
        images: `[batch, height, width, channel]`.
        names: which, by name, further address, or index in `taps`; all where None.

    Returns:
        address -> value `[batch, ...]`, inside a scan `[turn, batch, ...]`; in execution order where names is None.

    Raises:
        ValueError: an address that the model does not have (the near ones are listed), or that does not depend on the
            images; or images are no batch.
        TypeError: images are not floating point.
    """
    check_function(apply, "apply")
    check_images(images)
    if names is not None and (isinstance(names, str) or not isinstance(names, Sequence)):
        raise TypeError(f"names must be a sequence of names or numbers of activations, got {names!r}")
    images = jnp.asarray(images)
    planned = plan_with_params(apply, params, images)
    found = planned_taps(planned)
    wanted = {tap.name: tap.name for tap in found} if names is None else {n: resolve(planned, n) for n in names}
    observed = run_planned(planned, (images,), dict.fromkeys(wanted.values(), _read_output)).observed
    return {str(address): observed[name] for address, name in wanted.items()}


def planned_taps(planned: Planned) -> tuple[Tap, ...]:
    """The taps of a plan."""
    operations = list(_tapped(planned.plan))
    lengths = turns(planned.plan)
    addresses = _addresses(planned.plan, [operation for operation, _ in operations])
    return tuple(
        Tap(
            operation.name, (*lengths[operation.name], *shape), operation.kind, tuple(addresses.get(operation.name, ()))
        )
        for operation, shape in operations
    )


def resolve(planned: Planned, address: str | int) -> str:
    """The name of the tap that an address means.

    Raises:
        ValueError: there is none, or it does not depend on what is explained.
    """
    if not isinstance(address, (str, int)):
        raise TypeError(f"layer must be the name or the number of an activation, got {address!r}")
    found = planned_taps(planned)
    if isinstance(address, int):
        if not 0 <= address < len(found):
            raise ValueError(f"a layer's index must be in [0, {len(found)}), got {address}")
        return found[address].name
    for tap in found:
        if address == tap.name or address in tap.addresses:
            return tap.name
    for operation in planned.plan.everything():
        if operation.kind == "constant" and address in {*_scopes(operation), _checkpoint_name(operation)}:
            raise ValueError(
                f"layer {address!r} must depend on the image: what is called so is the same for every image"
            )
    known = [name for tap in found for name in (tap.name, *tap.addresses)]
    near = difflib.get_close_matches(address, known, n=5, cutoff=0.4) or known[:12]
    raise ValueError(f"layer must be the name of an activation, got {address!r}; near it are {', '.join(near)}")


def check_activations(planned: Planned, image: Array) -> None:
    """Raise ValueError where an activation is NaN or infinite; under a trace nothing can be seen.

    The error names the first one, in execution order, and where it stands.
    """
    if not all(is_concrete(value) for value in (image, *planned.params, *planned.plan.program.constants.values())):
        return
    tapped = {operation.name: operation for operation, _ in _tapped(planned.plan)}
    # Not compiled: whoever explains one image outside of jit would wait for the compiler at every call.
    observed = run_planned(planned, (image,), dict.fromkeys(tapped, _finite)).observed
    for name, operation in tapped.items():
        if not np.all(observed[name]):
            raise ValueError(f"every activation must be finite, but the {operation.kind} at {where(operation)} is not")


def activation_after(planned: Planned, name: str) -> str:
    """The tap of the activation function that alone reads a tap, directly or past scalings; else the tap itself."""
    for plan in _plans(planned.plan):
        reads = [number for operation in plan.operations for number in operation.inputs]
        reader = {number: operation for operation in plan.operations for number in operation.inputs}
        start = next((operation for operation in plan.operations if operation.name == name), None)
        if start is None or start.kind in ("relu", "activation"):
            continue
        following = reader.get(start.outputs[0])
        while following is not None and following.kind == "affine" and reads.count(following.inputs[0]) == 1:
            following = reader.get(following.outputs[0])
        if following is not None and following.kind in ("relu", "activation"):
            return following.name if reads.count(following.inputs[0]) == 1 else name
    return name


def score_and_gradient(planned: Planned, image: Array, name: str) -> tuple[Array, Array]:
    """The activation A of a score at a tap, and the gradient d score / dA, of one shape."""

    def probed(probe: Array) -> tuple[Array, Array]:
        found = run_planned(planned, (image,), {name: _probe_output}, {name: probe})
        return jnp.asarray(found.outputs), found.observed[name]

    [tap] = [tap for tap in planned_taps(planned) if tap.name == name]
    gradient, value = jax.grad(probed, has_aux=True)(jnp.zeros(tap.shape, _dtype(planned.plan, name)))
    return value, gradient


def _read_output(operation: Operation, inputs: Sequence[Any], sides: Sequence[Any], given: Any) -> Visited:
    outputs = operation.run(inputs, sides)
    return Visited(outputs, outputs[0])


def _finite(operation: Operation, inputs: Sequence[Any], sides: Sequence[Any], given: Any) -> Visited:
    outputs = operation.run(inputs, sides)
    return Visited(outputs, jnp.isfinite(outputs[0]).all())


def _probe_output(operation: Operation, inputs: Sequence[Any], sides: Sequence[Any], given: Any) -> Visited:
    outputs = operation.run(inputs, sides)
    return Visited([_probed(outputs[0], given)], outputs[0])


@jax.custom_vjp
def _probed(value: Array, probe: Array) -> Array:
    """The value itself; the probe, whatever it is, gets the value's gradient."""
    return value


_probed.defvjp(lambda value, probe: (value, None), lambda _, cotangent: (cotangent, cotangent))


def _tapped(plan: Plan) -> Iterator[tuple[Operation, tuple[int, ...]]]:
    """The operations of a plan that are taps, with the shapes of their values in one turn.

    They stand at every depth but in while loops, whose turns cannot be counted beforehand, and in what is not known.
    """
    for operation in plan.operations:
        for body in operation.bodies if operation.kind not in ("loop", "unknown") else ():
            yield from _tapped(body)
        if operation.kind not in _NOT_TAPPED and len(operation.outputs) == 1:
            yield operation, plan.program.avals[operation.outputs[0]].shape


def _addresses(plan: Plan, tapped: Sequence[Operation]) -> dict[str, list[str]]:
    """Tap name -> further addresses. A scope means the last activation inside it."""
    last: dict[str, str] = {}
    for operation in tapped:
        for scope in _scopes(operation):
            last[scope] = operation.name
    for inner in _plans(plan):
        maker = {number: operation for operation in inner.operations for number in operation.outputs}
        for operation in inner.operations:
            label = _checkpoint_name(operation)
            source = maker.get(operation.inputs[0]) if label and operation.inputs else None
            while source is not None and source.kind == "movement":
                source = maker.get(source.inputs[0])
            if source is not None:
                last[label] = source.name
    found: dict[str, list[str]] = {}
    for address, name in last.items():
        if address != name:
            found.setdefault(name, []).append(address)
    return found


def _plans(plan: Plan) -> Iterator[Plan]:
    yield plan
    for operation in plan.operations:
        for body in operation.bodies:
            yield from _plans(body)


def _scopes(operation: Operation) -> set[str]:
    """All scopes that an operation stands in, with and without the name of the model itself."""
    parts = operation.scope.split("/") if operation.scope else []
    return {"/".join(parts[first : i + 1]) for first in (0, 1) for i in range(first, len(parts))}


def _checkpoint_name(operation: Operation) -> str:
    return str(operation.steps[0].equation.params["name"]) if operation.primitive == "name" else ""


def _dtype(plan: Plan, name: str) -> Any:
    for inner in _plans(plan):
        for operation in inner.operations:
            if operation.name == name:
                return inner.program.avals[operation.outputs[0]].dtype
    raise KeyError(name)
