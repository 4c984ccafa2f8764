import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from saliency_jax import checkpoints


def make_tree():
    params = {"params": {"conv1": {"kernel": jnp.arange(12.0).reshape(3, 4), "bias": jnp.zeros(4)}}}
    return {
        "params": params,
        "optimizer": optax.adam(optax.cosine_decay_schedule(1e-3, 10)).init(params),
        "half": jnp.array([1.5, -jnp.inf, jnp.nan], jnp.bfloat16),
        "list": [jnp.int32(7), (np.arange(3), np.float64(1) / 3)],
        "none": None,
    }


def assert_same_bits(actual, expected):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert isinstance(a, jax.Array) == isinstance(b, jax.Array)
        assert np.asarray(a).dtype == np.asarray(b).dtype
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_what_is_restored_is_what_was_saved_bit_for_bit(tmp_path):
    tree = make_tree()
    checkpoints.save(tmp_path, 3, tree)
    assert_same_bits(checkpoints.restore(tmp_path, tree), tree)


def test_shapes_alone_suffice_to_restore(tmp_path):
    tree = {"a": jnp.arange(3), "b": (jnp.ones((2, 2)),)}
    checkpoints.save(tmp_path, 0, tree)
    assert_same_bits(checkpoints.restore(tmp_path, jax.eval_shape(lambda: tree)), tree)


def test_double_precision_survives_where_it_is_off(tmp_path):
    tree = {"third": np.array([1 / 3])}
    checkpoints.save(tmp_path, 0, tree)
    assert checkpoints.restore(tmp_path, tree)["third"][0] == 1 / 3


def test_the_newest_steps_are_kept_and_the_newest_is_read(tmp_path):
    for step in (2, 10, 9, 11):
        checkpoints.save(tmp_path, step, {"step": jnp.int32(step)}, metadata={"name": f"of {step}"}, keep=3)
    assert checkpoints.steps(tmp_path) == (9, 10, 11)
    like = {"step": jnp.int32(0)}
    assert checkpoints.restore(tmp_path, like)["step"] == 11
    assert checkpoints.restore(tmp_path, like, step=9)["step"] == 9
    assert checkpoints.read_metadata(tmp_path) == {"name": "of 11"}
    assert checkpoints.read_metadata(tmp_path, step=10) == {"name": "of 10"}


def test_metadata_keeps_doubles_exactly(tmp_path):
    checkpoints.save(tmp_path, 0, {"a": jnp.ones(1)}, metadata={"loss": [1 / 3, 1e-300]})
    assert checkpoints.read_metadata(tmp_path)["loss"] == [1 / 3, 1e-300]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"kernel": jnp.zeros((3, 5))}, r"leaf 'conv1/kernel' is float32\[3, 4\] there and float32\[3, 5\] in"),
        ({"kernel": jnp.zeros((3, 4), jnp.float16)}, r"'conv1/kernel' is float32\[3, 4\] there and float16"),
        ({"scale": jnp.zeros(2)}, r"leaf 'conv1/scale' is absent there and float32\[2\] in"),
        ({"bias": None}, r"leaf 'conv1/bias' is float32\[4\] there and absent in"),
    ],
    ids=["shape", "dtype", "more", "fewer"],
)
def test_a_tree_of_another_configuration_is_refused_by_its_first_leaf(tmp_path, change, message):
    layer = {"kernel": jnp.ones((3, 4)), "bias": jnp.ones(4)}
    checkpoints.save(tmp_path, 0, {"conv1": layer, "conv2": layer})
    with pytest.raises(ValueError, match=message):
        checkpoints.restore(tmp_path, {"conv1": layer | change, "conv2": {}})


def test_a_save_that_was_broken_off_is_no_step(tmp_path):
    checkpoints.save(tmp_path, 1, {"a": jnp.ones(3)})
    leftover = tmp_path / "2.orbax-checkpoint-tmp"
    (leftover / "tree").mkdir(parents=True)
    (leftover / "tree" / "manifest.ocdbt").write_bytes(b"half of it")
    assert checkpoints.steps(tmp_path) == (1,)
    assert checkpoints.restore(tmp_path, {"a": jnp.zeros(3)})["a"].sum() == 3
    checkpoints.save(tmp_path, 2, {"a": 2 * jnp.ones(3)})
    assert checkpoints.restore(tmp_path, {"a": jnp.zeros(3)})["a"].sum() == 6


SAVE_WITHOUT_END = """
    import itertools, sys
    import jax.numpy as jnp
    from saliency_jax import checkpoints
    for step in itertools.count():
        tree = {"a": jnp.full((500, 1000), step, jnp.int32), "b": [jnp.full(1000, step, jnp.int32)] * 5}
        checkpoints.save(sys.argv[1], step, tree)
        print(step, flush=True)
"""


@pytest.mark.slow
def test_a_process_killed_while_it_saves_leaves_a_whole_step(tmp_path):
    for delay in (0.003, 0.02):
        command = [sys.executable, "-c", textwrap.dedent(SAVE_WITHOUT_END), os.fspath(tmp_path / str(delay))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            for _ in range(3):
                last = int(process.stdout.readline())
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
        newest = checkpoints.steps(tmp_path / str(delay))[-1]
        assert newest >= last
        like = {"a": jnp.zeros((500, 1000), jnp.int32), "b": [jnp.zeros(1000, jnp.int32)] * 5}
        for leaf in jax.tree.leaves(checkpoints.restore(tmp_path / str(delay), like)):
            np.testing.assert_array_equal(leaf, newest)


def test_a_folder_without_the_step_is_an_error_that_names_it(tmp_path):
    like = {"a": jnp.ones(1)}
    for folder in (tmp_path, tmp_path / "absent"):
        assert checkpoints.steps(folder) == ()
        with pytest.raises(FileNotFoundError, match=f"no checkpoint in '{folder}'"):
            checkpoints.restore(folder, like)
    assert not (tmp_path / "absent").exists()
    checkpoints.save(tmp_path, 4, like)
    with pytest.raises(FileNotFoundError, match=r"no step 5 in .*, which has \[4\]"):
        checkpoints.restore(tmp_path, like, step=5)
    with pytest.raises(FileNotFoundError, match="no step 5"):
        checkpoints.read_metadata(tmp_path, step=5)


def test_what_cannot_be_a_step_is_refused(tmp_path):
    tree = {"a": jnp.ones(1)}
    with pytest.raises(ValueError, match="step must not be negative, got -1"):
        checkpoints.save(tmp_path, -1, tree)
    with pytest.raises(ValueError, match="keep must be at least 1, got 0"):
        checkpoints.save(tmp_path, 1, tree, keep=0)
    with pytest.raises(ValueError, match="at least one leaf"):
        checkpoints.save(tmp_path, 1, {})
    with pytest.raises(TypeError, match="leaf 'inner/key' is a typed PRNG key"):
        checkpoints.save(tmp_path, 1, {"inner": {"key": jax.random.key(0)}})
    assert checkpoints.steps(tmp_path) == ()
    checkpoints.save(tmp_path, 1, tree)
    with pytest.raises(ValueError, match="step 1 is already in"):
        checkpoints.save(tmp_path, 1, tree)


def test_a_relative_folder_is_taken_from_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoints.save("runs/a", 0, {"a": jnp.ones(1)})
    assert checkpoints.steps(tmp_path / "runs" / "a") == (0,)


def test_saving_and_restoring_say_nothing(tmp_path, capfd, caplog):
    tree = make_tree()
    checkpoints.save(tmp_path, 0, tree, metadata={"a": 1})
    checkpoints.save(tmp_path, 1, tree)
    checkpoints.restore(tmp_path, tree)
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelname != "INFO"] == []


def test_the_metadata_is_plain_json_on_disk(tmp_path):
    checkpoints.save(tmp_path, 0, {"a": jnp.ones(1)}, metadata={"epoch": 3})
    assert json.loads((tmp_path / "0" / "metadata" / "metadata").read_text()) == {"epoch": 3}
