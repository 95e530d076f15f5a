"""Warm starts: identical designs are taken over and judged anew, others are proposed first."""

from pathlib import Path

import pytest

from simulator.inputs.errors import InputError
from sweeper.run.warm_start import warm_start
from sweeper.search.samplers import build_proposer
from sweeper.study import folder as study_folder
from sweeper.study.settings import SweepSettings
from sweeper.workers.evaluator import SimEvaluator, load_traces
from sweeper.workers.worker import Task
from tests.sweeper.spaces import space_of

TENSOR = "  parallelism.tensor: {ordinal: [1, 2, 4]}"
WIDER = TENSOR + "\n  serving.max_num_seqs: {ordinal: [16, 64, 256]}"
DESIGN = "{base: npu-chat, workload: chat-200}"
REST = """
objectives: [{minimize: tpot_p95, unit: ms}, {minimize: cost_per_hour}]
baselines: {base: {}, pim: {design: npu-pim-chat}}
"""


@pytest.fixture
def earlier(tmp_path) -> Path:
    """A finished study of three designs and two baselines."""
    place = tmp_path / "old"
    place.mkdir()
    space = space_of(place, TENSOR, design=DESIGN, rest=REST)
    book = study_folder.create(place, space, SweepSettings(5, 1, 0, "random"))
    evaluator = SimEvaluator(space, load_traces(space))
    for task in (Task(0, baseline="base"), Task(1, baseline="pim"),
                 *(Task(n, {"parallelism.tensor": tensor}) for n, tensor in ((2, 4), (3, 1), (4, 2)))):
        book.append(evaluator.evaluate(task))
    book.close()
    return place


def test_identical_designs_are_taken_over_and_judged_by_the_new_space(tmp_path, earlier):
    rest = "constraints: [cost_per_hour <= 1 USD/h]\nobjectives: [{maximize: output_throughput}]\nbaselines: {pim: {design: npu-pim-chat}}"
    space = space_of(tmp_path, TENSOR, design=DESIGN, rest=rest)
    warm = warm_start([earlier], space)
    assert [(t.number, t.baseline, t.parameters.get("parallelism.tensor")) for t in warm.taken] == [
        (0, "pim", None), (1, "", 4), (2, "", 1), (3, "", 2)]
    evaluator = SimEvaluator(space, load_traces(space))
    for trial in warm.taken:
        fresh = evaluator.evaluate(Task(trial.number, trial.parameters, trial.baseline))
        assert trial.cached
        assert (trial.status, trial.objectives, trial.constraints, trial.design_key) == (
            fresh.status, fresh.objectives, fresh.constraints, fresh.design_key)
    assert {t.status for t in warm.taken} == {"complete", "infeasible"}
    assert warm.seeds == []


def test_the_same_values_with_another_workload_are_seeds(tmp_path, earlier):
    space = space_of(tmp_path, TENSOR, design="npu-chat", rest=REST)
    warm = warm_start([earlier], space)
    assert warm.taken == []
    assert sorted(p["parallelism.tensor"] for p in warm.seeds) == [1, 2, 4]


def test_a_wider_space_has_no_point_for_designs_without_its_parameters(tmp_path, earlier):
    warm = warm_start([earlier], space_of(tmp_path, WIDER, design=DESIGN, rest=REST))
    assert [t.baseline for t in warm.taken] == ["base", "pim"]
    assert warm.seeds == []


def test_a_narrower_space_takes_what_is_the_same_design(tmp_path, earlier):
    narrow = TENSOR.replace("[1, 2, 4]", "[2, 4]")
    warm = warm_start([earlier], space_of(tmp_path, narrow, design=DESIGN, rest=REST))
    assert [t.parameters["parallelism.tensor"] for t in warm.taken if not t.baseline] == [4, 2]


def test_metrics_that_are_missing_are_not_made_up(tmp_path, earlier):
    rest = "capacity: {slo: {ttft_p99: 1 s}, seeds: 1}\nobjectives: [{maximize: capacity}]"
    warm = warm_start([earlier], space_of(tmp_path, TENSOR, design=DESIGN, rest=rest))
    assert warm.taken == []
    assert len(warm.seeds) == 3


def test_results_of_another_version_are_seeds_only(tmp_path, earlier):
    path = earlier / "trials.jsonl"
    header, rest = path.read_text().split("\n", 1)
    from simulator.version import simulator_version

    path.write_text(header.replace(simulator_version(), "another") + "\n" + rest)
    warm = warm_start([earlier], space_of(tmp_path, TENSOR, design=DESIGN, rest=REST))
    assert (len(warm.taken), len(warm.seeds)) == (0, 3)


def test_seeds_come_first(tmp_path):
    space = space_of(tmp_path, TENSOR)
    proposer = build_proposer("random", space, seed=0, in_flight=1, first=[{"parallelism.tensor": 4}, {"parallelism.tensor": 2}])
    assert [proposer.next().point["parallelism.tensor"] for _ in range(3)] == [4, 2, 1]


def test_a_folder_without_a_study_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"trials\.jsonl"):
        warm_start([tmp_path], space_of(tmp_path, TENSOR))
