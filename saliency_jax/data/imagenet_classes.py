"""The names of ImageNet's thousand classes, in the order of the logits of the networks that are trained on them."""

from __future__ import annotations

import difflib
import json
from functools import cache
from importlib import resources


@cache
def class_names() -> tuple[str, ...]:
    """The 1,000 names, words joined by underscores; "crane" and "maillot" stand for two classes each.

    Source: ImageNet Large Scale Visual Recognition Challenge 2012.
    """
    text = resources.files("saliency_jax.data").joinpath("imagenet_classes.json").read_text(encoding="utf-8")
    return tuple(json.loads(text))


def class_index(name: str) -> int:
    """The index of a class by its name: "junco" -> 13.

    Args:
        name: as in `class_names`; where there is none of it, case and spaces for underscores do not matter.

    Returns:
        The place of its logit, from 0.

    Raises:
        ValueError: there is no such class, and the nearest names are said; or two classes have the name, and their
            indices are said.
    """
    known = [_plain(each) for each in class_names()]
    # As it is written first: Cardigan is a dog and cardigan a garment.
    found = [i for i, each in enumerate(class_names()) if each == name]
    found = found or [i for i, each in enumerate(known) if each == _plain(name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"name must say one class of ImageNet, {name!r} is the name of the classes {found}")
    near = [
        class_names()[known.index(each)] for each in difflib.get_close_matches(_plain(name), known, n=5, cutoff=0.5)
    ]
    within = [each for each in class_names() if _plain(name) and _plain(name) in _plain(each)][:5]
    hint = ", ".join(dict.fromkeys((*within, *near))) or "none"
    raise ValueError(f"name must be one of ImageNet's 1,000 classes, got {name!r}; near names: {hint}")


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_")
