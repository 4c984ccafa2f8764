"""The arguments of the command, and their help."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

DEFAULT_EXPLAINERS = ("gradient", "gradient_times_input", "smoothgrad", "integrated_gradients")

MODELS = """\
forms of --model:
  MODULE:FUNCTION names a function in a module that Python finds, or in a file: my_model.py:load. It is called without
  arguments and returns (apply, params) or (apply, params, init), with
    apply(params, images) -> logits [batch, class], for images [batch, height, width, channel],
    params any pytree of arrays, and init(key) -> fresh params of the same structure.
  Flax Linen:  return model.apply, variables, lambda key: model.init(key, jnp.zeros((1, 224, 224, 3)))
  Flax NNX:    graph, params = nnx.split(model)
               return (lambda p, x: nnx.merge(graph, p)(x)), params
  Equinox:     params, static = eqx.partition(model, eqx.is_array)
               return (lambda p, x: jax.vmap(eqx.combine(p, static))(x)), params
  With init the layers are drawn anew as the model draws them (protocol released_code). Without it they are drawn from a
  normal of 0.01 cut at two deviations (protocol paper), and the statistics of a BatchNorm stay as they are.

exit code: 0 where the maps of all chosen explainers depend on the weights, 1 where those of one do not or nothing could
be decided, 2 for bad input, 130 after Ctrl-C.
"""


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and exit with 2."""
        self.exit(2, f"{self.prog}: {message}\n")


def parser() -> argparse.ArgumentParser:
    """The parser of `saliency-jax`."""
    whole = OneLineParser("saliency-jax", description="Do saliency maps depend on the model that they explain?")
    whole.add_argument("--traceback", action="store_true", help="show where an error comes from")
    tasks = whole.add_subparsers(dest="task", required=True, metavar="TASK")
    check = tasks.add_parser(
        "check",
        help="run the parameter randomization test on a model",
        description="Replace the layers of a model by random ones and see whether its saliency maps change.",
        epilog=MODELS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = check.add_argument
    add("--model", required=True, metavar="MODULE:FUNCTION", help="the model; see below")
    add("--images", required=True, type=Path, metavar="FOLDER", help="pictures, or a folder of them for each class")
    add("--size", type=_positive, default=224, help="height and width of the model's images, in pixels (224)")
    add("--channels", type=int, choices=(1, 3), default=3, help="1 for a model of grey images (3)")
    add(
        "--scale",
        choices=("unit", "signed", "imagenet"),
        default="unit",
        help="values of the model's images: in [0, 1] (the default), in [-1, 1], or standardized as for ImageNet",
    )
    add(
        "--labels",
        default="predicted",
        metavar="WHICH",
        help="the classes to explain: predicted (the default), folders (the place of a picture's class folder in the "
        "order of names), or a text file with one class a line, in the order of the pictures' names",
    )
    add("--limit", type=_positive, default=32, help="use this many pictures, spread evenly over the folder (32)")
    add(
        "--explainers",
        nargs="+",
        default=list(DEFAULT_EXPLAINERS),
        metavar="NAME",
        help=f"names in saliency_jax.EXPLAINERS ({' '.join(DEFAULT_EXPLAINERS)}); edges runs beside them as a control",
    )
    add(
        "--order", choices=("top_down", "bottom_up", "independent"), default="top_down", help="of the layers (top_down)"
    )
    add("--protocol", choices=("paper", "released_code"), help="released_code with an init, else paper")
    add("--seeds", type=_positive, default=2, help="random models for each stage (2)")
    add("--seed", type=int, default=0, help="of everything that is drawn (0)")
    add("--batch", type=_positive, help="images explained at once; as many as fit if not given")
    add("--out", type=Path, default=Path("saliency-check"), help="folder for the results (saliency-check)")
    add("--json", action="store_true", help="print the outcome as JSON, and nothing else on stdout")
    add("--open", action="store_true", help="open the report in a browser")

    report = tasks.add_parser("report", help="write report.html from a folder of results, finished or broken off")
    report.add_argument("folder", type=Path, help="holds results.nc, or the parts/ of a run that was broken off")
    return whole


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value
