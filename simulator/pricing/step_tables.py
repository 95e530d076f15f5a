"""The builder of `StepCosts` from priced curves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from simulator.design.engine_defaults.graphs import GraphCover
from simulator.design.records.hardware import Hardware, Host
from simulator.devices.measured.attention import AttentionExtras
from simulator.pricing import grids
from simulator.pricing.cuda_graphs import exposed_launches_ns, padded
from simulator.pricing.curves import Curve
from simulator.pricing.longest_step import checked, whole_ns
from simulator.pricing.step import BEST, CONCURRENT, INTERLEAVED, SERIAL, StepCosts

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
T = TypeVar("T")
NO_GRAPHS = GraphCover()


@dataclass(frozen=True)
class Sums:
    """The curves of a design added up by part, and attention; seconds, repeats included. Shapes: rows [knots],
    prefill_ns [chunk knots, context knots]. `dense_tables` holds tables by the limits that they were made for."""

    rows: Float64  # knots
    before: Float64
    after: Float64
    half_before: Float64  # as `before` and `after` while PIM works in the same memory
    half_after: Float64
    embed: Float64
    send: Float64
    head: Float64
    decode_ns: Float64  # [batch knots, context knots]
    prefill_ns: Float64
    dense_tables: dict[tuple[Any, ...], Any] = field(default_factory=dict, compare=False, repr=False)


@np.errstate(over="ignore", invalid="ignore")  # `checked` names what overflows
def sums(curves: list[Curve], rows: Float64, beside: list[Curve] | None) -> Sums:
    """`curves` added up. beside: `curves` as they are while PIM works in the same memory, where that slows them: what the
    halves of an interleaved batch take."""
    before, after = _sum(curves, "before", rows), _sum(curves, "after", rows)
    half_before, half_after = (before, after) if beside is None else (_sum(beside, part, rows) for part in ("before", "after"))
    decode, prefill = (_attention_ns(curves, decode=decode) for decode in (True, False))
    return Sums(rows, before, after, half_before, half_after, _sum(curves, "embed", rows), _sum(curves, "send", rows),
                _sum(curves, "head", rows), decode, prefill)


@np.errstate(over="ignore", invalid="ignore")
def step_costs(sums: Sums, hardware: Hardware, stage_layers: Sequence[int], host: Host, max_tokens: int,
               max_sequences: int, channels: tuple[int, float, float] | None, *, extras: AttentionExtras | None = None,
               graphs: GraphCover = NO_GRAPHS, swap_block_s: float = 0.0) -> StepCosts:
    """The step tables of a design.

    host: its engine's times. stage_layers: decoder blocks of each pipeline stage. channels: (count, seconds per request,
    seconds per context token) of one layer, where PIM keeps whole requests on channels. extras: what measured tables say about
    mixed and uneven batches. graphs: CUDA graph sizes that rows are padded to. Times of operators are summed before they are
    rounded to ns.
    """
    layers = sum(stage_layers)
    stages = len(stage_layers)
    overlap = _overlap(hardware)
    mixed = _beside(extras, layers)
    by_tokens = _kept(sums, (stages, max_tokens, graphs), lambda: _by_tokens(sums, stages, max_tokens, graphs))
    stage_tokens = by_tokens.stage_ns
    if host.graphless_layer_s:
        stage_tokens = stage_tokens + exposed_launches_ns(by_tokens.linear_ns, stage_layers, host.graphless_layer_s, graphs)
    stage_sequences = np.zeros((stages, max_sequences + 1), dtype=np.int64)
    stage_sequences[-1] = _kept(sums, ("head", max_sequences), lambda: _dense(
        sums.rows, sums.head, np.arange(max_sequences + 1, dtype=float)))
    stage_sequences[0, 1:] += whole_ns(1e9 * (host.device_step_s + host.device_sequence_s * np.arange(1, max_sequences + 1)))
    half_before = half_after = None
    if overlap in (INTERLEAVED, BEST):
        half_before, half_after = _kept(sums, ("halves", max_tokens, graphs), lambda: [
            _dense(sums.rows, half, by_tokens.rows / 2) for half in (sums.half_before, sums.half_after)])
    return checked(StepCosts(
        linear_ns=by_tokens.linear_ns,
        decode_ns=_kept(sums, ("decode", max_sequences), lambda: _per_batch(sums.decode_ns, max_sequences)),
        decode_spread_ns=np.zeros(max_sequences + 1) if extras is None else extras.spread_s * layers * 1e9,
        channels=channels[0] if channels else 0,
        channel_request_ns=channels[1] * layers * 1e9 if channels else 0.0,
        channel_token_ns=channels[2] * layers * 1e9 if channels else 0.0,
        prefill_ns=sums.prefill_ns,
        chunk_knots=grids.chunk_knots(),
        context_knots=grids.context_knots(),
        stage_layers=np.asarray(stage_layers, dtype=np.int64),
        stage_tokens_ns=stage_tokens,
        stage_sequences_ns=stage_sequences,
        host_ns=whole_ns(1e9 * (host.step_s + host.sequence_s * np.arange(max_sequences + 1))),
        overlap=overlap,
        half_before_ns=half_before,
        half_after_ns=half_after,
        beside_knots=mixed[0],
        beside_ns=mixed[1],
        beside_spread_ns=mixed[2],
        swap_block_ns=int(whole_ns(np.float64(swap_block_s * 1e9))),
    ), max_tokens)


@dataclass(frozen=True)
class _ByTokens:
    rows: Float64  # that a step of so many tokens runs with
    linear_ns: Int64
    stage_ns: Int64  # [stages, tokens]


def _by_tokens(sums: Sums, stages: int, max_tokens: int, graphs: GraphCover) -> _ByTokens:
    tokens = padded(np.arange(max_tokens + 1), graphs)
    stage_tokens = np.zeros((stages, max_tokens + 1), dtype=np.int64)
    stage_tokens[0] += _dense(sums.rows, sums.embed, tokens)
    if stages > 1:  # every stage but the last sends its rows on; one send was counted for each of them
        stage_tokens[:-1] += _dense(sums.rows, sums.send / (stages - 1), tokens)
    return _ByTokens(tokens, _dense(sums.rows, sums.before + sums.after, tokens), stage_tokens)


def _kept(sums: Sums, key: tuple[Any, ...], compute: Callable[[], T]) -> T:
    found = sums.dense_tables.get(key)
    if found is None:
        found = sums.dense_tables[key] = compute()
    return found


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


@np.errstate(over="ignore", invalid="ignore")
def dense_ns(curves: list[Curve], part: str, rows: Float64, most: int) -> Int64:
    """All operators of a part, repeats included, in ns at every count of rows 0..most; shape [most + 1]."""
    return _dense(rows, _sum(curves, part, rows), np.arange(most + 1, dtype=float))


def _dense(rows: Float64, seconds: Float64, at: Float64) -> Int64:
    """ns at every count in `at` (zero rows cost nothing; below one row, the price of one)."""
    ns = whole_ns(np.interp(at, rows, seconds * 1e9))
    ns[at == 0] = 0
    return ns


def _attention_ns(curves: list[Curve], *, decode: bool) -> Float64:
    """All layers' attention and recurrences of decodes, or of prefill chunks, over the canonical grid."""
    found = [c.seconds * c.repeats * 1e9 for c in curves if c.part == "attention" and c.name.startswith("decode") == decode]
    if not found:  # a model without attention: nothing, at any shape
        batches, chunks = len(grids.batch_knots(1)), len(grids.chunk_knots())
        return np.zeros((batches if decode else chunks, len(grids.context_knots())))
    return np.asarray(sum(found[1:], found[0]))


def _per_batch(table: Float64, max_sequences: int) -> Float64:
    """Decode attention in ns at every batch 0..max_sequences and context knot, interpolated between batch knots."""
    knots = grids.batch_knots(max_sequences)
    b = np.arange(1, max_sequences + 1, dtype=float)
    right = np.clip(np.searchsorted(knots, b), 1, len(knots) - 1)
    share = ((b - knots[right - 1]) / (knots[right] - knots[right - 1]))[:, None]
    result = np.zeros((max_sequences + 1, table.shape[1]))
    result[1:] = table[right - 1] * (1 - share) + table[right] * share
    return result


