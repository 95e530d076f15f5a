"""Proofs: only what bounds say for certain, with the numbers in words; the front stays what it is."""

import math
import random

import pytest

from sweeper.space.file import load_space
from sweeper.study.front import front
from sweeper.workers.evaluator import SimEvaluator, load_traces
from sweeper.workers.proof import proved
from sweeper.workers.worker import Task
from tests.sweeper.spaces import space_of

PARAMETERS = "  parallelism.tensor: {ordinal: [1, 2, 4]}"
REST = """
constraints: [ttft_p99 <= 1 s]
objectives: [{minimize: tpot_p95, unit: ms}, {maximize: output_throughput}]
"""


@pytest.fixture
def space(tmp_path):
    return space_of(tmp_path, PARAMETERS, rest=REST)


def known(tpot_s, throughput, ttft_s=0.0):
    return {"tpot_p95": (tpot_s, math.inf), "output_throughput": (0.0, throughput), "ttft_p99": (ttft_s, math.inf)}


def test_dominated_is_said_with_bound_and_value(space):
    verdict = proved(space, {}, known(0.005, 100.0), [(3, (6.0, 200.0)), (7, (4.0, 120.0))])
    assert verdict.status == "pruned"
    assert verdict.reason == ("dominated by trial 7: tpot_p95 bound >= 5 ms vs value 4 ms, "
                              "output_throughput bound <= 100 tokens/s vs value 120 tokens/s")


@pytest.mark.parametrize("rival", [(4.0, 99.0), (5.1, 120.0), (5.0, 100.0)])
def test_better_in_one_objective_or_equal_in_all_is_not_dominated(space, rival):
    assert proved(space, {}, known(0.005, 100.0), [(7, rival)]) is None


def test_without_a_bound_nothing_is_proved(space):
    assert proved(space, {}, {"tpot_p95": (0.005, math.inf)}, [(7, (0.1, 1e9))]) is None
    assert proved(space, {}, {}, [(7, (0.1, 1e9))]) is None


def test_a_constraint_that_no_run_can_meet(space):
    verdict = proved(space, {}, known(0.005, 100.0, ttft_s=1.5), [])
    assert verdict.status == "infeasible"
    assert verdict.constraints == {"ttft_p99 <= 1 s": pytest.approx(0.5)}
    assert "50.0%" in verdict.reason


def test_pruned_designs_are_never_on_the_front():
    """Many designs of a space, with proofs and without: the same front, and every proof holds."""
    space = load_space("npu_pim", {"workload.requests": 100})
    evaluator = SimEvaluator(space, load_traces(space))
    rng = random.Random(2)
    points = [space.sample(rng) for _ in range(200)]
    plain = [evaluator.evaluate(Task(n, point)) for n, point in enumerate(points)]
    rivals: list = []
    climbed = []
    for n, point in enumerate(points):
        trial = evaluator.evaluate(Task(n, point, rivals=tuple(rivals)))
        climbed.append(trial)
        if trial.status == "complete":
            rivals.append((n, tuple(trial.objectives[o.name] for o in space.objectives)))
    assert [t.number for t in front(climbed, space.objectives)] == [t.number for t in front(plain, space.objectives)]
    pruned = [t.number for t in climbed if t.status == "pruned"]
    assert len(pruned) > 10
    broken = [t.number for t in climbed if t.status == "infeasible" and t.rung]
    assert broken
    assert all(plain[n].status == "infeasible" for n in broken)
    ahead = {t.number for t in front(plain, space.objectives)}
    assert not ahead & set(pruned)
