from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from skimage.feature import hog
from skimage.metrics import structural_similarity
from small_models import init

import saliency_jax as sj
from saliency_jax.sanity import PROTOCOLS, Protocol, truncated_normal
from saliency_jax.sanity.protocols import find_protocol, metrics_for


def test_the_papers_text_draws_every_weight_and_bias_from_the_cut_normal_of_a_hundredth(key):
    drawn = PROTOCOLS["paper"].fresh(init)(key, init(jax.random.key(1)))
    for leaf in jax.tree.leaves(drawn):
        assert 0 < np.abs(leaf).max() <= np.float32(0.02)
        assert np.unique(leaf).size == leaf.size


def test_the_released_code_calls_the_models_initializer_whose_constant_biases_come_back(key):
    trained = jax.tree.map(lambda leaf: leaf + 1, init(jax.random.key(1)))
    drawn = PROTOCOLS["released_code"].fresh(init)(key, trained)
    jax.tree.map(np.testing.assert_array_equal, drawn, init(key))
    np.testing.assert_array_equal(drawn["dense"]["bias"], np.float32(0.1))


def test_the_text_explains_the_original_class_and_the_code_the_random_models():
    assert PROTOCOLS["paper"].explained_class == "original"
    assert PROTOCOLS["released_code"].explained_class == "argmax"


def test_each_protocol_measures_ssim_in_its_own_way():
    a, b = np.random.default_rng(0).standard_t(3, size=(2, 24, 24))
    scaled = [x / np.abs(x).max() for x in (a, b)]
    onto_unit = [(x - x.min()) / np.ptp(x) for x in (a, b)]
    want = {
        "paper": structural_similarity(*scaled, win_size=5, data_range=2.0),
        "released_code": structural_similarity(*onto_unit, gaussian_weights=True, data_range=2.0),
    }
    assert abs(want["paper"] - want["released_code"]) > 0.1
    for name, protocol in PROTOCOLS.items():
        assert protocol.name == name
        assert list(protocol.metrics) == ["spearman", "spearman_abs", "ssim", "hog"]
        got = jax.jit(protocol.metrics["ssim"])(jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32))
        assert got == pytest.approx(want[name], abs=1e-5)


def test_a_protocol_with_one_entry_changed_is_used_as_it_is():
    changed = PROTOCOLS["paper"]._replace(name="larger", fresh=lambda init: truncated_normal(0.1))
    assert isinstance(changed, Protocol)
    assert find_protocol(changed) is changed
    assert find_protocol("paper") is PROTOCOLS["paper"]


def test_each_protocol_measures_hog_in_its_own_way():
    a, b = np.random.default_rng(0).standard_t(3, size=(2, 64, 64))
    features = partial(hog, pixels_per_cell=(16, 16))
    scaled = [features(x / np.abs(x).max()) for x in (a, b)]
    onto_unit = [features((x - x.min()) / np.ptp(x)) for x in (a, b)]
    want = {
        "paper": scipy.stats.pearsonr(*scaled).statistic,
        "released_code": scipy.stats.spearmanr(*onto_unit).statistic,
    }
    assert abs(want["paper"] - want["released_code"]) > 0.01
    for name, protocol in PROTOCOLS.items():
        got = jax.jit(protocol.metrics["hog"])(jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32))
        assert got == pytest.approx(want[name], abs=1e-4)


def test_hog_is_measured_where_a_map_has_room_for_one_block():
    for protocol in PROTOCOLS.values():
        assert "hog" in metrics_for(protocol, 48, 60)
        assert list(metrics_for(protocol, 48, 47)) == ["spearman", "spearman_abs", "ssim"]
    with pytest.raises(ValueError, match="an image must hold one block"):
        PROTOCOLS["paper"].metrics["hog"](*jnp.ones((2, 48, 47)))


def normalized(key):
    """A convolution under a BatchNorm, as Linen makes it."""
    return Normalized().init(key, jnp.ones((1, 8, 8, 1)))


class Normalized(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(3, (3, 3), name="conv")(x)
        return nn.BatchNorm(use_running_average=True, name="norm")(x).mean((1, 2))


def test_the_text_takes_the_statistics_of_a_new_network_and_the_code_keeps_the_trained_ones(key):
    new = normalized(jax.random.key(1))
    trained = jax.tree.map(lambda leaf: leaf + 3, new)
    text = PROTOCOLS["paper"].fresh(normalized)(key, trained)
    code = PROTOCOLS["released_code"].fresh(normalized)(key, trained)
    jax.tree.map(np.testing.assert_array_equal, text["batch_stats"], new["batch_stats"])
    jax.tree.map(np.testing.assert_array_equal, code["batch_stats"], trained["batch_stats"])
    for leaf in jax.tree.leaves(text["params"]):
        assert 0 < np.abs(leaf).max() <= np.float32(0.02)
    jax.tree.map(np.testing.assert_array_equal, code["params"], normalized(key)["params"])


@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_network_with_batch_norm_is_randomized_without_nan(key, protocol):
    trained = jax.tree.map(lambda leaf: leaf + 0.5, normalized(jax.random.key(1)))
    images = jax.random.normal(key, (3, 12, 12, 1))
    explainers = {"gradient": sj.gradient}
    found = sj.parameter_randomization(
        Normalized().apply, trained, normalized, images, jnp.arange(3), explainers, key=key, seeds=2, protocol=protocol
    )
    assert found.stage.values.tolist() == ["norm", "conv"]
    assert (found.nonfinite_maps == 0).all()
    assert (found.logit_spread > 0).all()


@pytest.mark.parametrize("name", ["Paper", "", "released"])
def test_an_unknown_name_is_refused_with_the_known_ones(name):
    with pytest.raises(ValueError, match=rf"protocol must be one of \['paper', 'released_code'\].*got '{name}'"):
        find_protocol(name)
