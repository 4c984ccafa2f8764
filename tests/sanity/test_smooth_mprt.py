import sys
from functools import partial

import jax
import numpy as np
import oracles
import pytest
import xarray as xr
from skimage.metrics import structural_similarity
from small_models import LAYERS, apply, case, init

import saliency_jax as sj
from saliency_jax.sanity.smooth_mprt import smooth_mprt

SETTINGS = {"seeds": 1, "protocol": "released_code", "kept_images": 3}


@pytest.fixture(scope="module")
def found():
    given = case(3)
    arguments = (apply, given.params, init, given.images, given.targets, {"gradient": sj.gradient})
    return given, smooth_mprt(*arguments, key=given.key, samples=4, **SETTINGS)


def test_the_cascade_goes_from_the_input_up_and_says_what_it_has_averaged(found):
    _, dataset = found
    assert dataset.stage.values.tolist() == list(LAYERS)
    assert {name: dataset.attrs[name] for name in ("test", "order", "samples", "noise")} == {
        "test": "smooth_mprt",
        "order": "bottom_up",
        "samples": 4,
        "noise": 0.1,
    }


def test_the_score_is_scikit_images_ssim_of_signed_maps_of_mean_square_one(found):
    _, dataset = found
    assert dataset.metric.values.tolist() == ["ssim_mean_square"]
    for i in range(3):
        unit = {
            str(model): np.asarray(x, np.float64)[..., 0] / np.sqrt(np.mean(np.square(x, dtype=np.float64)))
            for model, x in zip(dataset.model.values, dataset.maps[0, :, i].values, strict=True)
        }
        for stage in LAYERS:
            want = structural_similarity(unit["trained"], unit[stage], data_range=2.0)
            assert float(dataset.similarity.sel(stage=stage)[0, 0, 0, i]) == pytest.approx(want, abs=1e-5)


def test_the_maps_are_means_of_gradients_over_noisy_copies(found):
    given, dataset = found
    # The noise of sample n of image i, as `batched` and `smoothgrad` document it.
    for i, image in enumerate(np.asarray(given.images)):
        key = jax.random.fold_in(oracles.named(given.key, "explain"), i)
        noise = [jax.random.normal(jax.random.fold_in(key, n), image.shape) for n in range(4)]
        copies = image[None] + 0.1 * np.ptp(image) * np.asarray(noise)
        gradients = oracles.gradients(apply, given.params, copies, [given.targets[i]] * 4)
        np.testing.assert_allclose(dataset.maps[0, 0, i], gradients.mean(0), atol=2e-6)


def test_options_are_handed_on_and_replace_the_defaults(monkeypatch):
    asked = {}

    def remember(*arguments, **options):
        asked.update(options, explainers=arguments[-1])
        return xr.Dataset()

    monkeypatch.setattr(sys.modules[smooth_mprt.__module__], "parameter_randomization", remember)
    given = case(2)
    arguments = (apply, given.params, init, given.images, given.targets, {"edges": sj.edges})
    options = dict(order="independent", metrics={"pearson": sj.pearson}, seeds=[4], folder="somewhere", batch_size=3)
    smooth_mprt(*arguments, key=given.key, **options)
    assert {name: asked[name] for name in options} == options and list(asked["explainers"]) == ["edges"]
    smooth_mprt(*arguments, key=given.key, order="top_down")
    assert asked["order"] == "top_down" and list(asked["metrics"]) == ["ssim_mean_square"]


@pytest.mark.parametrize("wrong", [partial(smooth_mprt, samples=0), partial(smooth_mprt, noise=-0.1)])
def test_noise_that_is_none_is_refused(wrong):
    given = case(2)
    with pytest.raises(ValueError, match=r"samples must be at least 1|noise must be a fraction"):
        wrong(apply, given.params, init, given.images, given.targets, {"edges": sj.edges}, key=given.key)
