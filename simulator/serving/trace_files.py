"""Trace files: Azure LLM inference CSV, plain CSV, ShareGPT-like JSONL; `.gz` of each.

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
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from simulator.inputs.errors import InputError, nearest
from simulator.serving.config import Trace

PLAIN = ("arrival_s", "prompt_tokens", "output_tokens")
AZURE = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_PROMPT = ("prompt_tokens", "input_toks", "input_length", "prompt_len")
_OUTPUT = ("output_tokens", "output_toks", "output_length", "output_len")
_ARRIVAL = {"arrival_s": 1e9, "arrival_time_ns": 1.0, "timestamp": 1e6}
_IDS = ("input_tok_ids", "prompt_token_ids")
MAX_TOKENS = 2**27


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
    name = str(path)
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("is not a text file", file=name) from error
    except (OSError, EOFError) as error:
        raise InputError(f"cannot be read: {error}", file=name) from error
    if not text.strip():
        raise InputError("holds no requests", file=name)
    return _read_jsonl(text, name) if text.lstrip()[0] in "{[" else _read_csv(text, name)


def _read_csv(text: str, name: str) -> Trace:
    reader = csv.reader(io.StringIO(text))
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
    rows: list[tuple[int, int, int, int]] = []
    for number, row in enumerate(reader, start=2):
        if not row:
            continue
        if len(row) != len(header):
            raise InputError(f"line {number}: has {len(row)} columns, the header {len(header)}", file=name)
        try:
            rows.append((when(row[at[0]]), _tokens(row[at[1]]), _tokens(row[at[2]]), int(row[rank]) if rank is not None else 0))
        except (ValueError, IndexError, OverflowError) as error:
            raise InputError(f"line {number}: {error or 'cannot be read'}", file=name) from error
    return _build(rows, None, rank is not None, name)


def _read_jsonl(text: str, name: str) -> Trace:
    rows: list[tuple[int, int, int, int]] = []
    ids: list[list[int]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError("expected one JSON object per line")
            tokens = _first(record, _IDS)
            prompt = _first(record, _PROMPT)
            prompt = len(tokens) if prompt is None and tokens is not None else prompt
            output = _first(record, _OUTPUT)
            key = next((k for k in _ARRIVAL if k in record), None)
            if prompt is None or output is None or key is None:
                wanted = _PROMPT[0] if prompt is None else _OUTPUT[0] if output is None else "arrival_s"
                raise ValueError(f"has no '{wanted}'")
            rows.append((_ns(float(record[key]) * _ARRIVAL[key]), _tokens(prompt), _tokens(output),
                         int(record.get("priority", 0))))
            if tokens is not None:
                if len(tokens) != rows[-1][1]:
                    raise ValueError(f"{len(tokens)} token ids but {rows[-1][1]} prompt tokens")
                ids.append(tokens)
        except (ValueError, TypeError, OverflowError) as error:
            raise InputError(f"line {number}: {error}", file=name) from error
    if ids and len(ids) != len(rows):
        raise InputError(f"{len(rows) - len(ids)} of {len(rows)} requests have no token ids; give all or none", file=name)
    return _build(rows, ids or None, any(r[3] for r in rows), name)


def _build(rows: list[tuple[int, int, int, int]], ids: list[list[int]] | None, priorities: bool, name: str) -> Trace:
    if not rows:
        raise InputError("holds no requests", file=name)
    table = np.asarray(rows, dtype=np.int64)
    order = np.argsort(table[:, 0], kind="stable")
    table = table[order]
    arrival = table[:, 0] - min(int(table[0, 0]), 0) if table[0, 0] < 0 else table[:, 0]
    if int(arrival[0]) > 10**17:  # absolute dates (after 1973): the clock starts at the first request
        arrival = arrival - arrival[0]
    prompt_ids = offsets = None
    if ids is not None:
        prompt_ids = np.concatenate([np.asarray(ids[i], dtype=np.int32) for i in order])
        offsets = np.concatenate([[0], np.cumsum(table[:, 1])]).astype(np.int64)
    return Trace(arrival, table[:, 1].astype(np.int32), table[:, 2].astype(np.int32),
                 table[:, 3].astype(np.int32) if priorities else None, None, prompt_ids, offsets)


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
