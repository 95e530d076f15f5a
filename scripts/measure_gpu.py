"""Measures a GPU against its preset in less than ten minutes: operators at serving shapes, launches, the sampler, board power.

    python scripts/measure_gpu.py --hardware h200-sxm [--model llama-3.1-8b] [--json FILE]

GEMMs in bf16 and fp8, prefill and decode attention (paged where `flash_attn` is installed), greedy and top-p sampling, and the
start of a kernel, in a captured graph and eagerly; then board power: idle with a context, while memory streams, and in large
matrix products. Every line has what the preset says; rows of the JSON are mean absolute errors by kind. It needs PyTorch with
CUDA and, for power, nvidia-smi. Points are skipped once `--minutes` are nearly over, and counted.

    python scripts/measure_gpu.py --hardware h200-sxm --device cpu

goes through the same lines with tiny shapes on a CPU, where nothing is compared: it shows that the script runs.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.report import Row, errors, finish, json_option, row
from scripts.shipped_hardware import preset
from simulator.design.load import resolve
from simulator.design.records.hardware import Hardware
from simulator.design.records.model import Architecture, Precision
from simulator.design.records.serving import Parallelism
from simulator.devices.build import build
from simulator.devices.device import Device
from simulator.devices.gpu import GpuDevice
from simulator.inputs.errors import InputError
from simulator.model.layers import operators
from simulator.model.operators import DecodeAttention, Gemm, Operator, PrefillAttention
from simulator.profiling.plan import Point
from simulator.profiling.timing import timer
from simulator.profiling.torch_calls import call_of
from simulator.silicon.power import gpu_energy

Call = Callable[[], object]
REPEATS = 20
POINT_S = 2.0  # of one point, tensors and graph included
SETTLE_S, SAMPLE_S = 3.0, 8.0  # of a load before its power counts, and while it does
POWER_EVERY_MS = 100
TOP_P = 0.9
LAUNCHED = 200  # kernels in the graph that launches are timed with
NVIDIA_SMI = ("nvidia-smi", "--query-gpu=power.draw.instant", "--format=csv,noheader,nounits", f"-lms={POWER_EVERY_MS}", "-i", "0")


@dataclass(frozen=True)
class Shapes:
    """What is measured: rows of GEMMs, (sequences, context) of decodes, (chunk, context) of prefills, rows of the sampler."""

    rows: tuple[int, ...]
    decodes: tuple[tuple[int, int], ...]
    prefills: tuple[tuple[int, int], ...]
    sampled: tuple[int, ...]
    square: int  # of the product that board power is taken in
    streamed_bytes: int


SERVING = Shapes((1, 16, 64, 256, 1024, 4096, 8192), ((1, 2048), (1, 32768), (16, 2048), (64, 512), (64, 4096), (256, 1024)),
                 ((512, 0), (2048, 0), (8192, 0), (512, 8192), (2048, 8192)), (1, 64, 256), 8192, 4 << 30)
TINY = Shapes((1, 4), ((1, 16), (2, 32)), ((16, 0), (16, 16)), (2,), 64, 1 << 16)


@dataclass(frozen=True)
class Case:
    """One call to time. predicted_s: what the preset says; None where it has no such operator."""

    kind: str
    shape: str
    call: Callable[[], Call]  # makes it: tensors are allocated then
    predicted_s: float | None


def longest_s(shapes: Shapes, gemms: int = 4) -> float:
    """The most that the script takes if no point takes longer than POINT_S: at these shapes 23 calls of a few ms each."""
    points = 2 * gemms * len(shapes.rows) + len(shapes.decodes) + len(shapes.prefills) + 2 * len(shapes.sampled) + 2
    return points * POINT_S + 4 * (SETTLE_S + SAMPLE_S)


def cases(torch: Any, arch: Architecture, hardware: Hardware, shapes: Shapes, device: str) -> Iterator[Case]:
    """Every operator of one rank of the model at the shapes."""
    model = build(hardware, Parallelism()).compute
    plain = replace(model, quantise_s=0.0) if isinstance(model, GpuDevice) else model  # products alone are timed
    for named in operators(arch, Precision(), 1):
        op, name = named.operator, named.name
        if isinstance(op, Gemm) and named.part != "head":
            for rows in shapes.rows:
                yield Case("gemm_bf16", f"{name} {rows}", lambda n=name, o=op, r=rows: _timed_as(torch, arch, device, n, o, (r,)),
                           _said(plain, op, rows))
                yield Case("gemm_fp8", f"{name} {rows}", lambda o=op, r=rows: _fp8(torch, o, r, device),
                           _said(plain, Gemm(op.n, op.k, 8, 8), rows))
        elif isinstance(op, DecodeAttention | PrefillAttention):
            decode = isinstance(op, DecodeAttention)
            for axes in shapes.decodes if decode else shapes.prefills:
                yield Case("decode" if decode else "prefill", " x ".join(map(str, axes)),
                           lambda n=name, o=op, a=axes: _timed_as(torch, arch, device, n, o, a), _said(plain, op, *axes))
    for rows in shapes.sampled:
        logits = (rows, arch.vocab)
        yield Case("greedy", f"{rows} x {arch.vocab}", lambda s=logits: _greedy(torch, s, device), None)
        yield Case("top_p", f"{rows} x {arch.vocab}", lambda s=logits: _top_p(torch, s, device), None)


def _said(device: Device, op: Operator, *axes: int) -> float:
    return float(device.price(op, *(np.array([float(a)]) for a in axes)).seconds[0])


def _timed_as(torch: Any, arch: Architecture, device: str, name: str, op: Operator, axes: tuple[int, ...]) -> Call:
    return call_of(torch, Point(name, op, axes), arch, device)


def _fp8(torch: Any, op: Gemm, rows: int, device: str) -> Call:
    """Of operands that are fp8 already, with one scale each; PyTorch 2.10 or newer."""
    x, w = (torch.randn(size, op.k, device=device).to(torch.float8_e4m3fn) for size in (rows, op.n))
    one, nn = torch.ones((), device=device), torch.nn.functional
    whole = nn.ScalingType.TensorWise
    return lambda: nn.scaled_mm(x, w.t(), one, whole, one, whole, output_dtype=torch.bfloat16, use_fast_accum=device == "cuda")


def _greedy(torch: Any, shape: tuple[int, int], device: str) -> Call:
    logits = torch.randn(*shape, dtype=torch.bfloat16, device=device)
    return lambda: logits.argmax(dim=-1)


def _top_p(torch: Any, shape: tuple[int, int], device: str) -> Call:
    """As engines without a fused kernel: a sort, a running sum, and the exponential race among what is left."""
    logits = torch.randn(*shape, dtype=torch.float32, device=device)

    def call() -> object:
        ordered, index = logits.sort(dim=-1, descending=True)
        shares = ordered.softmax(dim=-1)
        shares = shares.masked_fill(shares.cumsum(dim=-1) - shares > TOP_P, 0.0)
        return index.gather(-1, (shares / torch.empty_like(shares).exponential_()).argmax(dim=-1, keepdim=True))
    return call


def launches(torch: Any, hardware: Hardware, device: str) -> Iterator[Case]:
    """LAUNCHED empty kernels one after the other: what starting one takes is a share of it."""
    gpu = hardware.gpu
    x = torch.zeros(1, device=device)

    def call() -> None:
        for _ in range(LAUNCHED):
            x.add_(1)
    yield Case("launch", f"{LAUNCHED} kernels", lambda: call, gpu.launch_s * LAUNCHED if gpu is not None else None)


class PowerMeter:
    """Board power in watts as nvidia-smi samples it in the background; `mean` is over what has come since `clear`."""

    def __init__(self, command: tuple[str, ...] = NVIDIA_SMI) -> None:
        self._samples: list[float] = []
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                self._samples.append(float(line))
            except ValueError:  # "[N/A]"
                continue

    def clear(self) -> None:
        self._samples = []

    @property
    def mean(self) -> float | None:
        """None where there are no samples."""
        return statistics.fmean(self._samples) if self._samples else None

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


def loads(torch: Any, hardware: Hardware, shapes: Shapes) -> Iterator[tuple[str, Call | None, Callable[[float], float]]]:
    """(name, call to repeat or None to idle, calls a second -> watts that the preset says)."""
    spent, limit = gpu_energy(hardware), hardware.gpu.power_w if hardware.gpu is not None else None
    busy = spent.idle_w + spent.active_w

    def capped(watts: float) -> float:
        return min(watts, limit) if limit else watts

    yield "idle", None, lambda _: spent.idle_w
    words = torch.empty(shapes.streamed_bytes // 4, dtype=torch.float32, device="cuda")
    bits = 8.0 * shapes.streamed_bytes
    yield "memory", lambda: words.sum(), lambda rate: capped(busy + rate * bits * spent.path_pj_per_bit * 1e-12)
    n = shapes.square
    a, b = (torch.randn(n, n, dtype=torch.bfloat16, device="cuda") for _ in range(2))
    flops = 2.0 * n**3
    yield "gemm_bf16", lambda: a @ b, lambda rate: capped(busy + rate * flops * spent.matrix_pj_per_flop * 1e-12)
    yield "gemm_fp8", _fp8(torch, Gemm(n, n, 8, 8), n, "cuda"), lambda rate: capped(
        busy + rate * flops * spent.matrix_pj_per_flop_8bit * 1e-12)


def measure_power(torch: Any, hardware: Hardware, shapes: Shapes) -> list[Row]:
    """Rows of board power; none where nvidia-smi does not tell it."""
    try:
        meter = PowerMeter()
    except OSError:
        print("no nvidia-smi: board power is left out")
        return []
    rows = []
    try:
        for name, call, said in loads(torch, hardware, shapes):
            calls = _repeat(torch, call, SETTLE_S)
            meter.clear()
            begun = time.monotonic()
            calls = _repeat(torch, call, SAMPLE_S)
            rate, watts = calls / (time.monotonic() - begun), meter.mean
            if watts is None:
                print(f"{name}: nvidia-smi tells no power")
                continue
            model = said(rate)
            off = (model / watts - 1) * 100
            print(f"power {name:10} {watts:7.0f} W, preset {model:7.0f} W ({off:+.0f} %), {rate:,.1f} calls/s", flush=True)
            rows += [row(f"power/{name}/watts", watts, "W"), row(f"power/{name}/error", off, "%")]
    finally:
        meter.close()
    return rows


def _repeat(torch: Any, call: Call | None, seconds: float) -> int:
    """How many calls went through."""
    until, done = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        if call is None:
            time.sleep(POWER_EVERY_MS / 1e3)
            continue
        for _ in range(10):
            call()
        torch.cuda.synchronize()
        done += 10
    return done


def measure(torch: Any, args: argparse.Namespace, hardware: Hardware) -> list[Row]:
    """Prints a line per point; rows by kind, then of power."""
    device, cuda = args.device, args.device == "cuda"
    shapes, until = SERVING if cuda else TINY, time.monotonic() + 60 * args.minutes - 4 * (SETTLE_S + SAMPLE_S)
    arch = resolve({"model": args.model, "hardware": args.hardware, "workload": "chat-200"}).model
    found: dict[str, list[float]] = defaultdict(list)
    skipped = 0
    ways = ("graph", "eager") if cuda else ("eager",)
    launched = [(way, case) for case in launches(torch, hardware, device) for way in ways]
    for launch, case in [*launched, *((ways[0], case) for case in cases(torch, arch, hardware, shapes, device))]:
        if time.monotonic() > until:
            skipped += 1
            continue
        try:
            with torch.inference_mode():
                timed = timer(torch, device, launch, REPEATS if cuda else 3)(case.call())
        except (RuntimeError, AttributeError, InputError) as error:
            print(f"{case.kind} {case.shape}: skipped, {str(error).splitlines()[0][:100]}")
            skipped += 1
            continue
        kind = f"{case.kind}_{launch}" if case.kind == "launch" else case.kind
        said = "" if case.predicted_s is None or not cuda else (
            f"preset {case.predicted_s * 1e6:10.2f} us ({(case.predicted_s / timed.seconds - 1) * 100:+6.1f} %)")
        print(f"{kind:14} {case.shape:24} {timed.seconds * 1e6:10.2f} us ± {timed.mad_s * 1e6:.2f}  {said}", flush=True)
        if said and launch == "graph":
            assert case.predicted_s is not None
            found[kind].append((case.predicted_s / timed.seconds - 1) * 100)
    rows = [r for kind, off in found.items() for r in errors(kind, off)]
    rows += measure_power(torch, hardware, shapes) if cuda else []
    return [*rows, row("skipped", skipped, "points")]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--hardware", required=True, help="the GPU's entry of configs/hardware")
    parser.add_argument("--model", default="llama-3.1-8b", help="whose shapes are measured (default: llama-3.1-8b)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--minutes", type=float, default=9.0, help="after which no point is begun (default: 9)")
    json_option(parser)
    args = parser.parse_args(argv)
    try:
        import torch
    except ImportError:
        print("PyTorch is not installed: pip install 'llm-serving-sweeper[profile]'", file=sys.stderr)
        return 2
    if args.device == "cuda" and not torch.cuda.is_available():
        print("PyTorch sees no CUDA device here", file=sys.stderr)
        return 2
    try:
        hardware = preset(args.hardware)
        return finish(measure(torch, args, hardware), args.json)
    except (InputError, OSError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
