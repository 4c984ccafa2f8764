"""The rules that an explainer keeps, one function each: what was found, or a Violation with what to do."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from saliency_jax.contract import model
from saliency_jax.contract.case import SHIFT, Case, Rule, Unreached, Violation, after, attempt, close
from saliency_jax.scores import class_score
from saliency_jax.typing import Explainer, Score

OTHER_IMAGES = (((5, 4, 1), jnp.float32), ((4, 9, 2), jnp.bfloat16))
"""Shapes and precisions that an explainer has to follow, beside those of the images."""

POWERS = (1.0, 2.0, 0.0, 0.5, 3.0)


def explains_one_image(case: Case) -> str:
    """`explain(score, image, key)` gives something."""
    error = case.single.error
    if error is not None:
        if _foreign_shapes(case):
            raise Unreached("the model refused an image of another shape") from error
        raise Violation(f"raised {_said(error)}: an explainer is explain(score, image, key=None)") from error
    return f"an image {case.images.shape[1:]} of {case.images.dtype}"


def gives_a_map_like_the_image(case: Case) -> str:
    """The map is an array with the image's shape and precision."""
    found, image = case.single.reached(), case.images[0]
    _check_like(found, image.shape, image.dtype)
    return f"{found.shape} of {found.dtype}"


def shows_the_score_such_images_alone(case: Case) -> str:
    """The score is called with nothing but images of the shape that is explained."""
    foreign = _foreign_shapes(case)
    if foreign:
        raise Violation(
            f"score was called with {foreign[0]} where the image is {case.images.shape[1:]}: it takes one image "
            "without a batch axis; use jax.vmap(score) for many"
        )
    case.single.reached()
    return "it does not call the score" if not case.seen.shapes else f"{case.images.shape[1:]}"


def can_be_traced(case: Case) -> str:
    """It runs under jit, whose values cannot be looked at."""
    after(case, explains_one_image)
    error = case.traced.error
    if isinstance(error, jax.errors.UnexpectedTracerError):
        raise Unreached("a tracer of an earlier call was in the way") from error
    if error is not None:
        raise Violation(
            f"raised {_said(error)} under jax.jit: decide by shapes alone, and by values with jnp.where or jax.lax.cond"
        ) from error
    return "under jax.jit"


def keeps_no_tracer(case: Case) -> str:
    """Nothing of a trace is kept after it, by jax.checking_leaks."""
    after(case, explains_one_image)
    first = case.traced.error
    if first is not None and not isinstance(first, jax.errors.UnexpectedTracerError):
        raise Unreached("it cannot be traced") from first
    error = first or case.traced_again.error
    if error is not None:
        raise Violation(
            f"raised {_said(error)}: an array of one call lives on after it; keep none in globals, closures or caches"
        ) from error
    return "by jax.checking_leaks"


def can_be_batched(case: Case) -> str:
    """It runs under vmap."""
    after(case, can_be_traced, keeps_no_tracer)
    error = case.maps.error
    if error is not None:
        raise Violation(f"raised {_said(error)} under jax.vmap: explain one image by functions that JAX can batch")
    return "under jax.vmap"


def gives_the_same_map_again(case: Case) -> str:
    """Two traces are one program, and two calls of one program give the same bits."""
    after(case, can_be_traced, keeps_no_tracer)
    first, second = case.traced.value, case.traced_again.value
    if first.as_text() != second.as_text():
        arguments = (case.params, case.images[0], case.targets[0], case.keys[0])
        maps = [lowered.compile()(*arguments) for lowered in (first, second)]
        if not _same(*maps):
            raise Violation(
                f"two traces with the same arguments gave maps up to {_distance(*maps):.3g} apart: something beside "
                "the arguments changes, such as a counter, a cache or NumPy's random state"
            )
    once, again = case.maps.reached(), case.maps_again
    if not _same(once, again):
        raise Violation(
            f"the same program gave maps up to {_distance(once, again):.3g} apart in two calls: on a GPU set "
            "XLA_FLAGS=--xla_gpu_deterministic_ops=true, which orders its sums"
        )
    return "the same bits"


def takes_a_key_if_it_draws(case: Case) -> str:
    """It refuses to draw without a key and draws by it, or goes without one."""
    after(case, gives_the_same_map_again)
    draws = not _same(case.maps.reached(), case.maps_of_other_keys)
    error = case.without_key.error
    if error is None:
        if draws:
            raise Violation(
                "its map changes with the key, yet it went without one: raise ValueError where key is None, as "
                "saliency_jax.checks.check_key does"
            )
        return "needs none and ignores it"
    if not draws:
        raise Violation(
            f"asks for a key (without one it raised {_said(error)}), yet another key gives the same map: draw by the "
            "key that is given, or go without"
        )
    if not isinstance(error, ValueError) or "key" not in str(error):
        raise Violation(
            f"raised {_said(error)} without a key: raise a ValueError that asks for key=jax.random.key(seed), as "
            "saliency_jax.checks.check_key does"
        )
    return "needs one and draws by it"


def keeps_its_map_under_jit(case: Case) -> str:
    """The compiled map is the uncompiled one, to the root of the precision."""
    after(case, gives_a_map_like_the_image, takes_a_key_if_it_draws)
    single, mapped = case.single.reached(), case.maps.reached()[0]
    if not close(mapped, single) and not close(case.compiled_alone, single):
        raise Violation(
            f"the compiled map is up to {_distance(case.compiled_alone, single):.3g} from the uncompiled one, whose "
            f"largest value is {_largest(single):.3g}: it does something else where values cannot be looked at"
        )
    return "equal to rounding"


def keeps_its_map_under_vmap(case: Case) -> str:
    """A row of a batch under vmap is what its image gives alone, to the root of the precision."""
    after(case, keeps_its_map_under_jit)
    single, mapped = case.single.reached(), case.maps.reached()[0]
    if not close(mapped, single) and not close(mapped, case.compiled_alone):
        raise Violation(
            f"the row of an image under jax.vmap is up to {_distance(mapped, single):.3g} from its map alone: let no "
            "image of a batch see another"
        )
    return f"in a batch of {len(case.rows)}"


def is_finite_on_blank_images(case: Case) -> str:
    """The maps of the images, of zeros, and of a constant are finite."""
    maps = np.asarray(case.maps.reached(), np.float64)
    names = [*[f"image {i}" for i in range(len(case.images))], "an image of zeros", "a constant image"]
    bad = [name for name, values in zip(names, maps, strict=True) if not np.isfinite(values).all()]
    if bad:
        raise Violation(
            f"the map of {bad[0]} holds NaN or infinity: guard what divides by a range, a norm or a deviation"
        )
    return "zeros and a constant"


def follows_the_model(case: Case) -> str:
    """An explainer that runs the model gives other maps for other parameters."""
    changed = _follows(case)
    if not changed and case.seen.runs:
        raise Violation(
            "it runs the model, yet other parameters give the same maps: take them from the score of each call "
            "and keep none of an earlier one"
        )
    return "other parameters, other maps" if changed else "its maps do not depend on the model"


def ignores_a_constant(case: Case) -> str:
    """Adding a constant to the score leaves the map as it is."""
    after(case, gives_a_map_like_the_image, can_be_traced, is_finite_on_blank_images)
    error = case.rescaled.error
    if error is not None:
        raise Violation(f"raised {_said(error)} for the score f + {SHIFT:g}") from error
    plain, shifted, _ = case.rescaled.value
    if not close(shifted, plain):
        raise Violation(
            f"the map of f + {SHIFT:g} is up to {_distance(shifted, plain):.3g} from that of f, whose largest value is "
            f"{_largest(plain):.3g}: a constant says nothing about the image; use differences or derivatives"
        )
    return f"f + {SHIFT:g} has the map of f"


def changes_with_the_scale(case: Case) -> str:
    """What doubling the score does to the map; it is only reported."""
    after(case, ignores_a_constant)
    power = _power(case)
    if power is None:
        return "2 f has another map than f, times no power of 2"
    return f"2 f has {2**power:.3g} times the map of f"


def follows_other_images(case: Case) -> str:
    """The map follows the shape and the precision of images with other sizes and channels."""
    after(case, gives_a_map_like_the_image, can_be_traced)
    if not case.any_size:
        raise Unreached("the given model takes images of its own shape")
    for shape, dtype in OTHER_IMAGES:
        params = model.example(*shape).params
        score = class_score(case.apply, params, 0)
        found = attempt(partial(_traced_shape, case.explain, score, jax.ShapeDtypeStruct(shape, dtype), case.key))
        if found.error is not None:
            raise Violation(f"raised {_said(found.error)} for an image {shape} of {dtype.__name__}")
        _check_like(found.value, shape, dtype)
    return ", ".join(f"{shape} of {dtype.__name__}" for shape, dtype in OTHER_IMAGES)


def depends_on_the_model(case: Case) -> str:
    """Other parameters give other maps: what an explainer owes, and a control does not."""
    if not _follows(case):
        raise Violation("other parameters give the same maps: it says nothing about this model")
    return "other parameters, other maps"


def is_linear_in_the_score(case: Case) -> str:
    """Twice the score has twice the map."""
    after(case, ignores_a_constant)
    if _power(case) != 1:
        raise Violation(f"{changes_with_the_scale(case)}: a linear explainer gives twice the map")
    return "2 f has twice the map of f"


RULES: tuple[Rule, ...] = (
    explains_one_image,
    gives_a_map_like_the_image,
    shows_the_score_such_images_alone,
    can_be_traced,
    keeps_no_tracer,
    can_be_batched,
    gives_the_same_map_again,
    takes_a_key_if_it_draws,
    keeps_its_map_under_jit,
    keeps_its_map_under_vmap,
    is_finite_on_blank_images,
    follows_the_model,
    ignores_a_constant,
    changes_with_the_scale,
    follows_other_images,
)
"""The rules of every explainer; `depends_on_the_model` and `is_linear_in_the_score` can be asked for beside them."""


def _check_like(found: Any, shape: tuple[int, ...], dtype: Any) -> None:
    if getattr(found, "shape", None) != shape:
        what = f"shape {found.shape}" if hasattr(found, "shape") else type(found).__name__
        raise Violation(
            f"the map must be shaped like its image {shape}, found {what}: reduce channels where maps are compared"
        )
    if found.dtype != dtype:
        raise Violation(
            f"the map must have the precision of its image, {jnp.dtype(dtype)}, found {found.dtype}: compute with "
            "jax.numpy in the image's dtype"
        )


def _traced_shape(explain: Explainer, score: Score, image: Any, key: Any) -> Any:
    return jax.eval_shape(lambda x: explain(score, x, key), image)


def _follows(case: Case) -> bool:
    after(case, gives_the_same_map_again)
    return not _same(case.maps.reached(), case.maps_of_other_params)


def _power(case: Case) -> float | None:
    plain, _, doubled = case.rescaled.reached()
    return next((power for power in POWERS if close(doubled, 2**power * np.asarray(plain))), None)


def _foreign_shapes(case: Case) -> list[tuple[int, ...]]:
    return sorted(case.seen.shapes - {case.images.shape[1:]})


def _same(a: Any, b: Any) -> bool:
    return np.asarray(a).tobytes() == np.asarray(b).tobytes()


def _distance(a: Any, b: Any) -> float:
    return float(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max())


def _largest(a: Any) -> float:
    return float(np.abs(np.asarray(a, np.float64)).max())


def _said(error: Exception | None) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__} ({lines[0][:200] if lines else 'without a message'})"
