"""Parquet and CSV files as Arrow tables, within limits that are looked at before anything is unpacked.

A parquet file of a few kilobytes may say forty million rows, or one text for all of them: rows, cells and the lengths of texts
are bounded (operator tables have thousands of rows).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from simulator.inputs.errors import InputError
from simulator.inputs.files import MIB, opened

MOST_FILE = 256 * MIB
MOST_CELLS = 50_000_000  # rows x columns
MOST_ROWS = 5_000_000
MOST_TEXT = 1000  # characters


def read_parquet(path: Path, *, missing: str = "no such file", otherwise: str = "cannot be read as parquet",
                 key: str | None = None) -> pa.Table:
    """A parquet file. Raises InputError where it is missing, above the limits, or no such file (then with the text `otherwise`)."""
    with opened(path, most=MOST_FILE, missing=missing, key=key) as file:
        try:
            parquet = pq.ParquetFile(file)
            footer = parquet.metadata
            _check_size(path, footer.num_rows, footer.num_columns)
            unpacked = sum(footer.row_group(i).total_byte_size for i in range(footer.num_row_groups))
            if unpacked > MOST_FILE:
                raise InputError(f"unpacks to more than {MOST_FILE // MIB} MiB, the most that is read", file=str(path))
            texts = [field.name for field in parquet.schema_arrow if str(field.type) in ("string", "large_string")]
            file.seek(0)
            table = pq.ParquetFile(file, read_dictionary=texts).read()
            return _plain(table, path)
        except InputError:
            raise
        except Exception as error:  # pyarrow raises its own kinds
            raise InputError(otherwise, file=str(path), key=key) from error


def read_csv(path: Path, *, missing: str = "no such file") -> pa.Table:
    """A CSV file with a header. Raises InputError where it is missing, above the limits or not CSV."""
    with opened(path, most=MOST_FILE, missing=missing) as file:
        try:
            table = pyarrow.csv.read_csv(file)
            names = table.column_names  # which may be no text
        except InputError:
            raise
        except Exception as error:  # pyarrow raises its own kinds
            raise InputError(f"cannot be read as CSV: {' '.join(str(error).split())[:200]}", file=str(path)) from error
    _check_size(path, table.num_rows, len(names))
    return table


def metadata_of(table: pa.Table, path: Path) -> dict[str, str]:
    """The key-value pairs of a parquet file as text. Raises InputError where they are not UTF-8."""
    try:
        return {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    except UnicodeDecodeError as error:
        raise InputError("its metadata is not text (UTF-8 expected)", file=str(path)) from error


def _check_size(path: Path, rows: int, columns: int) -> None:
    if rows > MOST_ROWS or rows * columns > MOST_CELLS:
        raise InputError(f"holds {rows:,} rows of {columns:,} columns; at most {MOST_ROWS:,} rows and {MOST_CELLS:,} cells are "
                         "read", file=str(path))


def _plain(table: pa.Table, path: Path) -> pa.Table:
    """Text columns, read as dictionaries, as plain text once the longest of them is known to be short."""
    columns: list[Any] = []
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_dictionary(column.type):
            longest = max((pc.max(pc.binary_length(chunk.dictionary)).as_py() or 0 for chunk in column.chunks), default=0)
            if longest > MOST_TEXT:
                raise InputError(f"holds a text of {longest:,} bytes; at most {MOST_TEXT:,} are read", file=str(path), key=name)
            column = column.cast(column.type.value_type)
        columns.append(column)
    return pa.table(columns, names=table.column_names).replace_schema_metadata(table.schema.metadata)
