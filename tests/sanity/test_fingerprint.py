import dataclasses
import functools
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import saliency_jax as sj
from saliency_jax.models import CNN
from saliency_jax.sanity import own_initializer, permutation, truncated_normal, uniform
from saliency_jax.sanity.fingerprint import describe, digest

TREE = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.arange(3)}


@dataclasses.dataclass
class Options:
    samples: int = 5

    def __call__(self, score, image, key=None):
        return image * self.samples


class Attributes:
    def __init__(self, samples):
        self.samples = samples

    def __call__(self, score, image, key=None):
        return image * self.samples

    def explain(self, score, image, key=None):
        return image + self.samples


def with_default(samples):
    def explain(score, image, key=None, *, samples=samples):
        return image * samples

    return explain


def with_cell(samples):
    return lambda score, image, key=None: image * samples


PAIRS = {
    "the option of an explainer": (sj.smoothgrad(sj.gradient, samples=50), sj.smoothgrad(sj.gradient, samples=25)),
    "the explainer inside": (sj.smoothgrad(sj.gradient), sj.smoothgrad(sj.sensitivity)),
    "two statistics of one closure": (sj.smoothgrad(sj.gradient), sj.vargrad(sj.gradient)),
    "a partial argument": (functools.partial(sj.spearman), functools.partial(sj.spearman, absolute=True)),
    "a partial argument three wrappers deep": tuple(
        sj.smoothgrad(sj.smoothgrad(functools.partial(sj.integrated_gradients, steps=n))) for n in (8, 9)
    ),
    "a captured number": (with_cell(1.0), with_cell(2.0)),
    "a captured array": (with_cell(np.zeros(3)), with_cell(np.array([0.0, 0.0, 1e-30]))),
    "a captured device array": (with_cell(jnp.zeros(3)), with_cell(jnp.ones(3))),
    "a captured dtype": (with_cell(np.dtype("float32")), with_cell(np.dtype("float64"))),
    "a captured dict": (with_cell({"samples": 1}), with_cell({"samples": 2})),
    "a default": (with_default(1), with_default(2)),
    "a number in the code": (lambda s, x, key=None: x * 2, lambda s, x, key=None: x * 3),
    "a function in the code": (lambda s, x, key=None: jnp.abs(x), lambda s, x, key=None: jnp.square(x)),
    "a number in an inner function": (lambda x: jax.vmap(lambda v: v + 1)(x), lambda x: jax.vmap(lambda v: v + 2)(x)),
    "the field of a dataclass": (Options(5), Options(6)),
    "an attribute": (Attributes(5), Attributes(6)),
    "the object of a method": (Attributes(5).explain, Attributes(6).explain),
    "what stands under a jit": (jax.jit(with_cell(1.0)), jax.jit(with_cell(2.0))),
    "the scale of fresh weights": (truncated_normal(0.01), truncated_normal(0.02)),
    "the source of fresh weights": (truncated_normal(0.01), uniform(0.01)),
    "the network behind an initializer": (own_initializer(CNN(units=3).init), own_initializer(CNN(units=4).init)),
    "the network of an apply": (CNN(kernel_size=(3, 3)).apply, CNN(kernel_size=(5, 5)).apply),
    "two functions of one name": (with_cell(1.0), (lambda with_cell: lambda s, x, key=None: x - with_cell)(1.0)),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_descriptions_tell_two_functions_apart_by(pair):
    one, other = map(describe, pair)
    assert one != other


@pytest.mark.parametrize(
    "make",
    [
        lambda: sj.smoothgrad(sj.gradient, samples=50),
        lambda: with_cell(np.zeros(3)),
        lambda: Options(5),
        lambda: Attributes(5).explain,
        lambda: truncated_normal(0.01),
        permutation,
        lambda: own_initializer(CNN(units=3).init),
        lambda: jax.jit(with_cell(2.0)),
    ],
)
def test_functions_that_are_made_alike_are_described_alike(make):
    assert describe(make()) == describe(make())


def test_every_explainer_and_metric_has_a_description_of_its_own():
    found = [describe(f) for f in (*sj.EXPLAINERS.values(), *sj.METRICS.values())]
    assert len(set(found)) == len(found)


def test_a_function_that_closes_over_itself_is_described():
    def forever(n):
        return forever(n - 1)

    assert "forever" in describe(forever)


def test_an_empty_cell_and_a_module_are_passed_over():
    def late():
        return later, np

    text = describe(late)
    later = 1
    assert "late" in text and later == 1
    assert describe(with_cell(np)) == describe(with_cell(np))


DESCRIBE_ALL = """
import saliency_jax as sj
from saliency_jax.models import CNN
from saliency_jax.sanity import own_initializer, truncated_normal, permutation
from saliency_jax.sanity.fingerprint import describe
class Call:
    def __init__(self): self.options = {"a": 1, "b": (2.0, None)}
    def __call__(self, x): return x in {"one", "two", "three"}
fresh = truncated_normal(), permutation(), own_initializer(CNN().init)
for f in (*sj.EXPLAINERS.values(), *sj.METRICS.values(), CNN().apply, Call(), lambda x: x in {"p", "q", "r"}, *fresh):
    print(describe(f))
"""


@pytest.mark.slow
def test_descriptions_are_the_same_in_another_process_whatever_its_hashes_and_addresses():
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", DESCRIBE_ALL],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "2")
    ]
    (one, errors), (other, _) = (run.communicate(timeout=300) for run in runs)
    assert [run.returncode for run in runs] == [0, 0], errors
    assert one == other
    assert "spearman" in one and " at 0x" not in one


CHANGES = {
    "a value": {**TREE, "b": np.array([0, 1, 3])},
    "the sign of a zero": {**TREE, "a": np.copysign(TREE["a"], -1)},
    "a dtype": {**TREE, "b": np.arange(3, dtype=np.int32)},
    "a shape": {**TREE, "a": TREE["a"].reshape(3, 2)},
    "a name": {"a": TREE["a"], "c": TREE["b"]},
    "one leaf more": {**TREE, "c": np.zeros(0)},
    "one leaf less": {"a": TREE["a"]},
    "the places of two leaves": {"a": TREE["b"], "b": TREE["a"]},
}


@pytest.mark.parametrize("changed", CHANGES.values(), ids=CHANGES)
def test_digests_differ_by(changed):
    assert digest(changed) != digest(TREE)


def test_digests_of_equal_values_agree_on_the_host_and_on_a_device():
    tree = {"a": TREE["a"], "b": TREE["b"].astype(np.int32)}
    assert digest(jax.tree.map(jnp.asarray, tree)) == digest(tree)
    assert digest(jax.tree.map(lambda x: np.asfortranarray(x.copy()), tree)) == digest(tree)


def test_keys_are_digested_by_their_data():
    assert digest(jax.random.key(1)) == digest(jax.random.key(1))
    assert digest(jax.random.key(1)) != digest(jax.random.key(2))
