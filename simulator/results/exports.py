"""Per-request and per-step tables of a result, as CSV or parquet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from simulator.inputs.errors import InputError
from simulator.result import Result


def requests_table(result: Result) -> pa.Table:
    """One row per request, replicas after one another; times in seconds since the start of the trace, null if rejected."""
    parts = []
    for number, (trace, run) in enumerate((r.trace, r.run) for r in result.replicas):
        done = run.finish_ns >= 0
        gaps = np.maximum(trace.output_tokens.astype(np.int64) - 1, 1)
        columns = {
            "replica": np.full(len(trace), number, dtype=np.int32),
            "request": np.arange(len(trace)),
            "arrival_s": trace.arrival_ns / 1e9,
            "prompt_tokens": trace.prompt_tokens,
            "output_tokens": trace.output_tokens,
            "scheduled_s": _time(run.first_scheduled_ns, done),
            "first_token_s": _time(run.first_token_ns, done),
            "finish_s": _time(run.finish_ns, done),
            "queueing_s": _time(run.first_scheduled_ns - trace.arrival_ns, done),
            "ttft_s": _time(run.first_token_ns - trace.arrival_ns, done),
            "tpot_s": pa.array((run.finish_ns - run.first_token_ns) / gaps / 1e9, mask=~done | (trace.output_tokens < 2)),
            "e2e_s": _time(run.finish_ns - trace.arrival_ns, done),
            "preemptions": run.preemptions,
            "cached_tokens": run.cached_tokens,
        }
        parts.append(pa.table(columns))
    return pa.concat_tables(parts)


def steps_table(result: Result) -> pa.Table:
    """One row per engine step; needs a result simulated with log=True."""
    parts = []
    for number, replica in enumerate(result.replicas):
        log = replica.run.log
        assert log is not None
        parts.append(pa.table({
            "replica": np.full(len(log.start_ns), number, dtype=np.int32),
            "scheduled_s": log.scheduled_ns / 1e9, "start_s": log.start_ns / 1e9, "end_s": log.end_ns / 1e9,
            "requests": log.n, "tokens": log.tokens, "free_blocks": log.free_blocks, "waiting": log.waiting,
            "running": log.running,
        }))
    return pa.concat_tables(parts)


def write_table(table: pa.Table, file: str) -> None:
    """Writes .parquet or .csv, by the file's ending. Raises InputError where that fails."""
    path = Path(file)
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet as pq

            pq.write_table(table, path)
        elif path.suffix == ".csv":
            import pyarrow.csv as pc

            pc.write_csv(table, path)
        else:
            raise InputError("must end in .csv or .parquet", file=file)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", file=file) from error


def _time(ns: np.ndarray, done: np.ndarray) -> pa.Array:
    return pa.array(ns / 1e9, mask=~done)
