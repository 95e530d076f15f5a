"""Capacity metrics as objectives and constraints of a search space."""

import pytest

from simulator.analysis.rate_search import capacity
from simulator.inputs.errors import InputError
from sweeper.space.file import load_space
from sweeper.workers.evaluator import SimEvaluator, load_traces
from sweeper.workers.worker import Task
from tests.sweeper.spaces import space_of

PARAMETERS = "  tp: {sets: [parallelism.tensor], ordinal: [1, 2]}"
DESIGN = "{base: npu-chat, workload: chat-200}"
REST = """
capacity: {slo: {ttft_p99: 600 ms}, seeds: 2, tolerance: 2 %}
constraints: [capacity >= 0.1 requests/s]
objectives: [{maximize: capacity}, {minimize: cost_per_million_tokens_at_slo}]
"""


def test_a_trial_holds_what_the_search_finds(tmp_path):
    space = space_of(tmp_path, PARAMETERS, design=DESIGN, rest=REST)
    trial = SimEvaluator(space, load_traces(space)).evaluate(Task(0, {"tp": 2}))
    found = capacity(space.design({"tp": 2}), space.capacity)
    assert trial.status == "complete"
    assert trial.objectives["capacity"] == found.metrics["capacity"]
    assert trial.metrics["tpot_p95"] > 0, "the design's own rate is simulated, too"


def test_a_design_that_meets_its_slo_at_no_rate_is_infeasible(tmp_path):
    space = space_of(tmp_path, PARAMETERS, design=DESIGN, rest=REST.replace("ttft_p99: 600 ms", "tpot_p50: 1 us"))
    trial = SimEvaluator(space, load_traces(space)).evaluate(Task(0, {"tp": 2}))
    assert trial.status == "infeasible"
    assert trial.reason.startswith("slo_at_any_rate: tpot_p50")


def test_without_a_section_the_designs_slo_counts(tmp_path):
    space = space_of(tmp_path, PARAMETERS, design=DESIGN, rest="objectives: [{maximize: capacity}]")
    assert space.capacity.limits == {"slo_attainment": 0.99}
    assert space_of(tmp_path, PARAMETERS, design=DESIGN, rest="objectives: [{maximize: goodput}]").capacity is None


def test_the_target_is_part_of_the_spaces_identity(tmp_path):
    hashes = {space_of(tmp_path, PARAMETERS, design=DESIGN, rest=REST.replace("600 ms", f"{ms} ms")).hash for ms in (600, 700)}
    assert len(hashes) == 2


@pytest.mark.parametrize(("wrong", "said"), [
    ("slo: {ttft_p9: 1 s}", "did you mean"), ("slo: {ttft_p99: 1 GB}", "capacity.slo.ttft_p99"), ("seeds: 11", "from 1 to 10"),
    ("tolerance: 90 %", "capacity.tolerance"), ("sloo: 1", "capacity"),
])
def test_mistakes_are_told_with_their_key(tmp_path, wrong, said):
    with pytest.raises(InputError, match=said):
        space_of(tmp_path, PARAMETERS, design=DESIGN, rest=f"capacity: {{{wrong}}}\nobjectives: [{{maximize: capacity}}]")


def test_the_shipped_space_loads():
    assert load_space("capacity").capacity.seeds == 3
