"""The readers of trace files: Azure LLM inference CSV, plain CSV, ShareGPT-like JSONL; `.gz` of each.

Recognised by content: the CSV header, or JSON objects per line. Columns:
    Azure:  TIMESTAMP, ContextTokens, GeneratedTokens                     (Azure/AzurePublicDataset)
    plain:  arrival_s, prompt_tokens, output_tokens [, priority]
    JSONL:  lengths (prompt_tokens | input_toks | input_length) and (output_tokens | output_toks | output_length),
            arrival (arrival_s | arrival_time_ns | timestamp in ms), optional token ids (input_tok_ids | prompt_token_ids)
"""

from __future__ import annotations

import csv
import itertools
import math
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from simulator.inputs.errors import InputError, nearest
from simulator.inputs.files import open_lines, opened, parse_json
from simulator.inputs.narrowing import HIGHEST, int32, whole
from simulator.workload.trace import MAX_TOKENS, Int32, Trace

PLAIN = ("arrival_s", "prompt_tokens", "output_tokens")
AZURE = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_PROMPT = ("prompt_tokens", "input_toks", "input_length", "prompt_len")
_OUTPUT = ("output_tokens", "output_toks", "output_length", "output_len")
_ARRIVAL = {"arrival_s": 1e9, "arrival_time_ns": 1.0, "timestamp": 1e6}
_IDS = ("input_tok_ids", "prompt_token_ids")

_STAMP = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,12}))?(Z|[+-]\d\d:\d\d)?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST_KEPT = 20_000_000  # requests: 2 GB of rows

Row = tuple[int, int, int, int]  # arrival ns, prompt tokens, output tokens, priority


def read_trace(path_text: str) -> Trace:
    """The requests in a file, sorted by arrival (ties in file order). Raises InputError with file and line."""
    path = Path(path_text)
    with opened(path, missing="no such trace file", key="workload.trace") as file:
        stat = os.fstat(file.fileno())
    return _read_cached(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=8)
def _read_cached(path: Path, _mtime_ns: int, _size: int) -> Trace:
    name, table, ids = str(path), [], []
    with open_lines(path) as lines:
        for row, tokens in rows_of(lines, name):
            table.append(row)
            if len(table) > MOST_KEPT:
                raise InputError(f"holds more than {MOST_KEPT:,} requests, the most that are kept at once; cut it, or `python -m "
                                 "simulator run` streams it", file=name, key="workload.trace")
            if tokens is not None:
                ids.append(tokens)
    if ids and len(ids) != len(table):
        raise InputError(f"{len(table) - len(ids)} of {len(table)} requests have no token ids; give all or none", file=name)
    return _build(table, ids or None, name)


def rows_of(lines: Iterator[str], name: str) -> Iterator[tuple[Row, Int32 | None]]:
    """The requests in the order of the file, with the prompt's token ids where they are given. Raises InputError with file
    and line."""
    number, first = next(((k, line) for k, line in enumerate(lines, start=1) if line.strip()), (0, ""))
    if not number:
        raise InputError("holds no requests", file=name)
    lines = itertools.chain([first], lines)
    yield from (_jsonl_rows if first.lstrip()[0] in "{[" else _csv_rows)(lines, number, name)


def _csv_rows(lines: Iterator[str], first: int, name: str) -> Iterator[tuple[Row, None]]:
    reader = csv.reader(lines)
    try:
        header = [column.strip() for column in next(reader)]
    except (csv.Error, StopIteration) as error:
        raise InputError(f"line {first}: cannot be read as CSV: {error}", file=name) from error
    if set(AZURE) <= set(header):
        columns, when = AZURE, _azure_ns
    elif set(PLAIN) <= set(header):
        columns, when = PLAIN, _seconds_ns
    else:
        missing = [c for c in PLAIN if c not in header]
        raise InputError(f"the CSV header has no column '{missing[0]}'; {nearest(missing[0], header)} "
                         f"(expected {','.join(PLAIN)} or {','.join(AZURE)})", file=name)
    for column in (*columns, "priority"):
        if header.count(column) > 1:
            raise InputError(f"the CSV header has the column '{column}' {header.count(column)} times", file=name)
    at = [header.index(c) for c in columns]
    rank = header.index("priority") if "priority" in header else None
    for number, row in enumerate(_records(reader, name), start=first + 1):
        if not row:
            continue
        if len(row) != len(header):
            raise InputError(f"line {number}: has {len(row)} columns, the header {len(header)}", file=name)
        try:
            priority = whole(row[rank], "a priority") if rank is not None else 0
            request = (when(row[at[0]]), _tokens(row[at[1]]), _tokens(row[at[2]]), priority)
        except ValueError as error:
            raise InputError(f"line {number}: {error or 'cannot be read'}", file=name) from error
        yield request, None


def _records(reader: Iterator[list[str]], name: str) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:  # a field above csv.field_size_limit, a NUL
        raise InputError(f"line {getattr(reader, 'line_num', 0)}: cannot be read as CSV: {error}", file=name) from error


def _jsonl_rows(lines: Iterator[str], first: int, name: str) -> Iterator[tuple[Row, Int32 | None]]:
    for number, line in enumerate(lines, start=first):
        if not line.strip():
            continue
        try:
            request = _record(parse_json(line))
        except InputError as error:
            raise InputError(f"line {number}: {error.message}", file=name) from error
        except ValueError as error:
            raise InputError(f"line {number}: {error}", file=name) from error
        yield request


def _record(record: Any) -> tuple[Row, Int32 | None]:
    if not isinstance(record, dict):
        raise ValueError("expected one JSON object per line")
    if "sub_requests" in record:
        raise ValueError("is a session of several requests (sub_requests), each of which waits for the one before; only "
                         "independent requests are read")
    tokens = _token_ids(_first(record, _IDS))
    prompt = _first(record, _PROMPT)
    prompt = len(tokens) if prompt is None and tokens is not None else prompt
    output = _first(record, _OUTPUT)
    key = next((k for k in _ARRIVAL if k in record), None)
    if prompt is None or output is None or key is None:
        wanted = _PROMPT[0] if prompt is None else _OUTPUT[0] if output is None else "arrival_s"
        raise ValueError(f"has no '{wanted}'")
    priority = whole(record.get("priority", 0), "a priority")
    row = (_arrival_ns(record[key], _ARRIVAL[key]), _tokens(prompt), _tokens(output), priority)
    if tokens is not None and len(tokens) != row[1]:
        raise ValueError(f"{len(tokens)} token ids but {row[1]} prompt tokens")
    return row, tokens


def _build(rows: list[Row], ids: list[Int32] | None, name: str) -> Trace:
    if not rows:
        raise InputError("holds no requests", file=name)
    table = np.asarray(rows, dtype=np.int64)
    order = np.argsort(table[:, 0], kind="stable")
    table = table[order]
    arrival = table[:, 0] - clock_start_ns(int(table[0, 0]))
    prompt_ids = offsets = None
    if ids is not None:
        prompt_ids = np.concatenate([ids[i] for i in order])
        offsets = np.concatenate([[0], np.cumsum(table[:, 1])]).astype(np.int64)
    return Trace(arrival, int32(table[:, 1], "length", file=name), int32(table[:, 2], "length", file=name),
                 int32(table[:, 3], "priority", file=name) if table[:, 3].any() else None, None, prompt_ids, offsets)


def clock_start_ns(first_ns: int) -> int:
    """Where the trace's clock starts, given the first arrival: there for negative times and absolute dates (after 1973)."""
    return first_ns if first_ns < 0 or first_ns > 10**17 else 0


def _first(record: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((record[n] for n in names if n in record), None)


def _tokens(value: Any) -> int:
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else 0.0
    except (ValueError, OverflowError):
        number = 0.0
    if not 1 <= number <= MAX_TOKENS or number != int(number):
        raise ValueError(f"expected a token count from 1 to {MAX_TOKENS:,}, got {_shown(value)}")
    return int(number)


def _token_ids(value: Any) -> Int32 | None:
    """A list of token ids, 0 to 2^31 - 1."""
    if value is None:
        return None
    if not isinstance(value, list) or not all(type(token) is int and 0 <= token <= HIGHEST for token in value):
        wrong = next((t for t in value if not (type(t) is int and 0 <= t <= HIGHEST)), None) if isinstance(value, list) else value
        raise ValueError(f"expected token ids, whole numbers from 0 to {HIGHEST:,}, got {_shown(wrong)}")
    return np.array(value, np.int32)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _ns(value: float) -> int:
    if not abs(value) < 2.0**62:
        raise ValueError(f"arrival time {value!r} ns is not finite or too large")
    return round(value)


def _arrival_ns(value: Any, ns: float) -> int:
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if math.isnan(number):
        raise ValueError(f"expected an arrival time, a number, got {_shown(value)}")
    return _ns(number * ns)


def _seconds_ns(text: str) -> int:
    try:
        return _ns(float(text) * 1e9)
    except ValueError:
        raise ValueError(f"expected an arrival time in seconds, got {text[:40]!r}") from None


def _azure_ns(text: str) -> int:
    """'2023-11-16 18:15:46.6805900' (100 ns digits), with or without a zone, as ns since 1970, exact."""
    found = _STAMP.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"expected a time such as 2023-11-16 18:15:46.6805900, got {text[:40]!r}")
    try:
        moment = datetime.fromisoformat(f"{found[1]}T{found[2]}{(found[4] or '+00:00').replace('Z', '+00:00')}")
    except ValueError as error:
        raise ValueError(f"{text[:40]!r} is not a time: {error}") from None
    seconds = (moment - _EPOCH) // timedelta(seconds=1)
    return _ns_whole(seconds * 10**9 + int((found[3] or "").ljust(9, "0")[:9]))


def _ns_whole(value: int) -> int:
    if not abs(value) < 2**62:
        raise ValueError("the time is more than 146 years from 1970")
    return value
