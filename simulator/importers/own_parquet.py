"""The importer of parquet files that have our own columns: it checks, completes and sorts them.

A `.parquet` or `.csv` file, or a folder of them. `kind` and `seconds` are required, other columns default to zero; the
metadata is the file's own, or that of a `meta.yaml` (text values) next to it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from simulator.devices.measured.arrow_files import metadata_of, read_csv, read_parquet
from simulator.devices.measured.table import COLUMNS, NOISE, OperatorTable, from_columns
from simulator.inputs.errors import InputError, nearest
from simulator.inputs.files import parse_json
from simulator.inputs.yaml_file import load_yaml


def read_files(source: Path) -> dict[str, OperatorTable]:
    """{file name: table} of a file or of every file in a folder. Raises InputError naming file and column."""
    files = sorted(f for f in source.iterdir() if f.suffix in (".parquet", ".csv")) if source.is_dir() else [source]
    if not files:
        raise InputError("holds no .parquet or .csv file", file=str(source))
    return {file.stem: _read(file) for file in files}


def _read(path: Path) -> OperatorTable:
    arrow = read_csv(path) if path.suffix == ".csv" else read_parquet(path, otherwise="cannot be read as parquet or CSV")
    known = (*COLUMNS, *NOISE)
    for name in arrow.column_names:
        if name not in known:
            raise InputError(f"is no column of an operator table: {nearest(name, known)}", file=str(path), key=name)
    for name in ("kind", "seconds"):
        if name not in arrow.column_names:
            raise InputError("is missing; docs/measured-hardware.md lists the columns", file=str(path), key=name)
    try:
        table = from_columns({name: arrow.column(name).to_numpy() for name in arrow.column_names}, _meta(path, arrow))
    except InputError as error:
        raise error.within(file=str(path)) from None
    except (TypeError, ValueError) as error:
        raise InputError(f"has a column of the wrong type ({error})", file=str(path)) from error
    order = np.lexsort([table.columns[name] for name in reversed(COLUMNS)])
    return from_columns({name: values[order] for name, values in table.columns.items()}, table.meta)


def _meta(path: Path, arrow: Any) -> dict[str, str]:
    held = metadata_of(arrow, path).get("meta")
    meta = path.parent / "meta.yaml"
    found = parse_json(held, file=str(path), key="meta") if held else load_yaml(meta) if meta.is_file() else {}
    if not isinstance(found, dict):
        raise InputError("is not a list of 'name: text'", file=str(meta))
    return {str(key): str(value) for key, value in found.items()}
