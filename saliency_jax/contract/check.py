"""One call that puts any explainer through its contract."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from saliency_jax.checks import check_function, check_images, check_one_key, check_targets
from saliency_jax.contract import model
from saliency_jax.contract.case import Case, Rule, Unreached, Violation, title
from saliency_jax.contract.record import BrokenContract, Contract, Finding
from saliency_jax.contract.rules import RULES
from saliency_jax.scores import class_count
from saliency_jax.typing import Apply, Explainer, Params

_MODEL = ("apply", "params", "images", "targets")


def check_explainer(
    explain: Explainer,
    *,
    apply: Apply | None = None,
    params: Params | None = None,
    images: Any = None,
    targets: Any = None,
    key: Any = None,
    rules: Sequence[Rule] = RULES,
) -> Contract:
    """Hold an explainer against the contract `explain(score, image, key=None) -> map`, rule by rule.

    The map has the image's shape and precision; jit, vmap and a second call leave it as it is; nothing is kept between
    calls; an explainer that draws needs a key and draws by it; blank images have finite maps; the score is called with
    such images alone, and adding a constant to it changes nothing. Whether the map depends on the model, and what
    doubling the score does to it, is reported only. More can be asked for:

        from saliency_jax import contract
        print(check_explainer(explain, rules=(*contract.RULES, contract.depends_on_the_model)))

    Args:
        explain: the explainer, with its options fixed by `functools.partial`.
        apply: the model, `apply(params, images) -> logits`; a small network of the library where None, which also takes
            images of other sizes and precisions.
        params: its parameters.
        images: `[batch, height, width, channel]`, of which the first two are explained.
        targets: `[batch]` classes.
        key: for what an explainer draws; `jax.random.key(0)` where None.
        rules: what is asked of it, `rule(case) -> what was found`; see `saliency_jax.contract`.

    Returns:
        What was found of each rule, `(rule, passed, detail)`; passed is None where a rule could not be looked at.

    Raises:
        BrokenContract: rules are broken; an AssertionError that names all of them, what was found and what to do.
        TypeError: explain or apply is no function, key no random key, images are not floating point or targets not
            integers.
        ValueError: some of apply, params, images and targets are given and some are not; images are no batch or not
            finite; a target is no class; there is no rule.

    Cost: three compilations and one uncompiled call of the explainer, seven explanations of one to four images.
    """
    check_function(explain, "explain")
    if key is not None:
        check_one_key(key)
    if not rules:
        raise ValueError(f"rules must be at least one, got {rules!r}")
    given = dict(zip(_MODEL, (apply, params, images, targets), strict=True))
    missing = [name for name, value in given.items() if value is None]
    if missing and len(missing) < len(given):
        raise ValueError(f"apply, params, images and targets must be given together, got no {', '.join(missing)}")
    if missing:
        params, images, targets = model.example()
    forward = model.apply if apply is None else apply
    check_function(forward, "apply")
    check_images(images)
    images = jnp.asarray(images)
    check_targets(targets, batch=len(images), classes=class_count(forward, params, images))
    case = Case(
        explain,
        forward,
        params,
        images[:2],
        jnp.asarray(targets)[:2],
        jax.random.key(0) if key is None else key,
        any_size=bool(missing),
    )
    # Products of reduced precision would tell a compiled map from an uncompiled one where there is nothing to tell.
    with jax.default_matmul_precision("highest"):
        contract = Contract(tuple(_found(rule, case) for rule in rules))
    if contract.broken():
        raise BrokenContract(getattr(explain, "__name__", repr(explain)), contract)
    return contract


def _found(rule: Rule, case: Case) -> Finding:
    try:
        return Finding(title(rule), True, rule(case))
    except Violation as violation:
        return Finding(title(rule), False, str(violation))
    except Unreached as reason:
        return Finding(title(rule), None, str(reason))
