import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import xarray as xr
from small_models import case, sweep

import saliency_jax as sj
from saliency_jax.sanity.verdicts import holm, sign_flip_p_values


def measured(similarity, unchanged, unrelated=None, **states):
    """A dataset of scores [explainer, seed, image] and [explainer, image]: one metric and one stage."""
    explainers, seeds, images = similarity.shape
    unrelated = np.zeros((explainers, images)) if unrelated is None else unrelated
    return xr.Dataset(
        {
            "similarity": (("explainer", "metric", "stage", "seed", "image"), similarity[:, None, None]),
            "null": (("null_kind", "explainer", "metric", "image"), np.stack([unrelated, unchanged])[:, :, None]),
            **{name: (("model", "seed"), np.asarray(values)) for name, values in states.items()},
        },
        coords={
            "explainer": [f"e{k}" for k in range(explainers)],
            "metric": ["spearman"],
            "stage": ["all"],
            "model": ["trained", "all"],
            "null_kind": ["other_image", "itself"],
            "seed": np.arange(seeds),
        },
    )


def mixture(share):
    """A map of which `share` is the model's gradient and the rest the image's edges, each of length 1."""

    def explain(score, image, key=None):
        parts = sj.gradient(score, image), sj.EXPLAINERS["edges"](score, image)
        model, edges = (part / jnp.linalg.norm(part) for part in parts)
        return share * model + (1 - share) * edges

    return explain


def noisy(share, strength=0.5):
    """A mixture to which the explainer adds noise of its own."""

    def explain(score, image, key=None):
        drawn = jax.random.normal(key, image.shape)
        return mixture(share)(score, image) + strength * drawn / jnp.linalg.norm(drawn)

    return explain


@pytest.mark.slow
def test_an_explainer_that_ignores_the_model_is_not_found_to_depend_and_the_others_are():
    explainers = {
        "edges": sj.EXPLAINERS["edges"],
        "noise": sj.EXPLAINERS["noise"],
        "noisy edges": noisy(0.0),
        "a quarter": mixture(0.25),
        "a noisy quarter": noisy(0.25),
        "gradient": sj.gradient,
    }
    found = sj.verdicts(sweep(explainers, case(images=24), seeds=2, metrics={"spearman": sj.spearman}))
    assert found.verdict.values.tolist() == ["no dependence found"] * 3 + ["depends"] * 3
    effect = found.effect.isel(metric=0, stage=-1)
    assert effect.sel(explainer="edges") == 0
    assert effect.sel(explainer="a quarter") < effect.sel(explainer="gradient")
    assert (found.effect_low <= found.effect).all() and (found.effect <= found.effect_high).all()


def test_true_nulls_are_rejected_at_the_level():
    random = np.random.default_rng(0)
    # Scores of maps that change for another reason than the model: skewed, bounded, of another spread for every image.
    spread = random.uniform(0.02, 0.5, size=(500, 1, 30))
    unchanged, similarity = 1 - spread * random.beta(1, 4, size=(2, 500, 1, 30))
    found = sj.verdicts(measured(similarity, unchanged[:, 0]))
    rejected = np.mean(found.p_value.values <= 0.05)
    assert 0.02 <= rejected <= 0.07
    assert found.dependent.sum() <= 1


def test_p_values_equal_those_of_all_signs():
    differences = np.random.default_rng(1).normal(0.4, 1, size=(5, 9))
    want = [
        scipy.stats.permutation_test(
            (d,), np.sum, permutation_type="samples", alternative="greater", n_resamples=np.inf
        ).pvalue
        for d in differences
    ]
    np.testing.assert_allclose(sign_flip_p_values(differences, flips=200_000)[0], want, atol=4e-3)


def test_differences_that_are_all_zero_or_missing_show_nothing():
    p, smallest = sign_flip_p_values(np.stack([np.zeros(12), np.full(12, np.nan)]), flips=999)
    assert p.tolist() == [1, 1]
    assert smallest.tolist() == [1e-3, 1]


def test_holms_correction_equals_its_definition():
    p = np.array([[0.01, 0.04], [0.03, 0.005]])
    # Holm 1979: 4 * .005, 3 * .01, 2 * .03, and .04 no less than the one before it.
    np.testing.assert_allclose(holm(p), [[0.03, 0.06], [0.06, 0.02]])
    assert (holm(np.full(3, 0.9)) == 1).all()


def test_too_few_images_for_any_outcome_leave_the_verdict_open():
    few = measured(np.full((2, 3, 4), 0.1), np.ones((2, 4)))
    assert sj.verdicts(few).verdict.values.tolist() == ["undecided"] * 2
    more = measured(np.full((2, 3, 12), 0.1), np.ones((2, 12)))
    assert sj.verdicts(more).verdict.values.tolist() == ["depends"] * 2


def test_seeds_do_not_pass_for_images():
    many_seeds = measured(np.full((1, 500, 3), 0.1), np.ones((1, 3)))
    assert sj.verdicts(many_seeds).verdict.item() == "undecided"


@pytest.mark.parametrize(
    ("spread", "high"), [(0.0, 1.0), (np.nan, np.nan), (1.0, np.inf)], ids=["constant", "nan", "overflow"]
)
def test_a_dead_model_is_never_a_passed_test(spread, high):
    similarity = np.full((1, 2, 20), 0.1)
    states = {"logit_low": np.zeros((2, 2)), "logit_high": np.ones((2, 2)), "logit_spread": np.ones((2, 2))}
    assert sj.verdicts(measured(similarity, np.ones((1, 20)), **states)).verdict.item() == "depends"
    states["logit_spread"][1], states["logit_high"][1] = spread, high
    dead = sj.verdicts(measured(similarity, np.ones((1, 20)), **states))
    assert dead.verdict.item() == "undecided"
    assert dead.dead_models.item() == 2
    # Half of the draws are enough to decide by.
    states["logit_spread"][1, 0], states["logit_high"][1, 0] = 1, 1
    half = sj.verdicts(measured(similarity, np.ones((1, 20)), **states))
    assert (half.verdict.item(), half.dead_models.item()) == ("depends", 1)


def test_mostly_undefined_scores_leave_the_verdict_open():
    similarity = np.full((1, 1, 20), 0.1)
    similarity[..., :11] = np.nan
    found = sj.verdicts(measured(similarity, np.ones((1, 20))))
    assert found.verdict.item() == "undecided"
    assert found.missing.item() == pytest.approx(0.55)
    similarity[..., 10] = 0.1
    found = sj.verdicts(measured(similarity, np.ones((1, 20))))
    assert (found.verdict.item(), found.images.item()) == ("depends", 10)


def test_the_effect_is_0_where_nothing_changes_and_1_where_the_maps_become_strangers():
    unrelated = np.full((3, 20), 0.2)
    similarity = np.stack([np.full((2, 20), value) for value in (0.9, 0.55, 0.2)])
    found = sj.verdicts(measured(similarity, np.full((3, 20), 0.9), unrelated))
    np.testing.assert_allclose(found.effect.values.ravel(), [0, 0.5, 1], atol=1e-12)
    np.testing.assert_allclose(found.effect_low.values.ravel(), [0, 0.5, 1], atol=1e-12)
    assert found.as_unrelated.values.ravel().tolist() == [False, False, True]
    blind = sj.verdicts(measured(similarity, np.full((3, 20), 0.2), unrelated))
    assert np.isnan(blind.effect).all(), "a metric that cannot tell a map from a stranger's measures no effect"


def test_bad_arguments_are_named():
    given = measured(np.ones((1, 1, 4)), np.ones((1, 4)))
    with pytest.raises(ValueError, match=r"level must be inside \(0, 1\), got 5.0"):
        sj.verdicts(given, level=5.0)
    with pytest.raises(ValueError, match=r"it lacks \['null'\]"):
        sj.verdicts(given.drop_vars("null"))
