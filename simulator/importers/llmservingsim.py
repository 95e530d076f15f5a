"""LLMServingSim profile bundles (casys-kaist/LLMServingSim, profiler v1): CUDA times of vLLM's layers.

A bundle is a folder with `meta.yaml` and one folder per tensor-parallel degree (`tp1/`, `tp2/` ...), each with
`dense.csv` (layer, tokens), `per_sequence.csv` (layer, sequences), `attention.csv` (prefill_chunk, kv_prefill,
n_decode, kv_decode) and optionally `skew.csv` (uneven decode contexts). Mixtures of experts add `moe.csv` (tokens,
activated_experts), in `tp1/` alone where the profiler left sharding to the simulator. Times are
microseconds of one layer on one rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simulator.hardware.measured.table import ATTENTION, IDENTITY, OperatorTable, expert_identity
from simulator.importers.rows import Columns, join, read_csv
from simulator.inputs.errors import InputError
from simulator.inputs.yaml_file import load_yaml
from simulator.model.layers import operators
from simulator.model.operators import DecodeAttention, Gemm, GroupedGemm, NamedOperator, Vector
from simulator.schema.model import Architecture, Precision

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
# A row is one call of a module, and this one is called twice a layer (queries and keys).
CALLS = {"qk_norm": 2}
MOE_COLUMNS = ("tokens", "activated_experts", "time_us")

ATTENTION_COLUMNS = ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode", "time_us")
SKEW_COLUMNS = ("n", "nb", "pc", "kp", "kv_big", "kv_mean", "t_mean_us", "t_skew_us")
FEW_LONG = 0.125  # share of long sequences up to which an uneven batch is like those of a trace


@dataclass(frozen=True)
class Bundle:
    """What `meta.yaml` says that the reader needs."""

    folder: Path
    model: str
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
    return Bundle(folder, meta["model"], str(meta.get("gpu", "")), str(meta.get("vllm_version", "")), degrees,
                  int(meta.get("measurement_iterations", 1)), int(engine.get("block_size", 16)))


def read_table(bundle: Bundle, arch: Architecture, precision: Precision, tensor: int, *,
               expert_parallel: bool = False) -> OperatorTable:
    """The measurements of one tensor-parallel degree as an operator table.

    Raises InputError naming the file where it is absent or has other columns, or where the bundle times layers that
    `arch` has no operator for (linear attention).
    """
    folder = bundle.folder / f"tp{tensor}"
    if tensor not in bundle.tp_degrees:
        raise InputError(f"the bundle has no tp{tensor}/ (it has {', '.join(f'tp{t}' for t in bundle.tp_degrees)})",
                         file=str(bundle.folder))
    ops = operators(arch, precision, tensor, expert_parallel=expert_parallel)
    parts = [_dense(bundle, tensor, "dense.csv", "tokens", ops), _dense(bundle, tensor, "per_sequence.csv", "sequences", ops),
             *_attention(folder, ops, bundle)]
    if arch.experts:
        parts.append(_experts(bundle, tensor, ops))
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
                             "seconds": time_us * US * CALLS.get(layer, 1)})
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


def _experts(bundle: Bundle, tensor: int, ops: list[NamedOperator]) -> Columns:
    """The block of experts of one rank. Where it was timed on one device only, a rank's share takes the block's least time
    (router, launches) and an even part of the rest: experts cut along their width, or dealt out whole, leave each rank
    1 / tensor of weights and work."""
    closing = next(op.operator for op in ops if op.name == "experts_down")
    assert isinstance(closing, GroupedGemm)
    path = bundle.folder / f"tp{tensor}" / "moe.csv"
    shared = not path.is_file() and tensor > 1
    if shared:
        path = bundle.folder / "tp1" / "moe.csv"
    raw: dict[str, Any] = dict(read_csv(path, MOE_COLUMNS))
    seconds = raw["time_us"] * US
    count = raw["activated_experts"] * closing.experts / closing.of
    if shared:
        seconds = seconds.min() + (seconds - seconds.min()) / tensor
    keep = count >= 1
    rows = int(keep.sum())
    if not rows:
        raise InputError("holds no rows", file=str(path))
    identity = dict(zip(IDENTITY["experts"], expert_identity(closing), strict=True))
    return {"kind": np.full(rows, "experts"), "rows": raw["tokens"][keep], "awake": np.rint(count[keep]).astype(np.int64),
            "seconds": seconds[keep], **{key: np.full(rows, value) for key, value in identity.items()}}


def _attention(folder: Path, ops: list[NamedOperator], bundle: Bundle) -> list[Columns]:
    operator = next(op.operator for op in ops if isinstance(op.operator, DecodeAttention))
    identity = {key: getattr(operator, key) for key in ATTENTION}
    raw: dict[str, Any] = dict(read_csv(folder / "attention.csv", ATTENTION_COLUMNS))
    chunk, decodes = raw["prefill_chunk"], raw["n_decode"]
    kind = np.where(chunk == 0, "decode_attention", np.where(decodes == 0, "prefill_attention", "mixed_attention"))
    parts = [_with(identity, {
        "kind": kind, "chunk": chunk, "context": raw["kv_prefill"], "sequences": decodes, "decode_context": raw["kv_decode"],
        "seconds": raw["time_us"] * US})]
    if (folder / "skew.csv").is_file():
        parts.append(_with(identity, _skew(folder / "skew.csv", bundle.iterations)))
    return parts


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
