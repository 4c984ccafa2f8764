"""What the experiments on digits share: their options, the data, and the paper's networks trained on it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
from tqdm import tqdm

import saliency_jax as sj
from saliency_jax import data
from saliency_jax.keys import named
from saliency_jax.models import CNN, MLP
from saliency_jax.presets import PRESETS
from saliency_jax.training import Progress, train

MODELS: dict[str, Any] = {"cnn": CNN, "mlp": MLP}


@dataclass(frozen=True)
class Digits:
    """Which network on which data, and where results go."""

    model: Literal["cnn", "mlp"] = "cnn"
    """The network: the paper's CNN (two convolutions) or its MLP (2500-1500-500)."""
    dataset: Literal["mnist", "fashion_mnist"] = "mnist"
    """What it is trained on."""
    source: Literal["embedded", "idx", "tfds"] = "embedded"
    """Where the data comes from: the 6,000 digits in the package, the four IDX .gz files, or TensorFlow Datasets."""
    data_dir: Path | None = None
    """The folder of the IDX files or of the prepared TensorFlow Datasets."""
    preset: Literal["demo", "paper"] | None = None
    """How it is trained; "demo" on the embedded data, "paper" (20,000 steps) on all of it, if not given."""
    seed: int = 0
    """The seed of everything that is drawn."""
    out: Path = Path("runs/digits")
    """The folder for the results; the same options again go on with what is there."""
    checkpoints: Path | None = None
    """The folder of the trained model; below --out if not given."""
    compilation_cache: Path | None = Path(".jax_cache")
    """Where compiled programs are kept for the next run; None to keep none."""


def prepare(options: Digits, explainers: tuple[str, ...], images: int) -> data.Split:
    """Check the options that can be wrong, set up the folders, and load the test images."""
    test = load(options, "test")
    if not 1 <= images <= len(test.images):
        raise SystemExit(f"--images must be between 1 and the {len(test.images)} test images, got {images}")
    set_up(explainers, sj.EXPLAINERS, options.out, options.compilation_cache)
    return test


def set_up(asked: Collection[str], known: Collection[str], out: Path, compilation_cache: Path | None) -> None:
    """Refuse explainers that nobody knows, make the folder for the results, and keep compiled programs."""
    if unknown := [name for name in asked if name not in known]:
        raise SystemExit(f"--explainers must be among {', '.join(known)}; got {', '.join(unknown)}")
    if compilation_cache is not None:
        jax.config.update("jax_compilation_cache_dir", str(compilation_cache.absolute()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    out.mkdir(parents=True, exist_ok=True)


def load(options: Digits, split: Literal["train", "test"]) -> data.Split:
    """The images and labels of a split."""
    return data.load(options.dataset, split, source=options.source, data_dir=options.data_dir)


def preset_of(options: Digits) -> str:
    """The kind of training, where none was asked for: by how much data there is."""
    return options.preset or ("demo" if options.source == "embedded" else "paper")


def trained_params(options: Digits, *, labels: Any = None, kind: str | None = None, draw: str = "") -> tuple[Any, Any]:
    """A network and its parameters: from its checkpoint where the training is finished, else trained, or trained on.

    Args:
        options: which network on which data.
        labels: other labels than the true ones, `[n]`.
        kind: the name of the training among PRESETS up to the model's; that of `preset_of` where None.
        draw: names other first weights and another order of the images than those of the model of true labels.
    """
    model, kind = MODELS[options.model](), kind or preset_of(options)
    key = jax.random.key(options.seed)
    key = named(key, draw) if draw else key
    split = load(options, "train")
    folder = options.checkpoints or options.out
    initial = model.init(named(key, "init"), jnp.asarray(split.images[:1]))
    with tqdm(desc=f"training {draw}".strip(), unit="epoch", leave=False) as bar:

        def advance(progress: Progress) -> None:
            bar.total = progress.epochs
            bar.set_postfix(loss=f"{progress.loss:.4f}", accuracy=f"{progress.accuracy:.4f}")
            bar.update(progress.epoch - bar.n)

        trained = train(
            model.apply,
            initial,
            split.images,
            split.labels if labels is None else labels,
            key=named(key, "training"),
            config=PRESETS[f"{kind}_{options.model}"],
            on_epoch=advance,
            folder=folder / f"{options.model}-{options.dataset}-{options.source}-{kind}",
        )
    return model, trained.params


def part_bar(bar: tqdm) -> Callable[[str, int, int], None]:
    """A randomization test's progress on a bar."""

    def advance(name: str, done: int, total: int) -> None:
        bar.total = total
        bar.set_postfix_str(name)
        bar.update(done - bar.n)

    return advance
