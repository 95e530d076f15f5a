"""One design, one trace, one result: checked against closed forms and conservation laws."""

import json
import subprocess
import sys

import numpy as np
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

from simulator.design.load import CONFIGS, load_design
from simulator.prepare import violations
from simulator.pricing.cache import CostCache
from simulator.result import Infeasible
from simulator.results.metrics import METRICS
from simulator.simulate import simulate
from simulator.workload.load import load_trace
from simulator.workload.trace import Trace

DESIGNS = sorted(p.stem for p in (CONFIGS / "designs").glob("*.yaml"))


def design(name="npu-pim-chat", **overrides):
    return load_design(name, {"workload": "chat-200", **overrides})


def requests(arrival_s, prompt, output):
    return Trace((np.asarray(arrival_s) * 1e9).astype(np.int64), np.asarray(prompt, np.int32), np.asarray(output, np.int32))


@pytest.mark.parametrize("name", DESIGNS)
def test_every_metric_is_reported_and_finite(name):
    metrics = simulate(design(name)).metrics
    assert set(metrics) == set(METRICS)
    assert all(np.isfinite(v) for v in metrics.values())


@pytest.mark.parametrize("name", DESIGNS)
def test_both_engines_agree_to_the_last_bit(name):
    fast, slow = simulate(design(name)), simulate(design(name), use_reference=True)
    assert fast.metrics == slow.metrics
    assert (fast.replicas[0].run.finish_ns == slow.replicas[0].run.finish_ns).all()


def test_prices_from_the_cache_change_nothing():
    cache = CostCache()
    cold = simulate(design(), cache=cache)
    computed = cache.take_counters()
    warm = simulate(design(), cache=cache)
    found = cache.take_counters()
    assert cold.metrics == warm.metrics == simulate(design()).metrics
    assert found.misses == 0
    assert found.hits == computed.hits + computed.misses  # norms of one shape are priced once within a design
    assert computed.misses > 10


def test_percentiles_and_throughput_follow_from_the_request_times():
    result = simulate(design("h100-chat"))
    trace, run = result.replicas[0].trace, result.replicas[0].run
    ttft_s = (run.first_token_ns - trace.arrival_ns) / 1e9
    assert result.metrics["ttft_p99"] == pytest.approx(np.quantile(ttft_s, 0.99), rel=1e-12)
    assert result.metrics["ttft_mean"] == pytest.approx(ttft_s.mean(), rel=1e-12)
    # the engine keeps up: tokens are made as fast as requests come, whatever the drain takes
    come_s = (trace.arrival_ns[-1] - trace.arrival_ns[0]) / 1e9 * len(trace) / (len(trace) - 1)
    assert result.metrics["output_throughput"] == pytest.approx(trace.output_tokens.sum() / come_s, rel=1e-12)


def test_littles_law_holds():
    """Mean requests in the system = throughput x mean time in the system (Little 1961), exact over a finite run."""
    result = simulate(design(), log=True)
    log = result.replicas[0].run.log
    starts, present = log.start_ns, (log.running + log.waiting)
    integral = float(np.sum(present[:-1] * np.diff(starts))) / 1e9
    m = result.metrics
    assert integral == pytest.approx(m["requests"] * m["e2e_mean"], rel=0.05)  # arrivals inside a step join at its end


def test_decoding_one_sequence_is_never_faster_than_reading_the_weights():
    """8.03e9 parameters less the embedding table (525 M, only looked up) in bf16 at 3.35 TB/s: 4.48 ms a token on an H100."""
    lonely = simulate(design("h100-chat"), trace=requests([0.0], [16], [200]))
    assert lonely.metrics["tpot_mean"] > (8.03e9 - 0.525e9) * 2 / 3.35e12
    assert lonely.metrics["tpot_mean"] < 2.0 * (8.03e9 - 0.525e9) * 2 / 3.35e12


def test_cost_per_token_is_cost_per_hour_over_tokens_per_hour():
    m = simulate(design()).metrics
    assert m["cost_per_million_tokens"] == pytest.approx(m["cost_per_hour"] / (m["output_throughput"] * 3600 / 1e6), rel=1e-12)
    assert m["energy"] == pytest.approx(m["power"] * m["makespan"], rel=1e-12)


def test_replicas_share_the_load_and_add_up():
    one, two = simulate(design("h100-chat")), simulate(design("h100-chat", **{"parallelism.replicas": 2}))
    assert two.metrics["devices"] == 2
    assert two.metrics["capital"] == pytest.approx(2 * one.metrics["capital"])
    assert two.metrics["requests"] == one.metrics["requests"]
    assert two.metrics["tpot_mean"] < one.metrics["tpot_mean"]


def test_operator_times_add_up_to_the_busy_time():
    result = simulate(design("npu-chat"))
    run = result.replicas[0].run
    linear_s = sum(op.seconds for op in result.operators if op.device != "host" and "attention" not in op.name)
    stages_s = run.blocks_ns / 1e9 - (run.decode_ns + run.prefill_ns) / 1e9
    names = {"embedding", "embedding_all_reduce", "final_norm", "lm_head", "logits_all_gather", "sampling"}
    extra_s = sum(op.seconds for op in result.operators if op.name in names)
    blocks_s = sum(op.seconds for op in result.operators
                   if op.device != "host" and op.name not in names and op.name not in ("prefill_attention", "decode_attention"))
    assert blocks_s == pytest.approx(stages_s, rel=1e-3)  # tables are rounded to ns
    assert linear_s > extra_s > 0


def test_what_cannot_serve_says_why_before_simulating():
    too_large = design("h100-chat", model="gpt3-175b")
    assert [v.name for v in violations(too_large)] == ["memory_fit"]
    with pytest.raises(Infeasible, match="GB are usable"):
        simulate(too_large)
    assert [v.name for v in violations(design("h100-chat", **{"parallelism.tensor": 3}))] == ["model_split"]
    assert [v.name for v in violations(design(**{"serving.num_gpu_blocks": 2, "serving.max_model_len": 1000}))] == ["kv_fit"]


def test_the_command_line_prints_metrics_and_writes_tables(tmp_path):
    done = subprocess.run([sys.executable, "-m", "simulator", "run", "npu-pim-chat", "--set", "workload=chat-200", "--json",
                           "--requests-csv", str(tmp_path / "r.csv"), "--steps-csv", str(tmp_path / "s.parquet")],
                          capture_output=True, text=True, check=True, timeout=300)
    printed = json.loads(done.stdout)
    rows, steps = pc.read_csv(tmp_path / "r.csv"), pq.read_table(tmp_path / "s.parquet")
    assert rows.num_rows == 200
    assert np.mean(rows["ttft_s"].to_numpy()) == pytest.approx(printed["metrics"]["ttft_mean_s"], rel=1e-9)
    assert steps.num_rows == printed["metrics"]["steps"]
    trace = load_trace(design().workload)
    assert sum(steps["tokens"].to_pylist()) == trace.prompt_tokens.sum() + (trace.output_tokens - 1).sum()
    human = subprocess.run([sys.executable, "-m", "simulator", "run", "h100-chat", "--set", "workload=chat-200"],
                           capture_output=True, text=True, check=True, timeout=300).stdout
    for word in ("TTFT", "TPOT", "goodput", "gate_up", "time by bound"):
        assert word in human
