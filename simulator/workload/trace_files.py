"""The readers of trace files: Azure LLM inference CSV, plain CSV, ShareGPT-like JSONL; `.gz` of each.

Recognised by content: the CSV header, or JSON objects per line. Columns:
    Azure:  TIMESTAMP, ContextTokens, GeneratedTokens                     (Azure/AzurePublicDataset)
    plain:  arrival_s, prompt_tokens, output_tokens [, priority]
    JSONL:  lengths (prompt_tokens | input_toks | input_length) and (output_tokens | output_toks | output_length),
            arrival (arrival_s | arrival_time_ns | timestamp in ms), optional token ids (input_tok_ids | prompt_token_ids)
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from simulator.inputs.errors import InputError, nearest
from simulator.workload.trace import MAX_TOKENS, Trace

PLAIN = ("arrival_s", "prompt_tokens", "output_tokens")
AZURE = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_PROMPT = ("prompt_tokens", "input_toks", "input_length", "prompt_len")
_OUTPUT = ("output_tokens", "output_toks", "output_length", "output_len")
_ARRIVAL = {"arrival_s": 1e9, "arrival_time_ns": 1.0, "timestamp": 1e6}
_IDS = ("input_tok_ids", "prompt_token_ids")

Row = tuple[int, int, int, int]  # arrival ns, prompt tokens, output tokens, priority


def read_trace(path_text: str) -> Trace:
    """The requests in a file, sorted by arrival (ties in file order). Raises InputError with file and line."""
    path = Path(path_text)
    try:
        stat = path.stat()
    except OSError as error:
        raise InputError(f"no such trace file: {path_text}", key="workload.trace") from error
    return _read_cached(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=8)
def _read_cached(path: Path, _mtime_ns: int, _size: int) -> Trace:
    name, table, ids = str(path), [], []
    with open_lines(path) as lines:
        for row, tokens in rows_of(lines, name):
            table.append(row)
            if tokens is not None:
                ids.append(tokens)
    if ids and len(ids) != len(table):
        raise InputError(f"{len(table) - len(ids)} of {len(table)} requests have no token ids; give all or none", file=name)
    return _build(table, ids or None, name)


@contextmanager
def open_lines(path: Path) -> Iterator[Iterator[str]]:
    """The lines of a text file, compressed or not. Raises InputError, also while they are read, where it is none."""
    try:
        with path.open("rb") as raw:
            packed = raw.peek(2)[:2] == b"\x1f\x8b"
            yield io.TextIOWrapper(gzip.GzipFile(fileobj=raw) if packed else raw, "utf-8-sig", newline="")
    except UnicodeDecodeError as error:
        raise InputError("is not a text file", file=str(path)) from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot be read: {error}", file=str(path)) from error


def rows_of(lines: Iterator[str], name: str) -> Iterator[tuple[Row, list[int] | None]]:
    """The requests in the order of the file, with the prompt's token ids where they are given. Raises InputError with file
    and line."""
    number, first = next(((k, line) for k, line in enumerate(lines, start=1) if line.strip()), (0, ""))
    if not number:
        raise InputError("holds no requests", file=name)
    lines = itertools.chain([first], lines)
    yield from (_jsonl_rows if first.lstrip()[0] in "{[" else _csv_rows)(lines, number, name)


def _csv_rows(lines: Iterator[str], first: int, name: str) -> Iterator[tuple[Row, None]]:
    reader = csv.reader(lines)
    header = [column.strip() for column in next(reader)]
    if set(AZURE) <= set(header):
        columns, when = AZURE, _azure_ns
    elif set(PLAIN) <= set(header):
        columns, when = PLAIN, _seconds_ns
    else:
        missing = [c for c in PLAIN if c not in header]
        raise InputError(f"the CSV header has no column '{missing[0]}'; {nearest(missing[0], header)} "
                         f"(expected {','.join(PLAIN)} or {','.join(AZURE)})", file=name)
    at = [header.index(c) for c in columns]
    rank = header.index("priority") if "priority" in header else None
    for number, row in enumerate(reader, start=first + 1):
        if not row:
            continue
        if len(row) != len(header):
            raise InputError(f"line {number}: has {len(row)} columns, the header {len(header)}", file=name)
        try:
            request = (when(row[at[0]]), _tokens(row[at[1]]), _tokens(row[at[2]]), int(row[rank]) if rank is not None else 0)
        except (ValueError, IndexError, OverflowError) as error:
            raise InputError(f"line {number}: {error or 'cannot be read'}", file=name) from error
        yield request, None


def _jsonl_rows(lines: Iterator[str], first: int, name: str) -> Iterator[tuple[Row, list[int] | None]]:
    for number, line in enumerate(lines, start=first):
        if not line.strip():
            continue
        try:
            request = _record(json.loads(line))
        except (ValueError, TypeError, OverflowError) as error:
            raise InputError(f"line {number}: {error}", file=name) from error
        yield request


def _record(record: Any) -> tuple[Row, list[int] | None]:
    if not isinstance(record, dict):
        raise ValueError("expected one JSON object per line")
    if "sub_requests" in record:
        raise ValueError("is a session of several requests (sub_requests), each of which waits for the one before; only "
                         "independent requests are read")
    tokens = _first(record, _IDS)
    prompt = _first(record, _PROMPT)
    prompt = len(tokens) if prompt is None and tokens is not None else prompt
    output = _first(record, _OUTPUT)
    key = next((k for k in _ARRIVAL if k in record), None)
    if prompt is None or output is None or key is None:
        wanted = _PROMPT[0] if prompt is None else _OUTPUT[0] if output is None else "arrival_s"
        raise ValueError(f"has no '{wanted}'")
    row = (_ns(float(record[key]) * _ARRIVAL[key]), _tokens(prompt), _tokens(output), int(record.get("priority", 0)))
    if tokens is not None and len(tokens) != row[1]:
        raise ValueError(f"{len(tokens)} token ids but {row[1]} prompt tokens")
    return row, tokens


def _build(rows: list[Row], ids: list[list[int]] | None, name: str) -> Trace:
    if not rows:
        raise InputError("holds no requests", file=name)
    table = np.asarray(rows, dtype=np.int64)
    order = np.argsort(table[:, 0], kind="stable")
    table = table[order]
    arrival = table[:, 0] - clock_start_ns(int(table[0, 0]))
    prompt_ids = offsets = None
    if ids is not None:
        prompt_ids = np.concatenate([np.asarray(ids[i], dtype=np.int32) for i in order])
        offsets = np.concatenate([[0], np.cumsum(table[:, 1])]).astype(np.int64)
    return Trace(arrival, table[:, 1].astype(np.int32), table[:, 2].astype(np.int32),
                 table[:, 3].astype(np.int32) if table[:, 3].any() else None, None, prompt_ids, offsets)


def clock_start_ns(first_ns: int) -> int:
    """Where the trace's clock starts, given the first arrival: there for negative times and absolute dates (after 1973)."""
    return first_ns if first_ns < 0 or first_ns > 10**17 else 0


def _first(record: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((record[n] for n in names if n in record), None)


def _tokens(value: Any) -> int:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = 0.0
    if isinstance(value, bool) or number != int(number) or not 1 <= number <= MAX_TOKENS:
        raise ValueError(f"expected a token count from 1 to {MAX_TOKENS:,}, got {value!r}")
    return int(number)


def _ns(value: float) -> int:
    if not abs(value) < 2.0**62:
        raise ValueError(f"arrival time {value!r} ns is not finite or too large")
    return round(value)


def _seconds_ns(text: str) -> int:
    try:
        return _ns(float(text) * 1e9)
    except ValueError:
        raise ValueError(f"expected an arrival time in seconds, got {text[:40]!r}") from None


def _azure_ns(text: str) -> int:
    """'2023-11-16 18:15:46.6805900' (100 ns digits) as ns since 1970, exact."""
    stamp, _, fraction = text.strip().partition(".")
    seconds = int(np.datetime64(stamp.replace(" ", "T"), "s").astype(np.int64))
    return seconds * 10**9 + int(fraction.rstrip("Z").ljust(9, "0")[:9] or 0)
