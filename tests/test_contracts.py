"""Every explainer keeps the contract of `check_explainer`, and the public functions keep the house rules."""

import inspect

import pytest

import saliency_jax as sj
from saliency_jax import contract
from saliency_jax.explainers import controls

CONTROLS = {"edges", "noise", "constant"}
NEED_KEY = {"smoothgrad", "smoothgrad_squared", "vargrad", "integrated_gradients_smoothgrad", "noise"}
QUADRATIC = {"sensitivity", "smoothgrad_squared", "vargrad", "guided_grad_cam"}
"""A square of gradients, or a product of two: twice the score has four times the map."""
CHEAP = {"gradient", *CONTROLS}
"""What is checked in every quick run; the others take longer to compile."""


@pytest.mark.parametrize(
    "name", [n if n in CHEAP else pytest.param(n, marks=pytest.mark.slow) for n in sorted(sj.EXPLAINERS)]
)
def test_explainer_keeps_its_contract(name):
    rules = contract.RULES if name in CONTROLS else (*contract.RULES, contract.depends_on_the_model)
    found = {rule: detail for rule, _, detail in sj.check_explainer(sj.EXPLAINERS[name], rules=rules).findings}
    assert found["takes a key if it draws"].startswith("needs one" if name in NEED_KEY else "needs none")
    assert ("do not depend" in found["follows the model"]) == (name in CONTROLS)
    times = 1 if name in CONTROLS else 4 if name in QUADRATIC else 2
    assert found["changes with the scale"] == f"2 f has {times} times the map of f"


PUBLIC_FUNCTIONS = {name: getattr(sj, name) for name in sj.__all__ if inspect.isfunction(getattr(sj, name))}


@pytest.mark.parametrize("name", sorted(PUBLIC_FUNCTIONS))
def test_public_functions_follow_the_house_rules(name):
    function = PUBLIC_FUNCTIONS[name]
    assert inspect.getdoc(function), "a public function has a docstring"
    for parameter in inspect.signature(function).parameters.values():
        assert parameter.name not in ("rng", "seed", "prng"), "a random key is called key"
        if parameter.default is not inspect.Parameter.empty and parameter.name not in ("key", "names"):
            assert parameter.kind is inspect.Parameter.KEYWORD_ONLY, f"{parameter.name} has a default: keyword only"


@pytest.mark.parametrize("name", sorted(PUBLIC_FUNCTIONS))
def test_every_argument_is_explained(name):
    function = PUBLIC_FUNCTIONS[name]
    text = inspect.getdoc(function)
    refers = "Args, Returns, Raises: as" in text or function in (controls.noise, controls.constant)
    for parameter in inspect.signature(function).parameters:
        assert refers or f"{parameter}:" in text or f"{parameter}, " in text, f"{parameter} is not explained"
