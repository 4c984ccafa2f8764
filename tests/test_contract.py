"""One call holds an explainer against its contract: what breaks one rule is caught by that rule and by no other."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import saliency_jax as sj
from saliency_jax import contract
from saliency_jax.contract import BrokenContract, Finding, check_explainer


def apply(params, images):
    """Two dense layers: it compiles in no time."""
    return jnp.tanh(images.reshape(len(images), -1) @ params["first"]) @ params["last"]


def drawn(*shape):
    return jnp.asarray(np.random.default_rng(sum(shape)).normal(size=shape), jnp.float32)


MODEL = {
    "apply": apply,
    "params": {"first": drawn(12, 5), "last": drawn(5, 3)},
    "images": drawn(2, 2, 3, 2),
    "targets": jnp.array([0, 2]),
}


def gradient(score, image, key=None):
    return jax.grad(score)(image)


# Each breaks one rule.


def without_key_argument(score, image):
    return gradient(score, image)


def without_channels(score, image, key=None):
    return gradient(score, image).sum(-1)


def in_half_precision(score, image, key=None):
    return gradient(score, image).astype(jnp.float16)


def of_integers(score, image, key=None):
    return jnp.round(1000 * gradient(score, image)).astype(jnp.int32)


def looks_at_a_crop(score, image, key=None):
    return gradient(score, image) + jnp.zeros_like(image).at[1:].add(gradient(score, image[1:]))


def shows_a_batch(score, image, key=None):
    return jax.grad(lambda x: score(x[None]))(image)


def branches_on_values(score, image, key=None):
    return gradient(score, image) if image.sum() > 0 else -gradient(score, image)


def keeper():
    kept = []

    def keeps_its_images(score, image, key=None):
        kept.append(image)
        return gradient(score, image)

    return keeps_its_images


def counter():
    count = itertools.count(1)

    def counts_its_calls(score, image, key=None):
        return next(count) * gradient(score, image)

    return counts_its_calls


def noisy(score, image, key):
    return gradient(score, image) + 0.1 * jax.random.normal(key, image.shape, image.dtype)


def ignores_its_key(score, image, key=None):
    if key is None:
        raise ValueError("pass key=jax.random.key(seed)")
    return noisy(score, image, jax.random.key(0))


def draws_without_a_key(score, image, key=None):
    return noisy(score, image, jax.random.key(0) if key is None else key)


def refuses_in_other_words(score, image, key=None):
    assert key is not None
    return noisy(score, image, key)


def doubles_under_a_trace(score, image, key=None):
    return (1 + isinstance(image, jax.core.Tracer)) * gradient(score, image)


@jax.custom_batching.custom_vmap
def centred(x):
    return x


@centred.def_vmap
def centred_batch(size, batched, x):
    return x - x.mean(0, keepdims=True), True


@jax.custom_batching.custom_vmap
def single(x):
    return x


@single.def_vmap
def refused(size, batched, x):
    raise NotImplementedError("one at a time")


def takes_one_at_a_time(score, image, key=None):
    return single(gradient(score, image))


def sees_its_batch(score, image, key=None):
    return centred(gradient(score, image))


def divides_by_the_range(score, image, key=None):
    return gradient(score, image) / jnp.ptp(image)


def rememberer():
    kept = {}

    def remembers_the_first_model(score, image, key=None):
        params = kept.setdefault("params", score.params)
        return jax.grad(lambda x: score.of_params(params, x))(image)

    return remembers_the_first_model


def times_the_score(score, image, key=None):
    return gradient(score, image) * score(image)


def of_three_channels(score, image, key=None):
    return gradient(score, image) * jnp.ones((1, 1, 3), image.dtype)


BROKEN = [
    (without_key_argument, "explains_one_image", "explain(score, image, key=None)", MODEL),
    (without_channels, "gives_a_map_like_the_image", r"(2, 3, 2), found shape (2, 3): reduce channels", MODEL),
    (in_half_precision, "gives_a_map_like_the_image", "float32, found float16", MODEL),
    (of_integers, "gives_a_map_like_the_image", "float32, found int32", MODEL),
    (looks_at_a_crop, "shows_the_score_such_images_alone", "(6, 6, 3) where the image is (7, 6, 3)", {}),
    (shows_a_batch, "shows_the_score_such_images_alone", "(1, 2, 3, 2) where the image is (2, 3, 2)", MODEL),
    (branches_on_values, "can_be_traced", "jnp.where or jax.lax.cond", MODEL),
    (keeper(), "keeps_no_tracer", "keep none in globals, closures or caches", MODEL),
    (takes_one_at_a_time, "can_be_batched", "NotImplementedError (one at a time) under jax.vmap", MODEL),
    (counter(), "gives_the_same_map_again", "such as a counter", MODEL),
    (ignores_its_key, "takes_a_key_if_it_draws", "another key gives the same map", MODEL),
    (draws_without_a_key, "takes_a_key_if_it_draws", "raise ValueError where key is None", MODEL),
    (refuses_in_other_words, "takes_a_key_if_it_draws", "raised AssertionError", MODEL),
    (doubles_under_a_trace, "keeps_its_map_under_jit", "from the uncompiled one", MODEL),
    (sees_its_batch, "keeps_its_map_under_vmap", "let no image of a batch see another", MODEL),
    (divides_by_the_range, "is_finite_on_blank_images", "an image of zeros holds NaN", MODEL),
    (rememberer(), "follows_the_model", "keep none of an earlier one", MODEL),
    (times_the_score, "ignores_a_constant", "a constant says nothing about the image", MODEL),
    (of_three_channels, "follows_other_images", "(5, 4, 1), found shape (5, 4, 3)", {}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("explain", "rule", "message", "model"), BROKEN, ids=lambda x: getattr(x, "__name__", ""))
def test_what_breaks_one_rule_is_caught_by_that_rule_alone(explain, rule, message, model):
    with pytest.raises(BrokenContract) as caught:
        check_explainer(explain, **model)
    broken = caught.value.contract.broken()
    assert [finding.rule for finding in broken] == [rule.replace("_", " ")]
    assert explain.__name__ in str(caught.value) and broken[0].rule in str(caught.value)
    assert message in str(caught.value)


def test_every_rule_has_something_that_breaks_it_but_the_one_that_only_reports():
    reported = {"changes_with_the_scale"}
    assert {rule.__name__ for rule in contract.RULES} - reported == {rule for _, rule, _, _ in BROKEN}


def test_all_broken_rules_are_listed_at_once():
    def broken(score, image, key=None):
        return gradient(score, image)[..., 0] * score(image) / jnp.ptp(image)

    with pytest.raises(AssertionError, match="broken breaks 2 of 15 rules") as caught:
        check_explainer(broken, **MODEL)
    rules = [finding.rule for finding in caught.value.contract.broken()]
    assert rules == ["gives a map like the image", "is finite on blank images"]


def test_a_map_that_is_no_number_in_places_is_found_not_finite_and_else_the_same_everywhere():
    def rooted(score, image, key=None):
        return jnp.sqrt(gradient(score, image))

    with pytest.raises(BrokenContract, match="the map of image 0 holds NaN") as caught:
        check_explainer(rooted, **MODEL)
    assert [finding.rule for finding in caught.value.contract.broken()] == ["is finite on blank images"]


def test_what_keeps_its_contract_has_a_line_for_each_rule():
    found = check_explainer(gradient, **MODEL)
    lines = str(found).splitlines()
    assert len(lines) == len(contract.RULES) == len(found.findings)
    assert found.findings[1] == Finding("gives a map like the image", True, "(2, 3, 2) of float32")
    assert lines[1].split() == ["gives", "a", "map", "like", "the", "image", "yes", "(2,", "3,", "2)", "of", "float32"]
    # A model of one's own takes images of one shape.
    assert [finding.rule for finding in found.findings if finding.passed is None] == ["follows other images"]


def squared(score, image, key=None):
    return jnp.square(gradient(score, image))


@pytest.mark.parametrize(
    ("explain", "rule"),
    [(sj.constant, contract.depends_on_the_model), (squared, contract.is_linear_in_the_score)],
)
def test_more_can_be_asked_for_than_every_explainer_owes(explain, rule):
    with pytest.raises(BrokenContract) as caught:
        check_explainer(explain, **MODEL, rules=(rule,))
    assert [finding.rule for finding in caught.value.contract.broken()] == [rule.__name__.replace("_", " ")]
    assert check_explainer(gradient, **MODEL, rules=(rule,)).findings[0].passed


def test_an_option_is_fixed_with_partial_and_named_in_the_error():
    def powered(score, image, key=None, *, power):
        return gradient(score, image) ** power / 0.0

    with pytest.raises(BrokenContract, match=r"functools\.partial"):
        check_explainer(partial(powered, power=2), **MODEL, rules=(contract.RULES[0], contract.RULES[10]))


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"explain": 3}, TypeError, "explain must be a function"),
        ({"apply": 3}, TypeError, "apply must be a function"),
        ({"params": None}, ValueError, "given together, got no params"),
        ({"images": MODEL["images"][0]}, ValueError, "images must be"),
        ({"targets": jnp.array([0, 3])}, ValueError, r"targets must be classes in \[0, 3\)"),
        ({"key": 0}, TypeError, "key must be a JAX random key"),
        ({"rules": ()}, ValueError, r"rules must be at least one, got \(\)"),
    ],
)
def test_its_own_arguments_are_checked(as_a_user, changed, error, message):
    with pytest.raises(error, match=message):
        check_explainer(**({"explain": gradient} | MODEL | changed))
