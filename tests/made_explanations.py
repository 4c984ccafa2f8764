"""Explanations by prototypes, as `prototypes.analysis.explain` returns them, of numbers that are drawn at random."""

import numpy as np
import xarray as xr

SIDES = ["top", "bottom", "left", "right"]


def made_explanations(random, prototype_class, *, boxes, map_side, shape, target=None):
    """Similarities and weights of two images are random; the prototypes with the most points are kept.

    Args:
        random: a NumPy generator.
        prototype_class: of each prototype, one of three.
        boxes: `[image, rank, side]`, as many ranks as prototypes are kept.
        map_side: how many places a side of a map has.
        shape: height and width of the images.
        target: the class explained for each image; the predicted one where None.
    """
    images, kept_count = boxes.shape[:2]
    count = len(prototype_class)
    similarity, weights = random.uniform(0, 9, size=(images, count)), random.normal(size=(count, 3))
    logits = similarity @ weights
    target = logits.argmax(axis=1) if target is None else target
    points = similarity * weights.T[target]
    kept = np.argsort(-points, axis=1)[:, :kept_count]

    def of_kept(array):
        return np.take_along_axis(array, kept, axis=1)

    ranked = ("image", "rank")
    maps = random.uniform(size=(images, kept_count, map_side, map_side)).astype("float32")
    return xr.Dataset(
        {
            "prototype": (ranked, kept),
            "prototype_class": (ranked, prototype_class[kept]),
            "similarity": (ranked, of_kept(similarity)),
            "weight": (ranked, of_kept(weights.T[target])),
            "points": (ranked, of_kept(points)),
            "box": ((*ranked, "side"), boxes),
            "map": ((*ranked, "row", "column"), maps),
            "others": ("image", points.sum(axis=1) - of_kept(points).sum(axis=1)),
            "target": ("image", target),
            "logit": ("image", np.take_along_axis(logits, target[:, None], axis=1)[:, 0]),
            "logits": (("image", "class"), logits),
        },
        {"side": SIDES},
        {"height": shape[0], "width": shape[1], "percentile": 95.0},
    )
