"""Profiling tables of Vidur (microsoft/vidur, `data/profiling`): `mlp.csv`, `attention.csv`, `all_reduce.csv`, `send_recv.csv`.

`compute/DEVICE/MODEL/mlp.csv` and `attention.csv` hold milliseconds of one layer on one of `num_tensor_parallel_workers`
ranks (`time_stats.NAME.median` ...); `network/NODE/all_reduce.csv` and `send_recv.csv` milliseconds of a message of
`size` bytes between `num_workers` devices, `devices_per_node` of them in each node. Attention profiles serve one prefill
or a batch of equal decodes; the new token's own KV is counted in addition to `kv_cache_size`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from simulator.design.records.model import Architecture, Precision
from simulator.devices.measured.table import ATTENTION, OperatorTable
from simulator.importers.rows import Columns, join, part, read_csv
from simulator.inputs.errors import InputError
from simulator.model.layers import operators
from simulator.model.operators import DecodeAttention, Gemm, Vector

MS = 1e-3
ADD = "add"  # one residual addition, which our norms include
# Their operator -> ours (simulator.model.layers), and what else ours includes. Where a name is tried twice, the first
# that the model has.
LAYERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "emb": (("embedding",), ()),
    "input_layernorm": (("attention_norm",), (ADD,)),
    "attn_pre_proj": (("qkv",), ()),
    "attn_rope": (("rotary",), ()),
    "attn_post_proj": (("output",), ()),
    "post_attention_layernorm": (("mlp_norm",), (ADD,)),
    "mlp_up_proj": (("gate_up", "up"), ()),
    "mlp_act": (("activation",), ()),
    "mlp_down_proj": (("down",), ()),
}
SHAPE = {"n_head": "heads", "n_kv_head": "kv_heads", "n_embd": "hidden", "n_expanded_embd": "intermediate",
         "vocab_size": "vocab"}
PRESETS = {"a100": "a100-80gb", "h100": "h100-sxm"}  # their device -> ours: DGX nodes
DEGREE = "num_tensor_parallel_workers"


def read_profile(folder: Path, arch: Architecture, network: Path | None = None) -> dict[str, OperatorTable]:
    """{file name: table}, one for each tensor-parallel degree in `folder` (mlp.csv, attention.csv).

    network: the folder of all_reduce.csv and send_recv.csv. Raises InputError naming file and column where a file is
    absent, lacks a column, or was measured on another model than `arch`.
    """
    precision = Precision()
    mlp = read_csv(folder / "mlp.csv", (*SHAPE, DEGREE, "num_tokens"),
                   [f"time_stats.{name}.median" for name in (*LAYERS, ADD)])
    for theirs, ours in SHAPE.items():
        held, wanted = sorted(set(mlp[theirs].tolist())), getattr(arch, ours)
        if held != [wanted]:
            raise InputError(f"{', '.join(map(str, held))}, but the model has {ours} {wanted}; name the profiled one with --model",
                             file=str(folder / "mlp.csv"), key=theirs)
    attention = _attention_rows(folder / "attention.csv", arch) if (folder / "attention.csv").is_file() else {}
    links = _links(network) if network is not None else []
    meta = {"device": _device(folder), "framework": "sarathi-serve (Vidur's profiler)", "model": _model(folder),
            "source": "microsoft/vidur profiling CSVs", "launch": "eager", "time": "CUDA kernels", "fidelity": "measured"}
    if meta["device"] in PRESETS:
        meta["hardware"] = PRESETS[meta["device"]]
    tables = {}
    for tensor in sorted(set(mlp[DEGREE].tolist())):
        parts = [*_layers(mlp, arch, precision, int(tensor), folder / "mlp.csv"),
                 *_attention(attention, arch, precision, int(tensor)), *links]
        tables[f"tp{int(tensor)}"] = join([p for p in parts if len(p["seconds"])], {**meta, "tensor_parallel": str(int(tensor))})
    return tables


def _device(folder: Path) -> str:
    parts = folder.resolve().parts
    return parts[parts.index("compute") + 1] if "compute" in parts[:-1] else ""


def _model(folder: Path) -> str:
    parts = folder.resolve().parts
    return "/".join(parts[parts.index("compute") + 2:]) if "compute" in parts[:-1] else folder.name


def _layers(mlp: Columns, arch: Architecture, precision: Precision, tensor: int, path: Path) -> list[Columns]:
    named = {op.name: op.operator for op in operators(arch, precision, tensor)}
    keep = mlp[DEGREE] == tensor
    parts = []
    for theirs, (ours, included) in LAYERS.items():
        name = next((n for n in ours if n in named), None)
        column = f"time_stats.{theirs}.median"
        if name is None or column not in mlp:
            continue
        seconds = _number(mlp[column][keep], path, column) * MS
        for extra in included:
            if f"time_stats.{extra}.median" in mlp:
                seconds = seconds + np.nan_to_num(mlp[f"time_stats.{extra}.median"][keep].astype(float)) * MS
        operator = named[name]
        known = np.isfinite(seconds) & (seconds > 0)
        rows = mlp["num_tokens"][keep][known]
        if isinstance(operator, Gemm):
            fixed: dict[str, object] = {"operator": name, "n": operator.n, "k": operator.k,
                                        "weight_bits": operator.weight_bits, "activation_bits": operator.activation_bits}
            parts.append(part("gemm", seconds[known], fixed, rows=rows))
        elif isinstance(operator, Vector):
            parts.append(part("vector", seconds[known], {"operator": name, "width": operator.width}, rows=rows))
    if not parts:
        raise InputError("has none of the operators' time_stats.NAME.median columns", file=str(path))
    return parts


def _attention_rows(path: Path, arch: Architecture) -> Columns:
    wanted = ("n_embd", "n_q_head", "n_kv_head", DEGREE, "batch_size", "prefill_chunk_size", "kv_cache_size", "is_prefill")
    times = [f"time_stats.{name}.median" for name in ("attn_prefill", "attn_decode", "attn_kv_cache_save")]
    raw = read_csv(path, wanted, times)
    here = (raw["n_embd"] == arch.hidden) & (raw["n_q_head"] == arch.heads) & (raw["n_kv_head"] == arch.kv_heads)
    if not here.any():
        raise InputError(f"has no row of {arch.heads} heads, {arch.kv_heads} KV heads and width {arch.hidden}; "
                         f"name the profiled model with --model", file=str(path))
    missing = [name for name in times[:2] if name not in raw]
    if missing:
        raise InputError(f"has no column '{missing[0]}'", file=str(path))
    return {name: values[here] for name, values in raw.items()}


def _attention(raw: Columns, arch: Architecture, precision: Precision, tensor: int) -> list[Columns]:
    if not raw:
        return []
    ops = {op.name: op.operator for op in operators(arch, precision, tensor)}
    decode = ops["decode_attention"]
    assert isinstance(decode, DecodeAttention)
    identity: dict[str, object] = {key: getattr(decode, key) for key in ATTENTION}
    prefilling = np.array([str(value).lower() == "true" for value in raw["is_prefill"]])
    parts = []
    for kind, chosen in (("prefill_attention", prefilling & (raw["batch_size"] == 1)), ("decode_attention", ~prefilling)):
        name = "attn_prefill" if kind == "prefill_attention" else "attn_decode"
        seconds = raw[f"time_stats.{name}.median"].astype(float) * MS
        keep = chosen & (raw[DEGREE] == tensor) & (np.nan_to_num(seconds) > 0)
        cached = raw["kv_cache_size"][keep]
        axes: dict[str, Any] = ({"chunk": raw["prefill_chunk_size"][keep], "context": cached} if kind == "prefill_attention"
                                else {"sequences": raw["batch_size"][keep], "decode_context": cached + 1})
        parts.append(part(kind, seconds[keep], identity, **axes))
    save, write = "time_stats.attn_kv_cache_save.median", ops["kv_cache_write"]
    if save in raw and isinstance(write, Vector):
        seconds = raw[save].astype(float) * MS
        keep = (raw[DEGREE] == tensor) & (np.nan_to_num(seconds) > 0)
        rows = raw["batch_size"] * np.maximum(raw["prefill_chunk_size"], 1)
        parts.append(part("vector", seconds[keep], {"operator": "kv_cache_write", "width": write.width}, rows=rows[keep]))
    return parts


def _links(folder: Path) -> list[Columns]:
    """Messages inside one node."""
    parts = []
    for file, ours in (("all_reduce", "all_reduce"), ("send_recv", "p2p")):
        path = folder / f"{file}.csv"
        if not path.is_file():
            continue
        column = f"time_stats.{file}.median"
        raw = read_csv(path, (column, "num_workers", "size", "devices_per_node"))
        seconds = _number(raw[column], path, column) * MS
        keep = (raw["devices_per_node"] == raw["num_workers"]) & (seconds > 0)
        parts.append(part("collective", seconds[keep], {"operator": ours}, ranks=raw["num_workers"][keep],
                          bytes=raw["size"][keep]))
    if not parts:
        raise InputError("has neither all_reduce.csv nor send_recv.csv", file=str(folder), key="--network")
    return parts


def _number(values: Any, path: Path, column: str) -> Any:
    try:
        return values.astype(float)
    except (TypeError, ValueError) as error:
        raise InputError(f"column '{column}' holds something other than numbers", file=str(path)) from error
