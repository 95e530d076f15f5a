"""A workload's requests one piece at a time, for streaming: those of `load_trace`, without what prompts contain."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from simulator.design.records.workload import Workload
from simulator.inputs.errors import InputError
from simulator.inputs.files import open_lines
from simulator.inputs.narrowing import int32
from simulator.workload.load import clip, time_scale, too_few
from simulator.workload.synthetic import drawn_pieces
from simulator.workload.trace import Trace
from simulator.workload.trace_files import clock_start_ns, rows_of

PIECE = 1 << 17  # requests
_MISSING = "no such trace file"
_LEAST_LINE = 6  # bytes of a request in any format


def pieces_of(workload: Workload, most: int = PIECE) -> Iterator[Trace]:
    """The requests, at most `most` at a time; a file is read twice where its time axis is stretched.

    Raises InputError where the trace file is missing, malformed or not in order of arrival.
    """
    start_ns, scale = 0, 0.0
    if workload.rate_per_s is not None:
        start_ns, scale = time_scale(*_extent(workload, most), workload.rate_per_s)
    for piece in _raw(workload, most):
        piece = clip(piece, workload.max_prompt_tokens, workload.max_output_tokens)
        if workload.rate_per_s is not None:
            piece = replace(piece, arrival_ns=np.rint((piece.arrival_ns - start_ns) * scale).astype(np.int64))
        yield piece


def exceeds(workload: Workload, requests: int) -> bool:
    """Whether the workload has more requests; a file's are counted as its lines."""
    if workload.requests is not None and workload.requests <= requests:
        return False
    if workload.trace is None:
        return True
    path = Path(workload.trace)
    with open_lines(path, missing=_MISSING, key="workload.trace") as lines:
        if path.suffix != ".gz" and path.stat().st_size <= _LEAST_LINE * requests:
            return False
        return next(itertools.islice(lines, requests + 1, None), None) is not None


def has_contents(workload: Workload) -> bool:
    """Whether the trace says what prompts contain, as far as its first request shows."""
    if workload.trace is None:
        return False
    with open_lines(Path(workload.trace), missing=_MISSING, key="workload.trace") as lines:
        return next(rows_of(lines, workload.trace))[1] is not None


def _raw(workload: Workload, most: int) -> Iterator[Trace]:
    if workload.trace is None:
        return drawn_pieces(workload, most)
    return _file_pieces(workload.trace, workload.requests, most)


def _extent(workload: Workload, most: int) -> tuple[int, int, int]:
    """Requests, first and last arrival."""
    count, ends = 0, (0, 0)
    for piece in _raw(workload, most):
        ends = int(piece.arrival_ns[0]) if not count else ends[0], int(piece.arrival_ns[-1])
        count += len(piece)
    return count, *ends


def _file_pieces(name: str, requests: int | None, most: int) -> Iterator[Trace]:
    with open_lines(Path(name), missing=_MISSING, key="workload.trace") as lines:
        rows = (row for row, _ in itertools.islice(rows_of(lines, name), requests))
        start_ns = latest_ns = None
        count = 0
        while batch := list(itertools.islice(rows, most)):
            table = np.array(batch, np.int64)
            arrival = table[:, 0]
            if start_ns is None:
                start_ns, latest_ns = clock_start_ns(int(arrival[0])), int(arrival[0])
            if arrival[0] < latest_ns or np.any(arrival[1:] < arrival[:-1]):
                raise InputError("is read in pieces, and must be in order of arrival for that: sort it, or set workload.requests "
                                 "to fewer", file=name)
            latest_ns = int(arrival[-1])
            count += len(batch)
            prompt, output, priority = int32(table[:, 1:].T, "priority", file=name)
            yield Trace(arrival - start_ns, prompt, output, priority)
        if start_ns is None:
            raise InputError("holds no requests", file=name)
        if requests is not None and count < requests:
            raise too_few(count, requests, name)
