"""The benchmark of ProtoPNet beside the original's arithmetic, run in small."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_experiments import script

from saliency_jax.prototypes import ProtoPNet, Recipe


@pytest.fixture(scope="module")
def benchmark():
    return script("benchmarks/prototypes.py")


@pytest.fixture(scope="module")
def sides(benchmark):
    import prototype_sides

    return prototype_sides


@pytest.fixture(scope="module")
def small(benchmark):
    """Six stored activations of three classes, and two prototypes a class."""
    images = np.maximum(np.random.default_rng(0).standard_normal((6, 2, 3, 5), np.float32), 0)
    model = ProtoPNet(classes=3, prototypes=6, depth=4)
    variables = model.init(jax.random.key(0), jnp.asarray(images[:1]))
    return benchmark.Network(model, variables, images, np.arange(6) % 3, Recipe(batch_size=2), ("warm", "last_layer"))


class Other:
    """Another side: the terms of the loss in NumPy at the first parameters, or what a test makes of them."""

    def __init__(self, network, factor=1.0, moved=False):
        self.network, self.factor, self.moved = network, factor, moved

    def _distances(self):
        params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), self.network.variables["params"])
        first, second = (params["add_on"][name] for name in ("conv1", "conv2"))
        hidden = np.maximum(self.network.images.astype(np.float64) @ first["kernel"][0, 0] + first["bias"], 0)
        patches = 1 / (1 + np.exp(-(hidden @ second["kernel"][0, 0] + second["bias"])))
        apart = patches[:, :, :, None] - params["prototype_vectors"]
        return params, patches, (apart**2).sum(-1)

    def epoch(self, kind):
        params, _, distances = self._distances()
        nearest, labels = distances.min(axis=(1, 2)), self.network.labels
        logits = np.log((nearest + 1) / (nearest + 1e-4)) @ params["last_layer"]["kernel"]
        entropy = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(labels)), labels]
        own = labels[:, None] == np.arange(6) // 2
        cluster = np.where(own, nearest, np.inf).min(1)
        separation = np.where(own, np.inf, nearest).min(1)
        # Twelve weights of -0.5 are those of prototypes for other classes.
        return self.factor * np.array([entropy.mean(), cluster.mean(), separation.mean(), 6.0])

    def project(self):
        _, patches, distances = self._distances()
        places, vectors, smallest = np.zeros((6, 3), int), np.zeros((6, 4)), np.zeros(6)
        for j in range(6):
            of_class = np.where((self.network.labels == j // 2)[:, None, None], distances[..., j], np.inf)
            choose = np.argmax(np.where(np.isfinite(of_class), of_class, -1)) if self.moved else of_class.argmin()
            places[j] = np.unravel_index(choose, of_class.shape)
            vectors[j], smallest[j] = patches[tuple(places[j])], of_class.ravel()[choose]
        return places, vectors, smallest


@pytest.fixture
def held(small, monkeypatch):
    """With rates of 0 the parameters stay the first ones, whose terms NumPy knows."""
    still = {f"{name}_rate": 0.0 for name in ("backbone", "add_on", "prototype", "last_layer")}
    return small._replace(recipe=replace(small.recipe, **still))


@pytest.mark.slow
def test_the_sides_agree_where_they_compute_the_same(sides, held, monkeypatch):
    monkeypatch.setattr(sides, "peer", lambda network, fast: Other(network))
    assert sides.loss_difference(held) < 1e-5
    found = sides.projection_difference(held)
    assert found["prototypes"] == found["same"] == 6
    assert found["vector_difference"] < 1e-6


@pytest.mark.parametrize("factor", [1.001, float("nan")])
def test_no_time_counts_where_losses_differ(sides, held, factor, monkeypatch):
    monkeypatch.setattr(sides, "peer", lambda network, fast: Other(network, factor=factor))
    with pytest.raises(SystemExit, match=r"must agree to 0\.0001 before any time counts"):
        sides.loss_difference(held)


def test_no_time_counts_where_other_patches_are_chosen(sides, held, monkeypatch):
    monkeypatch.setattr(sides, "peer", lambda network, fast: Other(network, moved=True))
    with pytest.raises(SystemExit, match=r"same patches must be chosen before any time counts"):
        sides.projection_difference(held)


def test_ratios_are_those_of_the_turns(benchmark, small, monkeypatch):
    seconds = {"ours": iter([1.0, 2.0, 4.0]), "theirs": iter([3.0, 4.0, 20.0])}
    monkeypatch.setattr(benchmark, "turn", lambda network, kind, side: next(seconds[side]))
    found = benchmark.stage(small, "warm", {benchmark.OURS: "ours", benchmark.ORIGINAL: "theirs"}, 3)["sides"]
    # Three batches of two images an epoch.
    assert found[benchmark.OURS]["images_a_second"] == pytest.approx(6 / 2)
    assert found[benchmark.ORIGINAL]["images_a_second"] == pytest.approx(6 / 4)
    row = found[benchmark.ORIGINAL]
    assert (row["times_faster_low"], row["times_faster"], row["times_faster_high"]) == (2.0, 3.0, 5.0)


def test_the_benchmark_writes_what_it_prints_and_says_that_pytorch_is_missing(
    benchmark, small, monkeypatch, tmp_path, capsys
):
    monkeypatch.setitem(benchmark.NETWORKS, "activations", lambda options: small)
    monkeypatch.setattr(benchmark, "find_spec", lambda name: None if name == "torch" else True)
    monkeypatch.setattr(benchmark, "PAUSE", 0.0)
    options = benchmark.Options(networks=("activations",), repeats=1, out=tmp_path / "new")
    benchmark.main(options)
    printed = capsys.readouterr().out
    assert (options.out / "prototypes.txt").read_text() in printed
    assert "PyTorch is not installed and was left out: pip install torch" in printed
    row = json.loads((options.out / "prototypes.json").read_text())["networks"]["activations"]
    assert list(row["stages"]) == ["warm", "last_layer", "project"]
    for measured in row["stages"].values():
        [side] = measured["sides"].values()
        assert side["times_faster"] == 1
        assert f"{side['images_a_second']:.1f}" in printed
    assert "loss_difference" not in row


@pytest.mark.slow
def test_the_pytorch_side_agrees_on_digits(benchmark, sides):
    pytest.importorskip("torch")
    network = benchmark.digits(80)
    assert sides.loss_difference(network) <= sides.AGREE
    assert sides.projection_difference(network)["vector_difference"] < 1e-5


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"networks": ("digit",)}, r"--networks must be among digits, resnet18, activations, got digit"),
        ({"networks": ()}, r"--networks must be among"),
        ({"images": 49}, r"--images and --activations must be at least 50"),
        ({"repeats": 0}, r"--repeats 1"),
    ],
)
def test_a_bad_option_is_named(benchmark, tmp_path, bad, message):
    with pytest.raises(SystemExit, match=message):
        benchmark.main(benchmark.Options(**bad, out=tmp_path))
