"""Vision transformers; that their logits are timm's is tested with the weights."""

import jax
import numpy as np
import pytest
import scipy.special
from drawn_weights import count, drawn, image

from saliency_jax import blocks, class_score, gradient, gradient_times_input, layers, lrp, taps
from saliency_jax.models.vit import VITS, ViT

SMALL = {"width": 12, "heads": 3, "depth": 2, "patch": 4, "image_size": 12, "classes": 5}


def test_parameters_are_as_many_as_timm_s():
    # `sum(p.numel() for p in timm.create_model(name).parameters())`, timm 1.0.31
    assert {name: count(ViT(**settings), (224, 224, 3)) for name, settings in VITS.items()} == {
        "vit_tiny_patch16_224": 5_717_416,
        "vit_small_patch16_224": 22_050_664,
        "vit_base_patch16_224": 86_567_656,
    }


def in_numpy(variables, images, heads, patch):
    """The formulas of the docstring in float64."""
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables["params"])

    def dense(layer, x):
        return x @ layer["kernel"] + layer["bias"]

    def norm(layer, x):
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * layer["scale"] + layer["bias"]

    def attention(layer, x):
        queries, keys, values = np.split(dense(layer["qkv"], x), 3, axis=-1)
        mixed = []
        for head in np.split(np.arange(x.shape[-1]), heads):
            scores = queries[:, head] @ keys[:, head].T / np.sqrt(len(head))
            mixed.append(scipy.special.softmax(scores, axis=-1) @ values[:, head])
        return dense(layer["out"], np.concatenate(mixed, -1))

    def logits(image):
        side = len(image) // patch
        kernel = p["embedding"]["patches"]["kernel"]
        windows = [image[i * patch :, j * patch :][:patch, :patch] for i in range(side) for j in range(side)]
        embedded = [np.einsum("hwc,hwcd->d", w, kernel) + p["embedding"]["patches"]["bias"] for w in windows]
        x = np.stack([p["embedding"]["class_token"][0, 0], *embedded]) + p["embedding"]["positions"][0]
        for i in range(sum(name.startswith("block") for name in p)):
            block = p[f"block{i}"]
            x = x + attention(block["attention"], norm(block["norm1"], x))
            hidden = dense(block["mlp1"], norm(block["norm2"], x))
            hidden = hidden * (1 + scipy.special.erf(hidden / np.sqrt(2))) / 2
            x = x + dense(block["mlp2"], hidden)
        return dense(p["logits"], norm(p["norm"], x)[0])

    return np.stack([logits(image) for image in np.asarray(images, np.float64)])


@pytest.mark.parametrize("size_of_tokens", [1, 1e-3])
def test_logits_are_those_of_the_formulas_in_numpy(size_of_tokens):
    model, images = ViT(**SMALL), image(2, 12, 12, 3)
    variables = drawn(model, (12, 12, 3))
    # Where the variance of a token is not far over LayerNorm's epsilon, another epsilon shows.
    variables["params"]["embedding"] = jax.tree.map(
        lambda leaf: np.float32(size_of_tokens) * leaf, variables["params"]["embedding"]
    )
    expected = in_numpy(variables, images, SMALL["heads"], SMALL["patch"])
    np.testing.assert_allclose(jax.jit(model.apply)(variables, images), expected, rtol=0, atol=1e-5)


def test_stages_are_the_embedding_the_blocks_the_norm_and_the_logits_and_have_every_leaf():
    model = ViT(**SMALL)
    variables = drawn(model, (12, 12, 3))
    stages = blocks(layers(model.apply, variables, image(1, 12, 12, 3)))
    assert [stage.name for stage in stages] == ["embedding", "block0", "block1", "norm", "logits"]
    assert sum(len(stage.paths) for stage in stages) == len(jax.tree.leaves(variables))


def test_attention_activations_and_norms_are_recognized():
    model = ViT(**SMALL)
    kinds = [tap.kind for tap in taps(model.apply, drawn(model, (12, 12, 3)), image(1, 12, 12, 3))]
    depth = SMALL["depth"]
    assert kinds.count("softmax") == depth
    assert kinds.count("matrix_product") == 2 * depth
    assert kinds.count("normalization") == 2 * depth + 1
    assert kinds.count("activation") == depth
    assert "unknown" not in kinds


@pytest.mark.slow
def test_maps_are_finite():
    model, x = ViT(**SMALL), image(12, 12, 3)
    variables = drawn(model, x.shape)

    @jax.jit
    def explain_all(variables, x):
        score = class_score(model.apply, variables, 2)
        return [explain(score, x) for explain in (gradient, gradient_times_input, lrp)]

    for found in explain_all(variables, x):
        assert np.isfinite(found).all()
        assert np.abs(found).max() > 0


@pytest.mark.parametrize(
    ("settings", "size", "message"),
    [
        ({}, 16, r"images must be 12 pixels high and wide.*\(1, 16, 16, 3\)"),
        ({"image_size": 14}, 14, "image_size must be a multiple of 4, got 14"),
        ({"heads": 5}, 12, "width must be a multiple of 5, got 12"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(key, settings, size, message):
    with pytest.raises(ValueError, match=message):
        ViT(**(SMALL | settings)).init(key, np.zeros((1, size, size, 3), np.float32))
