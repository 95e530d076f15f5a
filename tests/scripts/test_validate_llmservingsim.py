import json

from scripts.validate_llmservingsim import main
from tests.shared import shared_file


def test_its_own_simulation_is_replayed_to_a_few_parts_in_a_million(tmp_path, capsys):
    run, rows = "data/vllm_runs", tmp_path / "rows.json"
    status = main(["--sim", str(shared_file(f"{run}/RTXPRO6000-Llama-3.1-8B/llmservingsim_sim.csv.gz")),
                   "--tables", str(shared_file("data/llmservingsim_tables/RTXPRO6000/Llama-3.1-8B")),
                   "--workload", str(shared_file(f"{run}/sharegpt-llama-3.1-8b-300-sps10.jsonl.gz")), "--json", str(rows)])
    found = {row["name"]: row["value"] for row in json.loads(rows.read_text())}
    assert status == 0
    assert found["end_time/worst_pct"] < 1e-3  # of 2,400 steps; ASTRA-Sim adds a few ns to each


def test_another_file_is_refused_with_a_message(tmp_path, capsys):
    (tmp_path / "sim.csv").write_text("a,b\n1,2\n")
    assert main(["--sim", str(tmp_path / "sim.csv"), "--tables", str(tmp_path), "--workload", "x.jsonl"]) == 2
    assert "request id" in capsys.readouterr().err
