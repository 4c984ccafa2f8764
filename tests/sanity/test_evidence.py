import numpy as np
import pytest
import xarray as xr

from saliency_jax.sanity import evidence

COMPARED = ("explainer", "metric", "stage", "seed", "image")


def compared(test, similarity, other=0.2, names=None):
    """A Dataset of a test by one metric, one stage and one seed, from scores [explainer, image]."""
    similarity = np.asarray(similarity, float)
    explainers, images = similarity.shape
    null = np.stack([np.full((explainers, 1, images), value) for value in (other, 1.0)])
    return xr.Dataset(
        {
            "similarity": (COMPARED, similarity[:, None, None, None]),
            "null": (("null_kind", "explainer", "metric", "image"), null),
        },
        coords={
            "explainer": names or [f"e{k}" for k in range(explainers)],
            "metric": ["spearman"],
            "stage": ["other_task"],
            "seed": [0],
            "null_kind": ["other_image", "itself"],
        },
        attrs={"test": test},
    )


def rows(*values, images=24):
    """Constant scores, a row for each value."""
    return np.repeat(np.array(values)[:, None], images, axis=1)


DEPENDENCE = ["parameter_randomization", "smooth_mprt", "data_randomization", "random_logit", "task_dependence"]


@pytest.mark.parametrize("test", DEPENDENCE)
def test_what_must_change_passes_by_how_far_it_goes(test):
    found = evidence({"t": compared(test, rows(0.2, 0.84, 0.98, 1.0, np.nan))})
    np.testing.assert_allclose(found.value.squeeze(), [1, 0.2, 0.025, 0, np.nan], atol=1e-12)
    assert found.outcome.values.ravel().tolist() == ["passes", "partly", "fails", "fails", "undecided"]


def test_what_must_not_change_passes_by_staying():
    found = evidence({"t": compared("input_invariance", rows(1.0, 0.98, 0.7, 0.3, np.nan))})
    np.testing.assert_allclose(found.value.squeeze(), [1, 0.975, 0.625, 0.125, np.nan], atol=1e-12)
    assert found.outcome.values.ravel().tolist() == ["passes", "passes", "partly", "fails", "undecided"]


def test_an_edge_detector_fails_and_a_map_like_any_other_images_edges_passes():
    found = evidence({"t": compared("edge_similarity", rows(1.0, 0.2, 0.76))})
    np.testing.assert_allclose(found.value.squeeze(), [0, 1, 0.3], atol=1e-12)
    assert found.outcome.values.ravel().tolist() == ["fails", "passes", "fails"]


def test_maps_that_converge_fail():
    convergence = xr.Dataset(
        {"convergence": (("explainer", "layer", "seed", "image"), rows(0.99, 0.1)[:, None, None])},
        coords={"explainer": ["a", "b"]},
        attrs={"test": "cosine_convergence"},
    )
    found = evidence({"t": convergence})
    np.testing.assert_allclose(found.value.squeeze(), [0.01, 0.9], atol=1e-12)
    assert found.outcome.values.ravel().tolist() == ["fails", "passes"]


def test_the_share_of_maps_that_gain_complexity_counts():
    rise = np.stack([np.full(20, 0.3), np.full(20, -0.1), np.full(20, np.nan)])
    rise[0, :2] = -0.1
    given = xr.Dataset(
        {"rise": (("explainer", "seed", "image"), rise[:, None])},
        coords={"explainer": ["a", "b", "c"]},
        attrs={"test": "efficient_mprt"},
    )
    found = evidence({"t": given})
    np.testing.assert_allclose(found.value.squeeze(), [0.9, 0, np.nan], atol=1e-12)
    assert found.outcome.values.ravel().tolist() == ["passes", "fails", "undecided"]


def test_removing_pixels_counts_beside_removing_at_random():
    accuracy = np.array([[[0.9, 0.9], [0.4, 0.5], [0.2, 0.2]], [[0.9, 0.9], [0.8, 0.8], [0.5, 0.5]]])
    given = xr.Dataset(
        {"accuracy": (("explainer", "fraction", "seed"), accuracy)},
        coords={"explainer": ["gradient", "noise"], "fraction": [0.1, 0.5, 0.9], "seed": [0, 1]},
        attrs={"test": "roar"},
    )
    found = evidence({"t": given})
    np.testing.assert_allclose(found.value.squeeze(), [1, 0], atol=1e-12)
    assert found.outcome.values.ravel().tolist() == ["passes", "fails"]


def test_tests_of_other_explainers_leave_their_cells_empty():
    one = compared("parameter_randomization", rows(0.2), names=["gradient"])
    other = compared("data_randomization", rows(1.0, 1.0), names=["edges", "gradient"])
    found = evidence({"parameters": one, "labels": other})
    assert found.explainer.values.tolist() == ["gradient", "edges"]
    assert found.outcome.sel(explainer="edges").values.tolist() == ["", "fails"]
    assert np.isnan(found.value.sel(explainer="edges", test="parameters"))


def test_bad_datasets_are_named():
    with pytest.raises(ValueError, match=r"got 'other' for 't'"):
        evidence({"t": compared("other", rows(1.0))})
    two = xr.concat([compared("random_logit", rows(1.0))] * 2, dim="metric")
    with pytest.raises(ValueError, match=r"one metric each, got \['spearman', 'spearman'\] for 't'"):
        evidence({"t": two})
