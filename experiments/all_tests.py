"""Which explainers pass which test? The paper's tests and those of the ten years after, on the same maps.

    python experiments/all_tests.py

takes the paper's CNN, trained on the embedded part of MNIST, and the same test images for all of: the cascade from
above and from below and each layer alone (parameters), the same over the pixels that are not blank, of maps averaged
over noise (sMPRT) and by the complexity of the maps (eMPRT); permuted labels; another class and random combinations of
the classes; a shifted input; the image's edges. About fifteen minutes on two cores, a third of them the training on
permuted labels. It should show that the gradient passes everything, that those with an input factor fail where signs
are dropped, that guided backpropagation and deconvnet pass only in part where the class is asked for, and that the
controls, which do not look at the model, fail what asks for it.

    python experiments/all_tests.py --tasks runs/engineered_tasks --roar runs/roar

reads the results of engineered_tasks.py and roar.py, which train networks of their own, into the same table.

In the folder --out: evidence.nc and evidence.csv (a figure and an outcome for each explainer and test), evidence.png,
table.txt, report.html (all of it for a browser); parts/ holds a Dataset for each test, and lets a run that was broken
off go on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
import xarray as xr
from devices import Devices, start
from digits import Digits, load, prepare, trained_params
from pages import spoken, write_findings
from tqdm import tqdm
from unfinished import run

import saliency_jax as sj
from saliency_jax import plotting, results, sanity
from saliency_jax.keys import named
from saliency_jax.processes import by_writer, in_step, is_writer
from saliency_jax.report import Table
from saliency_jax.sanity.evidence import OUTCOMES
from saliency_jax.sanity.fingerprint import digest

EXPLAINERS = (
    "gradient",
    "smoothgrad",
    "gradient_times_input",
    "integrated_gradients",
    "guided_backprop",
    "deconvnet",
    "grad_cam",
    "guided_grad_cam",
    "lrp",
    "deep_lift",
    "vargrad",
    "edges",
    "noise",
)
METRICS = ("spearman", "spearman_abs")
SHIFT = 0.5


@dataclass(frozen=True)
class Options(Devices, Digits):
    """Which explainers pass which test? The paper's tests and those of the ten years after, on the same maps."""

    images: int = 24
    """How many test images are explained: the first ones."""
    seeds: int = 2
    """How many random models, classes or combinations are drawn."""
    samples: int = 10
    """How many noisy copies of each image the smooth test averages over; 50 in its paper."""
    explainers: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = EXPLAINERS
    """Which explainers, by their names in saliency_jax.EXPLAINERS."""
    least_fitted: float = 0.95
    """The training accuracy on permuted labels under which the label test is refused."""
    tasks: Path | None = None
    """The folder of results of engineered_tasks.py, to be read into the table."""
    roar: Path | None = None
    """The folder of results of roar.py, to be read into the table."""
    out: Path = Path("runs/all_tests")
    """The folder for the results; the same options again go on with what is there."""


def main(options: Options) -> xr.Dataset:
    """Run every test, or read what is finished, put the outcomes together, and print the table."""
    test = prepare(options, options.explainers, options.images)
    model, params = trained_params(options)
    parts = options.out / "parts"
    by_writer(partial(results.open_run, parts, configuration(options, params)))
    measured = {}
    for name, measure in tqdm(tests(options, model, params, test).items(), desc="tests", unit="test", leave=False):
        measured[name] = in_step(partial(results.part, parts, name), measure)
    for name, folder in {"other_task": options.tasks, "remove_and_retrain": options.roar}.items():
        if folder is not None:
            measured[name] = results.read_dataset(folder / "results.nc")
    completeness = measured.pop("completeness")
    found = sanity.evidence(by_metric(measured))
    if not is_writer():
        return found
    results.write_dataset(found, options.out / "evidence.nc")
    results.write_csv(found, options.out / "evidence.csv", variable="value")
    plotting.save(plotting.evidence_table(found), options.out / "evidence.png")
    text = "\n".join([*evidence_lines(found), *completeness_lines(completeness), ""])
    results.write_bytes(options.out / "table.txt", text.encode())
    report(found, options, text)
    print(text)
    print(
        f"written: {options.out}/evidence.nc, evidence.csv, evidence.png, table.txt, report.html, a Dataset for each "
        "test in parts/"
    )
    return found


def report(found: xr.Dataset, options: Options, text: str) -> None:
    """Write report.html: who passes how many tests, and every figure."""
    tests = list(map(str, found.test.values))
    passed = (found.outcome == "passes").all("test")
    counts, rows = [], []
    for name in map(str, found.explainer.values):
        cells = [found.sel(explainer=name, test=test) for test in tests]
        outcomes = [cell.outcome.item() for cell in cells]
        counts.append([plotting.readable(name), *(outcomes.count(outcome) for outcome in (*OUTCOMES, ""))])
        values = ("" if np.isnan(cell.value) else f"{float(cell.value):.2f} " for cell in cells)
        pairs = zip(values, outcomes, strict=True)
        rows.append([plotting.readable(name), *(f"{value}{outcome or 'not measured'}" for value, outcome in pairs)])
    write_findings(
        [
            f"Of {len(counts)} explainers {spoken(found.explainer.values[passed.values])} passed all {len(tests)} "
            "tests.",
            "A pass says that nothing was found against an explainer; it does not say that its maps are right.",
            Table("How many tests each explainer passes", ["Explainer", *OUTCOMES, "not measured"], counts),
        ],
        options,
        "all_tests.py",
        __doc__,
        figures={
            "evidence.png": (
                "Each explainer's figure in each test, coloured by its outcome: 1 as it should be, 0 the opposite.",
                "A table with a row for each explainer and a column for each test; the table below has its numbers.",
            )
        },
        tables=[Table("Figure and outcome of each test", ["Explainer", *map(plotting.readable, tests)], rows)],
        printed=text,
        missing=[
            f"{name}: run {script}.py and give its folder as --{option}"
            for name, script, option, folder in (
                ("engineered tasks", "engineered_tasks", "tasks", options.tasks),
                ("remove and retrain", "roar", "roar", options.roar),
            )
            if folder is None
        ],
    )


def configuration(options: Options, params: Any) -> dict[str, Any]:
    """What the parts of this run depend on."""
    elsewhere = {"out", "checkpoints", "compilation_cache", "data_dir", "tasks", "roar"}
    elsewhere |= {field.name for field in fields(Devices)}
    chosen = {name: value for name, value in asdict(options).items() if name not in elsewhere}
    return {**chosen, "params": digest(params), "version": sj.__version__}


def tests(options: Options, model: Any, params: Any, test: Any) -> Mapping[str, Callable[[], xr.Dataset]]:
    """Each test by its name, to be run when it is its turn."""
    key = jax.random.key(options.seed)
    images, labels = jnp.asarray(test.images[: options.images]), jnp.asarray(test.labels[: options.images])
    explainers = {name: sj.EXPLAINERS[name] for name in options.explainers}
    metrics = {name: sj.METRICS[name] for name in METRICS}
    mesh = options.mesh()
    evaluation = (test.images[:1000], test.labels[:1000])

    def init(key: Any) -> Any:
        return model.init(key, images[:1])

    shared: dict[str, Any] = {"key": named(key, "all tests"), "mesh": mesh}
    random: dict[str, Any] = {**shared, "protocol": "released_code", "seeds": options.seeds, "evaluation": evaluation}
    trained: Any = (model.apply, params, images, labels, explainers)
    randomized: Any = (model.apply, params, init, images, labels, explainers)
    complete = {
        f"{rule}, {steps}": partial(sj.integrated_gradients, steps=steps, rule=rule)
        for rule, steps in (("gauss_legendre", 16), ("gauss_legendre", 64), ("paper", 50))
    }
    return {
        "from_above": partial(sj.parameter_randomization, *randomized, order="top_down", metrics=metrics, **random),
        "from_below": partial(sj.parameter_randomization, *randomized, order="bottom_up", metrics=metrics, **random),
        "each_alone": partial(sj.parameter_randomization, *randomized, order="independent", metrics=metrics, **random),
        "not_blank": partial(sanity.masked_randomization, *randomized, **random),
        "smooth_MPRT": partial(sanity.smooth_mprt, *randomized, samples=options.samples, **{**random, "seeds": 1}),
        "efficient_MPRT": partial(sanity.efficient_mprt, *randomized, **random),
        "labels": partial(labels_test, options, model, params, test, images, labels, explainers, metrics, shared),
        "other_class": partial(sanity.random_logit, *trained, metrics=metrics, seeds=options.seeds, **shared),
        "mixed_classes": partial(
            sanity.cosine_convergence, model.apply, params, images, explainers, seeds=options.seeds, **shared
        ),
        "shifted_input": partial(sanity.input_invariance, *trained, shift=SHIFT, metrics=metrics, **shared),
        "image_edges": partial(sanity.edge_similarity, *trained, metrics=metrics, **shared),
        "completeness": partial(
            sanity.completeness_along_cascade, model.apply, params, init, images, labels, complete, **random
        ),
    }


def labels_test(
    options: Options,
    model: Any,
    params: Any,
    test: Any,
    images: Any,
    labels: Any,
    explainers: Any,
    metrics: Any,
    shared: Any,
) -> xr.Dataset:
    """The data randomization test, with the training of its second model."""
    split = load(options, "train")
    key = named(jax.random.key(options.seed), "permuted labels")
    permuted = np.asarray(sanity.permuted_labels(split.labels, key))
    kind = "memorize" if options.source == "embedded" else "memorize_all"
    _, random_params = trained_params(options, labels=permuted, kind=kind, draw="permuted labels")
    return sj.data_randomization(
        model.apply,
        params,
        random_params,
        images,
        labels,
        explainers,
        metrics=metrics,
        least_fitted=options.least_fitted,
        fit=sanity.Fit(split.images, split.labels, permuted, test.images, test.labels),
        **shared,
    )


def by_metric(measured: Mapping[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    """A test of several metrics as several tests: signs kept, and dropped."""
    found = {}
    for name, dataset in measured.items():
        if dataset.sizes.get("metric", 1) == 1:
            found[name] = dataset
            continue
        for metric in dataset.metric.values.tolist():
            if metric.removeprefix("masked_") in METRICS:
                found[f"{name}: {'absolute' if metric.endswith('_abs') else 'signed'}"] = dataset.sel(metric=[metric])
    return found


def evidence_lines(found: xr.Dataset) -> list[str]:
    """The figure of each explainer and test with its outcome's first letter."""
    tests = found.test.values.tolist()
    lines = ["which explainers pass which test? 1: as it should be; p passes, ~ partly, F fails, ? undecided", ""]
    lines += [f"  {chr(ord('a') + k)}  {plotting.readable(name)}" for k, name in enumerate(tests)]
    lines += ["", f"{'':24s}" + "".join(f"{chr(ord('a') + k):>8s}" for k in range(len(tests)))]
    marks = {"passes": "p", "partly": "~", "fails": "F", "undecided": "?", "": "-"}
    for name in found.explainer.values.tolist():
        cells = [found.sel(explainer=name, test=test) for test in tests]
        row = "".join(f"{float(cell.value):>6.2f} {marks[cell.outcome.item()]}" for cell in cells)
        lines.append(f"{plotting.readable(name):24s}{row}")
    return lines


def completeness_lines(found: xr.Dataset) -> list[str]:
    """How far integrated gradients are from summing to the score's change, at each stage of the cascade."""
    stages = found.stage.values.tolist()
    lines = ["", "integrated gradients: |gap| to the score's change, of that change, median over images and seeds"]
    lines.append(f"{'':24s}" + "".join(f"{stage:>12s}" for stage in stages))
    median = np.abs(found.relative_gap).median(["seed", "image"])
    for name in found.explainer.values.tolist():
        row = "".join(f"{float(median.sel(explainer=name, stage=stage)):12.2e}" for stage in stages)
        lines.append(f"{plotting.readable(name):24s}{row}")
    return lines


if __name__ == "__main__":
    run(main, start(tyro.cli(Options, description=__doc__)), "all_tests.py", __doc__)
