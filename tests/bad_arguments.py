"""Arguments that functions cannot take, by kind, and what is wrong with how a function refuses them.

Every call is made of good arguments with one of them, or two drawn at random, replaced by bad ones.
"""

from typing import NamedTuple

import jax
import numpy as np

KEY = jax.random.key(0)
NAN, INF = float("nan"), float("inf")


def filled(shape, value):
    return np.full(shape, value, np.float32)


NO_ARRAYS = [None, "x", object(), {}, [1.0, 2.0], np.array(["a"]), np.array([None, 1], object)]
NO_FLOATS = [np.zeros((3, 4, 4, 1), int), np.zeros((3, 4, 4, 1), bool), np.zeros((3, 4, 4, 1), complex)]
NO_NUMBERS = [None, "1", [1.0], {}, object(), 1j, True, NAN, INF, -INF, 1e300, np.array([1.0, 2.0])]

BAD = {
    "image": [*NO_ARRAYS, *NO_FLOATS, filled((0, 4, 1), 0), filled((4, 4, 1), NAN), filled((4, 4, 1), INF)],
    "images": [
        *NO_ARRAYS,
        *NO_FLOATS,
        *(filled(shape, 0) for shape in [(0, 4, 4, 1), (3, 0, 4, 1), (4, 4, 1), (1, 3, 4, 4, 1)]),
        filled((3, 4, 4, 1), NAN),
        filled((3, 4, 4, 1), INF),
    ],
    "targets": [
        np.array([0.0, 1.0, 2.0]),
        np.array([0, 1]),
        np.array([0, 1, 3]),
        np.array([0, 1, -1]),
        np.array([[0], [1], [2]]),
        np.array([True, False, True]),
        np.zeros(0, int),
    ],
    "map": [None, "x", object(), {}, np.array(["a"]), *NO_FLOATS, filled((9, 9), 0), filled((0,), 0)],
    "points": [*NO_ARRAYS, *NO_FLOATS, filled((40, 3), 0), filled((40, 3), NAN), filled((40, 0), 0), filled(40, 0)],
    "key": [
        *(None, 0, 1.5, "x", object(), [0, 1], ()),
        *(np.zeros(shape, np.uint32) for shape in [3, (2, 2)]),
        *(np.zeros(2, np.int32), np.zeros(2, np.float32), jax.random.split(KEY, 2)),
    ],
    "count": [None, "3", [], {}, object(), 1.5, 2.0, NAN, INF, True, -1, -(10**25), 10**25, np.array([1, 2])],
    "number": NO_NUMBERS,
    "share": [*NO_NUMBERS, -0.1, 1.1],
    "positive": [*NO_NUMBERS, 0.0, -0.1],
    "name": ["nonsense", "", 3, [], object()],
    "function": [None, 3, "x", object()],
    "layers": ["x", 3, object(), ["conv"], [3], [None]],
    "mesh": ["x", 3, object(), [1]],
    "ranges": ["x", 3, object(), [], [None], ["a"], [1.5], [(3,)], [(2, 1)], [(0, 1)]],
    "blocks": ["x", 3, object(), [], [None], ["a"], [1.5], [0], [100]],
    "pair": [3, [], (1.0,), (1.0, 0.0), (0.0, INF), (0.0, 1.0, 2.0), object()],
}


BAD["optional count"], BAD["optional positive"] = (
    [bad for bad in BAD[k] if bad is not None] for k in ("count", "positive")
)
# An infinite bound keeps all.
BAD["outlier"] = [bad for bad in BAD["optional positive"] if not isinstance(bad, float) or bad != INF]
# An image is a stack of rows, and rows are fitted as well.
BAD["stack"] = [bad for bad in BAD["images"] if np.shape(bad) != (4, 4, 1)]
BAD["numbers"] = [bad for bad in BAD["ranges"] if bad != []]
BAD["bytes"] = [bad for bad in BAD["optional count"] if not isinstance(bad, int) or bad < 10**25]
BAD["labels"] = [bad for bad in BAD["targets"] if bad.shape == (3,) and bad.max() < 3]


class Call(NamedTuple):
    """A function with good arguments, and the kinds of those that are replaced."""

    function: object
    good: dict
    kinds: dict


def made(function, **options):
    return Call(
        function, {n: v for n, (v, _) in options.items()}, {n: kind for n, (_, kind) in options.items() if kind}
    )


def shown(value):
    return f"{value.dtype}{value.shape}" if hasattr(value, "dtype") else repr(value)


def complaint(call, replaced):
    """What is wrong with how a call refuses its arguments, empty where nothing is."""
    arguments = ", ".join(f"{name}={shown(value)}" for name, value in replaced.items())
    try:
        call.function(**call.good | replaced)
    except (ValueError, TypeError) as error:
        message = str(error)
        return "" if any(name in message for name in replaced) else f"{arguments}: no name in {message[:150]!r}"
    except Exception as error:
        return f"{arguments}: {type(error).__name__} {str(error)[:150]}"
    return f"{arguments}: accepted"


def single_replacements(call):
    return [{name: value} for name, kind in call.kinds.items() for value in BAD[kind]]


def pairs_of_replacements(call, count):
    draw = np.random.default_rng(len(call.kinds))
    names = list(call.kinds)
    for _ in range(count if len(names) > 1 else 0):
        chosen = draw.choice(names, 2, replace=False)
        yield {name: BAD[call.kinds[name]][draw.integers(len(BAD[call.kinds[name]]))] for name in map(str, chosen)}


def problems(call):
    """Each way in which bad arguments are not refused by a ValueError or a TypeError that names one of them."""
    replacements = [*single_replacements(call), *pairs_of_replacements(call, 10)]
    return [problem for problem in (complaint(call, replaced) for replaced in replacements) if problem]
