"""The contract of explainers as rules, and one call that holds any explainer against them."""

from saliency_jax.contract.case import Case, Rule, Unreached, Violation, after
from saliency_jax.contract.check import check_explainer
from saliency_jax.contract.record import BrokenContract, Contract, Finding
from saliency_jax.contract.rules import RULES, depends_on_the_model, is_linear_in_the_score

__all__ = [
    "RULES",
    "BrokenContract",
    "Case",
    "Contract",
    "Finding",
    "Rule",
    "Unreached",
    "Violation",
    "after",
    "check_explainer",
    "depends_on_the_model",
    "is_linear_in_the_score",
]
