"""What the rules look at: an explainer with a model and images, and what came of calling it, each call made once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from saliency_jax.keys import named, numbered
from saliency_jax.scores import ClassScore
from saliency_jax.tracing import compiled
from saliency_jax.typing import Apply, Explainer, Params

SHIFT = 1.0
"""What the rule on constants adds to the logits."""


class Violation(Exception):
    """A rule is broken: what was found, and what to do."""


class Unreached(Exception):
    """A rule could not be looked at, and why."""


class Outcome(NamedTuple):
    """What a call gave: a value, or the error that it raised."""

    value: Any
    error: Exception | None

    def reached(self) -> Any:
        """The value; Unreached where there is none."""
        if self.error is not None:
            raise Unreached("the explainer raised an error before")
        return self.value


@dataclass(frozen=True)
class Seen:
    """What an explainer asked for while it explained: the shapes it gave the score, how often it ran the model."""

    shapes: set[tuple[int, ...]] = field(default_factory=set)
    runs: list[None] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class WatchedScore(ClassScore):
    """A class score that notes the shapes of what it is called with."""

    seen: Seen

    def of_params(self, params: Params, image: Any) -> Array:
        """The score, after its image's shape is noted."""
        self.seen.shapes.add(jnp.shape(image))
        return super().of_params(params, image)


@dataclass(frozen=True, eq=False)
class Case:
    """An explainer with all that it takes to call it.

    Attributes:
        explain: the explainer.
        apply: the model.
        params: its parameters.
        images: `[batch, height, width, channel]`.
        targets: `[batch]` classes.
        key: what an explainer that draws is given.
        any_size: whether the model is the built-in one, which takes images of any size and precision.
    """

    explain: Explainer
    apply: Apply
    params: Params
    images: Array
    targets: Array
    key: Any
    any_size: bool
    seen: Seen = field(default_factory=Seen)

    def explained(self, apply: Apply, params: Params, image: Any, target: Any, key: Any) -> Any:
        """One call of the explainer, watched."""

        def watched(params: Params, images: Any) -> Array:
            self.seen.runs.append(None)
            return apply(params, images)

        return self.explain(WatchedScore(watched, params, target, "logit", self.seen), image, key)

    def one(self, params: Params, image: Any, target: Any, key: Any) -> Any:
        """The map of one image."""
        return self.explained(self.apply, params, image, target, key)

    @cached_property
    def without_key(self) -> Outcome:
        """The map's shape where no key is given."""
        return attempt(
            lambda: jax.eval_shape(lambda x: self.one(self.params, x, self.targets[0], None), self.images[0])
        )

    @cached_property
    def single(self) -> Outcome:
        """The first image's map, not compiled; with a key only where the explainer refuses to go without."""
        key = None if self.without_key.error is None else self.keys[0]
        return attempt(lambda: self.one(self.params, self.images[0], self.targets[0], key))

    @cached_property
    def keys(self) -> Array:
        """One key for each row of `rows`."""
        return numbered(self.key, len(self.rows))

    @cached_property
    def rows(self) -> Array:
        """The images, then two blank ones: zeros, and the largest value that the images hold."""
        zeros = jnp.zeros_like(self.images[:1])
        return jnp.concatenate([self.images, zeros, jnp.full_like(zeros, self.images.max())])

    @cached_property
    def traced(self) -> Outcome:
        """The program of one explanation, as text."""
        return attempt(self._lowered)

    @cached_property
    def traced_again(self) -> Outcome:
        """The same from a second trace, while JAX looks for tracers that somebody keeps."""
        self.traced.reached()

        def lowered() -> Any:
            with jax.checking_leaks():
                return self._lowered()

        return attempt(lowered)

    def _lowered(self) -> Any:
        # A function of its own for each trace: JAX would not trace the same one twice.
        def explain_one(*args: Any) -> Any:
            return self.one(*args)

        return jax.jit(explain_one).lower(self.params, self.images[0], self.targets[0], self.keys[0])

    @cached_property
    def program(self) -> Callable[..., Array]:
        """The maps of all rows under vmap, compiled, of (params, keys)."""
        targets = jnp.concatenate([self.targets, jnp.repeat(self.targets[:1], 2)])
        mapped = compiled(jax.vmap(self.one, in_axes=(None, 0, 0, 0)))
        return lambda params, keys: mapped(params, self.rows, targets, keys)

    @cached_property
    def maps(self) -> Outcome:
        """The maps of all rows."""
        # An explainer that keeps something of its first call is to keep it of a plain one.
        for earlier in (self.single, self.traced, self.traced_again):
            earlier.reached()
        return attempt(lambda: self.program(self.params, self.keys))

    @cached_property
    def maps_again(self) -> Array:
        """The same from a second call."""
        return self.program(self.params, self.keys)

    @cached_property
    def maps_of_other_keys(self) -> Array:
        """The maps of all rows with other keys."""
        return self.program(self.params, numbered(named(self.key, "other"), len(self.rows)))

    @cached_property
    def maps_of_other_params(self) -> Array:
        """The maps of all rows under other parameters: each times a factor from 1/2 to 3/2, which keeps their signs."""
        random = np.random.default_rng(0)

        def other(leaf: Any) -> Any:
            # Keys and counters are left as they are; bfloat16 is no floating type to NumPy.
            if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
                return leaf
            return leaf * jnp.asarray(random.uniform(0.5, 1.5, jnp.shape(leaf)), jnp.result_type(leaf))

        return self.program(jax.tree.map(other, self.params), self.keys)

    @cached_property
    def compiled_alone(self) -> Array:
        """The first image's map, compiled without vmap."""
        return compiled(self.one)(self.params, self.images[0], self.targets[0], self.keys[0])

    @cached_property
    def rescaled(self) -> Outcome:
        """The first image's map of three scores: f, f + 1 and 2 f."""

        def explain_affine(params: Params, image: Any, target: Any, key: Any, scale: Any, shift: Any) -> Any:
            def affine(params: Params, images: Any) -> Array:
                logits = self.apply(params, images)
                return scale.astype(logits.dtype) * logits + shift.astype(logits.dtype)

            return self.explained(affine, params, image, target, key)

        program = compiled(explain_affine)
        arguments = (self.params, self.images[0], self.targets[0], self.keys[0])
        scores = ((1.0, 0.0), (1.0, SHIFT), (2.0, 0.0))
        return attempt(lambda: [program(*arguments, *map(jnp.float32, score)) for score in scores])


Rule = Callable[[Case], str]
"""`rule(case) -> what was found`; it raises Violation where it is broken, Unreached where nothing can be said."""


def after(case: Case, *rules: Rule) -> None:
    """Raise Unreached unless these rules hold, which what follows builds on."""
    for rule in rules:
        try:
            rule(case)
        except (Violation, Unreached) as error:
            raise Unreached(f"only where an explainer {title(rule)}") from error


def title(rule: Rule) -> str:
    """The name of a rule in words."""
    return getattr(rule, "__name__", repr(rule)).replace("_", " ")


def attempt(f: Callable[[], Any]) -> Outcome:
    """What a call gives, or the error that it raises."""
    try:
        return Outcome(f(), None)
    except Unreached:
        raise
    except Exception as error:
        return Outcome(None, error)


def close(found: Any, expected: Any) -> bool:
    """Whether two maps are equal to the root of their precision, measured by the largest value that is finite.

    NaN and infinity are to stand in the same places: whether they may stand there is the question of another rule.
    """
    found, expected = np.asarray(found, np.float64), np.asarray(expected)
    tolerance = float(jnp.finfo(expected.dtype).eps) ** 0.5
    expected = expected.astype(np.float64)
    finite = np.isfinite(expected)
    largest = np.abs(expected[finite]).max(initial=0)
    return bool(
        np.array_equal(found[~finite], expected[~finite], equal_nan=True)
        and (np.abs(found[finite] - expected[finite]) <= tolerance * largest).all()
    )
