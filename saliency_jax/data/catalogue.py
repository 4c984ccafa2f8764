"""What is known beforehand about each data set: classes, files and checksums. Nothing is read here."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import NamedTuple

IMAGE_SHAPE = (28, 28)
"""Height and width of every image in the catalogue, in pixels."""


class IdxFile(NamedTuple):
    """One published IDX file."""

    name: str
    size: int
    """Bytes of the .gz as published."""
    sha256: str
    """Of the .gz as published."""
    payload_sha256: str
    """Of the IDX data inside, which stays the same when the file is compressed anew."""


class SplitFacts(NamedTuple):
    """One split: how many images, in which files, and what they amount to."""

    length: int
    images: IdxFile
    labels: IdxFile
    content_sha256: str
    """Of all images with their labels in any order, see `checksums.content_sha256`."""


class Dataset(NamedTuple):
    """One data set."""

    class_names: tuple[str, ...]
    splits: dict[str, SplitFacts]


DATASETS: dict[str, Dataset] = {
    "mnist": Dataset(
        class_names=tuple("0123456789"),
        splits={
            "train": SplitFacts(
                length=60_000,
                images=IdxFile(
                    name="train-images-idx3-ubyte.gz",
                    size=9_912_422,
                    sha256="440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                    payload_sha256="ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                ),
                labels=IdxFile(
                    name="train-labels-idx1-ubyte.gz",
                    size=28_881,
                    sha256="3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                    payload_sha256="65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                ),
                content_sha256="2a6f27dafccce538027871e63175a2607fc9a599bdda15378dd7eddcd8408950",
            ),
            "test": SplitFacts(
                length=10_000,
                images=IdxFile(
                    name="t10k-images-idx3-ubyte.gz",
                    size=1_648_877,
                    sha256="8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                    payload_sha256="0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                ),
                labels=IdxFile(
                    name="t10k-labels-idx1-ubyte.gz",
                    size=4_542,
                    sha256="f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                    payload_sha256="ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
                ),
                content_sha256="38c2337a6bbbeaa8ca11e592a094559e1f761da77bf9cfdc424915fb3b0371e3",
            ),
        },
    ),
    "fashion_mnist": Dataset(
        class_names=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        splits={
            "train": SplitFacts(
                length=60_000,
                images=IdxFile(
                    name="train-images-idx3-ubyte.gz",
                    size=26_421_880,
                    sha256="3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                    payload_sha256="c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                ),
                labels=IdxFile(
                    name="train-labels-idx1-ubyte.gz",
                    size=29_515,
                    sha256="a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                    payload_sha256="bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                ),
                content_sha256="da7f2fdab0300a223177c06394c956250edafe83431523d0739dccc591f80228",
            ),
            "test": SplitFacts(
                length=10_000,
                images=IdxFile(
                    name="t10k-images-idx3-ubyte.gz",
                    size=4_422_102,
                    sha256="346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                    payload_sha256="5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                ),
                labels=IdxFile(
                    name="t10k-labels-idx1-ubyte.gz",
                    size=5_148,
                    sha256="67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                    payload_sha256="0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
                ),
                content_sha256="07d5e9168517999e6c7b7161aad95bd4c8a70f3746467f841a82c073b0638df2",
            ),
        },
    ),
}


def check_choice(argument: str, value: str, valid: Iterable[str]) -> None:
    """Refuse a value that is not one of the valid ones, and name those.

    Args:
        argument: what the value was given as.
        value: the value.
        valid: the values that are allowed.

    Raises:
        ValueError: the value is not valid; the message lists the valid ones and names a near one.
    """
    choices = tuple(valid)
    if value in choices:
        return
    near = difflib.get_close_matches(value.lower(), choices, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise ValueError(f"{argument} must be one of {', '.join(map(repr, choices))}; found {value!r}{hint}")


def split_facts(name: str, split: str) -> SplitFacts:
    """What is known about one split.

    Args:
        name: the data set.
        split: "train" or "test".

    Returns:
        The split's facts.

    Raises:
        ValueError: unknown data set or split.
    """
    check_choice("name", name, DATASETS)
    check_choice("split", split, DATASETS[name].splits)
    return DATASETS[name].splits[split]


def idx_files(name: str) -> tuple[IdxFile, ...]:
    """The four published files of one data set.

    Args:
        name: the data set.

    Returns:
        Images and labels of each split.

    Raises:
        ValueError: unknown data set.
    """
    check_choice("name", name, DATASETS)
    return tuple(file for facts in DATASETS[name].splits.values() for file in (facts.images, facts.labels))
