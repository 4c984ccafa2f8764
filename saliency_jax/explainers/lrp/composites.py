"""Which rule for which operation: composites, ordered pairs of a match and a rule.

The first pair that matches decides. A match is a kind of operation ("convolution", "dense", ...), several of them in a
tuple, or a function `match(operation, all_operations) -> bool`, of which `first` and `called` make the common ones:

    mine = [(first("convolution", "dense"), rules.flat), ("convolution", rules.z_plus), (called("head*"), rules.zero)]
    lrp(score, image, composite=[*mine, *epsilon_plus()])

What no pair matches gets the rule of `BASE`. Scalings and shifts that follow a convolution or dense layer, such as an
inference BatchNorm, become part of it, unless their rule is `rules.unfolded(rule)`.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from saliency_jax.explainers.lrp import rules
from saliency_jax.explainers.lrp.shares import EPSILON, Rule
from saliency_jax.tracing.operations import KINDS, Operation

Match = str | tuple[str, ...] | Callable[..., bool]
Composite = Sequence[tuple[Match, Rule]]

BASE: Composite = (
    (("relu", "activation", "affine"), rules.pass_through),
    ("max_pool", rules.winner),
    (("sum", "average_pool", "linear"), rules.norm),
    (("convolution", "dense", "normalization"), rules.epsilon),
    ("product", rules.halves),
    ("quotient", rules.numerator),
    ("matrix_product", rules.bilinear),
    ("softmax", rules.softmax),
    (("movement", "concatenation"), rules.moved),
)
"""The rules of what a composite does not mention: activations pass relevance, sums and norms share it by value, maxima
give it to the winner, gates and attention follow AttnLRP."""


@dataclass(frozen=True)
class First:
    """A match for one operation: the first of some kinds to be executed."""

    kinds: tuple[str, ...]

    def __call__(self, operation: Operation, operations: Sequence[Operation]) -> bool:
        """Whether the operation is that one."""
        return next((o.name for o in operations if o.kind in self.kinds), None) == operation.name


def first(*kinds: str) -> Match:
    """Matches the operation of these kinds that is executed first.

    Raises:
        ValueError: a kind that does not exist.
    """
    _check_kinds(kinds)
    return First(kinds)


def called(pattern: str) -> Match:
    """Matches operations by name, as `fnmatch` does: "block1/*"."""
    return lambda operation, _: fnmatch.fnmatchcase(operation.name, pattern)


def zero() -> Composite:
    """LRP-0 everywhere: gradient times input, where every nonlinearity is a ReLU or a pool.

    Source: Shrikumar et al. 2016 and Ancona et al. 2018, proposition 1, for the equality.
    """
    linear = ("convolution", "dense", "affine", "normalization", "average_pool", "sum", "linear")
    # The flat end of a ReLU6 is a constant: it keeps the relevance, as a bias would.
    return ((linear, rules.zero), ("relu", rules.moved), ("matrix_product", partial(rules.bilinear, epsilon=0.0)))


def epsilon(*, epsilon: float = EPSILON, bias: bool = True) -> Composite:
    """The rule epsilon for convolutions and dense layers. Source: Bach et al. 2015."""
    return ((("convolution", "dense"), partial(rules.epsilon, epsilon=epsilon, bias=bias)),)


def epsilon_plus(*, epsilon: float = EPSILON, bias: bool = True) -> Composite:
    """z-plus for convolutions, epsilon for dense layers. Source: Kohlbrenner et al. 2020, section 3 (LRP-CMP)."""
    return (
        ("convolution", partial(rules.z_plus, bias=bias)),
        ("dense", partial(rules.epsilon, epsilon=epsilon, bias=bias)),
    )


def epsilon_plus_flat(*, epsilon: float = EPSILON, bias: bool = True) -> Composite:
    """`epsilon_plus`, with flat for the first layer. Source: Lapuschkin et al. 2019."""
    return ((first("convolution", "dense"), rules.flat), *epsilon_plus(epsilon=epsilon, bias=bias))


def epsilon_alpha2_beta1(*, epsilon: float = EPSILON, bias: bool = True) -> Composite:
    """alpha-beta with 2 and 1 for convolutions, epsilon for dense layers. Source: Kohlbrenner et al. 2020."""
    return (
        ("convolution", partial(rules.alpha_beta, alpha=2.0, beta=1.0, bias=bias)),
        ("dense", partial(rules.epsilon, epsilon=epsilon, bias=bias)),
    )


def epsilon_alpha2_beta1_flat(*, epsilon: float = EPSILON, bias: bool = True) -> Composite:
    """`epsilon_alpha2_beta1`, with flat for the first layer. Source: Kohlbrenner et al. 2020."""
    return ((first("convolution", "dense"), rules.flat), *epsilon_alpha2_beta1(epsilon=epsilon, bias=bias))


def epsilon_gamma_box(
    *, low: Any = 0.0, high: Any = 1.0, gamma: float = 0.25, epsilon: float = EPSILON, bias: bool = True
) -> Composite:
    """z-box for the first convolution, gamma for the others, epsilon for dense layers.

    Args:
        low: the least value that a pixel can have in the units of the model's input, one number or an array.
        high: the greatest.
        gamma: of the rule gamma.
        epsilon: of the rule epsilon.
        bias: whether biases take relevance.

    Source: Montavon et al. 2019, section 10.3.
    """
    return (
        (first("convolution"), partial(rules.z_box, low=low, high=high)),
        ("convolution", partial(rules.gamma, gamma=gamma, bias=bias)),
        ("dense", partial(rules.epsilon, epsilon=epsilon, bias=bias)),
    )


def excitation_backprop(*, bias: bool = True) -> Composite:
    """z-plus for convolutions and dense layers; an inference BatchNorm is passed by its gradient, as in Zennit.

    Source: Zhang et al. 2018, equation 5 (for positive inputs).
    """
    return (
        (("convolution", "dense"), partial(rules.z_plus, bias=bias)),
        ("affine", rules.unfolded(rules.gradient)),
    )


def deep_taylor(*, low: Any = 0.0, high: Any = 1.0) -> Composite:
    """z-box for the first layer, z-plus for the others. Source: Montavon et al. 2017, section 6."""
    return (
        (first("convolution", "dense"), partial(rules.z_box, low=low, high=high)),
        (("convolution", "dense"), rules.z_plus),
    )


def pairs_of(composite: Composite | Callable[[], Composite]) -> Composite:
    """A composite's pairs, `BASE` after them; what is a function of options alone is called."""
    return (*(composite() if callable(composite) else composite), *BASE)


def find_rule(pairs: Composite, operation: Operation, operations: Sequence[Operation]) -> Rule | None:
    """The rule of an operation; None where it needs none, because it only moves values.

    Raises:
        ValueError: a match that is no kind, or no function.
    """
    for match, rule in pairs:
        if callable(match):
            fits = match(operation, operations)
        else:
            kinds = (match,) if isinstance(match, str) else tuple(match)
            _check_kinds(kinds)
            fits = operation.kind in kinds
        if fits:
            return rule
    return None


def _check_kinds(kinds: Sequence[str]) -> None:
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        raise ValueError(f"a composite must match kinds among {', '.join(KINDS)}; got {', '.join(unknown)}")
