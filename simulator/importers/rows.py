"""Helpers that importers share: CSV files, parts of a table as columns, and joining the parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.devices.measured import arrow_files
from simulator.devices.measured.table import TEXT, OperatorTable, from_columns
from simulator.inputs.errors import InputError
from simulator.inputs.files import open_lines

Columns = dict[str, NDArray[Any]]


def read_csv(path: Path, wanted: Sequence[str], optional: Sequence[str] = ()) -> Columns:
    """The wanted columns of a CSV file, and those of the optional that it has. Raises InputError naming file and column."""
    table = arrow_files.read_csv(path)
    missing = [name for name in wanted if name not in table.column_names]
    if missing:
        raise InputError(f"has no column '{missing[0]}' (it has {', '.join(table.column_names)})", file=str(path))
    held = [*wanted, *(name for name in optional if name in table.column_names)]
    return {name: table.column(name).to_numpy() for name in held}


def read_header(path: Path) -> list[str]:
    """The column names of a CSV file. Raises InputError where there is no such file."""
    with open_lines(path) as lines:
        return next(lines, "").strip().split(",")


def part(kind: str, seconds: NDArray[Any], fixed: Mapping[str, object], **axes: NDArray[Any]) -> Columns:
    """Rows of one kind: `fixed` values in every row, `axes` and seconds by row."""
    count = len(seconds)
    return {"kind": np.full(count, kind), **{name: np.full(count, value) for name, value in fixed.items()}, **axes,
            "seconds": seconds}


def join(parts: Sequence[Columns], meta: Mapping[str, str]) -> OperatorTable:
    """One table of all parts; columns that a part lacks are zero (empty for text)."""
    names = sorted({name for p in parts for name in p})
    return from_columns({name: np.concatenate([_column(p, name) for p in parts]) for name in names}, meta)


def _column(p: Columns, name: str) -> NDArray[Any]:
    if name in p:
        return p[name]
    count = len(p["seconds"])
    return np.full(count, "") if name in TEXT else np.zeros(count, dtype=np.int64)
