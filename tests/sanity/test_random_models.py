import jax
import numpy as np
import oracles
import pytest
from small_models import LAYERS, apply, case, init

import saliency_jax as sj
from saliency_jax.sanity.random_models import fully_random, random_models, seed_numbers


def sweep_of(given, **options):
    settings = {"order": "top_down", "seeds": [3, 1], "protocol": "paper", "layers": None, "evaluation": None}
    settings |= {"batch_size": None, "mesh": None, "key": given.key, "test": "a test"} | options
    found, configuration = random_models(
        apply, given.params, init, given.images, given.targets, {"edges": sj.edges}, **settings
    )
    assert configuration["test"] == "a test"
    return found


@pytest.mark.slow
@pytest.mark.parametrize("order", ["top_down", "bottom_up", "independent"])
def test_the_models_are_those_that_the_parameter_test_is_documented_to_draw(order):
    given = case()
    sweep = sweep_of(given, order=order)
    random = oracles.random_at(LAYERS, order)
    assert list(sweep.stages) == list(random)
    for seed in sweep.seeds:
        for k, (stage, names) in enumerate(random.items()):
            key = oracles.named(jax.random.fold_in(oracles.named(given.key, "fresh"), seed), stage)
            drawn = oracles.cut_normal_weights(key, given.params)
            want = {name: drawn[name] if name in names else given.params[name] for name in given.params}
            jax.tree.map(np.testing.assert_array_equal, sweep.randomized(seed, k), want)


def test_of_the_fully_random_model_no_weight_is_trained():
    given = case()
    whole = sweep_of(given)
    last = fully_random(whole)
    assert last.stages == ("random",)
    jax.tree.map(np.testing.assert_array_equal, last.randomized(3, 0), whole.randomized(3, 2))
    for trained, drawn in zip(jax.tree.leaves(given.params), jax.tree.leaves(last.randomized(1, 0)), strict=True):
        assert np.all(np.asarray(trained) != np.asarray(drawn))


def test_seeds_are_numbered_from_zero_where_only_their_count_is_given():
    assert seed_numbers(3) == (0, 1, 2) and seed_numbers([7, 2]) == (7, 2)


@pytest.mark.parametrize("seeds", [0, -1, [], [1, 1], [-1], [2**32]])
def test_seeds_that_are_none_are_refused(seeds):
    with pytest.raises(ValueError, match="seeds must be a positive number or different integers"):
        seed_numbers(seeds)


def test_seeds_between_the_numbers_are_refused(as_a_user):
    with pytest.raises(TypeError, match=r"seeds must be .* got \[0.5\]"):
        seed_numbers([0.5])
