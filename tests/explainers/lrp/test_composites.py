"""Which rule an operation gets: the first pair that matches, and what matches."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saliency_jax import class_score, composites, lrp, rules
from saliency_jax.explainers.lrp.shares import Shares
from saliency_jax.tracing.operations import KINDS

RANDOM = np.random.default_rng(0)
PARAMS = {
    name: {"kernel": jnp.asarray(RANDOM.normal(size=(n, m)), jnp.float32)}
    for name, (n, m) in {"hidden1": (4, 5), "hidden2": (5, 6), "head": (6, 3)}.items()
}
IMAGE = jnp.asarray(RANDOM.normal(size=(2, 2, 1)), jnp.float32)


def apply(params, images):
    h = images.reshape(len(images), -1)
    for name in ("hidden1", "hidden2"):
        h = jax.nn.relu(h @ params[name]["kernel"])
    return h @ params["head"]["kernel"]


SCORE = class_score(apply, PARAMS, 1)


def named(chosen, label):
    """The rule epsilon, which notes the operations that it is used for."""

    def rule(site, relevance):
        chosen[site.operation.name] = label
        return rules.epsilon(site, relevance)

    return rule


def who_gets_what(matches):
    """Operation -> the index of the match that it got its rule by."""
    chosen = {}
    lrp(SCORE, IMAGE, composite=[(match, named(chosen, i)) for i, match in enumerate(matches)])
    return chosen


@pytest.mark.parametrize(
    ("matches", "expected"),
    [
        (["dense"], [0, 0, 0]),
        (["convolution", "dense", "dense"], [1, 1, 1]),
        ([("convolution", "dense"), "dense"], [0, 0, 0]),
        ([composites.first("dense"), "dense"], [0, 1, 1]),
        ([composites.first("convolution", "dense"), "dense"], [0, 1, 1]),
        (["dense", composites.first("dense")], [0, 0, 0]),
        ([composites.first("convolution"), "dense"], [1, 1, 1]),
        ([composites.called("head"), composites.called("hidden?"), "dense"], [1, 1, 0]),
        ([composites.called("*2"), "dense"], [1, 0, 1]),
        ([composites.called("HEAD"), "dense"], [1, 1, 1]),
        ([lambda operation, _: operation.kind == "dense" and operation.name > "hidden1"], [None, 0, None]),
        (
            [lambda operation, operations: operation is [o for o in operations if o.kind == "dense"][-1]],
            [None, None, 0],
        ),
    ],
)
def test_first_pair_that_matches_decides(matches, expected):
    given = {name: i for name, i in zip(PARAMS, expected, strict=True) if i is not None}
    assert who_gets_what(matches) == given


def test_what_nothing_matches_gets_the_rule_of_the_base():
    assert who_gets_what([]) == {}
    by_base = lrp(SCORE, IMAGE, composite=())
    np.testing.assert_array_equal(by_base, lrp(SCORE, IMAGE, composite=[("dense", rules.epsilon)]))
    assert jnp.abs(by_base - lrp(SCORE, IMAGE, composite=[("dense", rules.z_plus)])).max() > 1e-3


def test_base_has_one_rule_for_every_kind_that_needs_one():
    matched = [kind for kinds, _ in composites.BASE for kind in ((kinds,) if isinstance(kinds, str) else kinds)]
    assert len(matched) == len(set(matched))
    # What holds other operations needs none; a loop and what is unknown have none, and are refused.
    assert set(KINDS) - set(matched) == {"custom", "scan", "branch", "remat", "loop", "unknown"}


def test_functions_of_options_and_sequences_are_the_same_composite():
    expected = lrp(SCORE, IMAGE, composite=composites.epsilon)
    np.testing.assert_array_equal(lrp(SCORE, IMAGE, composite=composites.epsilon()), expected)
    np.testing.assert_array_equal(lrp(SCORE, IMAGE, composite=list(composites.epsilon())), expected)
    fixed = lrp(SCORE, IMAGE, composite=partial(composites.epsilon, epsilon=0.5))
    np.testing.assert_array_equal(lrp(SCORE, IMAGE, composite=composites.epsilon(epsilon=0.5)), fixed)
    assert jnp.abs(fixed - expected).max() > 1e-3


def test_default_is_flat_for_the_first_layer_and_epsilon_for_other_dense_ones():
    # Flat gives every pixel that a unit sees the same: in a network of dense layers, all pixels.
    found = lrp(SCORE, IMAGE)
    np.testing.assert_array_equal(found, jnp.full_like(found, found[0, 0, 0]))
    np.testing.assert_array_equal(found, lrp(SCORE, IMAGE, composite=composites.epsilon_plus_flat))


@pytest.mark.parametrize("units", [3, 317, 1000])
@pytest.mark.parametrize("pixels", [(5, 7, 1), (28, 28, 1), (31, 33, 3)])
def test_flat_leaves_no_rounding_between_pixels_whose_ranks_a_test_would_compare(units, pixels):
    drawn = np.random.default_rng(units)
    first, last = (drawn.normal(size=size).astype(np.float32) for size in ((int(np.prod(pixels)), units), (units,)))
    image = drawn.uniform(size=pixels).astype(np.float32)
    found = jax.jit(lambda x: lrp(lambda x: jax.nn.relu(x.ravel() @ first) @ last, x))(image)
    assert np.ptp(np.asarray(found)) == 0 != found[0, 0, 0]
    np.testing.assert_allclose(found.sum(), jax.nn.relu(image.ravel() @ first) @ last, rtol=1e-3)


def test_rule_of_ones_own_decides_what_the_inputs_get():
    composite = [(composites.first("dense"), lambda site, relevance: Shares((jnp.full_like(site.inputs[0], 7.0),)))]
    np.testing.assert_array_equal(lrp(SCORE, IMAGE, composite=composite), jnp.full_like(IMAGE, 7.0))


@pytest.mark.parametrize("match", ["conv", ("dense", "conv"), "constant"])
def test_unknown_kind_is_refused(match):
    name = "constant" if match == "constant" else "conv"
    with pytest.raises(ValueError, match=rf"kinds among convolution, dense, .*; got {name}$"):
        lrp(SCORE, IMAGE, composite=[(match, rules.flat)])
    with pytest.raises(ValueError, match=rf"kinds among convolution, dense, .*; got {name}$"):
        composites.first(*((match,) if isinstance(match, str) else match))


def first_in_scan(x):
    """Three dense layers, all of them turns of one scan."""
    weights = jnp.asarray(np.random.default_rng(1).normal(size=(3, 4, 4)), jnp.float32)
    return jax.lax.scan(lambda h, w: (jax.nn.relu(w @ h), None), x.ravel(), weights)[0].sum()


def test_rule_for_the_first_layer_is_refused_inside_a_scan_and_fine_before_it():
    with pytest.raises(ValueError, match=r"rule for the first layer, .*stands in a scan"):
        lrp(first_in_scan, IMAGE, composite=composites.epsilon_plus_flat)
    assert jnp.isfinite(lrp(first_in_scan, IMAGE, composite=composites.epsilon)).all()
    before = jnp.asarray(RANDOM.normal(size=(4, 4)), jnp.float32)
    found = lrp(lambda x: first_in_scan(before @ x.ravel()), IMAGE, composite=composites.epsilon_plus_flat)
    # Flat for the layer before the scan: every pixel gets the same.
    np.testing.assert_allclose(found, jnp.full_like(found, found.mean()), rtol=1e-5)
