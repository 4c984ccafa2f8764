"""The script that completes Inception v3, on a handful of made pictures: what it writes, and that it goes on."""

import io
import json
import runpy
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from saliency_jax.models.inception import BLOCKS, INCEPTIONS, InceptionV3
from saliency_jax.models.weights.inception_trunk import IMAGE_SHAPE, trunk

SCRIPT = Path(__file__).resolve().parents[1] / "experiments" / "inception_birds.py"
KINDS, EACH = 50, 2


def jpeg(random, kind):
    """A picture of one colour, the kind's, with noise."""
    colour = np.array([kind * 5, 255 - kind * 5, kind * 97 % 256])
    pixels = np.clip(colour + random.normal(scale=10, size=(60, 70, 3)), 0, 255).astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format="JPEG")
    return content.getvalue()


@pytest.fixture
def files(tmp_path):
    """Made pictures, as many to train as to test, and a random trunk, as files like the published ones."""
    random = np.random.default_rng(0)
    labels = np.tile(np.arange(KINDS), EACH)
    contents = [jpeg(random, kind) for kind in labels]
    np.savez(
        tmp_path / "birds.npz",
        jpeg=np.frombuffer(b"".join(contents), np.uint8),
        offset=np.cumsum([0, *map(len, contents)]),
        label=labels,
        is_train=np.arange(len(labels)) < KINDS,
        class_name=np.array([f"kind{kind}" for kind in range(KINDS)]),
        path=np.array([f"{i}.jpg" for i in range(len(labels))]),
    )
    return tmp_path


def mean_colours(variables, images):
    """In place of the trunk, which would take minutes to compile and run: each third of the channels is a colour."""
    colours = jax.image.resize(images, (len(images), 8, 8, 3), "linear")
    return jnp.repeat(jnp.maximum(1 + colours, 0), 427, axis=-1)[..., :1280]


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    found = SimpleNamespace(**runpy.run_path(str(SCRIPT), run_name="inception_birds"))
    wanted = jax.eval_shape(trunk().init, jax.random.key(0), jax.ShapeDtypeStruct((1, *IMAGE_SHAPE), np.float32))
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), wanted)
    names = found.main.__globals__
    monkeypatch.setitem(names, "run_trunk", mean_colours)
    monkeypatch.setitem(names, "read_trunk", lambda path: zeros)
    monkeypatch.setattr(names["birds"], "load", partial(names["birds"].load, sha256=None))
    return found


@pytest.mark.slow
def test_the_head_is_trained_kept_and_completed(module, files, capsys, monkeypatch):
    options = module.Options(
        trunk=files / "trunk.npz",
        birds=files / "birds.npz",
        views=2,
        epochs=2,
        batch_size=25,
        out=files / "out",
        compilation_cache=None,
    )
    measured = module.main(options)
    printed = capsys.readouterr().out
    # Colours that are near each other are confused, but not many.
    assert measured["linear_probe"] > 10 / KINDS and measured["pictures"] == KINDS
    assert json.loads((options.out / "accuracy.json").read_text()) == measured
    assert f"accuracy {measured['accuracy']:.4f} on 50 test pictures" in printed
    course = pd.read_csv(options.out / "course.csv")
    assert course.epoch.tolist() == [1, 2] and course.accuracy.iloc[-1] == pytest.approx(measured["accuracy"])
    assert course.loss.iloc[1] < course.loss.iloc[0]

    views = [np.load(options.out / "activations" / f"train-{view}.npy") for view in range(2)]
    assert views[0].shape == (KINDS, 8, 8, 1280) and views[0].dtype == np.float16
    assert not np.array_equal(*views)

    model, variables = module.whole_network(options.trunk, options.out)
    # What was trained is in it, BatchNorm multiplied in: the head alone gives the logits of the accuracy.
    top = InceptionV3(**{**INCEPTIONS["graph_2015"], "classes": KINDS, "first": "Mixed_7b"})
    tested = np.load(options.out / "activations" / "test.npy").astype(np.float32)
    right = np.argmax(jax.jit(top.apply)(variables, tested), axis=1) == np.arange(KINDS)
    assert np.mean(right) == pytest.approx(measured["accuracy"], abs=0.03)
    assert set(variables["params"]) == set(BLOCKS) and model.classes == KINDS
    logits = jax.eval_shape(model.apply, variables, jax.ShapeDtypeStruct((2, *IMAGE_SHAPE), np.float32))
    assert logits.shape == (2, KINDS)

    def never(*args):
        raise AssertionError("what is finished was run again")

    monkeypatch.setitem(module.main.__globals__, "run_trunk", never)
    assert module.main(options) == measured
    assert len(pd.read_csv(options.out / "course.csv")) == 2
    other = module.Options(**{**vars(options), "learning_rate": 1e-2})
    with pytest.raises(ValueError, match=r"another configuration.*learning_rate"):
        module.main(other)


def test_held_out_pictures_are_not_trained_on_and_the_test_pictures_not_read(module, files):
    options = module.Options(
        trunk=files / "trunk.npz", birds=files / "birds.npz", views=1, held_out=0.2, out=files / "out"
    )
    train, test = module.examples(options)
    assert (len(train.labels), len(test.labels)) == (40, 10)
    assert sorted([*train.labels, *test.labels]) == list(range(KINDS))
    assert [len(view) for view in train.views] == [40] and [len(view) for view in test.views] == [10]
    assert not (options.out / "activations" / "test.npy").exists()
