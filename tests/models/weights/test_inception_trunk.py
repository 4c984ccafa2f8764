"""The published trunk gives the activations of another implementation, and no other file passes for it."""

import io
from functools import cache
from pathlib import Path

import jax
import numpy as np
import pytest

from saliency_jax.models.inception import BLOCKS
from saliency_jax.models.weights.inception_trunk import (
    ACTIVATION_SHAPE,
    IMAGE_SHAPE,
    completed,
    head,
    leaf_names,
    read_trunk,
    trunk,
)
from saliency_jax.tracing import compiled
from saliency_jax.tracing.layers import leaf_paths

SHARED = (Path(__file__).resolve().parents[3] / "../shared/data").resolve()
WEIGHTS = SHARED / "weights" / "inception_v3_2015_to_mixed8.npz"
needs_published = pytest.mark.skipif(not WEIGHTS.is_file(), reason=f"the published weights are not here: {WEIGHTS}")


@needs_published
@pytest.mark.slow
def test_activations_are_those_of_the_same_weights_in_pytorch():
    # By torch 2.13.0 on the CPU, for x / 127.5 - 1 of the four images beside them.
    with np.load(SHARED / "reference" / "reference_outputs.npz") as reference:
        pixels, expected = reference["uint8_299"], reference["inception_mixed8_nhwc"]
    found = compiled(trunk().apply)(read_trunk(WEIGHTS), pixels.astype(np.float32) / 127.5 - 1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert np.linalg.norm(found - expected) < 1e-5 * np.linalg.norm(expected)


# The graph of 2015 and what its convolutions are, by their order in it.
@pytest.mark.parametrize(
    "published, ours",
    [
        ("conv/kernel", "Conv2d_1a_3x3"),
        ("conv_4/bias", "Conv2d_4a_3x3"),
        ("mixed_conv/kernel", "Mixed_5b/branch1x1"),
        ("mixed_tower_conv_1/kernel", "Mixed_5b/branch5x5_2"),
        ("mixed_2_tower_1_conv_2/bias", "Mixed_5d/branch3x3dbl_3"),
        ("mixed_2_tower_2_conv/bias", "Mixed_5d/branch_pool"),
        ("mixed_3_conv/kernel", "Mixed_6a/branch3x3"),
        ("mixed_3_tower_conv_2/kernel", "Mixed_6a/branch3x3dbl_3"),
        ("mixed_7_tower_1_conv_4/kernel", "Mixed_6e/branch7x7dbl_5"),
        ("mixed_8_tower_conv_1/kernel", "Mixed_7a/branch3x3_2"),
        ("mixed_8_tower_1_conv_3/bias", "Mixed_7a/branch7x7x3_4"),
    ],
)
def test_names_are_tensorflows(published, ours):
    assert leaf_names()[published] == f"params/{ours}/conv/{published.split('/')[1]}"


@cache
def shapes():
    return jax.eval_shape(trunk().init, jax.random.key(0), jax.ShapeDtypeStruct((1, *IMAGE_SHAPE), np.float32))


def test_every_leaf_has_a_name_and_every_name_a_leaf():
    assert sorted(leaf_names().values()) == sorted(leaf_paths(shapes()))
    assert len(leaf_names()) == 2 * 76


@cache
def made():
    """A file like the published one, with other numbers: every tensor has its own."""
    leaves = dict(zip(leaf_paths(shapes()), jax.tree.leaves(shapes()), strict=True))
    return {name: np.full(leaves[path].shape, i, np.float32) for i, (name, path) in enumerate(leaf_names().items())}


def written(path, **changes):
    """The made file with some tensors changed, or left out where the change is None; small, since it is compressed."""
    arrays = {**made(), **changes}
    content = io.BytesIO()
    np.savez_compressed(content, **{name: array for name, array in arrays.items() if array is not None})
    path.write_bytes(content.getvalue())
    return path


def test_each_tensor_comes_to_its_leaf(tmp_path):
    variables = read_trunk(written(tmp_path / "made.npz"), sha256=None)
    values = {
        path: float(leaf.flat[0]) for path, leaf in zip(leaf_paths(variables), jax.tree.leaves(variables), strict=True)
    }
    assert values == {path: float(i) for i, path in enumerate(leaf_names().values())}


def test_another_file_is_refused_unless_asked_for(tmp_path):
    with pytest.raises(
        ValueError, match=r"made\.npz must be the published file.*truncated, altered.*expected sha256 077bb29f.*, found"
    ):
        read_trunk(written(tmp_path / "made.npz"))
    with pytest.raises(FileNotFoundError):
        read_trunk(tmp_path / "gone.npz")


@needs_published
def test_a_truncated_or_altered_file_is_refused(tmp_path):
    content, path = WEIGHTS.read_bytes(), tmp_path / "bad.npz"
    middle = len(content) // 2
    altered = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    for bad in (content[:middle], altered):
        path.write_bytes(bad)
        with pytest.raises(ValueError, match=r"bad\.npz must be the published file, it is truncated, altered"):
            read_trunk(path)
        # What the archive's own checksums tell where nobody asks for the file's.
        with pytest.raises(ValueError, match=r"bad\.npz must be an \.npz of arrays"):
            read_trunk(path, sha256=None)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"conv/kernel": None}, r"1 of 152 are missing, first 'params/Conv2d_1a_3x3/conv/kernel'"),
        ({"softmax/bias": np.zeros(3)}, "another architecture.*1 tensors more, first 'softmax/bias'"),
        ({"conv/bias": np.zeros(31)}, r"'params/Conv2d_1a_3x3/conv/bias' must have shape \(32,\), found \(31,\)"),
        ({"conv/bias": np.full(32, np.nan)}, "must be finite, found 32 NaN"),
        ({"conv/bias": np.array(["a"] * 32)}, "must hold numbers, found dtype"),
        ({"conv/bias": np.array([None] * 32)}, r"must be an \.npz of arrays: Object arrays"),
    ],
)
def test_tensors_that_do_not_fit_are_named(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        read_trunk(written(tmp_path / "made.npz", **changes), sha256=None)


@pytest.mark.parametrize("content", [b"", b"no archive at all", b"\x80\x04cos\nsystem\n(S'true'\ntR."])
def test_what_is_no_archive_is_refused(tmp_path, content):
    path = tmp_path / "bad.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.npz must be an \.npz of arrays"):
        read_trunk(path, sha256=None)


def zeros(model, shape):
    wanted = jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct((1, *shape), np.float32))
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), wanted)


def test_a_trunk_and_a_head_are_a_whole_network():
    low, high = zeros(trunk(), IMAGE_SHAPE), zeros(head(7), ACTIVATION_SHAPE)
    high["params"]["Logits"]["bias"][:] = np.arange(7)
    model, variables = completed(low, high)
    assert set(variables["params"]) == set(BLOCKS) and model.classes == 7
    # All kernels are 0, so that the logits are the last bias.
    assert jax.jit(model.apply)(variables, np.ones((2, 75, 75, 3), np.float32)).tolist() == [list(range(7))] * 2


def test_parts_that_do_not_fit_are_refused():
    low, high = zeros(trunk(), IMAGE_SHAPE), zeros(head(7), ACTIVATION_SHAPE)
    with pytest.raises(ValueError, match="different blocks, both have 'params/Conv2d_1a_3x3/conv/bias'"):
        completed(low, low)
    with pytest.raises(ValueError, match="must have the vector 'params/Logits/bias'"):
        completed(low, {kind: {"Mixed_7b": blocks["Mixed_7b"]} for kind, blocks in high.items()})
    with pytest.raises(ValueError, match="statistics for every BatchNorm, params/Mixed_7b/"):
        completed(low, {"params": high["params"]})
    del high["params"]["Mixed_7c"]
    with pytest.raises(ValueError, match=r"are missing, first 'params/Mixed_7c/"):
        completed(low, high)
