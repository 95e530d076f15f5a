"""Clients of a benchmark that wait for their answers, replayed on a priced design."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.engine import engine
from simulator.pricing.step import StepCosts
from simulator.scheduler.config import SchedulerConfig
from simulator.workload.trace import Trace

# HTTP, routing, chat template, tokenising a thousand tokens; and detokenising and streaming back: milliseconds each (our
# estimate; nothing at hand measures it). Requests scatter around the mean (exponentially): clients that all take equally long
# fall into step with one another for good and find their prompts in each other's way every time.
ONE_WAY_NS = 5_000_000
SEED = 0
TURNS = 400  # replays after which the clients' sending times count as settled


@dataclass(frozen=True)
class Answered:
    """Means over all requests as their clients see them, and generated tokens a second from first sending to last answer."""

    ttft_s: float
    tpot_s: float
    tokens_per_s: float


def answered(costs: StepCosts, config: SchedulerConfig, prompts: NDArray[np.int32], outputs: NDArray[np.int32], clients: int, *,
             one_way_ns: int = ONE_WAY_NS, rate_per_s: float | None = None) -> Answered | None:
    """What `clients` see that start at once and ask until all requests (lengths in order of arrival) are served; None where one
    does not fit. rate_per_s: requests come at this mean rate instead, whoever waits.

    When a client sends depends on the run itself: replayed with the sending times of the replay before until they agree.
    Every replay is right for at least one more wave of requests, since nobody is answered before he has asked.
    """
    count = len(prompts)
    on_the_way = np.rint(np.random.default_rng(SEED).exponential(one_way_ns, count)).astype(np.int64)
    came = np.zeros(count, np.int64)
    if rate_per_s is not None:
        came = np.cumsum(np.random.default_rng(SEED).exponential(1e9 / rate_per_s, count)).astype(np.int64)
    sent, before, turns = came, None, 0
    while before is None or ((sent != before).any() and turns < TURNS):
        result = engine.run(Trace(np.sort(sent + on_the_way), prompts, outputs), config, costs, gaps=False)
        if (result.finish_ns < 0).any():
            return None
        before, sent = sent, came.copy()
        sent[clients:] = np.sort(result.finish_ns)[: count - clients] + one_way_ns
        turns += 1
    # the order in which requests arrive is not that in which they were sent: means need no pairs
    ttft_s = (result.first_token_ns.mean() + one_way_ns - before.mean()) / 1e9
    several = outputs > 1
    decode_s = (result.finish_ns - result.first_token_ns)[several] / 1e9
    tpot_s = float((decode_s / (outputs[several] - 1)).mean()) if several.any() else 0.0
    return Answered(float(ttft_s), tpot_s, float(outputs.sum()) / ((result.finish_ns.max() + one_way_ns) / 1e9))


def lengths(longest: int, lowest: float, count: int, seed: int) -> NDArray[np.int32]:
    """Uniform in lowest x longest .. longest, as serving benchmarks draw them; all `longest` where lowest is 1."""
    rng = np.random.default_rng((SEED, seed))
    return rng.integers(max(round(longest * lowest), 1), longest, count, endpoint=True, dtype=np.int32)
