"""Time of one step in the compiled engines, from the look-ups that the reference engine uses too."""

from __future__ import annotations

from numba import types

from simulator.engine.fast_arrays import read
from simulator.pricing.lookup import StepTables, beside_time_ns, decode_time_ns, prefill_time_ns

_I32, _I64, _F64 = types.int32, types.int64, types.float64
TABLES = types.NamedTuple(
    [
        read(_I64),
        read(_F64, 2),
        read(_F64, 2),
        read(_F64),
        read(_F64),
        read(_F64, 2),
        read(_F64),
        read(_I32),
        read(_F64),
        read(_F64),
        read(_I32),
        read(_F64),
        read(_I64),
        read(_I64, 2),
        read(_I64, 2),
        read(_I64),
        read(_I64),
        read(_I64),
        _I64,
        _I64,
        _F64,
        _F64,
        _I64,
        read(_F64),
        read(_F64, 3),
        read(_F64),
    ],
    StepTables,
)


def chunk_ns(tables, chunk, context):
    """Prefill attention of one chunk."""
    return prefill_time_ns(
        chunk,
        context,
        tables.prefill_ns,
        tables.chunk_knots,
        tables.chunk_index,
        tables.per_chunk,
        tables.context_knots,
        tables.context_index,
        tables.per_context,
    )


def batch_ns(tables, batch, context_sum, longest):
    """Decode attention of a batch from the table."""
    return decode_time_ns(
        batch,
        context_sum,
        longest,
        tables.decode_base_ns,
        tables.decode_slope_ns,
        tables.decode_spread_ns,
        tables.inverse,
        tables.context_knots,
        tables.context_index,
    )


def batch_beside_ns(tables, batch, context_sum, longest, chunk):
    """Decode attention of a batch beside prefill chunks, the longest of them `chunk` tokens."""
    return beside_time_ns(
        batch,
        context_sum,
        longest,
        chunk,
        tables.beside_knots,
        tables.beside_ns,
        tables.beside_spread_ns,
        tables.context_knots,
        tables.context_index,
    )
