"""The parameter randomization test on a user's model, from the options of the command to its outcome."""

from __future__ import annotations

import argparse
import contextlib
import sys
import webbrowser
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from tqdm import tqdm

from saliency_jax import results
from saliency_jax.command_line.outcome import all_pass, outcome_json, outcome_lines
from saliency_jax.command_line.pages import PARTS, RESULTS, write_page, write_report
from saliency_jax.command_line.user_images import classes_to_explain, read_pictures, scaled
from saliency_jax.command_line.user_model import UserModel, load_model
from saliency_jax.explainers import EXPLAINERS
from saliency_jax.keys import named
from saliency_jax.sanity import PROTOCOLS, Protocol, parameter_randomization, truncated_normal, verdicts
from saliency_jax.sanity.initializers import kept, with_statistics
from saliency_jax.scores import argmax_class, class_count, class_score
from saliency_jax.tracing import Layer, blocks, compiled, layers
from saliency_jax.typing import Explainer

CONTROL = "edges"
"""Run beside the chosen explainers: it knows no model, so that its verdict shows that the test works."""
MOST_LAYERS = 20
"""A model with more is randomized block by block."""
KEPT_IMAGES = 3


def check(options: argparse.Namespace, *, command: str) -> bool:
    """Run the test, write results and report, and print the outcome; whether all chosen explainers pass.

    Args:
        options: of the command's task `check`.
        command: as it was typed, for the report.

    Raises:
        ValueError, TypeError, ImportError, OSError: the input is bad; the message says what and what it should be.
    """
    explainers = _chosen(options.explainers)
    # The model may print what it likes: stdout is for the outcome alone.
    with contextlib.redirect_stdout(sys.stderr):
        dataset, page = _measured(options, explainers, command)
    found = verdicts(dataset)
    passed = all_pass(found, options.explainers)
    if options.json:
        files = {"report": page, "results": options.out / RESULTS}
        print(outcome_json(found, options.explainers, passed=passed, files=files))
    else:
        print("\n".join(outcome_lines(found, options.explainers)))
        print(f"report: {page}")
    if options.open:
        webbrowser.open(page.absolute().as_uri())
    return passed


def _measured(
    options: argparse.Namespace, explainers: Mapping[str, Explainer], command: str
) -> tuple[xr.Dataset, Path]:
    model = load_model(options.model)
    pictures, pixels = read_pictures(options.images, size=options.size, channels=options.channels, limit=options.limit)
    images = scaled(pixels, options.scale)
    protocol = _protocol(options.protocol, model)
    classes = _classes(model, images)
    targets = classes_to_explain(options.labels, pictures, lambda: _predicted(model, images))
    if targets.min() < 0 or targets.max() >= classes:
        raise ValueError(f"--labels must be classes in [0, {classes}), found {targets.min()} to {targets.max()}")
    key = jax.random.key(options.seed)
    _try_out(model, images[0], explainers, key)
    options.out.mkdir(parents=True, exist_ok=True)
    settings = {name: getattr(options, name) for name in ("model", "images", "size", "scale", "labels", "seed")}
    # What the parts do not keep, and in colours rather than in the model's units.
    shown = {
        "images": (("kept_image", "height", "width", "channel"), pixels[:KEPT_IMAGES]),
        "targets": ("image", targets),
    }
    with tqdm(desc="randomization", unit="part", file=sys.stderr) as bar:

        def advance(name: str, done: int, total: int) -> None:
            bar.total = total
            bar.set_postfix_str(name)
            bar.update(done - bar.n)

        try:
            dataset = parameter_randomization(
                model.apply,
                model.params,
                model.init or (lambda key: model.params),
                images,
                targets,
                explainers,
                key=named(key, "randomization"),
                order=options.order,
                protocol=protocol,
                seeds=options.seeds,
                layers=_stages(model, images),
                kept_images=KEPT_IMAGES,
                batch_size=options.batch,
                folder=options.out / PARTS,
                progress=advance,
            )
        except (KeyboardInterrupt, SystemExit):
            # SystemExit is that of a run that was asked to stop and has finished a part first.
            # With nothing finished there is nothing to report.
            with contextlib.suppress(ValueError, FileNotFoundError):
                page = write_report(options.out, command=command, settings=settings, add=shown)
                print(f"\nreport of what is finished: {page}", file=sys.stderr)
            raise
    dataset = dataset.assign(shown)
    results.write_dataset(dataset, options.out / RESULTS)
    results.write_csv(dataset, options.out / "results.csv")
    return dataset, write_page(options.out, dataset, command=command, settings=settings)


def _chosen(names: list[str]) -> dict[str, Explainer]:
    if unknown := [name for name in names if name not in EXPLAINERS]:
        raise ValueError(f"--explainers must be among {', '.join(EXPLAINERS)}; got {', '.join(unknown)}")
    return {name: EXPLAINERS[name] for name in dict.fromkeys([*names, CONTROL])}


def _protocol(asked: str | None, model: UserModel) -> Protocol:
    """The protocol that was asked for, or the one that the model has what it takes for."""
    name = asked or ("paper" if model.init is None else "released_code")
    if model.init is not None:
        return PROTOCOLS[name]
    if name != "paper":
        raise ValueError(f"--protocol {name} draws weights by the model's own init, and --model returned none")
    # Statistics of a network that has seen no data are known to its init alone.
    return PROTOCOLS[name]._replace(fresh=lambda init: with_statistics(truncated_normal(), kept))


def _classes(model: UserModel, images: np.ndarray) -> int:
    try:
        return class_count(model.apply, model.params, jnp.asarray(images[:1]))
    except Exception as error:
        said = (str(error).splitlines() or [""])[0]
        raise ValueError(
            f"--model: apply(params, images) fails for images of shape {images[:1].shape} "
            f"({type(error).__name__}: {said}): are --size and --channels what the model takes?"
        ) from error


def _predicted(model: UserModel, images: np.ndarray) -> np.ndarray:
    return np.asarray(
        compiled(lambda params, x: argmax_class(model.apply, params, x))(model.params, jnp.asarray(images))
    )


def _stages(model: UserModel, images: np.ndarray) -> tuple[Layer, ...]:
    found = layers(model.apply, model.params, jnp.asarray(images[:1]))
    return found if len(found) <= MOST_LAYERS else blocks(found)


def _try_out(model: UserModel, image: np.ndarray, explainers: Mapping[str, Explainer], key: Any) -> None:
    """Trace every explainer, so that one that does not fit the model is found before the work and not amid it."""
    for name, explain in explainers.items():

        def one(params: Any, image: Any, key: Any, explain: Explainer = explain) -> Any:
            return explain(class_score(model.apply, params, jnp.int32(0)), image, key)

        try:
            jax.eval_shape(one, model.params, jnp.asarray(image), key)
        except Exception as error:
            said = (str(error).splitlines() or [""])[0]
            raise ValueError(f"--explainers: {name} cannot explain this model: {said}") from error
