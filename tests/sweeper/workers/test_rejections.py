"""A design that rejects requests is no better than one that serves them all."""

from __future__ import annotations

from sweeper.space.file import load_space
from sweeper.workers.evaluator import SimEvaluator, load_traces
from sweeper.workers.worker import Task, run_task
from tests.shared import shared_file


def test_designs_that_reject_are_infeasible_and_say_how_many() -> None:
    """shared cases/reject_bias.yaml: 200 and 600 blocks reject most of the requests, 28,000 blocks none; judged by those that
    finished, the design that rejects 189 of 200 was the front."""
    space = load_space(str(shared_file("cases/reject_bias.yaml")))
    evaluator = SimEvaluator(space, load_traces(space))
    trials = {blocks: run_task(evaluator, Task(i, {"blocks": blocks})) for i, blocks in enumerate((200, 600, 28000))}
    assert trials[28000].status == "complete"
    assert [trials[blocks].status for blocks in (200, 600)] == ["infeasible"] * 2
    assert trials[200].reason.startswith("rejected: 189 of 200 requests never fit")
    assert trials[200].constraints["rejected"] == 189 / 200
