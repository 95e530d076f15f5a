"""Sweeps from Python."""

from pathlib import Path

import pytest

from sweeper.api import InputError, Space, Study, run

pytest.importorskip("ray")


def test_a_space_answers_questions_about_itself() -> None:
    space = Space.load("quick", {"workload.rate": "10 requests/s"})
    assert len(space) == 24 == len(list(space.points()))
    assert space.objectives["output_throughput"] == "maximize"
    design = space.design({"parallelism.tensor": 2, "hardware.memory.stacks": 4, "serving.max_num_seqs": 16})
    assert design.parallelism.tensor == 2
    assert design.workload.rate_per_s == 10
    with pytest.raises(InputError):
        space.design({"parallelism.tensor": 3, "hardware.memory.stacks": 4, "serving.max_num_seqs": 16})


def test_a_sweep_is_run_read_and_continued(tmp_path: Path, ray_cluster: None) -> None:
    study = run("quick", tmp_path / "study", trials=10, sampler="exhaustive", workers=1)
    assert [t.number for t in study.trials()] == list(range(10))
    study = Study(tmp_path / "study").resume(trials=24, workers=2)
    trials = {t.number: t for t in study.trials()}
    assert len(trials) == 24
    best = study.best("cost_per_hour")
    assert best is not None
    assert best.objectives["cost_per_hour"] == min(t.objectives["cost_per_hour"] for t in trials.values()
                                                   if t.status == "complete")
    assert best.number in {t.number for t in study.front()} or len(study.front()) > 0
    assert study.design(best).parallelism.tensor == best.parameters["parallelism.tensor"]
    table = study.table()
    assert table.num_rows == 24
    assert table.column("tpot_p95_ms").to_pylist()[3] == trials[3].objectives["tpot_p95"]
    frame = study.frame()
    assert list(frame["trial"]) == list(range(24)) and list(frame["tpot_p95_ms"]) == table.column("tpot_p95_ms").to_pylist()
    opened = study.optuna()
    assert [t.state.name for t in opened.trials].count("COMPLETE") >= len(study.front())
    assert "tpot_p95 (ms)" in opened.metric_names
    assert "most time in" in study.explain(best.number)
    assert repr(study).startswith(f"Study({tmp_path / 'study'}: 24 trials of quick, ")
    with pytest.raises(InputError, match="there is no trial 99"):
        study.explain(99)
    with pytest.raises(InputError, match="unknown objective"):
        study.best("speed")
    with pytest.raises(InputError, match="resume"):
        run("quick", tmp_path / "study")


def test_a_space_is_made_of_plain_data() -> None:
    plain = {"design": "npu-chat", "parameters": {"parallelism.tensor": {"ordinal": [1, 2, 4]}},
             "objectives": [{"minimize": "cost_per_hour"}]}
    assert repr(Space.from_dict(plain, "mine")) == "Space(mine: 3 designs of parallelism.tensor; minimize cost_per_hour)"
    with pytest.raises(InputError, match="objectives"):
        Space.from_dict({**plain, "objectives": []})
