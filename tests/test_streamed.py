"""A design served without keeping its requests: the metrics of the run that keeps them."""

import json
import subprocess
import sys

import pytest

from simulator.design.load import load_design
from simulator.inputs.errors import InputError
from simulator.results.histogram import ERROR
from simulator.simulate import simulate
from simulator.streamed import refusal, simulate_streamed

DRAWN = {"trace": None, "arrivals": {"process": "poisson", "rate": "12 requests/s"}, "requests": 700,
         "prompt": {"distribution": "lognormal", "mean": 600, "cv": 1.2, "high": 6000},
         "output": {"distribution": "lognormal", "mean": 200, "cv": 0.9, "high": 1500}}


def design(name="h100-chat", workload=DRAWN, **overrides):
    return load_design(name, {**{f"workload.{key}": value for key, value in workload.items()}, **overrides})


CASES = {
    "synchronous": {}, "asynchronous": {"serving.async_scheduling": True},
    "prefix caching": {"serving.enable_prefix_caching": True}, "chunk caps": {"serving.long_prefill_token_threshold": 256},
    "replicas": {"parallelism.replicas": 3}, "stages": {"parallelism.pipeline": 2},
    "few blocks": {"serving.num_gpu_blocks": 700, "serving.max_model_len": 8192, "serving.enable_prefix_caching": True},
    "rejects": {"serving.max_model_len": 1000, "slo.allow_rejected": 0.5},
}


@pytest.mark.parametrize("case", CASES)
def test_metrics_are_those_of_the_run_that_keeps_its_requests(case):
    asked = design(**CASES[case])
    kept, streamed = simulate(asked).metrics, simulate_streamed(asked, piece=61).metrics
    assert set(kept) == set(streamed)
    for name, value in kept.items():
        latency = name.split("_")[0] in ("ttft", "tpot", "e2e", "queueing")
        rate = name.endswith(("throughput", "per_device", "goodput", "growth", "tokens"))  # these hold mean latencies
        within = ERROR if latency and not name.endswith("mean") else 1e-12 if latency or rate else 0
        assert streamed[name] == pytest.approx(value, rel=within, abs=0), name
    if case == "few blocks":
        assert kept["preemptions"] > 0
    if case == "rejects":
        assert kept["rejected"] > 0


def test_a_recorded_trace_is_streamed_too():
    asked = load_design("npu-pim-chat", {"workload": "chat-200"})
    kept, streamed = simulate(asked).metrics, simulate_streamed(asked, piece=37).metrics
    assert streamed["ttft_p99"] == pytest.approx(kept["ttft_p99"], rel=ERROR)
    assert streamed["steps"] == kept["steps"]
    assert streamed["makespan"] == kept["makespan"]


def test_what_is_not_streamed_is_refused_by_key():
    closed = {key: value for key, value in DRAWN.items() if key != "arrivals"} | {"concurrency": 4}
    with pytest.raises(InputError, match=r"workload.concurrency: .*workload.requests"):
        simulate_streamed(design(workload=closed))
    recorded = load_design("h100-chat", {"workload.replicates": 3})
    assert "workload.replicates" in str(refusal(recorded))
    assert refusal(design()) is None


def command(*options):
    return subprocess.run([sys.executable, "-m", "simulator", "run", "h100-chat", *options], capture_output=True, text=True)


def test_the_command_says_that_percentiles_are_read_off_histograms():
    shown = command("--stream", "--set", "workload=chat-200")
    assert shown.returncode == 0
    assert "streamed" in shown.stdout
    assert "within 0.05 %" in shown.stdout
    assert "streamed" not in command("--set", "workload=chat-200").stdout
    assert json.loads(command("--stream", "--json", "--set", "workload=chat-200").stdout)["percentiles_within"] == ERROR


def test_options_that_need_every_request_are_refused_in_one_line():
    refused = command("--stream", "--reference")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: --reference: ")
    assert refused.stderr.count("\n") == 1


def test_a_workload_that_cannot_be_streamed_is_told_how_it_can_be_served():
    refused = command("--stream", "--set", "serving.enable_prefix_caching=true", "--set", "workload.replicates=2")
    assert refused.returncode == 2
    assert refused.stderr == ("error: workload.replicates: a recorded trace is not streamed several times: leave --stream out, and "
                              "every request is kept in memory\n")
