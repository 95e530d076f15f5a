"""The measurement plan: every operator of a model's shard at a grid of shapes, in a fixed order. Knows no PyTorch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from simulator.design.records.model import Architecture, Precision
from simulator.devices.measured.table import AXES, IDENTITY, identity_of
from simulator.model.layers import operators
from simulator.model.operators import (
    Collective,
    DecodeAttention,
    Gemm,
    NamedOperator,
    Operator,
    PrefillAttention,
    Vector,
)

TILE_ROWS = 16  # rows of a tensor-core instruction: GEMM time is a staircase of this step while weights are few
FINE_ROWS = 256  # up to here every step is measured, as CUDA-graph batch sizes are
STEPS_PER_OCTAVE = 2  # beyond
VECTORS = ("attention_norm", "mlp_norm", "final_norm", "qk_norm", "rotary", "activation", "kv_cache_write", "embedding",
           "position_embedding", "sampling")  # that `kernels` has a call for


@dataclass(frozen=True)
class LargestShapes:
    """The largest shapes measured, in tokens and sequences; kv_bytes: what one attention's keys and values may take."""

    max_tokens: int = 8192
    max_sequences: int = 256
    max_context: int = 32768
    kv_bytes: float = 8e9


@dataclass(frozen=True)
class Point:
    """One operator at one shape. axes: as `simulator.devices.measured.table.AXES` orders them for its kind."""

    name: str
    operator: Operator
    axes: tuple[int, ...]

    @property
    def key(self) -> str:
        """Text that names this point in a journal."""
        return json.dumps([type(self.operator).__name__, self.name, asdict(self.operator), self.axes], sort_keys=True)

    def columns(self) -> dict[str, int | str]:
        """Its row of an operator table, without the time."""
        kind, identity = identity_of(self.operator, self.name)
        return {"kind": kind, "operator": self.name, **dict(zip(IDENTITY[kind], identity, strict=True)),
                **dict(zip(AXES[kind], self.axes, strict=True))}


def plan(arch: Architecture, tensor: int, limits: LargestShapes) -> list[Point]:
    """Every point of one rank of `tensor`, in 16-bit formats. Equal operators are measured once, under the first name.

    Experts' grouped GEMMs, gathers and transfers between pipeline stages are not measured.
    """
    points: list[Point] = []
    seen: set[Operator] = set()
    for named in operators(arch, Precision(), tensor):
        if named.operator not in seen:
            seen.add(named.operator)
            points += [Point(named.name, named.operator, axes) for axes in _shapes(named, arch, limits)]
    return points


def row_counts(largest: int) -> list[int]:
    """1, 2, 4, 8, every TILE_ROWS up to FINE_ROWS, then STEPS_PER_OCTAVE per doubling; `largest` is the last."""
    counts = {1, 2, 4, 8, largest, *range(TILE_ROWS, FINE_ROWS + 1, TILE_ROWS)}
    step = 0
    while (size := round(FINE_ROWS * 2 ** (step / STEPS_PER_OCTAVE))) < largest:
        counts.add(size)
        step += 1
    return sorted(c for c in counts if c <= largest)


def _powers(first: int, largest: int, factor: int) -> list[int]:
    sizes = []
    while first < largest:
        sizes.append(first)
        first *= factor
    return [*sizes, largest]


def _shapes(named: NamedOperator, arch: Architecture, limits: LargestShapes) -> Iterator[tuple[int, ...]]:
    op = named.operator
    if isinstance(op, Gemm) or (isinstance(op, Vector) and named.name in VECTORS):
        rows = limits.max_sequences if named.part == "head" else limits.max_tokens
        yield from ((count,) for count in row_counts(rows))
    elif isinstance(op, Collective) and op.kind == "all_reduce":
        whole = int(op.bytes_per_row)
        yield from ((rows * whole,) for rows in _powers(1, limits.max_tokens, 2))
    elif isinstance(op, DecodeAttention | PrefillAttention):
        longest = min(limits.max_context, arch.max_positions)
        if isinstance(op, DecodeAttention):
            shapes = [(n, c) for n in _powers(1, limits.max_sequences, 2) for c in _powers(16, longest, 4)]
            yield from ((n, c) for n, c in shapes if n * c * op.kv_bytes <= limits.kv_bytes)
        else:
            chunks, contexts = _powers(16, min(limits.max_tokens, longest), 2), [0, *_powers(128, longest, 4)]
            yield from ((n, c) for n in chunks for c in contexts if n + c <= longest)
