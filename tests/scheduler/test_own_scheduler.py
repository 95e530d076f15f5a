"""A scheduler of your own: a subclass of a few lines, given to the reference engine."""

from __future__ import annotations

import pytest

from simulator.engine.reference import run
from simulator.scheduler.scheduler import Scheduler
from tests.engine.builders import affine_costs, config, trace


class ShortestJobFirst(Scheduler):
    """Admits the request with the least work left first (its output length is taken as known)."""

    def rank(self, request):
        return request.prompt + request.wanted


class ShortestPreempted(Scheduler):
    """Preempts whoever loses the least computed KV."""

    def victim(self):
        return min(self.running, key=lambda request: request.computed)


def test_shortest_job_first_admits_by_length_and_lowers_the_mean_wait():
    long_then_short = trace((0, 10, 50), (0, 10, 5), (0, 10, 2))
    one_at_a_time = config(max_num_seqs=1)
    fcfs = run(long_then_short, one_at_a_time, affine_costs(max_seqs=1))
    sjf = run(long_then_short, one_at_a_time, affine_costs(max_seqs=1), scheduler=ShortestJobFirst)
    assert fcfs.finish_ns.tolist() == [5000, 5500, 5700]
    assert sjf.finish_ns.tolist() == [5700, 700, 200]


def test_a_policy_chooses_whom_to_preempt():
    # both hold two blocks when the fifth is needed; request 0 is the shorter one
    tight = (trace((0, 5, 8), (0, 8, 5)), config(num_gpu_blocks=5), affine_costs())
    assert run(*tight).preemptions.tolist() == [0, 1]
    assert run(*tight, scheduler=ShortestPreempted).preemptions.tolist() == [1, 0]


def test_a_scheduler_that_never_admits_is_reported_instead_of_running_for_ever():
    class Lazy(Scheduler):
        def admit(self, batch, budget, cap):
            return budget

    with pytest.raises(RuntimeError, match="2 requests waiting for ever"):
        run(trace((0, 5, 1), (9, 5, 1)), config(), affine_costs(), scheduler=Lazy)
