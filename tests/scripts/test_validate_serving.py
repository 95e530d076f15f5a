"""Recorded vLLM runs replayed on measured tables, and runs that must be handled or refused."""

import json
import shutil

import numpy as np
import pytest

from scripts.validate_serving import main, taken_s
from simulator.engine import engine
from simulator.recorded.vllm_run import RecordedRun
from tests.engine.builders import affine_costs, config, trace
from tests.shared import shared_file

RUNS = {"RTX4090": "data/vllm_runs/RTX4090-Llama-3.1-8B", "RTXPRO6000": "data/vllm_runs/RTXPRO6000-Llama-3.1-8B"}


@pytest.mark.parametrize("gpu", RUNS)
def test_a_recorded_run_is_predicted_within_the_bars(gpu, tmp_path):
    status = main(["--run", str(shared_file(RUNS[gpu])), "--tables",
                   str(shared_file(f"data/llmservingsim_tables/{gpu}/Llama-3.1-8B")), "--json", str(tmp_path / "rows.json")])
    rows = {row["name"]: row for row in json.loads((tmp_path / "rows.json").read_text())}
    assert status == 0, [row for row in rows.values() if row["ok"] is False]
    for name in ("ttft/mean_error_pct", "tpot/p99_error_pct", "e2e/mean_error_pct", "throughput/error_pct"):
        assert abs(rows[name]["value"]) < 3


def test_latencies_count_from_when_the_engine_takes_a_request_in():
    """Steps of 100 ns one after another: who comes in the middle of one is taken at its end, as vLLM stamps queued_ts."""
    requests = trace((0, 4, 4), (150, 4, 1), (1000, 4, 1))
    result = engine.run(requests, config(), affine_costs(base=100), log=True)
    none = np.zeros(3)
    run = RecordedRun("made", "m", "0", {}, "", 1, requests.arrival_ns / 1e9, none, none, requests.prompt_tokens,
                      requests.output_tokens, np.arange(3), {}, None)
    assert np.rint(taken_s(run, result) * 1e9).tolist() == [0, 200, 1000]


@pytest.fixture
def sharded(tmp_path):
    """The RTX PRO 6000 run as if it had been served on two devices, and a bundle that has tables for two."""
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    for source, copy in ((RUNS["RTXPRO6000"], run), ("data/llmservingsim_tables/RTXPRO6000/Llama-3.1-8B", bundle)):
        shutil.copytree(shared_file(source), copy, copy_function=shutil.copyfile)
        for path in (copy, *copy.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
    meta = json.loads((run / "meta.json").read_text())
    meta["engine_kwargs"]["tensor_parallel_size"] = 2
    (run / "meta.json").write_text(json.dumps(meta))
    shutil.copytree(bundle / "tp1", bundle / "tp2")
    return run, bundle


def test_two_devices_take_their_own_tables_and_pay_for_all_reduces(sharded, tmp_path):
    run, bundle = sharded
    main(["--run", str(run), "--tables", str(bundle), "--json", str(tmp_path / "two.json")])
    main(["--run", str(shared_file(RUNS["RTXPRO6000"])), "--tables", str(bundle), "--json", str(tmp_path / "one.json")])
    one, two = ({r["name"]: r["value"] for r in json.loads((tmp_path / f"{n}.json").read_text())} for n in ("one", "two"))
    assert two["tpot/mean_error_pct"] > one["tpot/mean_error_pct"] + 5  # same operators, and 65 all-reduces a step


def test_what_cannot_be_replayed_is_refused_with_a_reason(sharded, capsys):
    run, bundle = sharded
    shutil.rmtree(bundle / "tp2")
    assert main(["--run", str(run), "--tables", str(bundle)]) == 2
    assert "no tp2/" in capsys.readouterr().err
    meta = json.loads((run / "meta.json").read_text())
    (run / "meta.json").write_text(json.dumps({**meta, "model": "Qwen/Qwen3-1.7T"}))
    assert main(["--run", str(run), "--tables", str(bundle)]) == 2
    assert "no preset for 'Qwen/Qwen3-1.7T'" in capsys.readouterr().err
