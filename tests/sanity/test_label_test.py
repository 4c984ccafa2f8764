import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import xarray as xr
from small_models import apply, case, init

import saliency_jax as sj
from saliency_jax.sanity import Fit, permuted_labels


def label_test(explainers, given=None, **options):
    """`data_randomization` of the small network against other weights of its kind."""
    given = given or case()
    settings = {"random_params": init(jax.random.key(99)), "key": given.key, "metrics": {"pearson": sj.pearson}}
    settings |= {"images": given.images, "targets": given.targets} | options
    arguments = [settings.pop(name) for name in ("random_params", "images", "targets")]
    return sj.data_randomization(apply, given.params, *arguments, explainers, **settings)


def lookup(params, images):
    """A model that knows some images by their first pixel, by heart, and gives all others the class 0."""
    known = jnp.round(images[:, 0, 0, 0] * 100).astype(int)
    return params["table"][jnp.clip(known, 0, len(params["table"]) - 1)]


def memorized(labels, classes=4):
    return {"table": jnp.eye(classes)[jnp.asarray(labels)]}


def fit(count=90, test=40, classes=4, seed=3):
    """Labels that a lookup table can know, permuted ones, and test images at places that no table knows better."""
    labels = np.random.default_rng(seed).integers(0, classes, count)
    images = np.zeros((count + test, 2, 2, 1), np.float32)
    images[:, 0, 0, 0] = np.arange(count + test) / 100
    test_labels = np.arange(test) % classes
    return Fit(images[:count], labels, permuted_labels(labels, jax.random.key(seed)), images[count:], test_labels)


def fitted(given, **options):
    """The label test of two lookup tables that know `given`'s labels, true and permuted."""
    fill = np.arange(len(given.test_labels)) % 3
    settings = {
        "true_params": memorized(np.concatenate([given.labels, given.test_labels])),
        "random_params": memorized(np.concatenate([given.permuted, fill])),
        "fit": given,
    } | options
    first = [settings.pop(name) for name in ("true_params", "random_params")]
    return sj.data_randomization(
        lookup,
        *first,
        given.images[:3],
        given.labels[:3],
        {"edges": sj.EXPLAINERS["edges"]},
        key=jax.random.key(0),
        metrics={"pearson": sj.pearson},
        **settings,
    )


def test_similarities_equal_a_loop_over_images_with_scipy():
    given, other = case(images=5), init(jax.random.key(99))
    found = label_test({"gradient": sj.gradient}, given)
    for i, (image, target) in enumerate(zip(given.images, given.targets, strict=True)):
        maps = [jax.grad(lambda x, p=p, c=target: apply(p, x[None])[0, c])(image) for p in (given.params, other)]
        want = scipy.stats.pearsonr(*(np.ravel(m).astype(np.float64) for m in maps)).statistic
        assert found.similarity.sel(explainer="gradient", metric="pearson", image=i).item() == pytest.approx(
            want, abs=1e-5
        )


def test_the_dataset_has_the_form_of_a_parameter_test():
    found = label_test({"gradient": sj.gradient, "edges": sj.EXPLAINERS["edges"]})
    assert found.similarity.dims == ("explainer", "metric", "stage", "seed", "image")
    assert found.stage.values.tolist() == ["permuted_labels"]
    assert found.model.values.tolist() == ["trained", "permuted_labels"]
    assert (found.similarity.sel(explainer="edges") > 1 - 1e-6).all(), "edges do not look at the model"
    assert found.maps.sizes["model"] == 2
    assert found.attrs["test"] == "data_randomization"


def test_the_same_model_twice_is_the_same_map():
    given = case()
    found = label_test({"smoothgrad": sj.smoothgrad(sj.gradient, samples=3)}, given, random_params=given.params)
    np.testing.assert_allclose(found.similarity, 1, atol=1e-6)


def test_the_class_can_be_what_each_model_predicts():
    given, other = case(images=6), init(jax.random.key(99))
    found = label_test({"gradient": sj.gradient}, given, explained_class="argmax")
    predicted = np.asarray(apply(other, given.images)).argmax(1)
    assert (predicted != np.asarray(given.targets)).any()
    np.testing.assert_array_equal(found.explained_class.squeeze(), predicted)


def test_permuted_labels_are_the_same_labels_in_another_order():
    labels = jnp.asarray(np.random.default_rng(0).integers(0, 10, 1000))
    permuted = permuted_labels(labels, jax.random.key(1))
    np.testing.assert_array_equal(np.sort(permuted), np.sort(labels))
    # A fixed point has probability 1 / classes.
    assert 0.05 < np.mean(np.asarray(permuted) == np.asarray(labels)) < 0.15


def test_what_both_models_have_learned_is_reported():
    given = fit()
    found = fitted(given)
    assert found.train_accuracy.values.tolist() == [1, 1]
    assert found.test_accuracy.values[0] == 1
    fill = np.arange(40) % 3
    assert found.test_accuracy.values[1] == pytest.approx(np.mean(fill == given.test_labels))
    assert float(found.label_agreement) == pytest.approx(np.mean(given.labels == np.asarray(given.permuted)))


def test_labels_that_are_not_permuted_are_refused():
    given = fit()
    with pytest.raises(ValueError, match=r"fit.permuted must be permuted labels: 1\.000 of them are the true ones"):
        fitted(given._replace(permuted=given.labels))
    half = np.where(np.arange(90) % 2, given.labels, given.permuted)
    with pytest.raises(ValueError, match="must be permuted labels"):
        fitted(given._replace(permuted=half))


def test_a_model_that_does_not_know_its_permuted_labels_is_refused_unless_asked_for():
    given = fit()
    wrong = (np.asarray(given.permuted) + (np.arange(90) < 9)) % 4
    poor = memorized(np.concatenate([wrong, np.arange(40) % 3]))
    with pytest.raises(ValueError, match=r"training accuracy at least 0\.95, got 0\.9000"):
        fitted(given, random_params=poor)
    found = fitted(given, random_params=poor, least_fitted=0.9)
    assert found.train_accuracy.values[1] == pytest.approx(0.9)


def test_a_model_of_permuted_labels_that_is_better_than_chance_is_refused():
    given = fit()
    cheat = memorized(np.concatenate([given.permuted, given.test_labels]))
    with pytest.raises(ValueError, match=r"at chance on test images: accuracy 1\.0000 where 0\.2"):
        fitted(given, random_params=cheat)


def test_a_test_that_was_broken_off_goes_on_and_another_model_is_refused(tmp_path):
    whole = label_test({"gradient": sj.gradient, "edges": sj.EXPLAINERS["edges"]})

    def stop(name, done, total):
        if done == 3:
            raise KeyboardInterrupt

    explainers = {"gradient": sj.gradient, "edges": sj.EXPLAINERS["edges"]}
    with pytest.raises(KeyboardInterrupt):
        label_test(explainers, folder=tmp_path, progress=stop)
    xr.testing.assert_identical(label_test(explainers, folder=tmp_path), whole)
    with pytest.raises(ValueError, match=r"another configuration .*random_params"):
        label_test(explainers, folder=tmp_path, random_params=init(jax.random.key(5)))


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="random_params must have the structure of true_params"):
        label_test({"gradient": sj.gradient}, random_params={"other": jnp.ones(3)})
    with pytest.raises(ValueError, match=r"least_fitted must be in \[0, 1\], got 95\.0"):
        label_test({"gradient": sj.gradient}, least_fitted=95.0)
    given = fit()
    with pytest.raises(ValueError, match=r"fit.permuted must have the shape of fit.labels \(90,\), got \(89,\)"):
        fitted(given._replace(permuted=given.permuted[1:]))
