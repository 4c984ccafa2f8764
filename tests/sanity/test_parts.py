"""How often the parts of a sweep compile, and what else they share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_models import LAYERS, case, init, sweep

import saliency_jax as sj


class Counter:
    """Functions that count how often Python runs them: once for each trace."""

    def __init__(self):
        self.counts = {}

    def counted(self, functions):
        return {name: self._counted(name, function) for name, function in functions.items()}

    def _counted(self, name, function):
        def run(*args):
            self.counts[name] = self.counts.get(name, 0) + 1
            return function(*args)

        return run


EXPLAINERS = {"gradient": sj.gradient, "smoothgrad": sj.smoothgrad(sj.gradient, samples=2), "noise": sj.noise}
METRICS = {"pearson": sj.pearson, "cosine": sj.cosine}


def traces(given, *, explainers=EXPLAINERS, **options):
    counter = Counter()
    sweep(counter.counted(explainers), given, metrics=counter.counted(METRICS), **options)
    return counter.counts


@pytest.mark.slow
def test_explainers_and_metrics_are_traced_once_however_many_stages_and_seeds():
    given = case()
    top = [sj.Layer("logits", ("logits/kernel", "logits/bias"))]
    assert traces(given, layers=top, seeds=1) == traces(given, seeds=4) == dict.fromkeys((*EXPLAINERS, *METRICS), 1)


@pytest.mark.parametrize(
    "prepare",
    {
        "small integers as labels": lambda given: given._replace(targets=given.targets.astype(jnp.uint8)),
        "arrays of numpy": lambda given: given._replace(params=jax.tree.map(np.asarray, given.params)),
        "strong types where the initializer gives weak ones": lambda given: given._replace(
            params=jax.tree.map(lambda leaf: leaf.astype(jnp.float32), given.params)
        ),
    }.items(),
    ids=lambda item: item[0],
)
def test_what_the_arguments_are_made_of_does_not_compile_anything_again(prepare):
    counts = traces(prepare[1](case()), explainers={"gradient": sj.gradient})
    assert counts == dict.fromkeys(counts, 1)


def test_the_fresh_weights_are_weakly_typed_and_the_trained_ones_are_not():
    """Or else the test before this one would not show anything."""
    assert init(jax.random.key(0))["dense"]["bias"].weak_type


def test_labels_of_any_integer_type_give_the_same_dataset():
    given = case()
    one, other = (
        sweep({"edges": sj.edges}, given._replace(targets=given.targets.astype(t))) for t in ("int8", "uint32")
    )
    assert one.identical(other)
    assert one.targets.dtype == np.int32


def test_progress_counts_every_part_once():
    seen = []
    sweep({"edges": sj.edges, "noise": sj.noise}, seeds=2, progress=lambda *report: seen.append(report))
    names, done, totals = zip(*seen, strict=True)
    assert done == tuple(range(1, 9)) and set(totals) == {8} and len(set(names)) == 8
    assert set(LAYERS).isdisjoint(names)


@pytest.mark.parametrize("kept, there", [(0, 0), (1, 1), (100, 4)])
def test_no_more_maps_are_kept_than_there_are_images(kept, there):
    found = sweep({"edges": sj.edges}, kept_images=kept)
    assert found.sizes["kept_image"] == there
    assert ("maps" in found) == (kept > 0)


def test_one_image_has_no_null_of_another_image():
    given = case(images=1)
    null = sweep({"gradient": sj.gradient}, given)["null"].sel(metric="pearson", explainer="gradient", image=0)
    assert np.isnan(null.sel(null_kind="other_image"))
    assert np.isfinite(null.drop_sel(null_kind="other_image")).all()
