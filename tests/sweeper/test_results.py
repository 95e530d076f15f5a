"""What a study leaves on disk."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulator.design import design_key, load_design
from sweeper import ledger
from sweeper.digest import Digest, digest
from sweeper.report import report_data, write_report
from sweeper.results import objective_column, write_results
from sweeper.space import Space
from sweeper.trial import Trial
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
    assert write_report(tmp_path, space, of(tmp_path, space, [])).stat().st_size > 1e6


def test_the_report_needs_no_network_and_runs_no_text(tmp_path: Path, space: Space, trials: list[Trial]) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)> @@PAGE@@"
    failed = Trial(5, point(4, [64, 64], 0.5), "failed", reason=evil)
    path = write_report(tmp_path, space, of(tmp_path, space, [*trials, failed]))
    text = path.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    own = text.replace(plotly_source(), "")
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", own)
    assert own.count("Plotly.react") > 0
    assert "@@" not in own.replace("@\\u0040", "")


def plotly_source() -> str:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


def test_the_report_compares_the_front_with_the_baselines(tmp_path: Path, space: Space, trials: list[Trial]) -> None:
    data = report_data(space, of(tmp_path, space, trials), {"cache_hits": 30, "cache_misses": 10, "cache_saved_s": 1.5, "cache_bytes": 2e6})
    (gpu,) = data["baselines"]
    assert gpu["dominated"] == 0
    # the best TPOT on the front is 10 ms against 9, the best throughput 500 against 800
    assert gpu["deltas"] == [pytest.approx(1 / 9, abs=1e-5), pytest.approx(-0.375)]
    assert data["reasons"] == [("slo", 1)]
    assert dict(data["cache"])["found in the cache"] == "30 (75.0%)"
    assert data["front"] == [3, 1]


def test_columns_name_their_units(space: Space) -> None:
    assert [objective_column(o) for o in space.objectives] == ["tpot_p95_ms", "output_throughput_tokens_per_s"]
