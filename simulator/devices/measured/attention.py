"""Measured attention effects beyond one operator at a time: mixed batches, uneven contexts, shared launch.

A serving kernel attends to prefill chunks and decodes of a step in one call, and then treats decodes differently from a
batch of decodes alone (flash-attention's variable-length kernel neither splits the context over SMs nor shares K and V
between the query heads of a group, and starts a block per tile of the *longest* chunk for every sequence). Measured over
wide grids the joint time is, within a few per cent, that of the chunk alone plus a decode term that depends on the
longest chunk, the decodes and their context, and hardly on the chunk's own context: `beside`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.devices import roofline
from simulator.devices.measured.device import MeasuredDevice
from simulator.devices.measured.surface import evaluate
from simulator.devices.measured.table import Points, attention_identity
from simulator.model.operators import DecodeAttention, PrefillAttention

Float64 = NDArray[np.float64]

@dataclass(frozen=True)
class AttentionExtras:
    """Of one layer, in seconds. batch: 0..max_sequences; contexts: the given knots.

    launch_s: paid once per step however many chunks and decodes the call serves; it is part of every measured time.
    chunk_knots [c], beside_s [c, batch, contexts]: what decodes add to a call that also serves prefill chunks, the
    longest of them chunk_knots[c] tokens long; None where no mixed batch was measured.
    spread_s [batch], beside_spread_s [batch]: per token by which the longest decode context exceeds the mean.
    """

    launch_s: float
    chunk_knots: Float64 | None
    beside_s: Float64 | None
    spread_s: Float64
    beside_spread_s: Float64


def extras(device: MeasuredDevice, prefill: PrefillAttention, decode: DecodeAttention, max_sequences: int,
           contexts: Float64) -> AttentionExtras | None:
    """What the table of `device` says about steps that hold several kinds of work; None where it lacks this attention."""
    identity = attention_identity(decode)
    alone = [device.table.points(kind, identity) for kind in ("prefill_attention", "decode_attention")]
    if alone[0] is None or alone[1] is None:
        return None
    batch = np.arange(max_sequences + 1, dtype=np.float64)
    spread = device.table.points("decode_spread", identity)
    mixed = device.table.points("mixed_attention", identity)
    launch = min(float(points.seconds.min()) for points in alone if points is not None)
    knots, beside = (None, None) if mixed is None else _beside(device, prefill, decode, mixed, batch, contexts)
    return AttentionExtras(launch, knots, beside, _spread(spread, batch, mixed=False), _spread(spread, batch, mixed=True))


def _beside(device: MeasuredDevice, prefill: PrefillAttention, decode: DecodeAttention, mixed: Points, batch: Float64,
            contexts: Float64) -> tuple[Float64, Float64]:
    fresh = mixed.axes[1] == mixed.axes[1].min()  # chunks with the shortest context measured, normally none
    chunk, before, sequences, context = mixed.axes[:, fresh]
    alone = np.empty(len(chunk))
    for size in np.unique(chunk):
        of_size = chunk == size
        alone[of_size] = device.price(prefill, np.array([size]), before[of_size][:1]).seconds
    added = np.maximum(mixed.seconds[fresh] - alone, 0.0)
    knots = np.unique(chunk)
    inside_batch = np.clip(batch, 1.0, sequences.max())
    inside_context = np.clip(contexts, context.min(), context.max())
    table = evaluate(np.stack([chunk, sequences, context]), added, (knots, inside_batch, inside_context))
    table *= _beyond(device, decode, batch, contexts, inside_batch, inside_context)
    table[:, 0] = 0.0
    return knots, table


def _beyond(device: MeasuredDevice, decode: DecodeAttention, batch: Float64, contexts: Float64, inside_batch: Float64,
            inside_context: Float64) -> Float64:
    """How much more work the roofline sees at a shape than at the nearest measured one; 1 inside the grid."""
    def ideal(b: Float64, c: Float64) -> Float64:
        return roofline.nominal(decode, device.peaks, b[:, None], c[None, :])[0]

    wanted = ideal(np.maximum(batch, 1.0), np.maximum(contexts, inside_context.min()))
    return wanted / ideal(inside_batch, inside_context)


def _spread(points: Points | None, batch: Float64, *, mixed: bool) -> Float64:
    """Median over measured batches of added time per token by which the longest exceeds the mean, by batch size."""
    if points is None:
        return np.zeros(len(batch))
    chunk, sequences, mean, longest = points.axes
    per_token = points.seconds / np.maximum(longest - mean, 1.0)
    chosen = (chunk > 0) == mixed
    sizes = np.unique(sequences[chosen])
    if not len(sizes):
        return np.zeros(len(batch))
    median = np.array([np.median(per_token[chosen & (sequences == size)]) for size in sizes])
    found = np.interp(batch, [1.0, *sizes], [0.0, *np.maximum(median, 0.0)])
    found[:2] = 0.0  # one decode has no spread
    return found
