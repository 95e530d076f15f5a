"""A table of measured operators in memory: plain columns, and the operators found in it.

Columns (see `COLUMNS`; zero where a column does not apply to a row's kind):

| kind | identified by | axes |
| --- | --- | --- |
| gemm | n, k, weight_bits, activation_bits | rows |
| experts | experts, per_token, k (model width), n (expert width), weight_bits, activation_bits | rows (tokens), awake |
| vector | operator (its name in `simulator.model.layers`), width | rows |
| prefill_attention | heads, kv_heads, head_dim, kv_bits, activation_bits | chunk, context (tokens before the chunk) |
| decode_attention | the same | sequences, decode_context (mean tokens read by each) |
| mixed_attention | the same | chunk, context, sequences, decode_context: one call that serves both |
| decode_spread | the same | chunk (0: decodes alone), sequences, decode_context (mean), decode_longest; `seconds` is what
  the longest adds to the time of the same batch with every sequence at the mean |
| collective | operator (all_reduce, all_gather, p2p), ranks | bytes (whole message) |

`experts` is a whole mixture-of-experts block (router, both grouped GEMMs, activation, sum) with `awake` experts that got
tokens.

One row is one measurement: `seconds` of one execution on one rank. Rows with equal identity and axes are averaged.
`docs/measured-hardware.md` describes the columns, their units and the metadata for those who write tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.inputs.errors import InputError
from simulator.model.operators import Collective, DecodeAttention, Gemm, GroupedGemm, Operator, PrefillAttention, Vector

Float64 = NDArray[np.float64]

KINDS = ("gemm", "experts", "vector", "prefill_attention", "decode_attention", "mixed_attention", "decode_spread", "collective")
TEXT = ("kind", "operator")
WHOLE = ("n", "k", "width", "heads", "kv_heads", "head_dim", "weight_bits", "activation_bits", "kv_bits", "ranks",
         "experts", "per_token", "rows", "awake", "chunk", "context", "sequences", "decode_context", "decode_longest", "bytes")
COLUMNS = (*TEXT, *WHOLE, "seconds")
NOISE = ("mad_s", "repeats")  # what a measurer may add: median absolute deviation in seconds and count of the repeats
ATTENTION = ("heads", "kv_heads", "head_dim", "kv_bits", "activation_bits")
IDENTITY = {
    "gemm": ("n", "k", "weight_bits", "activation_bits"),
    "experts": ("experts", "per_token", "k", "n", "weight_bits", "activation_bits"),
    "vector": ("operator", "width"),
    "collective": ("operator", "ranks"),
    **dict.fromkeys(("prefill_attention", "decode_attention", "mixed_attention", "decode_spread"), ATTENTION),
}
AXES = {
    "gemm": ("rows",),
    "experts": ("rows", "awake"),
    "vector": ("rows",),
    "collective": ("bytes",),
    "prefill_attention": ("chunk", "context"),
    "decode_attention": ("sequences", "decode_context"),
    "mixed_attention": ("chunk", "context", "sequences", "decode_context"),
    "decode_spread": ("chunk", "sequences", "decode_context", "decode_longest"),
}

Identity = tuple[str | int, ...]


@dataclass(frozen=True)
class Points:
    """Measurements of one operator: axes [axes, points] in the order of AXES, seconds [points], no two points alike."""

    axes: Float64
    seconds: Float64


@dataclass(frozen=True)
class OperatorTable:
    """Measured operators of one device. `meta`: device, framework, source and what else the measurer knew.

    Build with `from_columns`; `content_hash` stands for columns and metadata alike, NOISE left out: no price depends on it.
    """

    columns: Mapping[str, NDArray[Any]]
    meta: Mapping[str, str]
    content_hash: str
    _points: dict[tuple[str, Identity], Points] = field(default_factory=dict, repr=False)

    def points(self, kind: str, identity: Identity) -> Points | None:
        """The measurements of one operator; None where there are none."""
        return self._points.get((kind, identity))

    def identities(self, kind: str) -> list[Identity]:
        """Every operator of a kind that was measured."""
        return sorted(identity for found, identity in self._points if found == kind)

    def __len__(self) -> int:
        return len(self.columns["seconds"])


def from_columns(columns: Mapping[str, NDArray[Any]], meta: Mapping[str, str]) -> OperatorTable:
    """The table in these columns (missing ones are zero). Raises InputError for unknown kinds or times that are not > 0."""
    count = len(columns["seconds"])
    full: dict[str, NDArray[Any]] = {}
    for name in (*COLUMNS, *NOISE):
        dtype = "U32" if name in TEXT else np.int64 if name in (*WHOLE, "repeats") else np.float64
        given = columns.get(name)
        full[name] = np.zeros(count, dtype=dtype) if given is None else _column(np.asarray(given), name, dtype)
        if len(full[name]) != count:
            raise InputError(f"has {len(full[name])} rows, seconds has {count}", key=name)
    seconds, kind = np.asarray(full["seconds"], np.float64), full["kind"]
    for unknown in sorted({str(k) for k in np.unique(kind)} - set(KINDS)):
        raise InputError(f"'{unknown}' is not one of {', '.join(KINDS)}", key="kind")
    positive = (seconds > 0) | (kind == "decode_spread")  # a spread may be a small gain
    if not (np.isfinite(seconds).all() and positive.all()):
        raise InputError("every time must be finite and above zero", key="seconds")
    digest = blake2b(digest_size=16)
    for name in COLUMNS:
        digest.update(name.encode() + b"\0" + full[name].tobytes() + b"\0")
    digest.update(repr(sorted(meta.items())).encode())
    return OperatorTable(full, dict(meta), digest.hexdigest(), _group(full))


def _column(given: NDArray[Any], name: str, dtype: Any) -> NDArray[Any]:
    """A column in its type; nothing is cut or wrapped on the way. Raises InputError, or ValueError for another type."""
    if name in TEXT:
        cut = given.astype(dtype)
        if len(given) and (cut != given.astype(str)).any():
            raise InputError(f"holds a text of more than {cut.dtype.itemsize // 4} characters", key=name)
        return cut
    numbers = given.astype(np.float64)
    if name in (*WHOLE, "repeats") and not ((numbers >= 0) & (numbers < 2.0**53) & (numbers == np.rint(numbers))).all():
        raise InputError("every value must be a whole number from 0 to 2^53", key=name)
    return given.astype(dtype)


def at_speed(table: OperatorTable, factor: float) -> OperatorTable:
    """`table` with every time multiplied by `factor`: another clock than the measurer's."""
    if factor == 1.0:
        return table
    return from_columns({**table.columns, "seconds": table.columns["seconds"] * factor}, table.meta)


def identity_of(operator: Operator, name: str = "") -> tuple[str, Identity]:
    """(kind, identity) of an operator of a model; vectors are known by their `name`."""
    if isinstance(operator, Gemm):
        return "gemm", (operator.n, operator.k, operator.weight_bits, operator.activation_bits)
    if isinstance(operator, GroupedGemm):
        return "experts", expert_identity(operator)
    if isinstance(operator, Vector):
        return "vector", (name, operator.width)
    if isinstance(operator, Collective):
        return "collective", (operator.kind, operator.ranks)
    if not isinstance(operator, PrefillAttention | DecodeAttention) or operator.kind != "full":
        return "other", (repr(operator),)  # no table has kinds of their own for these yet: the datasheet's model prices them
    kind = "prefill_attention" if isinstance(operator, PrefillAttention) else "decode_attention"
    return kind, attention_identity(operator)


def expert_identity(operator: GroupedGemm) -> Identity:
    """Identity of the block that `operator`, the second grouped GEMM (expert width to model width), closes."""
    return (operator.experts, operator.per_token, operator.n, operator.k, operator.weight_bits, operator.activation_bits)


def attention_identity(operator: PrefillAttention | DecodeAttention) -> Identity:
    """Identity shared by all attention kinds of one model shard."""
    return (operator.heads, operator.kv_heads, operator.head_dim, operator.kv_bits, operator.activation_bits)


def _group(columns: Mapping[str, NDArray[Any]]) -> dict[tuple[str, Identity], Points]:
    groups: dict[tuple[str, Identity], Points] = {}
    for kind in KINDS:
        of_kind = np.flatnonzero(columns["kind"] == kind)
        if not len(of_kind):
            continue
        keys = list(zip(*(columns[c][of_kind].tolist() for c in IDENTITY[kind]), strict=True))
        members: dict[Identity, list[int]] = {}
        for row, key in zip(of_kind.tolist(), keys, strict=True):
            members.setdefault(key, []).append(row)
        for key, rows in members.items():
            axes = np.stack([columns[c][rows].astype(np.float64) for c in AXES[kind]])
            groups[kind, key] = _averaged(axes, columns["seconds"][rows].astype(np.float64))
    return groups


def _averaged(axes: Float64, seconds: Float64) -> Points:
    unique, inverse = np.unique(axes, axis=1, return_inverse=True)
    inverse = inverse.reshape(-1)
    count = np.bincount(inverse, minlength=unique.shape[1])
    return Points(unique, np.bincount(inverse, weights=seconds, minlength=unique.shape[1]) / count)
