"""A device's speed is found again from the start of a run that was simulated at a known speed."""

import dataclasses

import numpy as np
import pytest

from simulator.engine import engine
from simulator.inputs.errors import InputError
from simulator.pricing.step import StepCosts
from simulator.recorded.kernel_time import kernel_time, window_s
from simulator.recorded.vllm_run import RecordedRun
from simulator.scheduler.config import SchedulerConfig
from simulator.workload.trace import Trace

REQUESTS = 40
CONFIG = SchedulerConfig(max_num_seqs=8, max_num_batched_tokens=256, block_size=16, num_gpu_blocks=500, max_model_len=2048)
TRACE = Trace(np.arange(REQUESTS, dtype=np.int64) * 100_000_000, np.full(REQUESTS, 200, np.int32), np.full(REQUESTS, 50, np.int32))


def simulate(factor):
    whole = np.arange(300) * int(20_000 * factor) + int(10_000_000 * factor)
    costs = StepCosts(linear_ns=whole, decode_ns=np.zeros((9, 2)), decode_spread_ns=np.zeros(9), channels=0, channel_request_ns=0.0,
                      channel_token_ns=0.0, prefill_ns=np.zeros((2, 2)), chunk_knots=np.array([0.0, 4096.0]),
                      context_knots=np.array([0.0, 4096.0]), stage_layers=np.array([1]), stage_tokens_ns=np.zeros((1, 300), np.int64),
                      stage_sequences_ns=np.zeros((1, 9), np.int64), host_ns=np.zeros(9, np.int64))
    return engine.run(TRACE, CONFIG, costs, log=True)


def recorded(factor):
    """A run as its recorder would write it: tokens per second counted from when each step's tokens left."""
    result = simulate(factor)
    times = np.concatenate([[first, *(first + (last - first) * np.arange(1, 50) // 49)]
                            for first, last in zip(result.first_token_ns, result.finish_ns, strict=True)]) / 1e9
    t = np.arange(1.0, np.ceil(times.max()) + 1)
    per_second = np.array([((times > end - 1) & (times <= end)).sum() for end in t], dtype=float)
    return RecordedRun("made", "m", "0", {}, "", 1, TRACE.arrival_ns / 1e9, result.first_token_ns / 1e9, result.finish_ns / 1e9,
                       TRACE.prompt_tokens, TRACE.output_tokens, np.arange(REQUESTS), {"t": t, "gen_throughput": per_second}, None)


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.12])
def test_the_speed_of_a_run_is_found_from_its_first_third(factor):
    run = recorded(factor)
    cut = dataclasses.replace(run, load={k: v[: int(window_s(run))] for k, v in run.load.items()})  # later rows are not read
    assert kernel_time(cut, simulate) == pytest.approx(factor, rel=0.03)  # its tokens are spread evenly, real ones wait for chunks


def test_a_run_without_tokens_over_time_or_of_another_machine_is_refused():
    run = recorded(1.0)
    with pytest.raises(InputError, match=r"timeseries\.csv"):
        kernel_time(dataclasses.replace(run, load={}), simulate)
    with pytest.raises(InputError, match="no kernel_time between"):
        kernel_time(run, lambda factor: simulate(3 * factor))
