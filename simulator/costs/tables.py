"""From priced curves to the tables that an engine times its steps with (`StepCosts`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from simulator.costs import grids
from simulator.costs.curves import Curve
from simulator.costs.launch import graphless, padded
from simulator.costs.step import BEST, CONCURRENT, INTERLEAVED, SERIAL, StepCosts
from simulator.hardware.measured.attention import AttentionExtras
from simulator.schema.hardware import Hardware

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


def step_costs(curves: list[Curve], hardware: Hardware, stage_layers: Sequence[int], max_tokens: int, max_sequences: int,
               channels: tuple[int, float, float] | None, *, extras: AttentionExtras | None = None,
               capture_sizes: Sequence[int] = (), beside: list[Curve] | None = None,
               swap_block_s: float = 0.0) -> StepCosts:
    """The step tables of a design.

    stage_layers: decoder blocks of each pipeline stage. channels: (count, seconds per request, seconds per context token)
    of one layer, where PIM keeps whole requests on channels. extras: what measured tables say about mixed and uneven
    batches. capture_sizes: CUDA graph sizes that rows are padded to. beside: `curves` as they are while PIM works in the
    same memory, where that slows them: what the halves of an interleaved batch take. Times of operators are summed before they are
    rounded to ns.
    """
    rows = grids.row_knots(max(max_tokens, max_sequences))
    tokens = padded(np.arange(max_tokens + 1), capture_sizes)
    before = _sum(curves, "before", rows)
    after = _sum(curves, "after", rows)
    layers = sum(stage_layers)
    stages = len(stage_layers)
    stage_tokens = np.zeros((stages, max_tokens + 1), dtype=np.int64)
    stage_tokens[0] += _dense(rows, _sum(curves, "embed", rows), tokens)
    if stages > 1:  # every stage but the last sends its rows on; one send was counted for each of them
        stage_tokens[:-1] += _dense(rows, _sum(curves, "send", rows) / (stages - 1), tokens)
    stage_sequences = np.zeros((stages, max_sequences + 1), dtype=np.int64)
    stage_sequences[-1] = _dense(rows, _sum(curves, "head", rows), np.arange(max_sequences + 1, dtype=float))
    decode = _attention(curves, decode=True)
    prefill = _attention(curves, decode=False)
    host = hardware.host
    stage_sequences[0, 1:] += _ns(host.device_step_s + host.device_sequence_s * np.arange(1, max_sequences + 1))
    stage_tokens[0, graphless(np.arange(max_tokens + 1), capture_sizes)] += _ns(np.asarray(host.graphless_step_s))
    overlap, half = _overlap(hardware), tokens / 2
    half_before, half_after = (before, after) if beside is None else (_sum(beside, part, rows) for part in ("before", "after"))
    interleaves = overlap in (INTERLEAVED, BEST)
    mixed = _beside(extras, layers)
    return StepCosts(
        linear_ns=_dense(rows, before + after, tokens),
        decode_ns=_per_batch(decode, max_sequences),
        decode_spread_ns=np.zeros(max_sequences + 1) if extras is None else extras.spread_s * layers * 1e9,
        channels=channels[0] if channels else 0,
        channel_request_ns=channels[1] * layers * 1e9 if channels else 0.0,
        channel_token_ns=channels[2] * layers * 1e9 if channels else 0.0,
        prefill_ns=prefill.seconds * prefill.repeats * 1e9,
        chunk_knots=np.array(grids.chunk_knots()),
        context_knots=np.array(grids.context_knots()),
        stage_layers=np.asarray(stage_layers, dtype=np.int64),
        stage_tokens_ns=stage_tokens,
        stage_sequences_ns=stage_sequences,
        host_ns=_ns(host.step_s + host.sequence_s * np.arange(max_sequences + 1)),
        overlap=overlap,
        half_before_ns=_dense(rows, half_before, half) if interleaves else None,
        half_after_ns=_dense(rows, half_after, half) if interleaves else None,
        beside_knots=mixed[0],
        beside_ns=mixed[1],
        beside_spread_ns=mixed[2],
        swap_block_ns=round(swap_block_s * 1e9),
    )


def _ns(seconds: Float64) -> Int64:
    return np.rint(seconds * 1e9).astype(np.int64)


def _beside(extras: AttentionExtras | None, layers: int) -> tuple[Float64 | None, Float64 | None, Float64 | None]:
    if extras is None or extras.beside_s is None:
        return None, None, None
    return extras.chunk_knots, extras.beside_s * layers * 1e9, extras.beside_spread_s * layers * 1e9


def _overlap(hardware: Hardware) -> int:
    if not hardware.attention_on_pim or hardware.pim_and_npu_in_turn:
        return SERIAL
    return {"never": CONCURRENT, "always": INTERLEAVED, "auto": BEST}[hardware.pim.sub_batches]


def _sum(curves: list[Curve], part: str, rows: Float64) -> Float64:
    """Seconds of all operators of a part, repeats included, at the row knots."""
    total = np.zeros(len(rows))
    for curve in curves:
        if curve.part == part:
            total += curve.seconds * curve.repeats
    return total


def _dense(rows: Float64, seconds: Float64, at: Float64) -> Int64:
    """ns at every count in `at` (zero rows cost nothing; below one row, the price of one)."""
    ns = np.rint(np.interp(at, rows, seconds * 1e9)).astype(np.int64)
    ns[at == 0] = 0
    return ns


def _attention(curves: list[Curve], *, decode: bool) -> Curve:
    found = [c for c in curves if c.part == "attention" and (c.name.startswith("decode") == decode)]
    assert len(found) == 1, [c.name for c in curves]
    return found[0]


def _per_batch(decode: Curve, max_sequences: int) -> Float64:
    """Decode attention in ns at every batch 0..max_sequences and context knot, interpolated between batch knots."""
    knots = grids.batch_knots(max_sequences)
    table = decode.seconds * decode.repeats * 1e9
    b = np.arange(1, max_sequences + 1, dtype=float)
    right = np.clip(np.searchsorted(knots, b), 1, len(knots) - 1)
    share = ((b - knots[right - 1]) / (knots[right] - knots[right - 1]))[:, None]
    result = np.zeros((max_sequences + 1, table.shape[1]))
    result[1:] = table[right - 1] * (1 - share) + table[right] * share
    return result


