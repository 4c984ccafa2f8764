"""The explainers by name, with the settings of the paper."""

from __future__ import annotations

from functools import partial

from saliency_jax.explainers.cam import grad_cam, guided_grad_cam
from saliency_jax.explainers.controls import constant, edges, noise
from saliency_jax.explainers.deep_lift import deep_lift
from saliency_jax.explainers.gradients import gradient, gradient_times_input, sensitivity, simple_taylor
from saliency_jax.explainers.lrp import lrp
from saliency_jax.explainers.path import integrated_gradients
from saliency_jax.explainers.rectifiers import deconvnet, guided_backprop
from saliency_jax.explainers.smoothing import smoothgrad, smoothgrad_squared, vargrad
from saliency_jax.typing import Explainer

PAPER_STEPS = 50
PAPER_SAMPLES = 50
PAPER_NOISE = 0.15
VARGRAD_SAMPLES = 25
"""The helper of the released code draws 25, everything else 50."""

_paper_path: Explainer = partial(integrated_gradients, steps=PAPER_STEPS, rule="paper")

EXPLAINERS: dict[str, Explainer] = {
    "gradient": gradient,
    "smoothgrad": smoothgrad(gradient, samples=PAPER_SAMPLES, noise=PAPER_NOISE),
    "smoothgrad_squared": smoothgrad_squared(gradient, samples=PAPER_SAMPLES, noise=PAPER_NOISE),
    "vargrad": vargrad(gradient, samples=VARGRAD_SAMPLES, noise=PAPER_NOISE),
    "sensitivity": sensitivity,
    "gradient_times_input": gradient_times_input,
    "integrated_gradients": _paper_path,
    "integrated_gradients_smoothgrad": smoothgrad(_paper_path, samples=PAPER_SAMPLES, noise=PAPER_NOISE),
    "guided_backprop": guided_backprop,
    "deconvnet": deconvnet,
    "grad_cam": grad_cam,
    "guided_grad_cam": guided_grad_cam,
    "lrp": lrp,
    "deep_lift": deep_lift,
    "simple_taylor": simple_taylor,
    "edges": edges,
    "noise": noise,
    "constant": constant,
}
"""name -> explainer, with the settings of Adebayo et al. 2018: 50 path points by their sum, 50 noisy copies with a
standard deviation of 0.15 of the image's range, 25 for VarGrad; three controls at the end."""
