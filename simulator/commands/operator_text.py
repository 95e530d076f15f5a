"""The parser of operators written on a command line, such as "gemm m=1..8192 n=4096 k=4096 dtype=bf16".

Kinds and their keys (axes may be a list 1,2,4 or a range: 1..8192 doubles, 64..512:64 counts by 64):

    gemm               m*, n, k, [dtype=bf16, weights=dtype]
    norm               m*, width                          (read, normalise, write 16-bit rows)
    prefill_attention  chunk*, [context*=0, heads=32, kv_heads=8, head_dim=128, dtype=bf16, kv=dtype]
    decode_attention   sequences*, context*, [heads, kv_heads, head_dim, dtype, kv]
    all_reduce | all_gather | reduce_scatter | all_to_all | p2p   bytes*, [ranks=8]
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.design.records.model import BITS
from simulator.design.units import parse
from simulator.inputs.errors import InputError, nearest
from simulator.model.operators import Collective, DecodeAttention, Gemm, Operator, PrefillAttention, Vector

Float64 = NDArray[np.float64]
MAX_SHAPES = 10_000

_AXES = {"gemm": ("m",), "norm": ("m",), "prefill_attention": ("chunk", "context"), "decode_attention": ("sequences", "context"),
         **dict.fromkeys(("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "p2p"), ("bytes",))}
_HEADS = {"heads": "32", "kv_heads": "8", "head_dim": "128", "dtype": "bf16", "kv": ""}
_DEFAULTS: dict[str, dict[str, str]] = {
    "gemm": {"n": "", "k": "", "dtype": "bf16", "weights": ""}, "norm": {"width": ""},
    "prefill_attention": {"context": "0", **_HEADS}, "decode_attention": dict(_HEADS),
    **{kind: {"ranks": "8"} for kind in ("all_reduce", "all_gather", "reduce_scatter", "all_to_all")}, "p2p": {"ranks": "2"}}
_OPTIONAL = {"weights", "kv"}  # default: the dtype


@dataclass(frozen=True)
class Shapes:
    """An operator and the shapes to price it at: `axes` are arrays of equal length, named in `names`."""

    kind: str
    operator: Operator
    names: tuple[str, ...]
    axes: tuple[Float64, ...]


def parse_operator(text: str) -> Shapes:
    """The operator and shapes that `text` means. Raises InputError naming the key."""
    words = text.split()
    if not words or words[0] not in _AXES:
        raise InputError(f"--op starts with the kind of operator; {nearest(words[0] if words else '', _AXES)}")
    kind = words[0]
    allowed = {**dict.fromkeys(_AXES[kind], ""), **_DEFAULTS[kind]}
    given: dict[str, str] = {}
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if not equals or key not in allowed:
            raise InputError(f"unknown part '{word}'; {nearest(key, allowed)}", key=f"--op {kind}")
        if key in given:
            raise InputError("is given twice", key=f"--op {kind} {key}")
        given[key] = value
    said = {**allowed, **given}
    for key, value in said.items():
        if not value and key not in _OPTIONAL:
            raise InputError("is missing", key=f"--op {kind} {key}")
    names = _AXES[kind]
    points = list(itertools.product(*(_axis(kind, name, said[name]) for name in names)))
    if len(points) > MAX_SHAPES:
        raise InputError(f"asks for {len(points)} shapes, at most {MAX_SHAPES} are priced", key=f"--op {kind}")
    axes = tuple(np.asarray(column, dtype=np.float64) for column in zip(*points, strict=True))
    return Shapes(kind, _operator(kind, said), names, axes)


def _operator(kind: str, said: dict[str, str]) -> Operator:
    def whole(key: str) -> int:
        return _whole(kind, key, said[key])

    def bits(key: str) -> int:
        name = said[key] or said["dtype"]
        if name not in BITS:
            raise InputError(f"unknown number format '{name}'; {nearest(name, BITS)}", key=f"--op {kind} {key}")
        return BITS[name]

    if kind == "gemm":
        return Gemm(n=whole("n"), k=whole("k"), weight_bits=bits("weights"), activation_bits=bits("dtype"))
    if kind == "norm":
        width = whole("width")
        return Vector(width=width, flops_per_element=4.0, exps_per_element=0.0, read_bytes_per_row=2.0 * width,
                      write_bytes_per_row=2.0 * width)
    if kind in ("prefill_attention", "decode_attention"):
        heads, kv_heads = whole("heads"), whole("kv_heads")
        if heads % kv_heads:
            raise InputError(f"{heads} heads are not a multiple of {kv_heads} kv_heads", key=f"--op {kind} kv_heads")
        attention = PrefillAttention if kind == "prefill_attention" else DecodeAttention
        return attention(heads, kv_heads, whole("head_dim"), bits("kv"), bits("dtype"))
    return Collective(kind, whole("ranks"), 1.0)  # type: ignore[arg-type]


def _axis(kind: str, name: str, text: str) -> list[float]:
    values: list[float] = []
    for part in text.split(","):
        low, dots, rest = part.partition("..")
        if not dots:
            values.append(_count(kind, name, part))
            continue
        high, colon, step = rest.partition(":")
        start, stop = _count(kind, name, low), _count(kind, name, high)
        if start > stop:
            raise InputError(f"the range {part} is reversed", key=f"--op {kind} {name}")
        if colon:
            values.extend(np.arange(start, stop + 1, max(_count(kind, name, step), 1)).tolist()[:MAX_SHAPES + 1])
        else:
            x = max(start, 1.0)
            while x < stop:
                values.append(x)
                x *= 2
            values.append(stop)
    return values


def _count(kind: str, name: str, text: str) -> float:
    if name == "bytes" and not text.isdigit():
        try:
            return parse(text, "B")
        except InputError as error:
            raise error.within(prefix=f"--op {kind} {name}") from None
    return float(_whole(kind, name, text, least=0 if name == "context" else 1))


def _whole(kind: str, key: str, text: str, least: int = 1) -> int:
    if not text.isdecimal() or len(text) > 12 or int(text) < least:
        raise InputError(f"expected a whole number of at least {least}, got '{text}'", key=f"--op {kind} {key}")
    return int(text)
