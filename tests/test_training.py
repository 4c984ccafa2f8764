import dataclasses
import os
import signal
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from saliency_jax import checkpoints
from saliency_jax.data import load
from saliency_jax.models import CNN, MLP
from saliency_jax.presets import PRESETS, Training
from saliency_jax.training import evaluate, train
from saliency_jax.training.epoch import State, optimizer_of, run_epoch


def linear(params, images):
    return images.reshape(images.shape[0], -1) @ params["head"]["kernel"] + params["head"]["bias"][None]


def make_problem(n=23, classes=3, dtype=np.float32):
    draw = np.random.default_rng(0)
    images = draw.normal(size=(n, 3, 2, 1)).astype(dtype)
    labels = draw.integers(0, classes, n).astype(np.int32)
    kernel, bias = draw.normal(size=(6, classes)).astype(dtype), draw.normal(size=classes).astype(dtype)
    return {"head": {"kernel": kernel, "bias": bias}}, images, labels


def assert_same_bits(actual, expected):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def train_in_numpy(params, images, labels, key, config):
    """Softmax regression with Adam (Kingma and Ba 2015, algorithm 1), minibatches from fold_in(key, epoch)."""
    w, b = (np.array(params["head"][name], np.float64) for name in ("kernel", "bias"))
    moments = {"w": [0.0, 0.0], "b": [0.0, 0.0]}
    per_epoch, done, history = len(images) // config.batch_size, 0, []
    while done < config.steps:
        order = np.asarray(jax.random.permutation(jax.random.fold_in(key, done // per_epoch), len(images)))
        losses, hits = [], []
        for i in range(min(per_epoch, config.steps - done)):
            batch = order[i * config.batch_size : (i + 1) * config.batch_size]
            x, y = images[batch].reshape(len(batch), -1).astype(np.float64), labels[batch]
            logits = x @ w + b
            log_p = scipy.special.log_softmax(logits, axis=1)
            losses.append(-log_p[np.arange(len(y)), y].mean() + config.l2 * (w**2).sum() / 2)
            hits.append((logits.argmax(1) == y).mean())
            error = (np.exp(log_p) - np.eye(w.shape[1])[y]) / len(y)
            gradients = {"w": x.T @ error + config.l2 * w, "b": error.sum(0)}
            rate = config.learning_rate
            if config.schedule == "cosine":
                rate *= (1 + np.cos(np.pi * done / config.steps)) / 2
            done += 1
            updates = {}
            for name, g in gradients.items():
                m, v = moments[name]
                moments[name] = m, v = [0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2]
                updates[name] = rate * (m / (1 - 0.9**done)) / (np.sqrt(v / (1 - 0.999**done)) + 1e-8)
            w, b = w - updates["w"], b - updates["b"]
        history.append((np.mean(losses), np.mean(hits)))
    return {"head": {"kernel": w, "bias": b}}, np.array(history).T


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_training_is_adam_on_the_stated_objective_over_whole_minibatches(key, schedule):
    # 23 images: 4 minibatches of 5 in an epoch, 3 images sit out; 11 steps: the third epoch has 3.
    config = Training(steps=11, batch_size=5, learning_rate=0.05, schedule=schedule, l2=0.1, decayed=("head/kernel",))
    with jax.enable_x64(True):
        params, images, labels = make_problem(dtype=np.float64)
        trained = train(linear, params, images, labels, key=key, config=config)
        trained = jax.tree.map(np.asarray, trained)
    expected, (loss, accuracy) = train_in_numpy(params, images, labels, key, config)
    for name in ("kernel", "bias"):
        np.testing.assert_allclose(trained.params["head"][name], expected["head"][name], rtol=1e-9)
    np.testing.assert_allclose(trained.history.loss, loss, rtol=1e-9)
    np.testing.assert_allclose(trained.history.accuracy, accuracy, rtol=1e-12)


def test_single_precision_follows_double_precision(key):
    config = Training(steps=50, batch_size=5, learning_rate=0.01)
    params, images, labels = make_problem()
    trained = train(linear, params, images, labels, key=key, config=config)
    assert trained.params["head"]["kernel"].dtype == jnp.float32
    expected, _ = train_in_numpy(params, images, labels, key, config)
    np.testing.assert_allclose(trained.params["head"]["kernel"], expected["head"]["kernel"], rtol=1e-4)


SMALL_CNN = CNN(channels=(4, 6), units=16, classes=3)
init_small_cnn = jax.jit(SMALL_CNN.init)
SMALL = Training(steps=9, batch_size=8, learning_rate=1e-2, l2=1e-3, decayed=("conv1/kernel", "dense/kernel"))


def small_cnn_problem():
    draw = np.random.default_rng(1)
    images = draw.random((37, 8, 8, 1), np.float32)
    labels = draw.integers(0, 3, 37).astype(np.int32)
    return init_small_cnn(jax.random.key(0), images[:1]), images, labels


def train_small_cnn(**options):
    params, images, labels = small_cnn_problem()
    options = {"key": jax.random.key(5), "config": SMALL} | options
    return train(SMALL_CNN.apply, params, images, labels, **options)


@pytest.mark.slow
def test_the_same_key_gives_the_same_bits_and_another_key_others():
    first, again, other = (train_small_cnn(key=jax.random.key(seed)) for seed in (5, 5, 6))
    assert_same_bits(first, again)
    assert not np.array_equal(first.params["params"]["logits"]["kernel"], other.params["params"]["logits"]["kernel"])


def test_raw_and_typed_keys_draw_alike():
    assert_same_bits(train_small_cnn(key=jax.random.key(5)), train_small_cnn(key=jax.random.PRNGKey(5)))


def test_the_first_parameters_stay_valid_and_unchanged():
    params, images, labels = small_cnn_problem()
    params = jax.tree.map(jnp.asarray, params)
    before = jax.tree.map(np.array, params)
    train(SMALL_CNN.apply, params, images, labels, key=jax.random.key(0), config=SMALL)
    assert_same_bits(jax.tree.map(np.asarray, params), before)


def test_progress_is_told_after_each_epoch():
    told = []
    history = train_small_cnn(on_epoch=told.append).history
    assert [(p.epoch, p.epochs) for p in told] == [(1, 3), (2, 3), (3, 3)]
    assert [p.loss for p in told] == history.loss.tolist()
    assert [p.accuracy for p in told] == history.accuracy.tolist()
    assert all(p.seconds > 0 for p in told)


def test_no_convolution_inside_the_epoch_is_left_in_a_layout_that_is_slow_on_a_cpu():
    params, images, labels = small_cnn_problem()
    state = State(params, optimizer_of(SMALL).init(params))
    epoch = jax.jit(run_epoch.__wrapped__, static_argnames=("apply", "config", "steps"))
    lowered = epoch.lower(SMALL_CNN.apply, SMALL, state, images, labels, jax.random.key(0), steps=2)
    program = lowered.as_text(dialect="hlo")
    lines = [line for line in program.splitlines() if " convolution(" in line]
    # Two forward, two gradients in the kernels, one in the input of conv2.
    assert len(lines) == 5
    assert all("dim_labels=b01f_01io->b01f" in line for line in lines)
    assert "select-and-scatter" not in program


def test_a_nan_loss_stops_at_its_step(key):
    def undefined_where_bright(params, images):
        return linear(params, images) * jnp.sqrt(9 - images.max(axis=(1, 2, 3)))[:, None]

    params, images, labels = make_problem()
    images[13] = 10
    orders = [np.asarray(jax.random.permutation(jax.random.fold_in(key, e), 23))[:20] for e in range(9)]
    epoch = next(e for e, order in enumerate(orders) if 13 in order)
    step = int(np.flatnonzero(orders[epoch] == 13)[0]) // 5
    config = Training(steps=40, batch_size=5, learning_rate=0.1)
    message = f"the loss is nan at step {step + 1} of epoch {epoch + 1}, with learning_rate=0.1"
    with pytest.raises(FloatingPointError, match=message):
        train(undefined_where_bright, params, images, labels, key=key, config=config)


def test_parameters_that_are_ruined_by_the_very_last_step_are_no_result(key):
    def with_an_infinite_slope(params, images):
        return linear(params, images) + jnp.sqrt(params["root"]) * jnp.ones((1, 3)) * images[:, 0, 0]

    params, images, labels = make_problem()
    params["root"] = np.float32(0)
    config = Training(steps=1, batch_size=5)
    with pytest.raises(FloatingPointError, match="a parameter is not finite after step 1 of epoch 1"):
        train(with_an_infinite_slope, params, images, labels, key=key, config=config)


class BrokenOff(Exception):
    pass


def break_off_after(epoch):
    def on_epoch(progress):
        if progress.epoch == epoch:
            raise BrokenOff

    return on_epoch


@pytest.mark.slow
def test_a_training_that_is_broken_off_and_started_again_ends_with_the_same_bits(tmp_path):
    whole = train_small_cnn()
    for epoch in (1, 2):
        with pytest.raises(BrokenOff):
            train_small_cnn(folder=tmp_path, save_seconds=0.0, on_epoch=break_off_after(epoch))
    told = []
    resumed = train_small_cnn(folder=tmp_path, save_seconds=0.0, on_epoch=told.append)
    assert [p.epoch for p in told] == [3]
    assert_same_bits(resumed, whole)


def test_a_finished_training_is_read_and_not_run_again(tmp_path):
    whole = train_small_cnn(folder=tmp_path)
    assert checkpoints.steps(tmp_path) == (3,)
    assert_same_bits(train_small_cnn(folder=tmp_path, on_epoch=break_off_after(3)), whole)


def test_checkpoints_wait_for_their_time_but_the_last_epoch_has_one(tmp_path):
    with pytest.raises(BrokenOff):
        train_small_cnn(folder=tmp_path, save_seconds=3600.0, on_epoch=break_off_after(2))
    assert checkpoints.steps(tmp_path) == ()
    train_small_cnn(folder=tmp_path, save_seconds=3600.0)
    assert checkpoints.steps(tmp_path) == (3,)


KILLED = """
    import sys
    sys.path.insert(0, sys.argv[2])
    from test_training import train_small_cnn
    train_small_cnn(folder=sys.argv[1], save_seconds=0.0, on_epoch=lambda p: print(p.epoch, flush=True) or input())
"""


@pytest.mark.slow
def test_a_training_that_is_killed_and_started_again_ends_with_the_same_bits(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(KILLED), os.fspath(tmp_path), os.path.dirname(__file__)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "1\n"
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "2\n"
        process.send_signal(signal.SIGKILL)
    assert checkpoints.steps(tmp_path) == (1, 2)
    assert_same_bits(train_small_cnn(folder=tmp_path), train_small_cnn())


@pytest.mark.slow
def test_a_folder_of_another_training_is_refused(tmp_path):
    params, images, labels = small_cnn_problem()
    run = {"params": params, "images": images, "labels": labels, "key": jax.random.key(5), "config": SMALL}
    train(SMALL_CNN.apply, **run, folder=tmp_path)
    others = {
        "labels": labels[::-1],
        "images": images[::-1],
        "params": init_small_cnn(jax.random.key(1), images[:1]),
        "key": jax.random.key(6),
    }
    for name, other in others.items():
        with pytest.raises(ValueError, match=f"folder holds a training of other {name}"):
            train(SMALL_CNN.apply, **(run | {name: other}), folder=tmp_path)
    faster = dataclasses.replace(SMALL, learning_rate=0.5)
    with pytest.raises(ValueError, match=r"of other learning_rate: 0.01 there, 0.5 asked for"):
        train(SMALL_CNN.apply, **(run | {"config": faster}), folder=tmp_path)
    model = CNN(channels=(4, 6), units=17, classes=3)
    with pytest.raises(ValueError, match="of other params"):
        train(model.apply, **(run | {"params": model.init(jax.random.key(0), images[:1])}), folder=tmp_path)


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"images": np.zeros((0, 3, 2, 1), np.float32)}, ValueError, "images must hold at least one image"),
        ({"images": np.zeros((23, 6), np.float32)}, ValueError, "images must be .batch, height"),
        ({"images": np.zeros((23, 3, 2, 1), np.uint8)}, TypeError, "images must be floating point"),
        ({"images": np.full((23, 3, 2, 1), np.nan, np.float32)}, ValueError, "images must be finite"),
        ({"labels": np.zeros(22, np.int32)}, ValueError, r"labels must hold one class for each of the 23"),
        ({"labels": np.zeros(23, np.float32)}, TypeError, "labels must be integer"),
        ({"labels": np.arange(23) - 1}, ValueError, r"labels must be classes in \[0, 3\), found \[-1, 3"),
        ({"params": {"head": {"kernel": np.zeros((6, 3), int), "bias": np.zeros(3)}}}, TypeError, "head/kernel"),
        ({"config": Training(steps=1, batch_size=24)}, ValueError, "batch_size must not exceed the 23 images"),
        (
            {"config": Training(steps=1, batch_size=1, l2=1e-3, decayed=("ead/kernel",))},
            ValueError,
            "decayed names 'ead/kernel'",
        ),
        ({"apply": lambda params, images: images}, ValueError, r"apply must give logits \[batch, class\]"),
        ({"save_seconds": -1.0}, ValueError, "save_seconds must not be negative"),
    ],
)
def test_what_cannot_be_trained_is_refused_by_name(key, change, error, message):
    params, images, labels = make_problem()
    run = {"apply": linear, "params": params, "images": images, "labels": labels, "key": key}
    run["config"] = Training(steps=1, batch_size=5)
    with pytest.raises(error, match=message):
        train(**(run | change))


@pytest.mark.parametrize("batch_size", [1, 5, 22, 23, 1000])
def test_accuracy_counts_every_image_once_whatever_the_batch(batch_size):
    params, images, labels = make_problem()
    logits = images.reshape(23, -1) @ params["head"]["kernel"] + params["head"]["bias"]
    expected = np.mean(logits.argmax(axis=1) == labels)
    assert 0 < expected < 1
    assert evaluate(linear, params, images, labels, batch_size=batch_size) == expected


def test_logits_that_are_not_finite_have_no_accuracy():
    params, images, labels = make_problem()
    params["head"]["bias"][1] = np.nan
    with pytest.raises(FloatingPointError, match="logits are not finite"):
        evaluate(linear, params, images, labels, batch_size=5)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        evaluate(linear, params, images, labels, batch_size=0)


@pytest.mark.slow
@pytest.mark.parametrize("name, model, least", [("demo_cnn", CNN(), 0.96), ("demo_mlp", MLP(), 0.93)])
def test_the_demo_presets_learn_the_embedded_digits(key, name, model, least):
    learn, test = load("mnist", "train"), load("mnist", "test")
    params = model.init(key, learn.images[:1])
    trained = train(model.apply, params, learn.images, learn.labels, key=key, config=PRESETS[name])
    assert evaluate(model.apply, trained.params, test.images, test.labels) >= least
