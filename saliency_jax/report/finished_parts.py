"""What is finished of a randomization test that was broken off, read from its folder of parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr

from saliency_jax.plotting.style import readable
from saliency_jax.results import CONFIGURATION, read_part


class Finished(NamedTuple):
    """The finished part of a run.

    Attributes:
        dataset: as the whole run's, over the explainers and seeds that were finished; NaN where a seed was not
            finished for an explainer. It has neither the explained images nor their targets, which no part keeps.
        missing: what is not there, for people: "SmoothGrad: seeds 1, 2"; then the parts that are there and cannot be
            read, with the reason, which is why some of the former is missing.
        configuration: of the run.
    """

    dataset: xr.Dataset
    missing: tuple[str, ...]
    configuration: dict[str, Any]


def finished_parts(folder: Path) -> Finished:
    """Put together what is finished of a run, without measuring anything.

    A part that cannot be read, or whose bytes are not those that were written, counts as not finished.

    Args:
        folder: the run's folder of parts, as `parameter_randomization` was given it.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: its configuration is unreadable or that of another kind of run, or no explainer was finished for
            any seed.
    """
    path = folder / CONFIGURATION
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no run: there is no {CONFIGURATION}")
    try:
        configuration = json.loads(path.read_bytes())
        names, seeds = list(configuration["explainers"]), list(configuration["seeds"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} must be the configuration of a randomization test: {error!r}") from error

    unreadable: list[str] = []

    def read(name: str) -> xr.Dataset | None:
        """A part, or None where it was not finished or cannot be believed."""
        try:
            return read_part(folder, name)
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as error:
            unreadable.append(f"unreadable: {error}")
            return None

    models = {seed: part for seed in seeds if (part := read(f"models-{seed}")) is not None}
    pieces, missing = [], []
    for name in names:
        null = read(f"null-{name}")
        of_seeds = {seed: part for seed in models if (part := read(f"maps-{name}-{seed}")) is not None}
        absent = [str(seed) for seed in seeds if seed not in of_seeds]
        if null is None or not of_seeds:
            missing.append(f"{readable(name)}: everything")
            continue
        if absent:
            missing.append(f"{readable(name)}: seed{'s' if len(absent) > 1 else ''} {', '.join(absent)}")
        pieces.append(_explainer(name, null, of_seeds))
    if not pieces:
        because = f" ({'; '.join(unreadable)})" if unreadable else ""
        raise ValueError(
            f"{folder} must hold at least one explainer that was finished for one seed, found none{because}"
        )
    compared = xr.concat(pieces, dim="explainer", join="outer", data_vars="all")
    of_models = xr.concat([part.expand_dims(seed=[seed]) for seed, part in models.items()], dim="seed", join="exact")
    # Seeds in the order of the run, stages in that of its parts.
    whole = xr.merge([of_models, compared], join="left").sel(seed=list(models), stage=pieces[0].stage.values)
    dims = ("null_kind", "explainer", "metric", "model", "stage", "seed", "image")
    whole = whole.assign_coords(image=range(whole.sizes["image"])).transpose(*dims, ..., missing_dims="ignore")
    attributes = {name: configuration[name] for name in ("test", "explained_class") if name in configuration}
    # What the parts' own attributes say is about their files.
    whole.attrs = attributes
    return Finished(whole, (*missing, *unreadable), configuration)


def _explainer(name: str, null: xr.Dataset, of_seeds: dict[int, xr.Dataset]) -> xr.Dataset:
    compared = [part.drop_vars("maps", errors="ignore").expand_dims(seed=[seed]) for seed, part in of_seeds.items()]
    found = xr.merge([xr.concat(compared, dim="seed", join="exact"), null], join="exact")
    kept = [part["maps"] for part in of_seeds.values() if "maps" in part]
    # Fewer seeds leave NaN, which integers do not have.
    counts = [key for key in ("constant_maps", "nonfinite_maps") if key in found]
    found = found.assign({key: found[key].astype("float32") for key in counts})
    return found.assign(maps=kept[0]).expand_dims(explainer=[name]) if kept else found.expand_dims(explainer=[name])
