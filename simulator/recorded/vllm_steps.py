"""The reader of measured engine steps as CSV (may be gzipped): what was in the batch, and how long the step took.

Columns: ctx_tokens (new prefill tokens), ctx_requests, ctx_kv_tokens (context before them), decode_requests,
decode_kv_tokens (sum), latency_ms. Other columns are ignored.
"""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simulator.inputs.errors import InputError
from simulator.inputs.files import open_lines
from simulator.recorded.fit import Steps

COLUMNS = ("ctx_tokens", "ctx_requests", "ctx_kv_tokens", "decode_requests", "decode_kv_tokens", "latency_ms")
MOST = 1_000_000
LEAST = 8  # fewer steps say too little


def read_steps(path: Path) -> tuple[Steps, NDArray[np.float64]]:
    """(steps, seconds of each). Raises InputError naming file and column."""
    try:
        with open_lines(path) as lines:
            records = list(itertools.islice(csv.DictReader(lines), MOST + 1))
    except csv.Error as error:
        raise InputError(f"cannot be read as CSV: {error}", file=str(path)) from error
    if len(records) > MOST:
        raise InputError(f"holds more than {MOST:,} steps, the most that are read", file=str(path))
    return steps_of(records, path)


def steps_of(records: list[dict[str, str]], path: Path) -> tuple[Steps, NDArray[np.float64]]:
    """The same of rows already read from `path`."""
    if len(records) < LEAST:
        raise InputError(f"holds {len(records)} steps; at least {LEAST} are needed", file=str(path))
    columns = {}
    for name in COLUMNS:
        if name not in records[0]:
            raise InputError(f"has no column '{name}'", file=str(path))
        try:
            columns[name] = np.array([float(r[name]) for r in records])
        except (TypeError, ValueError) as error:
            raise InputError(f"column '{name}' holds something that is not a number", file=str(path)) from error
    table = np.array(list(columns.values()))
    if not ((table >= 0) & (table < 2.0**53)).all() or not (columns["latency_ms"] > 0).all():
        raise InputError("counts must be from 0 to 2^53 and latency_ms above zero", file=str(path))
    steps = Steps(columns["decode_requests"].astype(np.int64), columns["decode_kv_tokens"],
                  columns["ctx_requests"].astype(np.int64), columns["ctx_tokens"], columns["ctx_kv_tokens"])
    return steps, columns["latency_ms"] / 1e3
