"""The explainers on the published networks: finite maps, and the theorem that joins two of them."""

from functools import partial

import numpy as np
import pytest
from published import NAMES, network, reference

from saliency_jax import batched, composites, grad_cam, gradient, gradient_times_input, guided_backprop, lrp
from saliency_jax.data.preprocessing import normalized
from saliency_jax.tracing import compiled

MAPS = {"gradient": gradient, "guided_backprop": guided_backprop, "grad_cam": grad_cam, "lrp": lrp}


def image_and_class(published):
    """The middle of the first reference image and the class that is predicted for it."""
    images = normalized(reference()["uint8_224"], published.preprocessing)[:1, 48:176, 48:176]
    return images, np.asarray(compiled(published.apply)(published.params, images)).argmax(axis=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_maps_are_finite_and_not_blank(name):
    published = network(name)
    images, targets = image_and_class(published)
    for explainer, explain in MAPS.items():
        maps = np.asarray(batched(explain, published.apply)(published.params, images, targets))
        assert maps.shape == images.shape and np.isfinite(maps).all() and maps.std() > 0, explainer


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_lrp_0_equals_gradient_times_input(name):
    """Ancona et al. (2018), proposition 1, for ReLU; a ReLU6 at its flat end has no gradient and passes nothing on."""
    published = network(name)
    images, targets = image_and_class(published)
    zero, product = (
        np.asarray(batched(explain, published.apply)(published.params, images, targets))
        for explain in (partial(lrp, composite=composites.zero), gradient_times_input)
    )
    np.testing.assert_allclose(zero, product, atol=1e-5 * np.abs(product).max())
