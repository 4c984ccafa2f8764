"""A Dataset of a randomization test whose answer is known, made without a model."""

import numpy as np
import xarray as xr

EXPLAINERS = ("gradient", "blind", "edges")
STAGES = ("logits", "conv/1", "<b>&")
METRICS = ("spearman_abs", "ssim")
IMAGES, SEEDS, SIDE = 12, 2, 9


def measured(**attributes):
    """A test with a known answer: the gradient's maps change, those of the other two are the same at every stage."""
    random = np.random.default_rng(0)
    similarity = random.uniform(0.05, 0.15, (3, 2, 3, SEEDS, IMAGES)).astype(np.float32)
    similarity[1:] = 1
    null = random.uniform(0.1, 0.3, (4, 3, 2, IMAGES)).astype(np.float32)
    null[3] = 1
    models = ["trained", *STAGES]
    return xr.Dataset(
        {
            "similarity": (("explainer", "metric", "stage", "seed", "image"), similarity),
            "null": (("null_kind", "explainer", "metric", "image"), null),
            "maps": (
                ("explainer", "model", "kept_image", "height", "width", "channel"),
                random.normal(size=(3, 4, 2, SIDE, SIDE, 1)).astype(np.float32),
            ),
            "images": (("kept_image", "height", "width", "channel"), random.uniform(size=(2, SIDE, SIDE, 1))),
            "targets": ("image", np.arange(IMAGES) % 3),
            "explained_class": (("stage", "seed", "image"), np.ones((3, SEEDS, IMAGES), np.int32)),
            "accuracy": (("model", "seed"), np.full((4, SEEDS), 0.25, np.float32)),
            "logit_low": (("model", "seed"), np.full((4, SEEDS), -1.5, np.float32)),
            "logit_high": (("model", "seed"), np.full((4, SEEDS), 2.5, np.float32)),
            "logit_spread": (("model", "seed"), np.ones((4, SEEDS), np.float32)),
            "constant_maps": (("explainer", "stage", "seed"), np.eye(3, 3, dtype=np.int32)[:, :, None].repeat(2, 2)),
        },
        coords={
            "explainer": list(EXPLAINERS),
            "metric": list(METRICS),
            "stage": list(STAGES),
            "model": models,
            "seed": [0, 1],
            "null_kind": ["other_image", "permuted_pixels", "noise", "itself"],
        },
        attrs={"test": "parameter_randomization", "order": "top_down", **attributes},
    )
