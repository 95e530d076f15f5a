"""The fit of `kernel_time`, a device's speed under load against its operator tables, to the start of a recorded run.

One number, `hardware.kernel_time`: how long kernels take while serving over how long they took in the profiler. It is
the one at which the simulated run has generated as many tokens as the recorded one by the end of the calibration window.
The window is the first SHARE of the run; what is compared with the run afterwards should lie after it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simulator.engine.result import EngineResult
from simulator.inputs.errors import InputError
from simulator.recorded.vllm_run import RecordedRun

SHARE = 1 / 3
SEARCHED = (0.8, 1.25)
HALVINGS = 10  # of the bracket: to 0.05 %


def window_s(run: RecordedRun) -> float:
    """Seconds from the start of the run that calibration may look at."""
    return float(np.floor(run.finish_s.max() * SHARE))


def kernel_time(run: RecordedRun, simulate: Callable[[float], EngineResult]) -> float:
    """The factor at which `simulate` (logging its steps) generates what the run did within the window.

    Raises InputError where the run has no generated tokens over time, or no factor in SEARCHED does.
    """
    if "gen_throughput" not in run.load:
        raise InputError("calibration needs timeseries.csv with gen_throughput")
    until_s = window_s(run)
    recorded = float(run.load["gen_throughput"][run.load["t"] <= until_s].sum())
    low, high = SEARCHED
    if not generated(simulate(high), until_s) <= recorded <= generated(simulate(low), until_s):
        raise InputError(f"no kernel_time between {low} and {high} gives the {recorded:,.0f} tokens recorded by {until_s:g} s")
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if generated(simulate(middle), until_s) > recorded else (low, middle)
    return (low + high) / 2


def generated(result: EngineResult, until_s: float) -> int:
    """Output tokens of all steps that ended by then. Chunks that leave a prompt unfinished give none."""
    log = result.log
    assert log is not None
    steps = int(np.searchsorted(log.end_ns, until_s * 1e9, side="right"))
    entries = int(log.n[:steps].sum())
    new, request = log.batch_new_tokens[:entries], log.batch_request[:entries]
    end_ns = np.repeat(log.end_ns[:steps], log.n[:steps])
    return int((new == 1).sum() + ((new > 1) & (end_ns == result.first_token_ns[request])).sum())
