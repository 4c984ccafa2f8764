"""A pickle is read as data: what Python's own unpickler makes of harmless ones, and nothing at all of others."""

import collections
import os
import pickle
import random
from io import BytesIO

import pytest
from pickle_attacks import ATTACKS, MARK

from saliency_jax.models.weights.unpickling import Call, Name, PersistentId, read_pickle


def read(data, allowed=()):
    return read_pickle(BytesIO(data), allowed=allowed, source="weights.pkl")


SHARED = [1, 2]
PLAIN = {
    "constants": [None, True, False],
    "integers": [0, 1, -1, 255, 256, 65536, -(2**31), 2**31, 2**100, -(2**100)],
    "floats": [0.0, -0.5, 1e300, float("inf")],
    "text": ["", "a", "ä" * 300, "x" * 70000],
    "bytes": [b"", b"\x00\xff", b"y" * 70000],
    "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
    "nested": {"a": [{"b": ({}, [])}], "c": SHARED, "d": SHARED, "e": list(range(2000))},
}


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("name", PLAIN)
def test_plain_data_come_out_as_python_s_unpickler_gives_them(name, protocol):
    assert read(pickle.dumps(PLAIN[name], protocol)) == PLAIN[name]


def test_an_object_met_twice_is_one_object():
    whole = read(pickle.dumps({"c": SHARED, "d": SHARED}, 4))
    assert whole["c"] is whole["d"]


def test_a_call_of_an_allowed_name_is_written_down():
    ordered = collections.OrderedDict(a=1, b=2)
    ordered.note = "n"
    found = read(pickle.dumps(ordered, 3), allowed=("collections.OrderedDict",))
    assert found == Call("collections.OrderedDict", (), [("a", 1), ("b", 2)], {"note": "n"})


def test_a_name_and_a_reference_to_the_outside_stay_what_they_are():
    class Outside(pickle.Pickler):
        def persistent_id(self, obj):
            return ("storage", 7) if obj == "outside" else None

    file = BytesIO()
    Outside(file, 3).dump(["outside", collections.OrderedDict])
    names = ("collections.OrderedDict",)
    assert read(file.getvalue(), names) == [PersistentId(("storage", 7)), Name("collections.OrderedDict")]


def test_pickles_that_follow_one_another_are_read_one_by_one():
    file = BytesIO(pickle.dumps("first", 3) + pickle.dumps("second", 3) + b"rest")
    assert [read_pickle(file, allowed=(), source="s") for _ in range(2)] == ["first", "second"]
    assert file.read() == b"rest"


@pytest.mark.parametrize("name", ATTACKS)
def test_a_pickle_that_would_do_something_is_refused_and_not_run(name):
    with pytest.raises(ValueError, match=r"weights\.pkl"):
        read(ATTACKS[name], allowed=("numpy.ndarray", "numpy.dtype"))
    assert MARK not in os.environ


def test_the_attacks_are_real(monkeypatch):
    """What is refused above does run in Python's own unpickler."""
    monkeypatch.setenv(MARK, "0")
    pickle.loads(ATTACKS["inside_a_dict"])
    assert os.environ[MARK] == "1"


def test_a_name_that_is_not_allowed_is_said():
    with pytest.raises(ValueError, match=r"may name only numpy\.dtype; it names 'os\.system', and nothing of it was"):
        read(b"\x80\x03cos\nsystem\n.", allowed=("numpy.dtype",))
    with pytest.raises(ValueError, match="must not use the pickle operation NEWOBJ; nothing of it was run"):
        read(b"\x80\x03cnumpy\ndtype\n)\x81.", allowed=("numpy.dtype",))


def test_every_truncation_is_an_error():
    data = pickle.dumps({"a": [1, 2.5, (b"bytes", "text")], "b": collections.OrderedDict(c=1)}, 3)
    for end in range(len(data)):
        with pytest.raises(ValueError, match=r"weights\.pkl must be a whole pickle"):
            read(data[:end], allowed=("collections.OrderedDict",))


def test_damage_gives_data_or_an_error_and_nothing_else():
    data = pickle.dumps({"a": [1, 2.5, (b"bytes", "text")], "b": collections.OrderedDict(c=1)}, 4)
    draw = random.Random(0)
    refused = 0
    for _ in range(900):
        damaged = bytearray(data)
        for _ in range(draw.randint(1, 3)):
            damaged[draw.randrange(len(data))] = draw.randrange(256)
        try:
            read(bytes(damaged), allowed=("collections.OrderedDict",))
        except ValueError:
            refused += 1
    assert 300 < refused < 900


def test_a_message_about_a_structure_without_end_has_an_end():
    laughs = b"\x80\x03]" + b"q\x00(h\x00h\x00t" * 60 + b")R."
    with pytest.raises(ValueError, match="calls a tuple"):
        read(laughs)
