"""Measured operators of today's models as what our devices price: the tables of data/silicon_modern.

A row becomes the operator that a calibrated kernel prices (`Timed.work` or an expert block or GEMM) and, where whole blocks were
timed, the operators around it. Every second row by the hash of its text is for fitting, the others judge.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.design.records.kernels import StreamKernel, TileKernel
from simulator.design.records.layers import DenseMlp, Indexer, LatentAttention, LayerType, Run
from simulator.design.records.model import Architecture, PartPrecision, Precision
from simulator.devices.experts import Load
from simulator.devices.gpu import GpuDevice
from simulator.devices.gpu_kernels import (
    StreamWork,
    experts_parts,
    gemm_parts,
    stream_format,
    stream_kind,
    stream_parts,
    stream_work,
    tile_format,
)
from simulator.devices.traffic import gemm_bytes
from simulator.inputs.errors import InputError
from simulator.model.layered import Pieces, mixer
from simulator.model.operators import (
    Attention,
    Convolution,
    DecodeAttention,
    DecodeState,
    ExpertBlock,
    Gemm,
    Operator,
    PrefillAttention,
    PrefillState,
    State,
    Vector,
    seen_keys,
)

Float64 = NDArray[np.float64]
Line = dict[str, str]
Constants = StreamKernel | TileKernel

FORMATS = {"bfloat16": ("bf16", "bf16"), "fp8": ("fp8", "fp8"),
           "fp8_block": ("fp8_block", "fp8_block"), "nvfp4": ("nvfp4", "nvfp4"),
           "int4_wo": ("int4", "bf16"), "w4a16_mxfp4": ("mxfp4", "bf16"), "w4a8_mxfp4_mxfp8": ("mxfp4", "fp8")}
WIDTH = {"bfloat16": 16, "fp8": 8}
# Dimensions of the models whose blocks were timed (their config.json)
BLOCKS = {"deepseek": (7168, LatentAttention(heads=128, q_rank=1536, kv_rank=512, nope_dim=128, rope_dim=64, value_dim=128)),
          "glm": (6144, LatentAttention(heads=64, q_rank=2048, kv_rank=512, nope_dim=192, rope_dim=64, value_dim=256))}
INDEXERS = {"deepseek": Indexer(heads=64, head_dim=128, top_k=2048), "glm": Indexer(heads=32, head_dim=128, top_k=2048)}


@dataclass(frozen=True)
class Timed:
    """One measured row. kernels: (operator, axes) that calibrated constants price; around: other operators in the same time."""

    name: str  # of the table in row names
    framework: str
    kernel: str
    seconds: float
    fitted: bool  # whether it is of the half that constants were fitted on
    operator: Operator
    axes: tuple[float, ...]
    batch: int = 1  # sequences that a prefill operator holds side by side
    load: Load | None = None
    around: tuple[tuple[Operator, float], ...] = ()
    also: tuple[Operator, ...] = ()  # an indexer's scores, at the same axes

    @property
    def key(self) -> tuple[str, str, str, str]:
        """(kind, framework, format, kernel) of the constants that price it."""
        if isinstance(self.operator, Gemm | ExpertBlock):
            kind = "gemm" if isinstance(self.operator, Gemm) else "experts"
            return kind, self.framework, tile_format(self.operator), self.kernel
        if type(self.operator) is Vector:
            return "quantise", self.framework, "", self.kernel
        kind = stream_kind(self.operator)
        assert kind is not None, self.operator
        return kind, self.framework, stream_format(self.operator), self.kernel


def read(path: Path, system: str) -> list[Line]:
    """The rows of a table that are of `system`."""
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", newline="") as file:
            return [line for line in csv.DictReader(file) if line.get("system") == system]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", file=str(path)) from error


def for_fitting(line: Line) -> bool:
    """Half of the rows, by the hash of what was timed."""
    return zlib.crc32("|".join(value for key, value in line.items() if key != "latency").encode()) % 2 == 0


def timed(name: str, lines: list[Line]) -> Iterator[Timed]:
    """The rows of the table `name` (a file's name without `op_` and ending) that time something: positive, and not convolution
    where a scan was meant."""
    for line in lines:
        latency = float(line["latency"])
        if latency <= 0:
            continue
        found = TABLES[name](line)
        if found is not None:
            yield replace(found, seconds=latency * 1e-3, fitted=for_fitting(line))


def _row(name: str, line: Line, operator: Operator, axes: tuple[float, ...], **rest: object) -> Timed:
    return Timed(name, line["framework"], line["kernel_source"], 0.0, False, operator, axes, **rest)  # type: ignore[arg-type]


def _gemm(line: Line) -> Timed | None:
    weights, activations = FORMATS[line["gemm_dtype"]]
    bits = {"fp8_block": 8, "nvfp4": 4}[weights]
    assert weights == activations
    operator = Gemm(int(line["n"]), int(line["k"]), bits, bits, weights)  # type: ignore[arg-type]
    return _row(f"gemm_{weights}", line, operator, (float(line["m"]),))


def _experts(line: Line) -> Timed | None:
    part = PartPrecision(weights=FORMATS[line["moe_dtype"]][0], activations=FORMATS[line["moe_dtype"]][1])  # type: ignore[arg-type]
    experts, ranks, tensor = (int(line[c]) for c in ("num_experts", "moe_ep_size", "moe_tp_size"))
    scales = part.weights if part.weights in ("fp8_block", "nvfp4", "mxfp4") else ""
    gated = "nongated" not in line["kernel_source"]
    tokens, each = int(line["num_tokens"]), int(line["topk"])
    width = max(int(line["inter_size"]) // tensor, 1)
    operator = ExpertBlock(int(line["hidden_size"]), width, gated, max(experts // ranks, 1), experts, each,
                           part.weight_bits, part.activation_bits, scales=scales)  # type: ignore[arg-type]
    return _row("experts", line, operator, (float(tokens),), load=_load(line["distribution"], tokens, each, experts, ranks))


@dataclass(frozen=True)
class Drawn(Load):
    """A load whose pieces were counted."""

    pieces: tuple[tuple[int, float], ...] = ()

    def tiles(self, height: int) -> Float64:
        return np.array([dict(self.pieces)[height]])


@cache
def _load(distribution: str, tokens: int, each: int, experts: int, ranks: int) -> Load:
    """The busiest rank as the benchmark deals tokens: evenly, or by experts' shares drawn from a bounded power law of the stated
    exponent (aiconfigurator's collector, power_law_logits_v3), mean of 16 draws."""
    local = max(experts // ranks, 1)
    visits = tokens * each
    if distribution == "balanced":
        counts = np.zeros((1, local))
        some = min(local, max(1, round(visits / ranks)))
        counts[0, :some] = max(visits / ranks, 1.0) / some
    else:
        exponent, rng = float(distribution.split("_")[2]), np.random.default_rng(0)
        low, high = (1.0, tokens * 0.8) if visits > experts else (0.01, 2.0)
        busiest = []
        for _ in range(16):
            shares = (rng.random(experts) * (high ** (1 - exponent) - low ** (1 - exponent)) + low ** (1 - exponent)) ** (
                1 / (1 - exponent))
            drawn = np.round(shares / shares.sum() * visits)
            missing, order = int(visits - drawn.sum()), np.argsort(-shares)
            for i in range(abs(missing)):
                drawn[order[i % experts]] += np.sign(missing)
            over, drawn = np.maximum(drawn - tokens, 0).sum(), np.clip(drawn, 0, tokens)
            room = tokens - drawn
            drawn = drawn + room * (over / max(room.sum(), 1.0))
            by_rank = drawn.reshape(ranks, -1)
            busiest.append(by_rank[by_rank.sum(axis=1).argmax()])
        counts = np.array(busiest)
    pieces = tuple((h, float(np.ceil(counts / h).sum(axis=1).mean())) for h in (8, 16, 32, 64, 128, 256))
    return Drawn(np.array([(counts > 0).sum(axis=1).mean()]), np.array([counts.sum(axis=1).mean()]), pieces)


def _mla_context(line: Line) -> Timed | None:
    heads = int(line["num_heads"])
    operator = PrefillAttention(heads, heads, 192, WIDTH[line["kv_cache_dtype"]], 16, value_dim=128)
    return _row("mla_context", line, operator, (float(line["isl"]), 0.0), batch=int(line["batch_size"]))


def _mla_generation(line: Line) -> Timed | None:
    operator = DecodeAttention(int(line["num_heads"]), 1, 576, WIDTH[line["kv_cache_dtype"]], 16, value_dim=512, one_vector=True)
    return _row("mla_generation", line, operator, (float(line["batch_size"]), float(line["step"]) + float(line["isl"])))


def _window(line: Line) -> Timed | None:
    heads, kv = int(line["num_heads"]), int(line["num_key_value_heads"]) or int(line["num_heads"])
    shape = (heads, kv, int(line["head_dim"]), WIDTH[line["kv_cache_dtype"]], WIDTH[line["attn_dtype"]])
    span, batch = int(line["window_size"]), int(line["batch_size"])
    return _row("window_context", line, PrefillAttention(*shape, span=span), (float(line["isl"]), 0.0), batch=batch)


def _window_generation(line: Line) -> Timed | None:
    heads, kv = int(line["num_heads"]), int(line["num_key_value_heads"]) or int(line["num_heads"])
    shape = (heads, kv, int(line["head_dim"]), WIDTH[line["kv_cache_dtype"]], WIDTH[line["attn_dtype"]])
    operator = DecodeAttention(*shape, span=int(line["window_size"]))
    return _row("window_generation", line, operator, (float(line["batch_size"]), float(line["step"]) + 1))


def _recurrent(line: Line, kind: str, name: str) -> Timed | None:
    keys, values = int(line["num_k_heads"]), int(line["num_v_heads"])
    dim_k, dim_v = int(line["head_k_dim"]), int(line["head_v_dim"])
    batch, tokens = int(line["batch_size"]), float(line["seq_len"])
    rows = float(line["num_tokens"]) if line["phase"] != "generation" else float(batch)
    if "conv" in line["kernel_source"]:
        width = 2 * keys * dim_k + values * dim_v
        operator: Operator = Convolution(width, 8.0, 1.0, 2.0 * width, 2.0 * width)
        return replace(_row(f"{name}_convolution", line, operator, (rows,)), kernel=f"{line['kernel_source']}/{line['phase']}")
    shape = (kind, values, dim_v, dim_k, keys if kind == "gated_delta_net" else values, 32)
    if line["phase"] == "context":
        return _row(f"{name}_context", line, PrefillState(*shape), (tokens, 0.0), batch=batch)  # type: ignore[arg-type]
    if line["phase"] == "generation":
        return _row(f"{name}_generation", line, DecodeState(*shape), (float(batch), 0.0))  # type: ignore[arg-type]
    return None  # verification of drafts


def _gdn(line: Line) -> Timed | None:
    return _recurrent(line, "gated_delta_net", "gdn")


def _kda(line: Line) -> Timed | None:
    return _recurrent(line, "kda", "kda")


def _mamba2(line: Line) -> Timed | None:
    """Convolutions alone were timed."""
    width = int(line["nheads"]) * int(line["head_dim"]) + 2 * int(line["n_groups"]) * int(line["d_state"])
    rows = float(line["num_tokens"]) if line["phase"] == "context" else float(line["batch_size"])
    found = _row("mamba2_convolution", line, Convolution(width, 8.0, 1.0, 2.0 * width, 2.0 * width), (rows,))
    return replace(found, kernel=f"{line['kernel_source']}/{line['phase']}")


def _quantise(line: Line) -> Timed | None:
    """TensorRT-LLM's; the others are differences of two timings."""
    if line["framework"] != "trtllm":
        return None
    k = int(line["k"])
    return _row("quantise", line, Vector(k, 1.0, 0.0, 2.0 * k, 1.0 * k), (float(line["m"]),))


def _block(line: Line, name: str, *, sparse: bool, decode: bool) -> Timed | None:
    """The whole attention block of a DeepSeek or GLM layer with `num_heads` heads on the rank."""
    family = "glm" if "glm" in line["model"].lower() else "deepseek"
    hidden, attention = BLOCKS[family]
    heads, batch, tokens = int(line["num_heads"]), int(line["batch_size"]), float(line["isl"])
    skips = "skip" in line["kernel_source"]
    dense = "dense" in line["kernel_source"]
    index = INDEXERS[family].model_copy(update={"shared": skips}) if sparse and not dense else None
    arch, kind = _model(hidden, attention.model_copy(update={"heads": heads, "indexer": index}))
    weights, activations = FORMATS[line["gemm_type"]]
    part = PartPrecision(weights=weights, activations=activations)  # type: ignore[arg-type]
    precision = Precision(kv="fp8" if line["kv_cache_dtype"] == "fp8" else "bf16", attention=part)
    pieces = mixer(arch, kind, precision, 1)
    context = float(line["step"])
    rows = batch * (1.0 if decode else tokens)
    around = tuple((operator, rows) for _, operator, part_name in pieces if part_name != "attention")
    main, others = _attends(pieces, "decode_" if decode else "prefill_")
    axes = (float(batch), context + 1) if decode else (tokens, context)
    main = replace(main, activation_bits=WIDTH[line["mla_dtype"]], kv_bits=WIDTH[line["kv_cache_dtype"]])
    return _row(name, line, main, axes, batch=1 if decode else batch, around=around, also=others)


def _attends(pieces: Pieces, phase: str) -> tuple[Attention, tuple[Operator, ...]]:
    found = {name: operator for name, operator, part in pieces if part == "attention" and name.startswith(phase)}
    main = found.pop(f"{phase}attention")
    assert isinstance(main, Attention)
    return main, tuple(found.values())


@lru_cache(maxsize=64)
def _model(hidden: int, attention: LatentAttention) -> tuple[Architecture, LayerType]:
    kind = LayerType(name="block", attention=attention, mlp=DenseMlp(width=1, gated=True))
    return Architecture(name="block", layers=1, hidden=hidden, vocab=1, max_positions=2**20, layer_types=(kind,),
                        order=(Run(types=("block",)),)), kind


TABLES: dict[str, Callable[[Line], Timed | None]] = {
    "gemm_fp4_fp8block": _gemm, "moe": _experts, "mla_context": _mla_context, "mla_generation": _mla_generation,
    "window_attention_context": _window, "window_attention_generation": _window_generation, "gdn": _gdn, "kda": _kda,
    "mamba2": _mamba2, "quantise": _quantise,
    "mla_module_context": lambda line: _block(line, "mla_module_context", sparse=False, decode=False),
    "mla_module_generation": lambda line: _block(line, "mla_module_generation", sparse=False, decode=True),
    "dsa_context": lambda line: _block(line, "dsa_context", sparse=True, decode=False),
    "dsa_generation": lambda line: _block(line, "dsa_generation", sparse=True, decode=True),
}


def table_name(path: Path) -> str | None:
    """The table that a file is, by its name; None where it is none of these."""
    plain = path.name.partition(".")[0].removeprefix("op_")
    return plain if plain in TABLES else None


@dataclass(frozen=True)
class Counted:
    """Rows of one kernel, counted: what their times follow from, whatever the constants."""

    rows: list[Timed]
    seconds: Float64
    fitted: NDArray[np.bool_]
    predict: Callable[..., Float64]  # of its constants and, where an indexer runs beside, of that one's
    indexed: bool  # whether one does
    floor: Float64  # seconds that no kernel can beat


def counted(rows: list[Timed], device: GpuDevice) -> Counted:
    """Rows of one key. device: prices what stands around the kernel, by the kernels of the rows' framework."""
    device = replace(device, kernels=replace(device.kernels, framework=rows[0].framework))
    seconds = np.array([row.seconds for row in rows])
    fitted = np.array([row.fitted for row in rows])
    bandwidth = device.bandwidth_bytes_per_s
    first = rows[0].operator
    if isinstance(first, Gemm | ExpertBlock):
        flops_per_s = device.peak_flops_per_s(first.matrix_bits)
        floors = np.array([_tile_floor(row, flops_per_s, bandwidth) for row in rows])
        return Counted(rows, seconds, fitted, _tiles(rows, device, flops_per_s), False, floors)
    work = _together([_work(row, row.operator, device.sms) for row in rows])
    indexed = bool(rows[0].also)
    index = _together([_work(row, row.also[0], device.sms) for row in rows]) if indexed else None
    around = np.array([_around_s(row, device) for row in rows])

    def predict(constants: StreamKernel, beside: StreamKernel | None = None) -> Float64:
        found = around + _stream_s(constants, work, device)
        if index is not None and beside is not None:
            found = found + _stream_s(beside, index, device)
        return _as_timed(constants, found)
    return Counted(rows, seconds, fitted, predict, indexed, np.array([_kept_bytes(row) for row in rows]) / bandwidth)


def _as_timed(constants: Constants, device_s: Float64) -> Float64:
    """As long as the device's work, or as the host's dispatch where that was in the open."""
    return device_s if constants.host_s is None else np.maximum(device_s, constants.host_s)


def _stream_s(constants: StreamKernel, work: StreamWork, device: GpuDevice) -> Float64:
    computing, reading = stream_parts(constants, work, sms=device.sms, flops_per_s=device.peak_flops_per_s(work.bits),
                                      bandwidth_bytes_per_s=device.bandwidth_bytes_per_s)
    return np.asarray(constants.launch_s + np.maximum(computing, reading) + constants.exposed * np.minimum(computing, reading))


def _together(works: list[StreamWork]) -> StreamWork:
    return StreamWork(bits=works[0].bits, **{name: np.array([getattr(work, name) for work in works])
                                             for name in ("flops", "bytes", "blocks", "steps")})


def _work(row: Timed, operator: Operator, sms: int) -> StreamWork:
    if row.batch > 1:
        operator = _side_by_side(operator, row.batch)
    if type(operator) is Vector:
        rows = row.axes[0]
        return StreamWork(0.0, 16, rows * (operator.read_bytes_per_row + operator.write_bytes_per_row), rows, 1.0)  # type: ignore[arg-type]
    found = stream_work(operator, tuple(np.array([axis]) for axis in row.axes), sms)
    return StreamWork(*(float(getattr(found, name)[0]) if name != "bits" else found.bits  # type: ignore[arg-type]
                        for name in ("flops", "bits", "bytes", "blocks", "steps")))


def _side_by_side(operator: Operator, batch: int) -> Operator:
    """Equal sequences of a prefill batch as one with all their heads."""
    if isinstance(operator, Attention):
        return replace(operator, heads=operator.heads * batch, kv_heads=operator.kv_heads * batch)
    if isinstance(operator, State):
        return replace(operator, heads=operator.heads * batch, groups=operator.groups * batch)
    return operator


def _kept_bytes(row: Timed) -> float:
    """Keys, values or states that a row must read from DRAM: a cache that is larger than the on-chip memory."""
    operator = row.operator
    if isinstance(operator, DecodeAttention):
        return float(row.axes[0] * seen_keys(operator, np.array([row.axes[1]]))[0] * operator.kv_bytes)
    return 0.0


def _around_s(row: Timed, device: GpuDevice) -> float:
    total = 0.0
    for operator, rows in row.around:
        total += float(device.price(operator, np.array([rows])).seconds[0])
    return total


def _tiles(rows: list[Timed], device: GpuDevice, flops_per_s: float) -> Callable[[Constants], Float64]:
    """Times of all rows at once: dimensions as arrays in one operator, since the formulae are elementwise."""
    at = np.array([row.axes[0] for row in rows])
    first = rows[0].operator
    shape = {"sms": device.sms, "flops_per_s": flops_per_s, "bandwidth_bytes_per_s": device.bandwidth_bytes_per_s}
    if isinstance(first, Gemm):
        gemm: Gemm = _stacked(rows, ("n", "k"))
        moved = gemm_bytes(gemm, at, device.l2_bytes / 2)

        def gemms(constants: Constants) -> Float64:
            assert isinstance(constants, TileKernel)
            tiles, memory, stream = gemm_parts(constants, gemm, at, moved, **shape)  # type: ignore[arg-type]
            return _as_timed(constants, np.asarray(constants.launch_s + np.maximum(tiles, memory) + stream))
        return gemms
    block: ExpertBlock = _stacked(rows, ("hidden", "width"))
    load = Together(np.concatenate([row.load.awake for row in rows]),  # type: ignore[union-attr]
                    np.concatenate([row.load.visits for row in rows]), tuple(row.load for row in rows))  # type: ignore[union-attr]

    def experts(constants: Constants) -> Float64:
        assert isinstance(constants, TileKernel)
        tiles, weights, stream = experts_parts(constants, block, at, load, **shape)  # type: ignore[arg-type]
        return _as_timed(constants, np.asarray(constants.launch_s + tiles + weights + stream))
    return experts


@dataclass(frozen=True)
class Together(Load):
    """The loads of many rows."""

    parts: tuple[Load | None, ...] = ()

    def tiles(self, height: int) -> Float64:
        return np.concatenate([part.tiles(height) for part in self.parts if part is not None])


def _stacked(rows: list[Timed], names: tuple[str, ...]) -> Any:
    """The first row's operator with arrays of all rows' dimensions."""
    return replace(rows[0].operator, **{name: np.array([getattr(row.operator, name) for row in rows]) for name in names})


def _tile_floor(row: Timed, flops_per_s: float, bandwidth: float) -> float:
    """Weights once, and the multiply-adds at peak."""
    if isinstance(row.operator, Gemm):
        o = row.operator
        return max(o.n * o.k * o.stored_weight_bits / 8 / bandwidth, 2.0 * row.axes[0] * o.n * o.k / flops_per_s)
    assert isinstance(row.operator, ExpertBlock) and row.load is not None
    products = (row.operator.up, row.operator.down)
    weights = sum(float(row.load.awake[0]) * p.n * p.k * p.stored_weight_bits / 8 for p in products)
    return max(weights / bandwidth, sum(2.0 * float(row.load.visits[0]) * p.n * p.k for p in products) / flops_per_s)
