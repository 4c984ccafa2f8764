import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import structural_similarity
from small_models import init

from saliency_jax.sanity import PROTOCOLS, Protocol, truncated_normal
from saliency_jax.sanity.protocols import find_protocol


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
        assert list(protocol.metrics) == ["spearman", "spearman_abs", "ssim"]
        got = jax.jit(protocol.metrics["ssim"])(jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32))
        assert got == pytest.approx(want[name], abs=1e-5)


def test_a_protocol_with_one_entry_changed_is_used_as_it_is():
    changed = PROTOCOLS["paper"]._replace(name="larger", fresh=lambda init: truncated_normal(0.1))
    assert isinstance(changed, Protocol)
    assert find_protocol(changed) is changed
    assert find_protocol("paper") is PROTOCOLS["paper"]


@pytest.mark.parametrize("name", ["Paper", "", "released"])
def test_an_unknown_name_is_refused_with_the_known_ones(name):
    with pytest.raises(ValueError, match=rf"protocol must be one of \['paper', 'released_code'\].*got '{name}'"):
        find_protocol(name)
