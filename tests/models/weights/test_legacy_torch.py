"""Torch's legacy format without torch: a file that torch 2.13 wrote, and the same file damaged.

base = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
state = collections.OrderedDict(
    whole=base, transposed=base.permute(2, 0, 1), part=base[1, 1:, ::2],
    half=torch.arange(3, dtype=torch.float16) / 4, double=torch.arange(3, dtype=torch.float64) / 3,
    count=torch.tensor(7), small=torch.tensor([-1, 2], dtype=torch.int8), flags=torch.tensor([True, False, True]))
torch.save(state, "legacy_torch.pth", _use_new_zipfile_serialization=False)
"""

import pickle
import random
from pathlib import Path

import numpy as np
import pytest
from pickle_attacks import ATTACKS

from saliency_jax.models.weights.legacy_torch import read_legacy_torch

GOLDEN = (Path(__file__).parent / "goldens/legacy_torch.pth").read_bytes()
BASE = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
EXPECTED = {
    "whole": BASE,
    "transposed": BASE.transpose(2, 0, 1),
    "part": BASE[1, 1:, ::2],
    "half": np.array([0, 0.25, 0.5], np.float16),
    "double": np.arange(3) / 3,
    "count": np.array(7),
    "small": np.array([-1, 2], np.int8),
    "flags": np.array([True, False, True]),
}


def read(data):
    return read_legacy_torch(data, source="weights.pth")


def test_the_tensors_are_those_that_torch_wrote_views_and_all():
    found = read(GOLDEN)
    assert list(found) == list(EXPECTED)
    for name, tensor in found.items():
        assert tensor.dtype == EXPECTED[name].dtype and tensor.shape == EXPECTED[name].shape
        np.testing.assert_array_equal(tensor, EXPECTED[name])


def test_a_truncation_is_an_error_wherever_it_is():
    for end in range(0, len(GOLDEN), 9):
        with pytest.raises(ValueError, match=r"weights\.pth"):
            read(GOLDEN[:end])


def test_damage_gives_arrays_or_an_error_and_nothing_else():
    draw = random.Random(0)
    refused = 0
    for place in range(0, len(GOLDEN), 7):
        damaged = bytearray(GOLDEN)
        damaged[place] ^= 1 << draw.randrange(8)
        try:
            assert all(isinstance(tensor, np.ndarray) for tensor in read(bytes(damaged)).values())
        except ValueError:
            refused += 1
    assert refused > len(GOLDEN) / 7 / 4


def header():
    """The first three of the five pickles."""
    return b"".join(
        pickle.dumps(part, 2)
        for part in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}})
    )


@pytest.mark.parametrize("name", ATTACKS)
def test_a_state_dict_that_would_do_something_is_refused(name):
    with pytest.raises(ValueError, match=r"weights\.pth"):
        read(header() + ATTACKS[name])


def test_other_formats_are_named():
    with pytest.raises(ValueError, match=r"found the zip format of torch 1\.6 and later"):
        read(b"PK\x03\x04")
    with pytest.raises(ValueError, match=r"must begin with torch's magic number .*, found 1"):
        read(pickle.dumps(1, 2))
    with pytest.raises(ValueError, match=r"must be of version 1001 .*, found 1002"):
        read(header().replace(b"M\xe9\x03.", b"M\xea\x03."))
    with pytest.raises(ValueError, match="little-endian"):
        read(header().replace(b"\x88", b"\x89"))
    with pytest.raises(ValueError, match="must hold a state dict, found a list"):
        read(header() + pickle.dumps([1], 2))
    with pytest.raises(ValueError, match="must hold tensors alone, found 1 named 'a'"):
        read(header() + pickle.dumps({"a": 1}, 2))


def test_a_tensor_that_reaches_out_of_its_storage_or_repeats_it_is_refused():
    shape, strides = b"K\x02K\x03K\x04\x87", b"K\x0cK\x04K\x01\x87"
    assert GOLDEN.count(shape) == GOLDEN.count(strides) == 1
    for old, new in (
        (shape, b"K\x02K\x03K\x05\x87"),
        (shape, b"K\x7fK\x03K\x04\x87"),
        (strides, b"K\x0dK\x04K\x01\x87"),
    ):
        with pytest.raises(ValueError, match=r"tensor 'whole' must lie inside its storage of 24 values"):
            read(GOLDEN.replace(old, new))
    repeating = GOLDEN.replace(strides, b"K\x00K\x00K\x00\x87").replace(shape, b"K\x7fK\x7fK\x7f\x87")
    with pytest.raises(ValueError, match=r"tensor 'whole' must lie inside its storage of 24 values"):
        read(repeating)


def test_bytes_after_the_last_storage_are_an_error():
    with pytest.raises(ValueError, match="must end with its last storage, 4 bytes follow"):
        read(GOLDEN + b"more")
