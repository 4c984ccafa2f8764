"""A network with its BatchNorms folded in gives what it gave before."""

import jax
import numpy as np
import pytest

from saliency_jax.models.folding import folded
from saliency_jax.models.inception import InceptionV3
from saliency_jax.tracing.layers import leaf_paths

SETTINGS = {"first": "Mixed_7a", "last": "Mixed_7b"}
PLACES = np.random.default_rng(1).uniform(0, 1, (2, 6, 6, 16)).astype(np.float32)


def drawn(model):
    """Random variables: scales, shifts and statistics are not what they begin as."""
    random = np.random.default_rng(2)
    return jax.tree.map(
        lambda leaf: (random.normal(size=leaf.shape) if leaf.ndim > 1 else random.uniform(0.5, 1.5, leaf.shape)).astype(
            np.float32
        ),
        jax.eval_shape(model.init, jax.random.key(0), PLACES),
    )


@pytest.mark.slow
def test_a_folded_network_gives_the_same():
    batch, plain = (InceptionV3(normalization=kind, **SETTINGS) for kind in ("batch", "folded"))
    variables = drawn(batch)
    found = folded(variables)
    assert leaf_paths(found) == leaf_paths(jax.eval_shape(plain.init, jax.random.key(0), PLACES))
    expected = np.asarray(batch.apply(variables, PLACES))
    # Neither all cut off by the ReLUs nor all passed through.
    assert 0.1 < np.mean(expected > 0) < 0.9
    np.testing.assert_allclose(plain.apply(found, PLACES), expected, rtol=1e-4, atol=1e-5 * expected.max())


def test_one_channel_by_hand():
    conv = {"kernel": np.full((1, 1, 1, 1), 3.0, np.float32), "bias": np.array([2.0], np.float32)}
    bn = {"scale": np.array([5.0], np.float32), "bias": np.array([7.0], np.float32)}
    statistics = {"unit": {"bn": {"mean": np.array([1.0]), "var": np.array([3.0])}}}
    found = folded({"params": {"unit": {"conv": conv, "bn": bn}}, "batch_stats": statistics}, epsilon=1.0)
    # 5 / sqrt(3 + 1) = 2.5 times the kernel; (2 - 1) * 2.5 + 7.
    assert found["params"]["unit"]["conv"]["kernel"].item() == 7.5
    assert found["params"]["unit"]["conv"]["bias"].tolist() == [9.5]


def test_a_network_without_batchnorm_stays_as_it_is():
    plain = InceptionV3(normalization="folded", **SETTINGS)
    variables = drawn(plain)
    jax.tree.map(np.testing.assert_array_equal, folded(variables), variables)


@pytest.mark.parametrize("lacking", ["conv", "statistics"])
def test_a_batchnorm_that_cannot_be_folded_is_named(lacking):
    unit = {"conv": {"kernel": np.ones((1, 1, 1, 1))}, "bn": {"scale": np.ones(1)}}
    statistics = {"unit": {"bn": {"mean": np.ones(1), "var": np.ones(1)}}}
    if lacking == "conv":
        del unit["conv"]
    else:
        statistics = {}
    with pytest.raises(ValueError, match="statistics for every BatchNorm, params/unit/bn"):
        folded({"params": {"unit": unit}, "batch_stats": statistics})
