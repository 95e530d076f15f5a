import json

import numpy as np
import pytest

from simulator.importers.vllm_run import design_of, preset_named, read_run, trace_of
from simulator.inputs.errors import InputError
from simulator.serving.trace_files import read_trace
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
    meta = {"model": "meta-llama/Llama-3.1-8B", "engine_kwargs": {"data_parallel_size": 2}}
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(InputError, match="data_parallel_size"):
        read_run(tmp_path)
    (tmp_path / "meta.json").write_text(json.dumps({**meta, "engine_kwargs": {}}))
    with pytest.raises(InputError, match="no such file"):
        read_run(tmp_path)
