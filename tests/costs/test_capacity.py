"""KV capacity against vLLM's own counts: shared data, vllm_runs/README.md (Llama-3.1-8B, bf16, utilisation 0.9)."""

import pytest

from simulator.costs.capacity import predict
from simulator.design import resolve


def blocks(hardware: str, tensor: int, budget: int, graphs: bool) -> int:
    design = resolve({"model": "llama-3.1-8b", "hardware": hardware, "workload": "chat-200",
                      "parallelism": {"tensor": tensor},
                      "serving": {"max_num_seqs": 256, "max_num_batched_tokens": budget, "cuda_graphs": graphs}})
    return predict(design.model, design.precision, design.hardware, design.parallelism, design.serving).num_gpu_blocks


@pytest.mark.parametrize(("hardware", "tensor", "budget", "graphs", "measured"), [
    ("rtx4090", 1, 2048, True, 2588),  # vLLM 0.19 estimates its graphs before it sizes the cache
    ("rtx-a6000", 1, 2048, False, 221_504 / 16),
    ("rtx-a6000", 1, 8192, False, 216_720 / 16),
    ("rtx-a6000", 2, 8192, False, 554_704 / 16),
])
def test_num_gpu_blocks_is_within_two_percent_of_vllm(hardware, tensor, budget, graphs, measured):
    assert blocks(hardware, tensor, budget, graphs) == pytest.approx(measured, rel=0.02)


def test_cuda_graphs_and_a_larger_step_take_room_from_the_cache():
    assert blocks("rtx-a6000", 1, 2048, True) < blocks("rtx-a6000", 1, 2048, False)
    assert blocks("rtx-a6000", 1, 8192, False) < blocks("rtx-a6000", 1, 2048, False)
