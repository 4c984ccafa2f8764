"""What holds of the maps of every network of ReLUs and pools: they are finite, and LRP-0 is gradient x input."""

import jax
import numpy as np

from saliency_jax import class_score, composites, gradient, gradient_times_input, guided_backprop, lrp


def check_maps_of_a_relu_network(model, variables, x):
    explainers = {
        "gradient": gradient,
        "guided_backprop": guided_backprop,
        "lrp": lrp,
        "lrp_zero": lambda score, x: lrp(score, x, composite=composites.zero),
        "product": gradient_times_input,
    }

    @jax.jit
    def explain_all(variables, x):
        score = class_score(model.apply, variables, 2)
        return {name: explain(score, x) for name, explain in explainers.items()}

    maps = jax.tree.map(np.asarray, explain_all(variables, x))
    for name, found in maps.items():
        assert np.isfinite(found).all(), name
        assert np.abs(found).max() > 0, name
    assert np.abs(maps["guided_backprop"] - maps["gradient"]).max() > 0
    tolerance = 1e-4 * np.abs(maps["product"]).max()
    np.testing.assert_allclose(maps["lrp_zero"], maps["product"], rtol=0, atol=tolerance)
