"""KV capacity against vLLM's own counts: shared data, vllm_runs/README.md (Llama-3.1-8B, bf16, utilisation 0.9)."""

import pytest

from simulator.design.load import resolve
from simulator.pricing.kv_memory import predict


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


def predicted(model: str, hardware: str, *, data: int = 1, **parallelism):
    design = resolve({"model": model, "hardware": hardware, "workload": "chat-200", "parallelism": parallelism,
                      "serving": {"max_num_seqs": 128, "max_num_batched_tokens": 2048, "cuda_graphs": True}})
    return predict(design.model, design.precision, design.hardware, design.parallelism, design.serving, data)


@pytest.mark.parametrize("hardware", ["rtx-pro-6000", "h100-sxm"])
def test_what_is_not_known_of_a_large_card_is_less_than_two_percent_of_its_cache(hardware):
    """Weights and KV are arithmetic; all that was read off other machines (reserve) or argued (activations) is small beside."""
    for model, data, parallelism in (("qwen3-32b", 1, {"tensor": 2}), ("qwen3-30b-a3b", 2, {"expert_parallel": True}),
                                     ("qwen3-30b-a3b", 1, {"tensor": 2, "expert_parallel": True})):
        found = predicted(model, hardware, data=data, **parallelism)
        assert found.kv_bytes == pytest.approx(
            found.memory_bytes - found.weight_bytes - found.activation_bytes - found.reserve_bytes)
        assert found.reserve_bytes < 0.04 * found.kv_bytes  # half of it wrong: 2 %
        assert found.activation_bytes < 0.01 * found.kv_bytes


def test_cuda_graphs_and_a_larger_step_take_room_from_the_cache():
    assert blocks("rtx-a6000", 1, 2048, True) < blocks("rtx-a6000", 1, 2048, False)
    assert blocks("rtx-a6000", 1, 8192, False) < blocks("rtx-a6000", 1, 2048, False)
