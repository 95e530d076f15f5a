import json

import numpy as np
import pytest

from simulator.inputs.errors import InputError
from simulator.recorded.vllm_run import design_of, preset_named, read_run, trace_of
from simulator.workload.trace_files import read_trace
from tests.importers.made_bundles import write_run
from tests.shared import shared_file

RUN = "data/vllm_runs/RTX4090-Llama-3.1-8B"


def test_a_run_is_a_design_with_its_engine_arguments():
    run = read_run(shared_file(RUN))
    plain = design_of(run)
    assert (plain["model"], plain["hardware"]) == ("llama-3.1-8b", {"base": "rtx4090"})
    assert plain["serving"]["max_num_seqs"] == 256 and plain["serving"]["max_num_batched_tokens"] == 2048
    assert plain["serving"]["enable_prefix_caching"] and plain["serving"]["async_scheduling"]
    assert "num_gpu_blocks" not in plain["serving"]  # predicted, never copied
    assert run.num_gpu_blocks == 2588 and len(run.arrival_s) == 300


def test_requests_carry_the_contents_of_the_workload():
    run = read_run(shared_file(RUN))
    workload = read_trace(str(shared_file("data/vllm_runs/sharegpt-llama-3.1-8b-300-sps10.jsonl.gz")))
    trace = trace_of(run, workload)
    assert np.array_equal(trace.prompt_tokens, run.prompt_tokens)
    assert len(trace.prompt_ids) == trace.prompt_id_offsets[-1] == run.prompt_tokens.sum()
    assert trace.arrival_ns[0] == 0 and (np.diff(trace.arrival_ns) >= 0).all()


@pytest.mark.parametrize("name", ["NVIDIA GeForce RTX 4090", "RTX4090"])
def test_devices_are_known_by_any_of_their_names(name):
    assert preset_named(name, "hardware") == "rtx4090"
    assert preset_named("NVIDIA RTX PRO 6000 Blackwell Server Edition", "hardware") == "rtx-pro-6000"
    assert preset_named("meta-llama/Llama-3.1-8B-Instruct", "models") == "llama-3.1-8b"


def test_what_is_not_modelled_is_refused_by_argument(tmp_path):
    for wrong, message in (({"enforce_eager": True}, "enforce_eager=True is not modelled"),
                           ({"max_num_seqs": None}, "max_num_seqs: is not recorded"), ({}, "no such file")):
        meta = {"model": "meta-llama/Llama-3.1-8B", "engine_kwargs": {"max_num_seqs": 8, "max_num_batched_tokens": 8, **wrong}}
        (tmp_path / "meta.json").write_text(json.dumps(meta))
        with pytest.raises(InputError, match=message):
            read_run(tmp_path)


def test_a_resolved_configuration_fills_in_what_the_arguments_left_open(tmp_path):
    folder = write_run(tmp_path / "run", "Qwen/Qwen3-32B", max_model_len=None, block_size=32)
    meta = json.loads((folder / "meta.json").read_text())
    meta["resolved_config"] = {"model_config": {"max_model_len": 8192, "dtype": "torch.bfloat16"}, "parallel_config": "<Config>",
                               "scheduler_config": {"async_scheduling": False}, "cache_config": {"block_size": 16}}
    (folder / "meta.json").write_text(json.dumps(meta))
    serving = design_of(read_run(folder))["serving"]
    assert (serving["max_model_len"], serving["async_scheduling"], serving["block_size"]) == (8192, False, 32)


def test_number_formats_are_those_of_the_arguments(tmp_path):
    def precision(name, **arguments):
        return design_of(read_run(write_run(tmp_path / name, "Qwen/Qwen3-32B", **arguments)))["precision"]

    assert precision("plain", dtype="bfloat16") == {"weights": "bf16", "activations": "bf16", "kv": "bf16"}
    assert precision("kv", kv_cache_dtype="fp8") == {"weights": "bf16", "activations": "bf16", "kv": "fp8"}
    assert precision("eight", quantization="fp8") == {"weights": "fp8", "activations": "fp8", "kv": "bf16"}
    for name, arguments in (("a", {"dtype": "float32"}), ("b", {"quantization": "awq"}), ("c", {"kv_cache_dtype": "nvfp4"})):
        with pytest.raises(InputError, match=f"{next(iter(arguments))}=.* is not modelled"):
            precision(name, **arguments)


def test_failed_requests_are_left_out_and_said(tmp_path, capsys):
    folder = write_run(tmp_path / "run", "Qwen/Qwen3-32B", requests=4)
    lines = (folder / "requests.jsonl").read_text().splitlines()
    lines[2] = json.dumps({**json.loads(lines[2]), "first_token_ts": None, "last_token_ts": None})
    (folder / "requests.jsonl").write_text("\n".join(lines))
    run = read_run(folder)
    assert run.request.tolist() == [0, 1, 3] and "1 of 4 requests failed" in capsys.readouterr().err


def test_requests_with_names_of_somebodys_own_are_in_the_workloads_order(tmp_path):
    folder = write_run(tmp_path / "run", "Qwen/Qwen3-32B", requests=3)
    (folder / "requests.jsonl").write_text((folder / "requests.jsonl").read_text().replace("bench-", "chat-x"))
    assert read_run(folder).request.tolist() == [0, 1, 2]


def test_a_timeseries_that_is_no_table_of_numbers_is_named(tmp_path):
    folder = write_run(tmp_path / "run", "Qwen/Qwen3-32B")
    (folder / "timeseries.csv").write_text("t,running\n1.0,many\n")
    with pytest.raises(InputError, match=r"timeseries\.csv: is not a table of numbers"):
        read_run(folder)


def test_engines_of_one_group_may_be_instances_and_split_ones_may_not(tmp_path):
    group = write_run(tmp_path / "group", "Qwen/Qwen3-30B-A3B", instances=2, data_parallel_size=2, enable_expert_parallel=True)
    assert read_run(group).data_parallel == 2
    with pytest.raises(InputError, match="2 instances"):
        read_run(write_run(tmp_path / "apart", "Qwen/Qwen3-32B", instances=2))
