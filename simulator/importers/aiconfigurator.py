"""Operator databases of NVIDIA aiconfigurator (PyPI `aiconfigurator-core`, Apache-2.0), read where they are installed.

A source is `SYSTEM/FRAMEWORK` or `SYSTEM/FRAMEWORK/VERSION`, e.g. `h100_sxm/vllm`; without a version each family of
operators is read in the newest that the package has. Files are `data/SYSTEM/FAMILY/FRAMEWORK/VERSION/*_perf.parquet`:
GEMM (m, n, k), context attention (batch_size, isl, step tokens before), generation attention (batch_size, one token
after `step` tokens), custom all-reduces and NCCL (message_size in elements); `latency` is milliseconds of one call,
captured in a CUDA graph. Norms and activations are not in it: the datasheet's model prices them.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from simulator.devices.measured.arrow_files import read_parquet
from simulator.devices.measured.lattice import LATTICE, META
from simulator.devices.measured.table import OperatorTable
from simulator.importers.rows import Columns, join, part
from simulator.inputs.errors import InputError, nearest

MS = 1e-3
PACKAGE = "aiconfigurator_core"
FRAMEWORKS = ("vllm", "sglang", "trtllm")

# Their system -> our preset of the device (configs/hardware).
PRESETS = {"a100_sxm": "a100-80gb", "h100_sxm": "h100-sxm", "h200_sxm": "h200-sxm", "l40s": "l40s", "b200_sxm": "b200",
           "b300_sxm": "b300", "rtx_pro_6000_server": "rtx-pro-6000"}
# Their GEMM formats -> bits of weights and activations. Block-scaled fp8 and 4-bit floats are formats the model layer
# does not tell apart from these; they are left out.
GEMM_BITS = {"bfloat16": (16, 16), "fp8": (8, 8), "int8_wo": (8, 16), "int4_wo": (4, 16)}
BITS = {"bfloat16": 16, "fp8": 8}
GRAPH_KERNELS = ("vLLM_custom_graph", "SGLang_CustomAllReduce_graph", "TRTLLM")  # decode runs from CUDA graphs
NCCL_KINDS = {"all_gather": "all_gather", "reduce_scatter": "reduce_scatter", "alltoall": "all_to_all"}
EXPERTS_COVERED = ("experts_up", "experts_activation", "experts_sum")  # one fused call; the router is a GEMM of its own
ELEMENT_BYTES = 2  # half and bfloat16, the only message types that are read

# What beats physics in these databases, and is left out whole:
# decode attention of TensorRT-LLM 1.0.0 on A100 reads the KV cache at up to 1.56 times the HBM's peak;
# "bf16 attention" over an fp8 cache of TensorRT-LLM on Hopper is about 1.45 times too fast (probably fp8 attention).
CACHED_DECODE = ("a100_sxm", "trtllm")
MISLABELLED_FP8 = (("h100_sxm", "trtllm"), ("h200_sxm", "trtllm"))


def read_database(source: str) -> dict[str, OperatorTable]:
    """{file name: table} of a source. Raises InputError where the package or the source is not there."""
    data = _data()
    system, framework, version = _parts(source, data)
    needed = {"gemm": "gemm_perf.parquet", "attention": "generation_attention_perf.parquet",
              "comm": "custom_allreduce_perf.parquet"}
    folders = {family: _version(data / system / family / framework, version if family != "comm" else None, version, file)
               for family, file in needed.items()}
    gemm = _read(folders["gemm"] / "gemm_perf.parquet")
    parts = [_gemms(gemm), _prefill(_read(folders["attention"] / "context_attention_perf.parquet"), system, framework)]
    if (system, framework) != CACHED_DECODE:
        parts.append(_decode(_read(folders["attention"] / "generation_attention_perf.parquet"), system, framework))
    experts = data / system / "moe" / framework
    if experts.is_dir():
        folders["moe"] = _version(experts, None, version, "moe_perf.parquet")
        parts.append(_experts(_read(folders["moe"] / "moe_perf.parquet")))
    parts.append(_all_reduce(_read(folders["comm"] / "custom_allreduce_perf.parquet")))
    if (data / system / "comm" / "nccl").is_dir():
        nccl = _version(data / system / "comm" / "nccl", None, None, "nccl_perf.parquet")
        parts += _nccl(_read(nccl / "nccl_perf.parquet"))
        folders["nccl"] = nccl
    meta = {"device": str(gemm["device"][0]), "framework": f"{framework} {folders['gemm'].name}",
            "source": f"{PACKAGE} {_package_version()} {system}", "launch": "CUDA graph", "time": "CUDA graph",
            "tensor_parallel": "any", "fidelity": "measured", META: LATTICE, "covered": ",".join(EXPERTS_COVERED),
            "versions": ", ".join(f"{family} {folder.name}" for family, folder in sorted(folders.items()))}
    if system in PRESETS:
        meta["hardware"] = PRESETS[system]
    return {"operators": join([p for p in parts if len(p["seconds"])], meta)}


def _data() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (Path(place) / "systems" / "data").is_dir():
            return Path(place) / "systems" / "data"
    raise InputError(f"the package '{PACKAGE}' with its data is not installed: pip install 'llm-serving-sweeper[silicon]'")


def _package_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(PACKAGE.replace("_", "-"))
    except PackageNotFoundError:
        return "of unknown version"


def _parts(source: str, data: Path) -> tuple[str, str, str | None]:
    words = source.strip("/").split("/")
    systems = [p.name for p in data.iterdir() if any((p / "gemm" / f).is_dir() for f in FRAMEWORKS)]
    if words[0] not in systems:
        raise InputError(f"no system '{words[0]}': {nearest(words[0], systems)}", key="SRC")
    held = [f for f in FRAMEWORKS if (data / words[0] / "gemm" / f).is_dir()]
    if not 2 <= len(words) <= 3 or words[1] not in held:
        raise InputError(f"expected SYSTEM/FRAMEWORK or SYSTEM/FRAMEWORK/VERSION, frameworks of {words[0]}: {', '.join(held)}",
                         key="SRC")
    return words[0], words[1], words[2] if len(words) == 3 else None


def _version(folder: Path, exact: str | None, preferred: str | None, file: str) -> Path:
    """The folder of a version that has `file`: `exact` where asked, else `preferred` where there is one, else the newest."""
    held = sorted((p for p in folder.iterdir() if (p / file).is_file()), key=_natural) if folder.is_dir() else []
    if not held:
        raise InputError(f"the package has no {file} here", file=str(folder))
    by_name = {path.name: path for path in held}
    if exact is not None and exact not in by_name:
        raise InputError(f"no version '{exact}' (it has {', '.join(by_name)})", file=str(folder))
    return by_name.get(exact or preferred or "", held[-1])


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Release candidates before their release, numbers as numbers."""
    words = re.findall(r"\d+|[a-z]+", path.name)
    return [(1, int(w), "") if w.isdigit() else (0, 0, w) for w in words] + [(0, 1, "")]


def _read(path: Path) -> Columns:
    table = read_parquet(path, missing="no such file; this package version has another layout")
    return {name: _plain(table.column(name)) for name in table.column_names}


def _plain(column: Any) -> Any:
    return pc.fill_null(column, "").to_numpy() if str(column.type) in ("string", "large_string") else column.to_numpy()


def _seconds(raw: Columns, keep: Any) -> Any:
    return raw["latency"][keep].astype(np.float64) * MS


def _mapped(raw: Any, table: dict[str, int]) -> Any:
    return np.array([table.get(value, 0) for value in raw], dtype=np.int64)


def _gemms(raw: Columns) -> Columns:
    weight = _mapped(raw["gemm_dtype"], {name: bits[0] for name, bits in GEMM_BITS.items()})
    activation = _mapped(raw["gemm_dtype"], {name: bits[1] for name, bits in GEMM_BITS.items()})
    keep = (weight > 0) & (raw["latency"] > 0)
    return part("gemm", _seconds(raw, keep), {}, n=raw["n"][keep], k=raw["k"][keep], weight_bits=weight[keep],
                activation_bits=activation[keep], rows=raw["m"][keep])


def _attention(raw: Columns, system: str, framework: str) -> tuple[Any, Columns]:
    """Rows without a window or beam, and the identity columns of all rows."""
    activation, kv = _mapped(raw["attn_dtype"], BITS), _mapped(raw["kv_cache_dtype"], BITS)
    keep = (activation > 0) & (kv > 0) & (raw["beam_width"] == 1) & (raw["latency"] > 0)
    if "window_size" in raw:  # older collections knew no windows
        keep &= raw["window_size"] == 0
    if (system, framework) in MISLABELLED_FP8:
        keep &= ~((activation == 16) & (kv == 8))
    kv_heads = np.where(raw["num_key_value_heads"] == 0, raw["num_heads"], raw["num_key_value_heads"])
    identity = {"heads": raw["num_heads"], "kv_heads": kv_heads, "head_dim": raw["head_dim"], "kv_bits": kv,
                "activation_bits": activation}
    return keep & _main_kernel(keep, identity, raw["kernel_source"].astype(str)), identity


def _main_kernel(keep: Any, identity: Columns, kernels: Any) -> Any:
    """Rows of the kernel that most of the kept rows of an identity were measured with: kernels are not averaged."""
    _, shape = np.unique(np.stack(list(identity.values())), axis=1, return_inverse=True)
    names, kernel = np.unique(kernels, return_inverse=True)
    shape = shape.reshape(-1)
    counts = np.zeros((shape.max() + 1, len(names)), dtype=np.int64)
    np.add.at(counts, (shape[keep], kernel[keep]), 1)
    return kernel == counts.argmax(axis=1)[shape]


def _prefill(raw: Columns, system: str, framework: str) -> Columns:
    keep, identity = _attention(raw, system, framework)
    keep = keep & (raw["batch_size"] == 1)
    return part("prefill_attention", _seconds(raw, keep), {}, chunk=raw["isl"][keep], context=raw["step"][keep],
                **{name: values[keep] for name, values in identity.items()})


def _decode(raw: Columns, system: str, framework: str) -> Columns:
    keep, identity = _attention(raw, system, framework)
    keep = keep & (raw["isl"] == 1)
    return part("decode_attention", _seconds(raw, keep), {}, sequences=raw["batch_size"][keep],
                decode_context=raw["step"][keep] + 1, **{name: values[keep] for name, values in identity.items()})


def _experts(raw: Columns) -> Columns:
    """Blocks of experts on one rank without expert parallelism, tokens dealt evenly: the n-th token wakes its next few."""
    weight = _mapped(raw["moe_dtype"], {name: bits[0] for name, bits in GEMM_BITS.items()})
    activation = _mapped(raw["moe_dtype"], {name: bits[1] for name, bits in GEMM_BITS.items()})
    keep = (weight > 0) & (raw["distribution"] == "balanced") & (raw["moe_ep_size"] == 1) & (raw["latency"] > 0)
    tokens, experts, each = (raw[name][keep] for name in ("num_tokens", "num_experts", "topk"))
    return part("experts", _seconds(raw, keep), {}, experts=experts, per_token=each, k=raw["hidden_size"][keep],
                n=raw["inter_size"][keep] // raw["moe_tp_size"][keep], weight_bits=weight[keep],
                activation_bits=activation[keep], rows=tokens, awake=np.minimum(experts, tokens * each))


def _all_reduce(raw: Columns) -> Columns:
    keep = np.isin(raw["kernel_source"].astype(str), GRAPH_KERNELS) & (raw["latency"] > 0)
    return part("collective", _seconds(raw, keep), {"operator": "all_reduce"}, ranks=raw["num_gpus"][keep],
                bytes=raw["message_size"][keep] * ELEMENT_BYTES)


def _nccl(raw: Columns) -> list[Columns]:
    parts = []
    for theirs, ours in NCCL_KINDS.items():
        keep = (raw["op_name"] == theirs) & (raw["nccl_dtype"] == "half") & (raw["latency"] > 0)
        parts.append(part("collective", _seconds(raw, keep), {"operator": ours}, ranks=raw["num_gpus"][keep],
                          bytes=raw["message_size"][keep] * ELEMENT_BYTES))
    return parts
