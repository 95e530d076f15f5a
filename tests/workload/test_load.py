"""Traces: what a file or a synthetic description turns into."""

import gzip
import json

import numpy as np
import pytest

from simulator.design.records.workload import Workload
from simulator.inputs.errors import InputError
from simulator.workload.load import at_rate, load_trace, split
from simulator.workload.trace_files import read_trace
from tests.shared import shared_file


def synthetic(**changes):
    plain = {"arrivals": {"process": "poisson", "rate": "10 requests/s"}, "prompt": {"distribution": "fixed", "mean": 100},
             "output": {"distribution": "uniform", "low": 5, "high": 15}, "requests": 20_000, "seed": 7, **changes}
    return load_trace(Workload.model_validate(plain))


def test_poisson_arrivals_are_poisson():
    gaps = np.diff(synthetic().arrival_ns) / 1e9
    assert gaps.mean() == pytest.approx(0.1, rel=0.03)
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, rel=0.03)  # exponential: coefficient of variation 1
    assert np.quantile(gaps, 0.5) == pytest.approx(0.1 * np.log(2), rel=0.03)


@pytest.mark.parametrize(("arrivals", "cv"), [({"process": "gamma", "cv": 3.0}, 3.0), ({"process": "constant"}, 0.0)])
def test_other_arrival_processes_keep_the_rate(arrivals, cv):
    gaps = np.diff(synthetic(arrivals={"rate": "10 requests/s", **arrivals}).arrival_ns) / 1e9
    assert gaps.mean() == pytest.approx(0.1, rel=0.07)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.07, abs=1e-6)


def test_bursts_arrive_together_at_the_same_mean_rate():
    arrival = synthetic(arrivals={"process": "burst", "rate": "10 requests/s", "burst_size": 50}).arrival_ns
    assert len(np.unique(arrival)) == 400
    assert np.diff(np.unique(arrival)).tolist() == [5 * 10**9] * 399


def test_lognormal_lengths_have_the_mean_and_spread_asked_for():
    prompt = synthetic(prompt={"distribution": "lognormal", "mean": 900, "cv": 0.8}).prompt_tokens
    assert prompt.mean() == pytest.approx(900, rel=0.03)
    assert prompt.std() / prompt.mean() == pytest.approx(0.8, rel=0.05)


def test_changing_one_distribution_leaves_the_others_draws_alone():
    a, b = synthetic(), synthetic(prompt={"distribution": "uniform", "low": 1, "high": 9})
    assert (a.arrival_ns == b.arrival_ns).all()
    assert (a.output_tokens == b.output_tokens).all()
    assert set(np.unique(b.prompt_tokens)) == set(range(1, 10))
    assert set(np.unique(a.output_tokens)) == set(range(5, 16))


def test_azure_trace_has_the_published_rows_and_means():
    trace = read_trace(str(shared_file("data/traces/AzureLLMInferenceTrace_conv.csv.gz")))
    assert len(trace) == 19_366  # Azure/AzurePublicDataset, conversation trace 2023
    assert round(trace.prompt_tokens.mean()) == 1155
    assert round(trace.output_tokens.mean()) == 211
    assert trace.arrival_ns[0] == 0
    assert trace.arrival_ns[1] == 4_314_579_000  # 18:15:50.9951690 - 18:15:46.6805900, to the 100 ns


def test_jsonl_with_token_ids_keeps_them_for_prefix_caching():
    path = str(shared_file("data/vllm_runs/sharegpt-llama-3.1-8b-300-sps10.jsonl.gz"))
    trace = read_trace(path)
    with gzip.open(path, "rt") as file:
        first = json.loads(file.readline())
    assert len(trace) == 300
    assert trace.arrival_ns[0] == first["arrival_time_ns"]
    assert trace.prompt_ids[: trace.prompt_id_offsets[1]].tolist() == first["input_tok_ids"]


def test_rate_stretches_time_and_nothing_else():
    trace = synthetic()
    slow = at_rate(trace, 2.5)
    assert (len(slow) - 1) / (slow.arrival_ns[-1] / 1e9) == pytest.approx(2.5, rel=1e-9)
    assert (slow.prompt_tokens == trace.prompt_tokens).all()


def test_replicas_share_the_requests_round_robin():
    trace = synthetic(requests=10)
    parts = split(trace, 3)
    assert [len(p) for p in parts] == [4, 3, 3]
    assert parts[1].arrival_ns.tolist() == trace.arrival_ns[1::3].tolist()


@pytest.mark.parametrize(("text", "says"), [
    ("arrival_s,prompt_tokens\n1,2\n", "no column 'output_tokens'"), ("arrival_s,prompt_tokens,output_tokens\n", "no requests"),
    ("arrival_s,prompt_tokens,output_tokens\n0,x,1\n", "line 2"), ("arrival_s,prompt_tokens,output_tokens\n0,1,0\n", "line 2.*from 1 to"),
    ("arrival_s,prompt_tokens,output_tokens\n0,1,1\n0,1.5,1\n", "line 3"), ("arrival_s,prompt_tokens,output_tokens\nnan,1,1\n", "line 2"),
    ("", "no requests"), ('{"prompt_tokens": 3}\n', "line 1.*output_tokens"), ('{"a": \n', "line 1"),
    ('{"input_toks": 3, "output_toks": 1, "arrival_time_ns": 0, "input_tok_ids": [1]}\n', "1 token ids but 3"),
    ('{"session_id": "s", "arrival_time_ns": 0, "sub_requests": [{"input_toks": 3, "output_toks": 1}]}\n', "session of several"),
    ("TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,1,1\n", "line 2"),
])
def test_malformed_traces_name_file_and_line(tmp_path, text, says):
    file = tmp_path / "trace.csv"
    file.write_text(text)
    with pytest.raises(InputError, match=says) as error:
        read_trace(str(file))
    assert "trace.csv" in str(error.value)
    assert "\n" not in str(error.value)
