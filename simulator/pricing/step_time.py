"""The formulas for the time of a step from priced tables; both engines run this one source.

Plain functions on numbers and arrays. The reference engine calls them as ordinary Python; a numba function may call
them unchanged (`register_jitable`), so both engines round alike to the last bit. No time is below 0,
where a table falls towards its last knots and is extended beyond them. Formulas: `simulator.pricing.step`.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.inputs.errors import InputError
from simulator.pricing.compiled import callable_from_compiled, index
from simulator.pricing.step import BEST, CONCURRENT, INTERLEAVED, SERIAL, StepCosts

Int64 = NDArray[np.int64]
Int32 = NDArray[np.int32]
Float64 = NDArray[np.float64]

STRIDE_BITS = 4
STRIDE = 1 << STRIDE_BITS  # the index of an axis has one entry per so many units


class StepTables(NamedTuple):
    """`StepCosts` with typed contiguous arrays, at least two knots per axis and an index per knot axis."""

    linear_ns: Int64  # [T_max + 1]
    decode_base_ns: Float64  # [n_max + 1, context cells]: time = base + slope * sum of contexts, in each cell
    decode_slope_ns: Float64  # [n_max + 1, context cells]
    decode_spread_ns: Float64  # [n_max + 1]
    inverse: Float64  # [n_max + 1]: 1 / batch
    prefill_ns: Float64  # [chunk knots, context knots]
    chunk_knots: Float64
    chunk_index: Int32
    per_chunk: Float64  # [chunk cells] inverse widths
    context_knots: Float64
    context_index: Int32
    per_context: Float64  # [context cells]
    stage_layers: Int64  # [stages]
    stage_tokens_ns: Int64  # [stages, T_max + 1]
    stage_sequences_ns: Int64  # [stages, n_max + 1]
    host_ns: Int64  # [n_max + 1]
    half_before_ns: Int64  # [T_max + 1]
    half_after_ns: Int64  # [T_max + 1]
    overlap: int
    channels: int
    channel_request_ns: float
    channel_token_ns: float
    swap_block_ns: int
    beside_knots: Float64  # empty: decodes cost the same beside chunks
    beside_ns: Float64  # [beside knots, n_max + 1, context knots]
    beside_spread_ns: Float64  # [n_max + 1]
    verify_base_ns: Float64  # as decode_base_ns and decode_slope_ns, which it equals where verifying costs nothing more
    verify_slope_ns: Float64
    draft_tokens_ns: Int64  # [T_max + 1]
    draft_sequences_ns: Int64  # [n_max + 1]


def step_tables(costs: StepCosts) -> StepTables:
    """`costs` ready for the look-ups below.

    Raises InputError where an axis is not ascending or a table does not fit its axes.
    """
    decode, prefill = _float(costs.decode_ns), _float(costs.prefill_ns)
    chunk_knots, context_knots = _float(costs.chunk_knots), _float(costs.context_knots)
    for key, knots in (("chunk_knots", chunk_knots), ("context_knots", context_knots)):
        if knots.ndim != 1 or not _ascending(knots.tobytes()):
            raise InputError("must be a strictly ascending list of numbers", key=key)
    if decode.ndim != 2 or decode.shape[1] != len(context_knots):
        raise InputError(f"needs {len(context_knots)} columns, one per context knot", key="decode_ns")
    if prefill.shape != (len(chunk_knots), len(context_knots)):
        raise InputError(f"must have shape {len(chunk_knots), len(context_knots)}", key="prefill_ns")
    halves = (costs.half_before_ns, costs.half_after_ns)
    if costs.overlap in (INTERLEAVED, BEST) and (halves[0] is None or halves[1] is None):
        raise InputError("INTERLEAVED needs half_before_ns and half_after_ns", key="overlap")
    if costs.overlap not in (SERIAL, CONCURRENT, INTERLEAVED, BEST):
        raise InputError(f"no overlap mode {costs.overlap}", key="overlap")
    verify = decode if costs.verify_ns is None else _float(costs.verify_ns)
    if verify.shape != decode.shape:
        raise InputError(f"must have shape {decode.shape}", key="verify_ns")
    none = np.zeros(len(costs.linear_ns), np.int64)
    beside_knots, beside, beside_spread = _beside(costs, decode)
    if len(context_knots) == 1:  # a constant is a flat cell
        beside = np.repeat(beside, 2, axis=2)
        context_knots = np.array([context_knots[0], context_knots[0] + 1.0])
        decode, verify, prefill = (np.repeat(table, 2, axis=1) for table in (decode, verify, prefill))
    if len(chunk_knots) == 1:
        chunk_knots = np.array([chunk_knots[0], chunk_knots[0] + 1.0])
        prefill = np.repeat(prefill, 2, axis=0)
    base, slope, inverse = decode_lines(decode, context_knots)
    verify_base, verify_slope = (base, slope) if costs.verify_ns is None else decode_lines(verify, context_knots)[:2]
    return StepTables(
        _int(costs.linear_ns), base, slope, _float(costs.decode_spread_ns), inverse, prefill,
        chunk_knots, knot_index(chunk_knots), 1.0 / np.diff(chunk_knots),
        context_knots, knot_index(context_knots), 1.0 / np.diff(context_knots),
        _int(costs.stage_layers), _int(costs.stage_tokens_ns), _int(costs.stage_sequences_ns), _int(costs.host_ns),
        _int(none if halves[0] is None else halves[0]), _int(none if halves[1] is None else halves[1]),
        int(costs.overlap), int(costs.channels), float(costs.channel_request_ns), float(costs.channel_token_ns),
        int(costs.swap_block_ns), beside_knots, beside, beside_spread, verify_base, verify_slope,
        _int(none if costs.draft_tokens_ns is None else costs.draft_tokens_ns),
        _int(np.zeros(len(decode)) if costs.draft_sequences_ns is None else costs.draft_sequences_ns),
    )


def _beside(costs: StepCosts, decode: Float64) -> tuple[Float64, Float64, Float64]:
    """The beside tables, empty where there are none. Raises InputError where they do not fit the decode table."""
    if costs.beside_ns is None or costs.beside_knots is None:
        return np.zeros(0), np.zeros((0, 1, decode.shape[1])), np.zeros(1)
    knots, table = _float(costs.beside_knots), _float(costs.beside_ns)
    spread = _float(costs.decode_spread_ns if costs.beside_spread_ns is None else costs.beside_spread_ns)
    if knots.ndim != 1 or len(knots) == 0 or np.any(np.diff(knots) <= 0):
        raise InputError("must be a strictly ascending list of numbers", key="beside_knots")
    if table.shape != (len(knots), *decode.shape) or len(spread) != len(decode):
        raise InputError(f"must have shape {(len(knots), *decode.shape)}", key="beside_ns")
    return knots, table, spread


def decode_lines(decode_ns: Float64, knots: Float64) -> tuple[Float64, Float64, Float64]:
    """The line of every cell of the decode table, as a function of the sum of contexts (batch times the mean), and
    1 / batch. Row 0, no decode, is not used."""
    batch = np.maximum(np.arange(len(decode_ns), dtype=np.float64), 1.0)[:, None]
    slope = np.diff(decode_ns, axis=1) / (batch * np.diff(knots))
    return decode_ns[:, :-1] - slope * (batch * knots[:-1]), slope, 1.0 / batch[:, 0]


def knot_index(knots: Float64) -> Int32:
    """For every multiple of STRIDE up to the last knot: the cell it lies in, so that `cell` starts beside its goal."""
    return _knot_index(knots.tobytes())


@functools.lru_cache(maxsize=64)  # all designs of a sweep have the same few axes
def _ascending(raw: bytes) -> bool:
    knots = np.frombuffer(raw)
    return len(knots) > 0 and bool((knots[1:] > knots[:-1]).all())


@functools.lru_cache(maxsize=64)
def _knot_index(raw: bytes) -> Int32:
    knots = np.frombuffer(raw)
    marks = np.arange(int(knots[-1]) // STRIDE + 1) * STRIDE
    cells = np.searchsorted(knots, marks, side="right") - 1
    index = np.clip(cells, 0, len(knots) - 2).astype(np.int32)
    index.flags.writeable = False
    return index


def cell(x, knots, marks):  # type: ignore[no-untyped-def]
    """The cell [knots[c], knots[c + 1]) that holds `x`; the first or last one for `x` outside. O(1) where knots are
    at least STRIDE apart. `marks`: the `knot_index` of the knots."""
    last = index(len(knots) - 2)
    mark = index(int(x) >> STRIDE_BITS)
    if mark >= index(len(marks)):
        return last
    c = index(marks[mark])
    while c < last and x >= knots[index(c + 1)]:
        c = index(c + 1)
    return c


def decode_cell(batch, context_sum, knots, marks, inverse):  # type: ignore[no-untyped-def]
    """`cell` of the mean context, without a division: `inverse` is 1 / batch."""
    last = index(len(knots) - 2)
    mark = index(int(context_sum * inverse) >> STRIDE_BITS)
    if mark >= index(len(marks)):
        return last
    c = index(marks[mark])
    while c < last and context_sum >= knots[index(c + 1)] * batch:
        c = index(c + 1)
    return c


def decode_time_ns(batch, context_sum, longest, base, slope, spread, inverse, knots, marks):  # type: ignore[no-untyped-def]
    """Decode attention of `batch` >= 1 one-token entries with `context_sum` tokens in all and `longest` in one.

    Linear in the mean context between its knots, plus `spread[batch]` ns per token by which the longest exceeds it.
    """
    b = index(batch)
    c = decode_cell(batch, context_sum, knots, marks, inverse[b])
    return decode_in_cell_ns(context_sum, longest, base[b, c], slope[b, c], spread[b], inverse[b])


def decode_in_cell_ns(context_sum, longest, base, slope, spread, inverse):  # type: ignore[no-untyped-def]
    """`decode_time_ns` once its cell is known."""
    return int(max(base + slope * context_sum + spread * (longest - context_sum * inverse), 0.0) + 0.5)


def decode_on_line_ns(context_sum, base, slope):  # type: ignore[no-untyped-def]
    """`decode_in_cell_ns` where the spread costs nothing, without its longer way through the processor."""
    return int(max(base + slope * context_sum, 0.0) + 0.5)


def beside_time_ns(batch, context_sum, longest, chunk, beside_knots, table, spread, knots, marks):  # type: ignore[no-untyped-def]
    """Decode attention beside prefill chunks, the longest of them `chunk` tokens: as `decode_time_ns`, lerp along chunk
    (ends held)."""
    mean, b = context_sum / batch, index(batch)
    c = cell(mean, knots, marks)
    above = index(c + 1)
    along = (mean - knots[c]) / (knots[above] - knots[c])
    r = index(0)
    while r + 2 < len(beside_knots) and chunk >= beside_knots[index(r + 1)]:
        r = index(r + 1)
    at_mean = table[r, b, c] + (table[r, b, above] - table[r, b, c]) * along
    if len(beside_knots) > 1 and chunk > beside_knots[r]:
        s = index(r + 1)
        share = min((chunk - beside_knots[r]) / (beside_knots[s] - beside_knots[r]), 1.0)
        upper = table[s, b, c] + (table[s, b, above] - table[s, b, c]) * along
        at_mean += (upper - at_mean) * share
    return int(max(at_mean + spread[b] * (longest - mean), 0.0) + 0.5)


def channel_time_ns(requests, context, request_ns, token_ns):  # type: ignore[no-untyped-def]
    """Decode attention on PIM with whole requests on channels: `requests[c]` one-token entries with `context[c]`
    tokens in all on channel c; the busiest channel counts."""
    busiest = 0.0
    for c in range(index(len(requests))):
        busiest = max(busiest, request_ns * requests[c] + token_ns * context[c])
    return int(busiest + 0.5)


def prefill_time_ns(chunk, context, table, chunks, chunk_marks, per_chunk, contexts, context_marks, per_context):  # type: ignore[no-untyped-def]
    """Prefill attention of one chunk of `chunk` tokens with `context` tokens before it: bilinear, context first.

    `per_chunk` and `per_context` are the inverse widths of the cells of the knots `chunks` and `contexts`.
    """
    r, c = cell(chunk, chunks, chunk_marks), cell(context, contexts, context_marks)
    upper, right = index(r + 1), index(c + 1)
    along = (context - contexts[c]) * per_context[c]
    low = table[r, c] + (table[r, right] - table[r, c]) * along
    high = table[upper, c] + (table[upper, right] - table[upper, c]) * along
    return int(max(low + (high - low) * ((chunk - chunks[r]) * per_chunk[r]), 0.0) + 0.5)


def blocks_time_ns(overlap, linear, prefill, decode, half_before, half_after, layers):  # type: ignore[no-untyped-def]
    """All decoder blocks: linear operators combined with attention as `overlap` says. Integers in, integer out."""
    if overlap == SERIAL:
        return linear + prefill + decode
    concurrent = linear + max(prefill, decode)
    if overlap == CONCURRENT:
        return concurrent
    before, after = 2 * half_before, 2 * half_after
    total = (before + max(before + prefill, decode)
             + (2 * layers - 2) * max(before + prefill + after, decode)
             + max(prefill + after, decode) + after)
    interleaved = -(-total // (2 * layers))
    if overlap == INTERLEAVED:
        return interleaved
    return min(concurrent, interleaved)


def stage_time_ns(blocks, stage_layers, layers, tokens_ns, sequences_ns):  # type: ignore[no-untyped-def]
    """One pipeline stage: its share of the decoder blocks, rounded up, and what only it does (embedding, head...)."""
    return -(-blocks * stage_layers // layers) + tokens_ns + sequences_ns


def _float(array: NDArray[np.generic]) -> Float64:
    return np.ascontiguousarray(array, dtype=np.float64)


def _int(array: NDArray[np.generic]) -> Int64:
    return np.ascontiguousarray(array, dtype=np.int64)


callable_from_compiled(__name__)
