"""The randomization of a published network on pictures runs from its command, and what it writes is read back."""

from importlib.metadata import PackageNotFoundError, distribution

import jax
import matplotlib
import numpy as np
import pytest
from PIL import Image
from test_experiments import script

matplotlib.use("Agg")

from saliency_jax.models.squeezenet import SQUEEZENETS, SqueezeNet
from saliency_jax.results import read_dataset


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    random = np.random.default_rng(0)
    for i in range(3):
        low = random.integers(0, 256, (9, 12, 3), dtype=np.uint8)
        Image.fromarray(low).resize((320, 240)).save(folder / f"{i}.png")
    return folder


def installed(package):
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.skipif(not installed("ndf"), reason="the package ndf, which brings SqueezeNet's weights, is not installed")
def test_imagenet_randomization_writes_what_it_measured_block_by_block(pictures, tmp_path, capsys):
    module = script("imagenet_randomization.py")
    options = module.Options(
        images=(pictures,), limit=2, explainers=("gradient", "edges"), out=tmp_path / "out", compilation_cache=None
    )
    dataset = module.main(options)
    printed = capsys.readouterr().out
    stored = read_dataset(tmp_path / "out" / "results.nc")
    np.testing.assert_array_equal(stored.similarity, dataset.similarity)
    assert stored.stage.values.tolist() == ["conv10", *(f"fire{i}" for i in range(9, 1, -1)), "conv1"]
    assert {"spearman", "spearman_abs", "ssim", "hog"} == set(stored.metric.values.tolist())
    assert stored.sizes["image"] == stored.sizes["kept_image"] == 2
    assert "0.png: " in printed and "conv10" in printed
    # The edges do not look at the model; the gradient of a network with ten random layers is another one.
    np.testing.assert_allclose(stored.similarity.sel(explainer="edges", metric="spearman"), 1, rtol=1e-6)
    last = stored.similarity.sel(explainer="gradient", metric="spearman", stage="conv1")
    assert float(abs(last).max()) < 0.2
    assert float(stored.images.min()) >= 0 and float(stored.images.max()) <= 1
    for picture in ("curves.png", "maps-0.png", "maps-1.png"):
        assert (tmp_path / "out" / picture).stat().st_size > 10_000


def test_a_network_or_a_limit_that_is_not_there_is_refused(pictures, tmp_path):
    photographs = script("photographs.py")

    def options(**changes):
        return photographs.Photographs(images=(pictures,), out=tmp_path / "out", **changes)

    with pytest.raises(SystemExit, match=r"--network must be one of .*squeezenet1_1.*; got alexnet"):
        photographs.load_network(options(network="alexnet"))
    with pytest.raises(SystemExit, match="--network resnet50 needs --weights"):
        photographs.load_network(options(network="resnet50"))


def test_pictures_come_from_folders_files_and_archives_in_the_order_given(pictures, tmp_path, monkeypatch):
    photographs = script("photographs.py")
    encoded = (pictures / "2.png").read_bytes()
    archive = tmp_path / "archive.npz"
    np.savez(
        archive,
        jpeg=np.frombuffer(encoded, np.uint8),
        offset=np.array([0, len(encoded)]),
        label=np.array([7]),
        name=np.array(["packed"]),
    )
    model = SqueezeNet(**SQUEEZENETS["squeezenet1_1"])
    params = jax.tree.map(
        lambda leaf: np.zeros(leaf.shape, leaf.dtype),
        jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, 64, 64, 3), np.float32)),
    )
    network = photographs.Network(model, params, photographs.Preprocessing(64), tuple(map(str, range(1000))))
    monkeypatch.setattr(photographs, "load_network", lambda options: network)
    given = photographs.Photographs(images=(archive, pictures / "2.png", pictures), limit=2)
    _, explained = photographs.prepare(given)
    assert explained.names == ("packed", "2.png", "0.png", "1.png")
    assert explained.images.shape == (4, 64, 64, 3)
    np.testing.assert_array_equal(explained.images[0], explained.images[1])
    with pytest.raises(SystemExit, match="--limit must be at least 1, got 0"):
        photographs.prepare(photographs.Photographs(images=(pictures,), limit=0))
