"""Operator tables as parquet files: the columns of `simulator.hardware.measured.table`, and metadata.

File metadata (UTF-8 key-value pairs): `format` = `llm-operator-table`, `version` = `1`, and the table's own `meta`
(device, framework, source, model, launch, ...). Columns that a row's kind does not use are zero (empty for text).
Units: seconds, bytes, tokens, bits.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from simulator.hardware.measured.table import COLUMNS, TEXT, WHOLE, OperatorTable, from_columns
from simulator.inputs.errors import InputError

FORMAT, VERSION = "llm-operator-table", "1"
LATER = ("experts", "per_token", "awake")  # columns that files written before mixtures of experts lack


def write_table(table: OperatorTable, path: Path) -> None:
    """Writes a table, whole or not at all."""
    types = {**dict.fromkeys(TEXT, pa.string()), **dict.fromkeys(WHOLE, pa.int64()), "seconds": pa.float64()}
    schema = pa.schema([(name, types[name]) for name in COLUMNS],
                       metadata={"format": FORMAT, "version": VERSION, "meta": json.dumps(dict(table.meta), sort_keys=True)})
    arrow = pa.table([pa.array(table.columns[name].tolist(), types[name]) for name in COLUMNS], schema=schema)
    part = path.with_name(path.name + ".part")
    pq.write_table(arrow, part, compression="zstd")
    part.replace(path)


def read_table(path: Path) -> OperatorTable:
    """Reads a table. Raises InputError where the file is absent, of another format, or lacks a column."""
    try:
        stat = path.stat()
    except OSError as error:
        raise InputError(f"no such operator table: {path}", key="hardware.tables") from error
    return _read(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=8)
def _read(path: Path, _mtime_ns: int, _size: int) -> OperatorTable:
    try:
        arrow = pq.read_table(path)
    except Exception as error:  # pyarrow raises its own kinds
        raise InputError("is not a parquet file", file=str(path)) from error
    metadata = {k.decode(): v.decode() for k, v in (arrow.schema.metadata or {}).items()}
    if metadata.get("format") != FORMAT or metadata.get("version") != VERSION:
        raise InputError(f"is not an operator table of version {VERSION}; write one with `python -m simulator import`",
                         file=str(path))
    missing = [name for name in COLUMNS if name not in arrow.column_names and name not in LATER]
    if missing:
        raise InputError(f"has no column '{missing[0]}'", file=str(path))
    try:
        columns = {name: arrow.column(name).to_numpy() for name in COLUMNS if name in arrow.column_names}
        return from_columns(columns, json.loads(metadata.get("meta", "{}")))
    except InputError as error:
        raise error.within(file=str(path)) from None
