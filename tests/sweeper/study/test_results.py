"""What a study leaves on disk."""

from __future__ import annotations

import base64
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulator.design.load import load_design
from simulator.design_key import design_key
from sweeper.report.page import library, write_report
from sweeper.report.picks import knee
from sweeper.report.simulations import Simulations
from sweeper.space.space import Space
from sweeper.study import ledger
from sweeper.study.digest import Digest, digest
from sweeper.study.results import objective_column, write_results
from sweeper.study.trial import Trial
from tests.sweeper.spaces import OBJECTIVES, complete, space_of


@pytest.fixture
def space(tmp_path: Path) -> Space:
    return space_of(tmp_path, """
  parallelism.tensor: {ordinal: [1, 2, 4]}
  array: {sets: [hardware.npu.array], choices: [[64, 64], [128, 128]]}
  hardware.npu.clock: {float: {low: 0.5 GHz, high: 1.5 GHz, step: 0.5 GHz}}
""", rest=OBJECTIVES + "baselines: {gpu: h100-chat}")


def point(tensor: int, array: list[int], clock: float) -> dict[str, object]:
    return {"parallelism.tensor": tensor, "array": array, "hardware.npu.clock": clock}


@pytest.fixture
def trials() -> list[Trial]:
    return [
        complete(0, 9, 800, parameters={}, baseline="gpu"),
        complete(1, 20, 500, parameters=point(1, [64, 64], 0.5)),
        complete(2, 30, 400, parameters=point(1, [128, 128], 0.5)),
        complete(3, 10, 300, parameters=point(2, [128, 128], 1.5)),
        Trial(4, point(4, [64, 64], 1.0), "infeasible", constraints={"slo": 0.5}, reason="slo: violated by 50.0%"),
    ]


def of(folder: Path, space: Space, trials: list[Trial]) -> Digest:
    """What a study with these trials, finished in this order, has found."""
    (folder / "trials.jsonl").unlink(missing_ok=True)
    book = ledger.create(folder / "trials.jsonl", ledger.Header("s1", space.hash, "1", 0))
    for trial in trials:
        book.append(trial)
    book.close()
    return digest(space, book.path)


def test_pareto_csv_has_the_front_with_units(tmp_path: Path, space: Space, trials: list[Trial]) -> None:
    write_results(tmp_path, space, of(tmp_path, space, trials))
    rows = list(csv.DictReader((tmp_path / "pareto.csv").open()))
    assert next(iter(rows[0])) == "trial"
    assert [row["trial"] for row in rows] == ["3", "1"]  # by the first objective
    assert rows[0]["tpot_p95_ms"] == "10.0" or rows[0]["tpot_p95_ms"] == "10"
    assert float(rows[0]["output_throughput_tokens_per_s"]) == 300
    assert (rows[0]["array"], rows[0]["hardware.npu.clock_GHz"]) == ("[128,128]", "1.5")
    before = (tmp_path / "pareto.csv").read_bytes()
    write_results(tmp_path, space, of(tmp_path, space, trials[::-1]))
    assert (tmp_path / "pareto.csv").read_bytes() == before


def test_the_table_of_all_trials_is_typed(tmp_path: Path, space: Space, trials: list[Trial]) -> None:
    write_results(tmp_path, space, of(tmp_path, space, trials))
    table = pq.read_table(tmp_path / "trials.parquet")
    assert table.column("trial").to_pylist() == [0, 1, 2, 3, 4]
    assert table.column("parallelism.tensor").to_pylist() == [None, 1, 1, 2, 4]
    assert table.column("pareto").to_pylist() == [False, True, False, True, False]
    assert table.column("violation: slo").to_pylist() == [None, None, None, None, 0.5]
    types = {name: table.schema.field(name).type for name in table.column_names}
    assert types["parallelism.tensor"] == pa.int64()
    assert types["hardware.npu.clock_GHz"] == pa.float64()
    assert types["array"] == types["status"] == pa.string()
    assert types["tpot_p95_ms"] == types["output_throughput_tokens_per_s"] == pa.float64()


def test_best_designs_run_by_themselves(tmp_path: Path, space: Space, trials: list[Trial]) -> None:
    write_results(tmp_path, space, of(tmp_path, space, trials))
    assert sorted(p.name for p in (tmp_path / "best").iterdir()) == [
        "best-output_throughput.yaml", "best-tpot_p95.yaml", "trial-00001.yaml", "trial-00003.yaml"]
    design = load_design(tmp_path / "best" / "trial-00003.yaml")
    assert design_key(design) == design_key(space.design(trials[3].parameters))
    assert load_design(tmp_path / "best" / "best-output_throughput.yaml").hardware.npu.array == (64, 64)  # type: ignore[union-attr]
    write_results(tmp_path, space, of(tmp_path, space, trials[:2]))
    assert not (tmp_path / "best" / "trial-00003.yaml").exists()


def test_a_study_without_results_is_empty_tables(tmp_path: Path, space: Space) -> None:
    write_results(tmp_path, space, of(tmp_path, space, []))
    assert len((tmp_path / "pareto.csv").read_text().splitlines()) == 1
    assert pq.read_table(tmp_path / "trials.parquet").num_rows == 0
    assert write_report(tmp_path, space, of(tmp_path, space, []), 0).stat().st_size > 1e6


def data_of(folder: Path, space: Space, trials: list[Trial]) -> dict[str, Any]:
    """What the page of these trials shows, without added simulations."""
    found = of(folder, space, trials)
    write_results(folder, space, found)
    text = write_report(folder, space, found, 0).read_text(encoding="utf-8")
    data: dict[str, Any] = json.loads(text.split('id="data">')[1].split("</script>")[0])
    return data


def test_the_report_needs_no_network_and_runs_no_text(tmp_path: Path, space: Space, trials: list[Trial]) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)> @@PAGE@@"
    failed = Trial(5, point(4, [64, 64], 0.5), "failed", reason=evil)
    data = data_of(tmp_path, space, [*trials, failed])
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert evil in data["trials"]["reason"]["list"]
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    own = text.replace(library(), "")
    assert len(own) < len(text) - 1_000_000
    assert "http" not in own
    assert "@@" not in own.replace("@\\u0040", "")


def test_the_report_recommends_designs_against_the_baselines(tmp_path: Path, space: Space, trials: list[Trial]) -> None:
    data = data_of(tmp_path, space, trials)
    (gpu,) = data["decision"]["baselines"]
    assert (gpu["beaten"], gpu["values"]) == (0, [9, 800])
    picks = {tuple(pick["roles"]): pick for pick in data["decision"]["picks"]}
    assert {roles: pick["number"] for roles, pick in picks.items()} == {("tpot_p95",): 3, ("output_throughput",): 1}
    # 10 ms against 9, 300 tokens/s against 800
    assert picks["tpot_p95",]["against"]["gpu"] == [pytest.approx(1 / 9), pytest.approx(-0.625)]
    assert picks["tpot_p95",]["devices"] == "2 = TP2"
    assert data["reasons"] == [["slo", 1]]
    assert data["front"] == [3, 1]


def test_the_report_has_every_trial_as_columns(tmp_path: Path, space: Space, trials: list[Trial]) -> None:
    columns = data_of(tmp_path, space, trials)["trials"]
    assert unpacked(columns["number"]) == [0, 1, 2, 3, 4]
    assert unpacked(columns["status"]) == [0, 0, 0, 0, 1]
    assert unpacked(columns["values"]["tpot_p95"])[:4] == [9, 20, 30, 10]
    assert unpacked(columns["settings"]["array"]["codes"]) == [255, 0, 1, 1, 0]
    assert unpacked(columns["settings"]["parallelism.tensor"]["codes"]) == [255, 0, 0, 1, 2]
    assert columns["baseline"] == {"0": "gpu"}


def unpacked(column: dict[str, str]) -> list[float]:
    return np.frombuffer(base64.b64decode(column["data"]), dtype=f"<{column['type']}").tolist()


def test_the_compromise_is_nearest_to_the_ideal_point() -> None:
    assert knee(np.array([[0.0, 10.0], [2.0, 3.0], [10.0, 0.0]])) == 1  # scaled: (0, 1), (0.2, 0.3), (1, 0)
    # by logarithm: (0, 1), (1/3, 1/3), (2/3, 1/6), (1, 0)
    assert knee(np.array([[1.0, 1e6], [10.0, 100.0], [100.0, 10.0], [1000.0, 1.0]])) == 1


def test_the_history_is_that_of_the_front(tmp_path: Path, space: Space, trials: list[Trial]) -> None:
    history = data_of(tmp_path, space, trials)["history"]
    assert history["best"]["tpot_p95"] == [[1, 20], [3, 10], [4, 10]]
    assert history["best"]["output_throughput"] == [[1, 500], [4, 500]]
    # reference: 10 % of the range beyond the worst, (32, 280); after trial 1: 12 x 220; trial 3 adds 10 x 20
    assert history["hypervolume"] == [[1, pytest.approx(12 * 220 / (12 * 220 + 10 * 20))], [3, 1], [4, 1]]


def test_an_added_simulation_is_kept_for_the_next_report(tmp_path: Path, space: Space) -> None:
    settings = point(1, [64, 64], 0.5)
    first = Simulations(tmp_path, space)
    there = first.at(settings)
    first.save()
    again = Simulations(tmp_path, space)
    assert again.known(settings)
    assert again.at(settings) == there


def test_columns_name_their_units(space: Space) -> None:
    assert [objective_column(o) for o in space.objectives] == ["tpot_p95_ms", "output_throughput_tokens_per_s"]
