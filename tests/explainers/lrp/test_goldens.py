"""Every map of Zennit 1.0.0 for one small network, in both layouts and precisions."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from saliency_jax import composites, deconvnet, gradient, guided_backprop, lrp, rules

GOLDENS = (Path(__file__).resolve().parents[3] / "../shared/goldens/lrp_zennit.npz").resolve()

COMPOSITES = {
    "R_EpsilonPlus": composites.epsilon_plus,
    "R_EpsilonPlus_nobias": partial(composites.epsilon_plus, bias=False),
    "R_EpsilonPlus_nobn": [("affine", rules.unfolded(rules.pass_through)), *composites.epsilon_plus()],
    "R_EpsilonPlusFlat": composites.epsilon_plus_flat,
    "R_EpsilonPlusFlat_nobias": partial(composites.epsilon_plus_flat, bias=False),
    "R_EpsilonAlpha2Beta1": composites.epsilon_alpha2_beta1,
    "R_EpsilonAlpha2Beta1Flat": composites.epsilon_alpha2_beta1_flat,
    "R_EpsilonGammaBox": partial(composites.epsilon_gamma_box, low=0.0, high=1.0),
    "R_EpsilonGammaBox_nobias": partial(composites.epsilon_gamma_box, low=0.0, high=1.0, bias=False),
    "R_Epsilon0.25": partial(composites.epsilon_plus, epsilon=0.25),
    "R_ExcitationBackprop": composites.excitation_backprop,
    "R_LRP0": composites.zero,
}
EXPLAINERS = {"R_GuidedBackprop": guided_backprop, "R_DeconvNet": deconvnet, "grad": gradient}


@pytest.fixture(scope="module")
def goldens():
    if not GOLDENS.exists():
        pytest.skip(f"the maps of Zennit are not here: no file {GOLDENS}")
    with np.load(GOLDENS) as file:
        return dict(file)


def network(goldens, dtype, layout):
    """conv-BN-ReLU-maxpool-conv-ReLU-avgpool-dense-ReLU-dense, its kernels and its order of pixels as in torch."""
    p = {name: jnp.asarray(value, dtype) for name, value in goldens.items() if not name.startswith("R_")}
    channel = layout.index("C")

    def along_channel(v):
        return jnp.expand_dims(v, [axis for axis in range(4) if axis != channel])

    def convolved(x, w, b):
        numbers = (layout, "OIHW", layout)
        return lax.conv_general_dilated(x, w, (1, 1), [(1, 1)] * 2, dimension_numbers=numbers) + along_channel(b)

    def pooled(x, start, operation):
        window = tuple(2 if axis in "HW" else 1 for axis in layout)
        return lax.reduce_window(x, start, operation, window, window, "VALID")

    def logits(image):
        h = convolved(image[None], p["w0"], p["b0"])
        h = (h - along_channel(p["bn_mean"])) / along_channel(jnp.sqrt(p["bn_var"] + 1e-5))
        h = jax.nn.relu(h * along_channel(p["w1"]) + along_channel(p["b1"]))
        h = jax.nn.relu(convolved(pooled(h, -jnp.inf, lax.max), p["w4"], p["b4"]))
        h = jnp.moveaxis(pooled(h, 0.0, lax.add) / 4, channel, 1).reshape(1, -1)
        h = jax.nn.relu(h @ p["w8"].T + p["b8"][None])
        return (h @ p["w10"].T + p["b10"][None])[0]

    return logits, jnp.moveaxis(p["x"][0], 0, channel - 1)


def test_every_map_is_tested(goldens):
    assert {name for name in goldens if name.startswith("R_")} | {"grad"} == {*COMPOSITES, *EXPLAINERS}


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "layout", "bound"), [(np.float64, "NCHW", 1e-9), (np.float32, "NHWC", 1e-4)])
def test_maps_are_those_of_zennit(goldens, dtype, layout, bound):
    with jax.enable_x64(dtype == np.float64):
        logits, image = network(goldens, dtype, layout)
        target = int(np.argmax(goldens["logits"]))
        logit = goldens["logits"][0, target]
        np.testing.assert_allclose(logits(image)[target], logit, rtol=bound)

        @jax.jit
        def maps(image):
            def score(x):
                return logits(x)[target]

            found = {name: lrp(score, image, composite=composite) for name, composite in COMPOSITES.items()}
            return found | {name: explain(score, image) for name, explain in EXPLAINERS.items()}

        for name, found in maps(image).items():
            # Zennit's start from the logit, ours from one.
            found = found * logit if name in ("R_GuidedBackprop", "R_DeconvNet") else found
            expected = np.moveaxis(goldens[name][0], 0, layout.index("C") - 1)
            assert found.dtype == dtype
            np.testing.assert_allclose(found, expected, rtol=0, atol=bound * np.abs(expected).max(), err_msg=name)
