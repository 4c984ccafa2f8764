"""The experiments with ProtoPNet run from their options, and what they write is read back."""

import contextlib
import io
import json
import re
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from test_experiments import script

matplotlib.use("Agg")

from saliency_jax.results import read_dataset


class Run(NamedTuple):
    """The experiment on digits, what it was asked, what it returned, and what it printed."""

    module: Any
    options: Any
    studied: Any
    printed: str


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """protopnet.py in small. The checks of the same options take its network from where it lies."""
    module, printed = script("protopnet.py"), io.StringIO()
    options = module.Options(
        joint=2, last_layer=2, shown=2, held_out=0.2, out=tmp_path_factory.mktemp("digits"), compilation_cache=None
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CLASSIFIER", replace(module.CLASSIFIER, steps=250))
        with contextlib.redirect_stdout(printed):
            studied = module.main(options)
        yield Run(module, options, studied, printed.getvalue())


@pytest.mark.slow
def test_digits_are_learned_by_prototypes_that_are_patches_and_the_run_goes_on_from_what_it_wrote(digits):
    module, options, studied, printed = digits
    folder = options.out
    assert (folder / "table.txt").read_text() in printed
    held = {turn: row["held out"] for turn, row in studied.accuracies.items()}
    assert held["plain classifier"] > 0.95 and held["after the last layer"] > 0.75
    assert json.loads((folder / "accuracies.json").read_text()).items() <= studied.accuracies.items()
    # A digit's border is blank, so that the same vector stands at many places; patches are told apart by their place.
    assert "nearest patch 0.0e+00" in printed
    history = (folder / "history.csv").read_text().splitlines()
    assert len(history) == 1 + 1 + 2 + 1 + 2 and history[4].startswith("3,project,1,nan")
    page = (folder / "prototypes.html").read_text()
    assert "after pruning" in page and not re.search(r'(?:src|href)="(?!data:|#)', page)
    for picture in ("points-0.png", "points-1.png", "prototypes.png"):
        assert (folder / picture).stat().st_size > 10_000
    again = module.main(options)
    # A validation that there is none of is NaN, which equals nothing.
    assert again.accuracies == studied.accuracies and str(again.fitted.history) == str(studied.fitted.history)


@pytest.mark.slow
def test_the_checks_measure_parameters_labels_and_what_the_critics_found(digits, capsys):
    module = script("protopnet_checks.py")
    options = module.Options(
        **vars(digits.options),
        memorized=100,
        memorized_classifier=40,
        memorized_joint=1,
        least_fitted=0.0,
        images=6,
        attacked=12,
        seeds=1,
    )
    by_parameters, by_labels = module.main(options)
    printed = capsys.readouterr().out
    # The network is the one that was trained there.
    accuracy = digits.studied.accuracies["after the last layer"]["held out"]
    assert by_parameters.accuracy.sel(model="trained").item() == pytest.approx(accuracy)
    folder = options.out / "checks"
    assert read_dataset(folder / "parameters.nc").similarity.equals(by_parameters.similarity)
    assert by_parameters.explainer.values.tolist() == ["class_evidence", "nearest_prototype", "gradient", "edges"]
    # Edges do not look at the network; the similarity maps change with the backbone.
    last = by_parameters.similarity.isel(stage=-1).sel(metric="spearman_abs").mean(("seed", "image"))
    assert float(last.sel(explainer="edges")) == pytest.approx(1) and float(last.sel(explainer="class_evidence")) < 0.9
    assert by_labels.test_accuracy.sel(model="trained") > by_labels.test_accuracy.sel(model="permuted_labels")
    for said in ("location (PLC)", "consistency", "stability", "different patches"):
        assert said in printed


def test_landmarks_are_the_outermost_ink_and_its_centre():
    image = np.zeros((2, 9, 9, 1), np.float32)
    image[0, 2, 3:6] = image[0, 6, 4] = image[0, 4, 1] = image[0, 3, 7] = 1
    found = script("protopnet_checks.py").ink_landmarks(image)
    np.testing.assert_allclose(found.rows[0], [2, 6, 4, 3, (2 * 3 + 6 + 4 + 3) / 6])
    np.testing.assert_allclose(found.columns[0], [4, 4, 1, 7, (3 + 4 + 5 + 4 + 1 + 7) / 6])
    assert found.visible[0].all() and not found.visible[1].any()


def test_a_minibatch_takes_one_view_of_each_picture_and_drops_whole_channels():
    module = script("protopnet_birds.py")
    views = jnp.broadcast_to(jnp.array([1.0, 3.0])[None, :, None, None, None], (40, 2, 2, 3, 50))
    found = np.asarray(module.Dropped(0.25)(jax.random.key(0), views))
    assert found.shape == (40, 2, 3, 50)
    assert (found == found[:, :1, :1]).all(), "a channel is dropped at all places or at none"
    largest = found.max(axis=(1, 2, 3))
    np.testing.assert_allclose(sorted(set(largest.tolist())), [1 / 0.75, 3 / 0.75], rtol=1e-6)
    assert abs((found == 0).mean() - 0.25) < 0.05
    kept = np.asarray(module.Dropped(0.0)(jax.random.key(0), views))
    assert set(np.unique(kept).tolist()) == {1.0, 3.0}


@pytest.mark.slow
def test_random_crops_keep_what_does_not_depend_on_the_place_and_stay_inside_the_picture():
    module = script("protopnet_birds.py")
    constant = jnp.full((3, 12, 12, 3), 0.5)
    np.testing.assert_allclose(module.mirrored_crops(jax.random.key(0), constant), 0.5, rtol=1e-5)
    ramp = jnp.broadcast_to(jnp.arange(12.0)[None, :, None, None], (200, 12, 12, 3))
    found = np.asarray(module.mirrored_crops(jax.random.key(1), ramp))
    assert found.min() >= -1e-4 and found.max() <= 11 + 1e-4
    # A part of 0.7 to 1 of the height, enlarged to 12 rows, climbs by as much a row.
    slopes = (found[:, 8, 6, 0] - found[:, 3, 6, 0]) / 5
    assert slopes.min() > 0.69 and slopes.max() < 1.01 and slopes.std() > 0.05
