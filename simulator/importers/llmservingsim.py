"""LLMServingSim profile bundles (casys-kaist/LLMServingSim, profiler v1): CUDA times of vLLM's layers.

A bundle is a folder with `meta.yaml` and one folder per tensor-parallel degree (`tp1/`, `tp2/` ...), each with
`dense.csv` (layer, tokens), `per_sequence.csv` (layer, sequences), `attention.csv` (prefill_chunk, kv_prefill,
n_decode, kv_decode; later profilers: layer, prefill_chunk, prefill_key, n_decode, kv_decode, decode_q_len) and optionally
`skew.csv` (uneven decode contexts). Mixtures of experts add `moe.csv` ([ep,] tokens, activated_experts), in `tp1/` alone
where the profiler left sharding to the simulator. Times are microseconds of one layer on one rank.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simulator.design.records.model import Architecture, Precision
from simulator.devices.measured.table import ATTENTION, IDENTITY, OperatorTable, expert_identity
from simulator.importers.rows import Columns, join, read_csv, read_header
from simulator.inputs.errors import InputError
from simulator.inputs.yaml_file import load_yaml
from simulator.model.layers import operators
from simulator.model.operators import DecodeAttention, Gemm, GroupedGemm, NamedOperator, Vector

US = 1e-6

# Their layer -> our operators (simulator.model.layers). `attention` times the whole attention module, KV write included.
LAYERS = {
    "embedding": ("embedding",),
    "layernorm": ("attention_norm", "mlp_norm"),
    "qkv_proj": ("qkv",),
    "qk_norm": ("qk_norm",),
    "rotary_emb": ("rotary",),
    "o_proj": ("output",),
    "gate_up_proj": ("gate_up",),
    "act_fn": ("activation",),
    "down_proj": ("down",),
    "final_layernorm": ("final_norm",),
    "lm_head": ("lm_head",),
    "sampler": ("sampling",),
}
PER_SEQUENCE = ("lm_head", "sampler")
TP_STABLE = ("layernorm", "qk_norm", "final_layernorm", "sampler")  # run whole on every rank
COVERED = ("kv_cache_write",)
EXPERTS_COVERED = ("router", "routing", "experts_up", "experts_activation", "experts_sum")  # `moe` times the block whole
# A row is the mean of the calls of a module, and this one is called twice a layer (queries and keys). Compiled, both are one
# kernel (vLLM's compilation config: combo_kernels), which starts once: twice the time less the table's least.
CALLS = {"qk_norm": 2}
MOE_COLUMNS = ("tokens", "activated_experts", "time_us")

OTHER_TABLES = ("linear_attention.csv",)  # of layers that no architecture here has
ATTENTION_COLUMNS = ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode", "time_us")
SKEW_COLUMNS = ("n", "nb", "pc", "kp", "kv_big", "kv_mean", "t_mean_us", "t_skew_us")
FEW_LONG = 0.125  # share of long sequences up to which an uneven batch is like those of a trace


@dataclass(frozen=True)
class Bundle:
    """What `meta.yaml` says that the reader needs."""

    folder: Path
    model: str
    variant: str  # weights and KV formats, e.g. bf16, fp8, bf16-kvfp8
    gpu: str
    vllm_version: str
    tp_degrees: tuple[int, ...]
    iterations: int
    block_size: int


def read_meta(folder: Path) -> Bundle:
    """The bundle's description. Raises InputError where the folder is no bundle."""
    path = folder / "meta.yaml"
    if not path.is_file():
        raise InputError(f"no meta.yaml in {folder}: expected an LLMServingSim profile bundle")
    meta = load_yaml(path)
    if not isinstance(meta, dict) or not isinstance(meta.get("model"), str):
        raise InputError("is not the meta.yaml of a profile bundle (no 'model')", file=str(path))
    engine = meta.get("engine_effective") or {}
    degrees = tuple(t for t in (1, 2, 4, 8, 16, 32) if (folder / f"tp{t}").is_dir())
    if not degrees:
        raise InputError(f"no tp1/, tp2/ ... in {folder}")
    text = {key: str(meta.get(key) or "") for key in ("variant", "gpu", "vllm_version")}
    return Bundle(folder, meta["model"], text["variant"], text["gpu"], text["vllm_version"], degrees,
                  int(meta.get("measurement_iterations", 1)), int(engine.get("block_size", 16)))


def read_degree(bundle: Bundle, arch: Architecture, precision: Precision, tensor: int, *,
               expert_parallel: bool = False, data: int = 1) -> OperatorTable:
    """The measurements of one tensor-parallel degree as an operator table. data: engines that share the experts.

    Raises InputError naming the file where it is absent or has other columns, or where the bundle times layers that
    `arch` has no operator for (linear attention), or other number formats than `precision`.
    """
    _same_formats(bundle, precision)
    folder = bundle.folder / f"tp{tensor}"
    if tensor not in bundle.tp_degrees:
        raise InputError(f"the bundle has no tp{tensor}/ (it has {', '.join(f'tp{t}' for t in bundle.tp_degrees)})",
                         file=str(bundle.folder))
    for name in OTHER_TABLES:
        if (folder / name).is_file():
            raise InputError("times layers for which there is no operator", file=str(folder / name))
    ops = operators(arch, precision, tensor, expert_parallel=expert_parallel, data=data)
    parts = [_dense(bundle, tensor, "dense.csv", "tokens", ops), _dense(bundle, tensor, "per_sequence.csv", "sequences", ops),
             *_attention(folder, ops, bundle)]
    if arch.experts:
        parts.append(_experts(bundle, tensor, ops, arch.expert_intermediate))
    meta = {"device": bundle.gpu, "framework": f"vllm {bundle.vllm_version}", "model": bundle.model,
            "source": "casys-kaist/LLMServingSim profile bundle", "launch": "eager", "time": "CUDA kernels",
            "tensor_parallel": str(tensor), "covered": ",".join(COVERED + (EXPERTS_COVERED if arch.experts else ())),
            "fidelity": "measured"}
    return join(parts, meta)


def _dense(bundle: Bundle, tensor: int, file: str, axis: str, ops: list[NamedOperator]) -> Columns:
    path = bundle.folder / f"tp{tensor}" / file
    raw: dict[str, Any] = dict(read_csv(path, ("layer", axis, "time_us")))
    _all_timed(path, set(raw["layer"].tolist()), ops)
    stable = bundle.folder / "tp1" / file
    if tensor > 1 and stable.is_file():  # where the profiler did not copy what no degree changes
        first: dict[str, Any] = dict(read_csv(stable, ("layer", axis, "time_us")))
        more = np.isin(first["layer"], [layer for layer in TP_STABLE if layer not in raw["layer"]])
        raw = {name: np.concatenate([column, first[name][more]]) for name, column in raw.items()}
    rows: list[dict[str, Any]] = []
    by_name = {op.name: op.operator for op in ops}
    start_us = {layer: raw["time_us"][raw["layer"] == layer].min() for layer in set(raw["layer"].tolist())}
    for layer, count, time_us in zip(raw["layer"].tolist(), raw[axis].tolist(), raw["time_us"].tolist(), strict=True):
        if layer not in LAYERS:
            raise InputError(f"times layer '{layer}', for which there is no operator (known: {', '.join(LAYERS)})", file=str(path))
        for name in LAYERS[layer]:
            operator = by_name.get(name)
            if isinstance(operator, Gemm):
                rows.append({"kind": "gemm", "operator": name, "n": operator.n, "k": operator.k,
                             "weight_bits": operator.weight_bits, "activation_bits": operator.activation_bits,
                             "rows": count, "seconds": time_us * US})
            elif isinstance(operator, Vector):
                rows.append({"kind": "vector", "operator": name, "width": operator.width, "rows": count,
                             "seconds": (time_us + (CALLS.get(layer, 1) - 1) * (time_us - start_us[layer])) * US})
            else:
                raise InputError(f"times layer '{layer}', which this model does not have", file=str(path))
    return {name: np.array([row.get(name, 0) for row in rows]) for name in {key for row in rows for key in row}}


def _all_timed(path: Path, timed: set[str], ops: list[NamedOperator]) -> None:
    """Raises InputError for the first matrix multiplication of the model that the file should time and does not."""
    needed = {op.name for op in ops if isinstance(op.operator, Gemm)}
    for layer, names in LAYERS.items():
        here = (layer in PER_SEQUENCE) == (path.name == "per_sequence.csv")
        if here and layer not in timed and needed & set(names):
            raise InputError(f"does not time layer '{layer}' (it has {', '.join(sorted(timed))})", file=str(path))


def _same_formats(bundle: Bundle, precision: Precision) -> None:
    """Raises InputError where the variant names other formats of weights or KV cache than `precision`; a name of the
    profiling user's own says nothing."""
    weights, _, kv = bundle.variant.partition("-kv")
    for name, found, wanted in (("weights", weights, precision.weight_bits), ("KV cache", kv or weights, precision.kv_bits)):
        bits = {"bf16": 16, "fp16": 16, "fp8": 8 if name == "weights" or kv else 16}.get(found)
        if bits is not None and bits != wanted:
            raise InputError(f"was profiled as {bundle.variant}; the run has {name} of {wanted} bits",
                             file=str(bundle.folder / "meta.yaml"), key="variant")


def _experts(bundle: Bundle, tensor: int, ops: list[NamedOperator], full_width: int) -> Columns:
    """The block of experts of one rank.

    Rows measured on one device with all experts stand for a rank with the same work: of r ranks each has 1/r of the visits
    of r times as many tokens, over as many whole experts awake, or over r times as many of 1/r of the width. Weights,
    multiply-adds, rows per expert and tiles are the same. Rows with an `ep` column are taken at the rank's own degree
    where it was profiled.
    """
    closing = next(op.operator for op in ops if op.name == "experts_down")
    assert isinstance(closing, GroupedGemm)
    dealt, cut = closing.of // closing.experts, full_width // closing.k  # ranks that experts are dealt to, or cut into
    path = bundle.folder / f"tp{tensor}" / "moe.csv"
    whole = bundle.folder / "tp1" / "moe.csv"
    if tensor > 1 and (dealt > 1 or not path.is_file()):
        path = whole
    raw: dict[str, Any] = dict(read_csv(path, MOE_COLUMNS, ("ep",)))
    tokens, awake, seconds = raw["tokens"], raw["activated_experts"], raw["time_us"] * US
    if path != whole:  # sharded shapes, as they are
        cut = 1
    if "ep" in raw:
        degrees = set(raw["ep"].tolist())
        degree = dealt if dealt in degrees else 1
        if degree not in degrees:
            raise InputError(f"has no rows with ep {' or '.join(str(d) for d in sorted({1, dealt}))} (it has "
                             f"{', '.join(map(str, sorted(degrees)))})", file=str(path), key="ep")
        at = raw["ep"] == degree
        tokens, awake, seconds = tokens[at], awake[at], seconds[at]
        dealt //= degree
    tokens, awake = tokens * dealt * cut, awake * cut
    keep = awake <= closing.experts
    rows = int(keep.sum())
    if not rows:
        raise InputError("holds no rows", file=str(path))
    identity = dict(zip(IDENTITY["experts"], expert_identity(closing), strict=True))
    return {"kind": np.full(rows, "experts"), "rows": tokens[keep], "awake": awake[keep], "seconds": seconds[keep],
            **{key: np.full(rows, value) for key, value in identity.items()}}


def _attention(folder: Path, ops: list[NamedOperator], bundle: Bundle) -> list[Columns]:
    operator = next(op.operator for op in ops if isinstance(op.operator, DecodeAttention))
    identity = {key: getattr(operator, key) for key in ATTENTION}
    raw = _attention_rows(folder / "attention.csv")
    chunk, decodes = raw["prefill_chunk"], raw["n_decode"]
    kind = np.where(chunk == 0, "decode_attention", np.where(decodes == 0, "prefill_attention", "mixed_attention"))
    parts = [_with(identity, {
        "kind": kind, "chunk": chunk, "context": raw["kv_prefill"], "sequences": decodes, "decode_context": raw["kv_decode"],
        "seconds": raw["time_us"] * US})]
    skew = folder / "skew.csv"
    if skew.is_file():
        if "requests_json" in read_header(skew):
            print(f"{skew}: lists whole batches, which are not read: uneven contexts are priced at their mean", file=sys.stderr)
        else:
            parts.append(_with(identity, _skew(skew, bundle.iterations)))
    return parts


def _attention_rows(path: Path) -> dict[str, Any]:
    """attention.csv in ATTENTION_COLUMNS. Later profilers write the mean causal key length of a chunk, context + chunk / 2,
    and rows of several query tokens a decode (speculation), which are left out."""
    header = read_header(path)
    if "prefill_key" not in header:
        return dict(read_csv(path, ATTENTION_COLUMNS))
    raw: dict[str, Any] = dict(read_csv(path, ("prefill_chunk", "prefill_key", "n_decode", "kv_decode", "time_us"),
                                        ("layer", "decode_q_len")))
    other = sorted(set(raw.get("layer", np.array(["attention"])).tolist()) - {"attention"})
    if other:
        raise InputError(f"times layer '{other[0]}', for which there is no operator", file=str(path))
    keep = raw.get("decode_q_len", np.ones(len(raw["time_us"]))) <= 1
    rows = {name: column[keep] for name, column in raw.items()}
    rows["kv_prefill"] = np.maximum(np.rint(rows["prefill_key"] - rows["prefill_chunk"] / 2), 0).astype(np.int64)
    return rows


def _skew(path: Path, iterations: int) -> Columns:
    """Added time of uneven batches. `t_*` are sums over the measurement iterations (t_mean is `iterations` times the
    attention.csv time of the same batch), so they are divided; only chunks without context and few long sequences."""
    raw: dict[str, Any] = dict(read_csv(path, SKEW_COLUMNS))
    keep = (raw["kp"] == 0) & (raw["nb"] <= np.maximum(1, FEW_LONG * raw["n"])) & (raw["kv_big"] > raw["kv_mean"])
    added = (raw["t_skew_us"] - raw["t_mean_us"])[keep] / iterations * US
    return {"kind": np.full(int(keep.sum()), "decode_spread"), "chunk": raw["pc"][keep], "sequences": raw["n"][keep],
            "decode_context": raw["kv_mean"][keep], "decode_longest": raw["kv_big"][keep], "seconds": added}


def _with(identity: dict[str, int], columns: Columns) -> Columns:
    count = len(columns["seconds"])
    return {**columns, **{key: np.full(count, value) for key, value in identity.items()}}
