"""Tables of a page: of given rows, or of what a Dataset says at the labels of two axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element

import xarray as xr

from saliency_jax.plotting.style import readable
from saliency_jax.report.markup import Child
from saliency_jax.report.markup import table as framed
from saliency_jax.report.number_tables import number

ENDS = ("mean", "low", "high")


class Table(NamedTuple):
    """A table of a page.

    Attributes:
        caption: what it holds.
        head: the names of the columns, the first that of the rows' names.
        rows: one cell for each column, as `str` prints it; the first is the row's name.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Any]]


def labelled_table(
    caption: str, values: xr.DataArray | xr.Dataset, *, rows: str, columns: str, digits: int = 2
) -> Table:
    """A row a label of one axis, a column a label of the other.

    Args:
        caption: what it holds.
        values: numbers over the two axes; or a Dataset with `mean`, `low` and `high` over them, as
            `saliency_jax.sanity.summary.mean_interval` gives, whose cells are "0.50 [0.40, 0.60]".
        rows: the axis whose labels name the rows.
        columns: the axis whose labels name the columns.
        digits: after the point. NaN is "no value".

    Raises:
        ValueError: the values have other axes than these two, lack one of the three numbers, or digits is negative.
    """
    if digits < 0:
        raise ValueError(f"digits must not be negative, got {digits}")
    if isinstance(values, xr.Dataset) and (lacking := [name for name in ENDS if name not in values]):
        raise ValueError(f"values must have the variables {list(ENDS)}, lacks {lacking}")
    parts = [values[name] for name in ENDS] if isinstance(values, xr.Dataset) else [values]
    for part in parts:
        if set(part.dims) != {rows, columns}:
            raise ValueError(f"values must have the axes {rows!r} and {columns!r}, got {list(map(str, part.dims))}")
    ordered = [part.transpose(rows, columns) for part in parts]
    names, head = ([readable(str(label)) for label in ordered[0][axis].values] for axis in (rows, columns))
    cells = zip(*(part.to_numpy().reshape(len(names), len(head)).tolist() for part in ordered), strict=True)
    made = [
        [name, *(_cell(one, digits) for one in zip(*lines, strict=True))]
        for name, lines in zip(names, cells, strict=True)
    ]
    return Table(caption, [readable(rows).capitalize(), *head], made)


def table_element(given: Table) -> Element:
    """The table for a page.

    Raises:
        ValueError: a row has more or fewer cells than there are columns, or the table has no caption.
    """
    if not given.caption.strip():
        raise ValueError(f"a table must have a caption, got {given.caption!r}")
    for row in given.rows:
        if len(row) != len(given.head):
            columns = len(given.head)
            raise ValueError(f"rows of the table {given.caption!r} must have {columns} cells, got {list(row)}")
    rows: list[list[Child]] = [[str(cell) for cell in row] for row in given.rows]
    return framed(given.caption, list(given.head), rows)


def _cell(values: Sequence[float], digits: int) -> str:
    written = [number(float(value), digits) for value in values]
    return written[0] if len(written) == 1 or written[0] == "no value" else f"{written[0]} [{', '.join(written[1:])}]"
