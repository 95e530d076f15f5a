"""The end-to-end validation: its closed loop against what a single request takes, its inputs, its rows."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from scripts.closed_loop import ONE_WAY_NS, SEED, lengths
from scripts.e2e_formats import Harness, harness_of
from scripts.e2e_frameworks import FRAMEWORKS, kv_blocks
from scripts.validate_e2e import _settled, closed_loop
from simulator.design.load import resolve
from simulator.engine import engine
from simulator.pricing.cache import CostCache
from simulator.pricing.price import price
from simulator.workload.trace import Trace
from tests.shared import ROOT

SCRIPT = ROOT / "scripts" / "validate_e2e.py"
POINT = {"model": "meta-llama/Llama-3.1-8B-Instruct", "system": "h100_sxm", "backend": "vllm", "isl": 256, "osl": 16, "batch": 2,
         "tp": 1, "pp": 1, "ttft_ms": 40.0, "tpot_ms": 8.0}


def design(**hardware):
    return resolve({"model": "llama-3.1-8b", "hardware": {"base": "h100-sxm", **hardware}, "workload": "chat-200",
                    "serving": {"max_num_seqs": 256, "cuda_graphs": True}})


@pytest.fixture(scope="module")
def priced():
    return price(design(), CostCache())


def run(folder, points, *arguments):
    path = folder / "points.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(points[0]) if points else list(POINT))
        writer.writeheader()
        writer.writerows(points)
    return subprocess.run([sys.executable, str(SCRIPT), str(path), *map(str, arguments)], capture_output=True, text=True, check=False)


def alone_s(priced, prompt, output):
    """(TTFT, E2E) in the engine of a request that has it for itself."""
    lengths = np.full(1, prompt, np.int32), np.full(1, output, np.int32)
    result = engine.run(Trace(np.zeros(1, np.int64), *lengths), priced.scheduler, priced.costs)
    return result.first_token_ns[0] / 1e9, result.finish_ns[0] / 1e9


def test_one_client_sees_the_engine_and_the_way_to_it_and_back(priced):
    first_s, whole_s = alone_s(priced, 512, 64)
    ttft, tpot = closed_loop(priced, 512, 64, clients=1, each=20)
    there_s = np.random.default_rng(SEED).exponential(ONE_WAY_NS, 20).mean() / 1e9
    assert ttft == pytest.approx(there_s + first_s + ONE_WAY_NS / 1e9, rel=1e-6)
    assert tpot == pytest.approx((whole_s - first_s) / 63, rel=1e-6)


def test_a_client_more_than_slots_waits_for_a_whole_request(priced):
    first_s, whole_s = alone_s(priced, 512, 64)
    ttft, _ = closed_loop(priced, 512, 64, clients=2, each=30, slots=1)
    assert ttft == pytest.approx(first_s + whole_s, rel=0.1)


def test_requests_that_never_fit_are_refused(priced):
    assert closed_loop(priced, 400_000, 64, clients=1, each=1) is None


def test_frameworks_size_their_pools_by_rules_of_their_own():
    vllm, sglang, trtllm = (kv_blocks(name, design(gpu={"kernels": name})) for name in ("vllm", "sglang", "trtllm"))
    assert vllm == "auto"
    token = 2 * 32 * 8 * 128 * 2  # bytes of K and V in 32 layers of 8 heads
    free = 79.18 * 2**30 - 16.06e9  # what 8.03e9 weights of 16 bits leave
    assert trtllm * 16 * token == pytest.approx(0.8 * free, rel=0.03)
    # SGLang's log on an H100 80GB with its defaults: mem_fraction_static=0.835
    assert sglang * 16 * token == pytest.approx(0.835 * 79.18 * 2**30 - 16.06e9, rel=0.03)


def test_constants_were_settled_on_every_second_configuration():
    points = [{"model": "m", "backend": "b", "tp": tp, "batch": batch} for tp in "1248" for batch in "12"]
    settled, held_out = _settled(points)
    assert sorted(settled + held_out) == list(range(8))
    assert {points[i]["tp"] for i in settled} == {"1", "4"}  # all batches of a configuration on one side


def test_points_of_every_framework_and_those_that_do_not_fit_are_counted(tmp_path):
    points = [{**POINT, "backend": name} for name in FRAMEWORKS]
    points.append({**POINT, "model": "Qwen/Qwen3-32B", "system": "l40s", "tpot_ms": 90.0})  # 65 GB of weights on 48 GB
    done = run(tmp_path, points, "--json", tmp_path / "rows.json")
    assert done.returncode in (0, 1), done.stderr
    rows = {r["name"]: r for r in json.loads((tmp_path / "rows.json").read_text())}
    assert rows["all/refused"]["value"] == 1
    assert rows["l40s/vllm/refused"]["value"] == 1
    assert "l40s/vllm/tpot_mape" not in rows
    assert rows["all/tpot_mape"]["goal"] == "<= 10 %"
    assert rows["h100_sxm/vllm/tpot_mape"]["value"] < 30


@pytest.mark.parametrize(("change", "told"), [
    ({"backend": "llama.cpp"}, "llama.cpp"), ({"system": "abacus"}, "abacus"), ({"model": "nobody/knows"}, "nobody/knows"),
    ({"isl": "many"}, "isl")])
def test_what_is_not_known_is_named_without_a_traceback(tmp_path, change, told):
    done = run(tmp_path, [{**POINT, **change}])
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_column_and_an_empty_file_are_named(tmp_path):
    done = run(tmp_path, [{k: v for k, v in POINT.items() if k != "batch"}])
    assert (done.returncode, "batch" in done.stderr) == (2, True)
    done = run(tmp_path, [])
    assert (done.returncode, "no points" in done.stderr) == (2, True)


HARNESS = {"length_range": "uniform in 0.8 L .. L", "requests_per_client": 3, "max_num_seqs": "= concurrency",
           "async_scheduling": "true", "kv_dtype": "fp8", "max_num_batched_tokens": 4096, "gemm_q": "fp8", "version": "",
           "measured": "2025-10-29"}


def test_harness_columns_are_read():
    assert harness_of({**POINT}) is None
    found = harness_of({**{k: str(v) for k, v in POINT.items()}, **{k: str(v) for k, v in HARNESS.items()}})
    assert found == Harness(lowest=0.8, requests_per_client=3, slots=2, budget=4096, asynchronous=True, kv="fp8", weights="fp8",
                            version=(0, 11))


def test_rows_of_a_file_with_a_harness_begin_with_its_name(tmp_path):
    done = run(tmp_path, [{**POINT, **HARNESS}, {**POINT, **HARNESS, "backend": "trtllm"}], "--json", tmp_path / "rows.json")
    assert done.returncode in (0, 1), done.stderr
    names = {r["name"] for r in json.loads((tmp_path / "rows.json").read_text())}
    assert {"points/all/tpot_mape", "points/h100_sxm/trtllm/ttft_median"} <= names
    assert not any("settled" in name for name in names)


def test_other_names_of_columns_are_mapped(tmp_path):
    others = {"batch": "batch_size", "tp": "tp_size", "pp": "pp_size", "ttft_ms": "silicon_ttft_ms", "tpot_ms": "silicon_tpot_ms"}
    done = run(tmp_path, [{others.get(k, k): v for k, v in POINT.items()}])
    assert done.returncode in (0, 1), done.stderr
    assert "all/tpot_mape" in done.stdout


@pytest.mark.parametrize(("column", "value"), [("length_range", "somehow"), ("requests_per_client", "many")])
def test_a_harness_that_means_nothing_is_named(tmp_path, column, value):
    done = run(tmp_path, [{**POINT, **HARNESS, column: value}])
    assert done.returncode == 2 and value in done.stderr and "Traceback" not in done.stderr


def test_lengths_are_uniform_from_the_lowest_share_to_the_stated_one():
    drawn = lengths(1000, 0.8, 20_000, 1)
    assert (drawn.min(), drawn.max()) == (800, 1000)
    assert drawn.mean() == pytest.approx(900, rel=0.005)
    assert set(lengths(1000, 1.0, 50, 1)) == {1000}
