"""The parquet format of operator tables: the columns of `simulator.devices.measured.table`, and metadata.

File metadata (UTF-8 key-value pairs): `format` = `llm-operator-table`, `version` = `1`, and `meta`, a JSON object of text
(device, framework, source, model, launch, ...). Columns that a row's kind does not use are zero (empty for text).
Units: seconds, bytes, tokens, bits. A folder holds `tp1.parquet`, `tp2.parquet` ... for tensor-parallel degrees, or
`operators.parquet` for shapes of any degree. `docs/measured-hardware.md` is the full description.
"""

from __future__ import annotations

import json
import os
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from simulator.devices.measured.arrow_files import MOST_FILE, metadata_of, read_parquet
from simulator.devices.measured.table import COLUMNS, NOISE, TEXT, WHOLE, OperatorTable, from_columns
from simulator.inputs.errors import InputError
from simulator.inputs.files import is_there, opened, parse_json

FORMAT, VERSION = "llm-operator-table", "1"
ANY_DEGREE = "operators.parquet"
KEY = "hardware.tables"
MISSING = "no such operator table; write one with `python -m simulator import` or `profile`"
LATER = ("experts", "per_token", "awake")  # columns that files written before mixtures of experts lack


def write_table(table: OperatorTable, path: Path) -> None:
    """Writes a table, whole or not at all."""
    types = {**dict.fromkeys(TEXT, pa.string()), **dict.fromkeys((*WHOLE, "repeats"), pa.int64()),
             **dict.fromkeys(("seconds", "mad_s"), pa.float64())}
    names = [*COLUMNS, *(name for name in NOISE if table.columns[name].any())]
    schema = pa.schema([(name, types[name]) for name in names],
                       metadata={"format": FORMAT, "version": VERSION, "meta": json.dumps(dict(table.meta), sort_keys=True)})
    arrow = pa.table([pa.array(table.columns[name].tolist(), types[name]) for name in names], schema=schema)
    part = path.with_name(path.name + ".part")
    pq.write_table(arrow, part, compression="zstd")
    part.replace(path)


def read_for_degree(path: Path, tensor: int) -> OperatorTable:
    """The table for a tensor-parallel degree: of a folder `tp{tensor}.parquet` or `operators.parquet`, of a file itself.

    Raises InputError where there is none, or where the file is not an operator table.
    """
    if not (is_there(path) and path.is_dir()):
        return read_table(path)
    for name in (f"tp{tensor}.parquet", ANY_DEGREE):
        if (path / name).is_file():
            return read_table(path / name)
    held = ", ".join(file.name for file in _files(path)) or "no table"
    raise InputError(f"has no tp{tensor}.parquet and no {ANY_DEGREE} (it has {held}); import or profile this "
                     f"tensor-parallel degree, or change parallelism.tensor", file=str(path), key=KEY)


def content_hash(path: Path) -> str:
    """What stands for a table, or for every table of a folder, in the key of a design."""
    if not (is_there(path) and path.is_dir()):
        return read_table(path).content_hash
    digest = blake2b(digest_size=16)
    for file in _files(path):
        digest.update(f"{file.name} {read_table(file).content_hash}\n".encode())
    return digest.hexdigest()


def read_table(path: Path) -> OperatorTable:
    """Reads a table. Raises InputError where the file is absent, of another format, or lacks a column."""
    with opened(path, most=MOST_FILE, missing=MISSING, key=KEY) as file:
        stat = os.fstat(file.fileno())
    return _read(path, stat.st_mtime_ns, stat.st_size)


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*.parquet") if file.name == ANY_DEGREE or file.stem[2:].isdigit())


@lru_cache(maxsize=8)
def _read(path: Path, _mtime_ns: int, _size: int) -> OperatorTable:
    arrow = read_parquet(path, missing=MISSING, otherwise="is not a parquet file; write one with `python -m simulator import`")
    metadata = metadata_of(arrow, path)
    if metadata.get("format") != FORMAT or metadata.get("version") != VERSION:
        raise InputError(f"is not an operator table of version {VERSION}; write one with `python -m simulator import`",
                         file=str(path))
    missing = [name for name in COLUMNS if name not in arrow.column_names and name not in LATER]
    if missing:
        raise InputError("is missing; docs/measured-hardware.md lists the columns", file=str(path), key=missing[0])
    meta = parse_json(metadata.get("meta", "{}"), file=str(path), key="meta")
    if not isinstance(meta, dict):
        raise InputError("is not a JSON object", file=str(path), key="meta")
    held = [name for name in (*COLUMNS, *NOISE) if name in arrow.column_names]
    try:
        columns = {name: arrow.column(name).to_numpy() for name in held}
        return from_columns(columns, {str(k): str(v) for k, v in meta.items()})
    except InputError as error:
        raise error.within(file=str(path)) from None
    except (TypeError, ValueError) as error:
        raise InputError(f"has a column of the wrong type ({error})", file=str(path)) from error
