"""Arrays out of pickles, bit for bit those of Python's own unpickler; object arrays and code are refused."""

import pickle
import random

import numpy as np
import pytest
from pickle_attacks import ATTACKS, Calling

from saliency_jax.models.weights.numpy_pickle import read_numpy_pickle

DRAW = np.random.default_rng(0).standard_normal
ARRAYS = {
    "float32": DRAW((3, 4, 2)).astype(np.float32),
    "float16": DRAW(5).astype(np.float16),
    "big_endian": DRAW((2, 2)).astype(">f8"),
    "fortran": np.asfortranarray(DRAW((3, 4))),
    "int8": np.arange(-3, 3, dtype=np.int8),
    "uint64": np.array([2**63], np.uint64),
    "bool": np.array([True, False]),
    "scalar": np.array(1.5),
    "empty": np.zeros((0, 3)),
    "view": np.arange(12.0).reshape(3, 4)[::2, 1:],
}


def read(data):
    return read_numpy_pickle(data, source="weights.pkl")


@pytest.mark.parametrize("protocol", [3, 4])
def test_arrays_are_those_of_python_s_unpickler(protocol):
    data = pickle.dumps(ARRAYS, protocol)
    found, expected = read(data), pickle.loads(data)
    assert list(found) == list(expected)
    for name, array in found.items():
        # NumPy turns the bytes round as it unpickles; the values are the same.
        assert array.dtype.newbyteorder("=") == expected[name].dtype and array.shape == expected[name].shape
        np.testing.assert_array_equal(array, expected[name])


def test_the_arrays_of_a_list_are_numbered():
    found = read(pickle.dumps({"conv1": [np.ones(2), np.zeros(3)], "scale": np.ones(())}, 3))
    assert {name: array.shape for name, array in found.items()} == {"conv1/0": (2,), "conv1/1": (3,), "scale": ()}


class Weights:
    """A class of somebody's own."""


def structured():
    return np.zeros(2, np.dtype([("a", "f4"), ("b", "i4")]))


REFUSED = {
    "object_array": (np.array([{}, None], object), "Python objects"),
    "text_array": (np.array(["a"]), "must be an array of numbers"),
    "structured_array": (structured(), "must be an array of numbers"),
    "dates": (np.array(["2020-01-01"], "datetime64[D]"), "must be an array of numbers"),
    "text": ("a", "must be a NumPy array, found 'a'"),
    "nested": ([[np.ones(2)]], "must be a NumPy array, found a list"),
    "object": (Weights(), r"names '\w*test_numpy_pickle\.Weights', and nothing of it was run"),
    "scalar": (np.float32(1), "numpy.*scalar', and nothing of it was run"),
    "code": (Calling(print, "run"), r"names 'builtins\.print', and nothing of it was run"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_array_of_numbers_is_refused(name, capsys):
    content, message = REFUSED[name]
    with pytest.raises(ValueError, match=rf"weights\.pkl.*{message}"):
        read(pickle.dumps({"conv1": [content]}, 3))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ATTACKS)
def test_a_pickle_that_would_do_something_is_refused(name):
    with pytest.raises(ValueError, match=r"weights\.pkl"):
        read(ATTACKS[name])


def test_a_file_that_is_no_dict_or_goes_on_is_refused():
    with pytest.raises(ValueError, match="must be a dict of arrays, found a list"):
        read(pickle.dumps([np.ones(2)], 3))
    with pytest.raises(ValueError, match="must be one pickle and end with it, 3 bytes follow"):
        read(pickle.dumps({"a": np.ones(2)}, 3) + b"abc")


def test_an_array_with_other_bytes_than_its_shape_needs_is_refused():
    data = pickle.dumps({"a": np.ones((2, 3), np.float32)}, 3)
    shape = b"K\x02K\x03\x86"
    assert data.count(shape) == 1
    with pytest.raises(ValueError, match=r"'a' must have the bytes of shape \(2, 4\) of float32, found 24 bytes"):
        read(data.replace(shape, b"K\x02K\x04\x86"))


def test_damage_gives_arrays_or_an_error_and_nothing_else():
    data = pickle.dumps({"a": ARRAYS["float32"], "b": [ARRAYS["fortran"]]}, 3)
    draw = random.Random(0)
    for _ in range(600):
        damaged = bytearray(data)
        damaged[draw.randrange(len(data))] = draw.randrange(256)
        try:
            found = read(bytes(damaged))
        except ValueError:
            continue
        assert all(isinstance(array, np.ndarray) and not array.dtype.hasobject for array in found.values())
