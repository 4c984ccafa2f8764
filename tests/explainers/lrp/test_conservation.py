"""Where relevance goes: the map and the biases have all of the score, for rules that conserve and whole networks."""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_networks

from saliency_jax import class_score, composites, conservation, gradient_times_input, lrp, rules
from saliency_jax.models import CNN, MLP

WEIGHTED = ("convolution", "dense")


def everywhere(rule):
    return ((WEIGHTED, rule),)


# For w_square and flat, relevance also reaches units that are 0, which sharing a mean by value would give to nobody.
CONSERVING = {
    "epsilon": composites.epsilon(),
    "gamma": everywhere(rules.gamma),
    "z_plus": everywhere(rules.z_plus),
    "z_box": composites.deep_taylor(low=-4.0, high=4.0),
    "epsilon_gamma_box": composites.epsilon_gamma_box(low=-4.0, high=4.0),
    "w_square": ((("convolution", "dense", "average_pool"), rules.w_square),),
    "flat": ((("convolution", "dense", "average_pool"), rules.flat),),
}


def without_biases(params):
    return jax.tree_util.tree_map_with_path(
        lambda path, x: 0 * x if "bias" in jax.tree_util.keystr(path) else x, params
    )


def plain_mlp(key, *, image_shape):
    keys, sizes = jax.random.split(key, 3), (int(np.prod(image_shape)), 12, 8, 4)
    params = [small_networks.product_layer(k, *size) for k, size in zip(keys, pairwise(sizes), strict=True)]

    def apply(params, images):
        h = images.reshape(len(images), -1)
        for p in params[:-1]:
            h = jax.nn.relu(small_networks.dense(p, h))
        return small_networks.dense(params[-1], h)

    return apply, params


def largest_logit(network, *, biases=True):
    """The score of a network's largest logit for a random image, and the image."""
    apply, params = network(jax.random.key(1), image_shape=(4, 4, 3))
    params = params if biases else without_biases(params)
    image = jnp.asarray(np.random.default_rng(3).normal(size=(4, 4, 3)), jnp.float32)
    return class_score(apply, params, int(jnp.argmax(apply(params, image[None])))), image


NETWORKS = {
    "mlp": plain_mlp,
    "cnn": small_networks.plain_cnn,
    "scan": small_networks.scanned_stack,
    "residual": partial(small_networks.residual_network, blocks=1, width=2),
    "transformer": partial(small_networks.vision_transformer, depth=1, width=4),
}
# Sums of a branch and its shortcut come near 0, where a stabilizer of 1e-6 withholds more.
BOUNDS = {"mlp": 1e-4, "cnn": 1e-4, "scan": 1e-4, "residual": 1e-3, "transformer": 1e-3}
RULES = {
    "mlp": CONSERVING,
    "cnn": ("epsilon_gamma_box",),
    "scan": ("w_square",),
    "residual": ("z_plus",),
    "transformer": ("epsilon",),
}


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_map_and_biases_have_all_of_the_score(network):
    score, image = largest_logit(NETWORKS[network])
    report_all = jax.jit(lambda x: {r: conservation(score, x, composite=CONSERVING[r]) for r in RULES[network]})
    for rule, report in report_all(image).items():
        biases = sum(jnp.sum(share) for share in report.biases.values())
        bound = BOUNDS[network]
        np.testing.assert_allclose(report.score, score(image), rtol=1e-5)
        np.testing.assert_allclose(report.map.sum() + biases, report.score, rtol=bound, err_msg=rule)
        assert abs(report.lost) < bound
        # Of a layer in the scan, one number for each of its three turns.
        lengths = {sums.shape for sums in report.relevance.values()}
        assert lengths == ({(), (3,)} if network == "scan" else {()})


@pytest.mark.slow
def test_maps_of_a_network_without_biases_have_all_of_the_score():
    score, image = largest_logit(plain_mlp, biases=False)
    maps = jax.jit(lambda x: {name: lrp(score, x, composite=c) for name, c in CONSERVING.items()})(image)
    for name, found in maps.items():
        np.testing.assert_allclose(found.sum(), score(image), rtol=1e-4, err_msg=name)


@pytest.mark.slow
def test_report_has_the_map_of_lrp_and_follows_relevance_from_layer_to_layer():
    score, image = largest_logit(plain_mlp)
    report = conservation(score, image, composite=composites.epsilon_plus_flat)
    np.testing.assert_allclose(report.map, lrp(score, image, composite=composites.epsilon_plus_flat), rtol=1e-5)
    names = list(report.relevance)
    layers = ["0", "0/relu", "1", "1/relu", "2"]
    # In execution order: what takes the image apart comes first.
    assert names[0].startswith("input/") and [name for name in names if name in layers] == layers
    np.testing.assert_allclose(report.relevance["2"], report.score, rtol=1e-6)
    for layer, before in (("2", "1"), ("1", "0")):
        assert abs(report.biases[layer]) > 1e-3
        taken = report.biases[layer] + report.stabilizers[layer]
        np.testing.assert_allclose(report.relevance[before], report.relevance[layer] - taken, rtol=1e-4)
    # Flat, the first layer's rule, gives its biases nothing.
    assert report.biases["0"] == 0
    np.testing.assert_allclose(report.map.sum(), report.relevance["0"], rtol=1e-5)


def maximum(x):
    """max(x1, x2) for x >= 0, of Montavon et al.: relu(x1 - x2) / 2 + relu(x2 - x1) / 2 + relu(x1 + x2) / 2."""
    hidden = jax.nn.relu(x @ jnp.array([[1.0, -1.0, 1.0], [-1.0, 1.0, 1.0]], x.dtype))
    return (hidden @ jnp.array([[0.5], [0.5], [0.5]], x.dtype))[0]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (rules.zero, (3, 0)),
        (rules.epsilon, (3, 0)),
        (rules.z_plus, (2.5, 0.5)),
        (rules.gamma, (2 + 3.75 / 2.75 - 0.5, 1 - 1 / 2.75 - 0.5)),
        (rules.w_square, (1.5, 1.5)),
        (rules.flat, (1.5, 1.5)),
        # Where nothing speaks against a unit its relevance is doubled: 10 from 3.
        (rules.alpha_beta, (10, 0)),
        (partial(rules.alpha_beta, alpha=1.0, beta=0.0), (2.5, 0.5)),
    ],
)
def test_network_of_the_maximum_of_two(rule, expected):
    # 1e-6 for each stabilizer in two layers.
    found = lrp(maximum, jnp.array([3.0, 1.0]), composite=everywhere(rule))
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_relevance_that_alpha_beta_made_is_reported():
    report = conservation(maximum, jnp.array([3.0, 1.0]), composite=everywhere(rules.alpha_beta))
    # All of the top layer's three is doubled: six, of which the units get what they contributed.
    np.testing.assert_allclose(report.map.sum(), 10, rtol=1e-5)
    np.testing.assert_allclose(report.lost * report.score, 3 - 10 - sum(report.stabilizers.values()), atol=1e-4)


MODELS = [MLP(widths=(12, 8), classes=4), CNN(channels=(3, 4), units=6, classes=4, kernel_size=(3, 3))]


def with_some_biases(model, image):
    """Random parameters of a model; every other bias is 0."""
    random = np.random.default_rng(2)

    def drawn(leaf):
        values = random.normal(size=leaf.shape) / np.sqrt(leaf.size / leaf.shape[-1])
        return jnp.asarray(values if leaf.ndim > 1 else values * (np.arange(leaf.size) % 2), image.dtype)

    return jax.tree.map(drawn, jax.eval_shape(model.init, jax.random.key(0), image[None]))


@pytest.mark.parametrize(("dtype", "bound"), [(np.float32, 1e-5), (np.float64, 1e-10)])
@pytest.mark.parametrize("model", MODELS, ids=["mlp", "cnn"])
def test_lrp_zero_is_gradient_times_input(model, dtype, bound):
    with jax.enable_x64(dtype == np.float64):
        # A digit's blank border: whole windows are equal, and units without a bias are at exactly 0.
        digit = np.random.default_rng(0).uniform(size=(3, 4, 1))
        image = jnp.asarray(np.pad(digit, ((3, 2), (2, 2), (0, 0))), dtype)
        score = class_score(model.apply, with_some_biases(model, image), 1)
        explain_both = jax.jit(lambda x: (lrp(score, x, composite=composites.zero), gradient_times_input(score, x)))
        found, expected = map(np.asarray, explain_both(image))
        assert np.abs(expected).max() > 1e-3
        np.testing.assert_allclose(found, expected, rtol=0, atol=bound * np.abs(expected).max())
