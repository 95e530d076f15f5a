"""`python -m simulator calibrate` fits a device's constants to a few measured steps or to the start of a recorded run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from simulator.design.load import resolve
from simulator.engine.result import EngineResult
from simulator.inputs.errors import InputError
from simulator.pricing.cache import CostCache
from simulator.pricing.cuda_graphs import LARGEST
from simulator.pricing.price import price
from simulator.recorded import fit
from simulator.recorded.kernel_time import kernel_time, window_s
from simulator.recorded.replay import prepared, replay
from simulator.recorded.vllm_run import read_run, workload_of
from simulator.recorded.vllm_steps import read_steps


def calibrate_command(steps: Path | None, *, run: Path | None, tables: Path | None, workload: Path | None,
                      model: str | None, hardware: str | None, tensor: int) -> int:
    """Prints YAML for a hardware file. Raises InputError."""
    if (steps is None) == (run is None):
        raise InputError("give either measured steps or --run")
    if run is not None:
        if tables is None:
            raise InputError("--run needs --tables: the operator tables that are to be calibrated")
        return _from_run(run, tables, workload, model, hardware)
    assert steps is not None
    if model is None or hardware is None:
        raise InputError("measured steps need --model and --hardware")
    return _from_steps(steps, model, hardware, tensor)


def _from_run(folder: Path, tables: Path, workload: Path | None, model: str | None, hardware: str | None) -> int:
    run = read_run(folder)
    design, table = prepared(run, tables, hardware=hardware, model=model)
    trace, cache = workload_of(run, folder, workload), CostCache()

    def simulate(factor: float) -> EngineResult:
        faster = design.hardware.model_copy(update={"kernel_time": factor})
        return replay(design.model_copy(update={"hardware": faster}), table, trace, run.data_parallel, cache)[1]

    found = kernel_time(run, simulate)
    print(f"# {run.name}, first {window_s(run):g} s\nkernel_time: {found:.3f}")
    return 0


def _from_steps(file: Path, model: str, hardware: str, tensor: int) -> int:
    steps, measured_s = read_steps(file)
    design = resolve({"model": model, "hardware": {"base": hardware, "host": {"graphless_layer": "0 s"}},
                      "parallelism": {"tensor": tensor}, "workload": "chat-200",
                      "serving": {"max_num_seqs": max(256, int(steps.sequences.max())), "cuda_graphs": True,
                                  "max_num_batched_tokens": max(8192, int(steps.tokens.max()))}})
    parts = fit.parts(price(design, CostCache()).costs, steps)
    shipped = resolve({"model": model, "hardware": hardware, "workload": "chat-200"})
    expected_s = shipped.hardware.host.graphless_layer_s * shipped.model.layers
    found = fit.fit(parts, steps, measured_s, LARGEST, launches_s=expected_s or None)
    off = np.abs(fit.predicted_s(parts, steps, found, LARGEST) / measured_s - 1)
    print(f"# {file.name}: {len(measured_s)} steps, mean error after the fit {off.mean() * 100:.1f} %\nhost:\n"
          f"  step: {design.hardware.host.step_s * 1e3:g} ms\n  sequence: {design.hardware.host.sequence_s * 1e6:g} us\n"
          f"  device_step: {found.step_s * 1e3:.3f} ms\n  device_sequence: {found.sequence_s * 1e6:.2f} us\n"
          f"  graphless_layer: {found.launches_s / design.model.layers * 1e3:.3f} ms")
    print("# time of the analytic model's parts, measured over predicted:")
    for name, at, factors in (("linear operators at tokens", (*fit.ROWS, "prefill alone", "prompts continued"), found.linear),
                              ("decode attention at sequences", fit.BATCHES, found.decode)):
        print(f"#   {name}: " + ", ".join(f"{n}: {f:.3f}" for n, f in zip(at, factors, strict=True)))
    print(f"#   prefill attention: {found.prefill:.3f}")
    return 0
