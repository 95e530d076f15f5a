"""How the serving points of `validate_e2e.py` were run, framework by framework, as far as it is known or can be told.

What nobody recorded is taken from NVIDIA's aiconfigurator, whose evaluation the points come from (client:
eval/benchmarks/genai_perf_runner.py; engine options: generator/rule_plugin/benchmark/*.rule and config/backend_templates), and
from the frameworks' own defaults. What is inferred from the points, or settled on them, says so; the latter on every
second configuration only (`validate_e2e.py` reports both halves).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from simulator.design.design import Design
from simulator.devices.dram import capacity_bytes
from simulator.pricing.kv_memory import predict

MIB = 1024**2


@dataclass(frozen=True)
class Framework:
    """`requests_per_client`: how often each client of the closed loop asks. `overlapped`: scheduling overlaps with the device.
    `host`: what differs from the hardware preset's, which is vLLM's. `slots_short`: by how many clients exceed the
    sequences that the engine runs at once where the points are of 16 bits."""

    requests_per_client: int
    overlapped: bool
    whole_prompts: bool = False
    host: dict[str, str] = field(default_factory=dict)
    slots_short: int = 0


FRAMEWORKS = {
    "vllm": Framework(requests_per_client=10, overlapped=False),  # asynchronous scheduling by default since 0.14
    # That the points are one batch each is inferred: TTFT is that of one batch sent at once. Overlapped since 0.4.
    "sglang": Framework(requests_per_client=1, overlapped=True,
                        host={"device_step": "0.3 ms", "device_sequence": "20 us"}),  # settled
    # The PyTorch backend overlaps (1.0) and runs prompts whole (enable_chunked_prefill: false) without torch.compile, so that
    # steps with a prompt are launched kernel by kernel: graphless_layer from the time per request less the decodes' at TP 4
    # and 8, 22 ms of 32 layers and 40 ms of 64 (settled). One slot too few is inferred: at 8 and 16 clients of the 16-bit
    # points TTFT exceeds a prompt's wait by one 8th and one 16th of a request's time, whatever its length; probably the dummy
    # request that pads CUDA graphs.
    "trtllm": Framework(requests_per_client=10, overlapped=True, whole_prompts=True, slots_short=1,
                        host={"device_step": "0.4 ms", "sequence": "50 us", "graphless_layer": "0.6 ms"}),
}


def budget(backend: str, prompt: int, clients: int, max_num_seqs: int) -> int:
    """Tokens a step may hold: aiconfigurator's rule, prompt + batch + 1500; SGLang's is its default chunk of 8,192.

    That rule for vLLM was not passed on by every version of the generator: with vLLM's own default of 8,192 TTFT is predicted
    up to three times too long for prompts of 1,024.
    """
    return 8192 if backend == "sglang" else max(prompt + clients + 1500, max_num_seqs)


def kv_blocks(backend: str, design: Design) -> int | str:
    """The KV pool as the framework sizes it by default ("auto": as vLLM does, which is the simulator's own)."""
    if backend == "vllm":
        return "auto"
    serving = design.serving.model_copy(update={"cuda_graphs": False, "memory_utilization": 1.0})  # graphs come out of the rest
    found = predict(design.model, design.precision, design.hardware, design.parallelism, serving)
    if backend == "trtllm":  # aiconfigurator: free_gpu_memory_fraction 0.8, of what a dry run leaves
        return int(0.8 * found.kv_bytes // found.kv_block_bytes)
    room = found.memory_bytes * _sglang_static_share(design) - found.weight_bytes - found.reserve_bytes
    return int(room // found.kv_block_bytes)


def _sglang_static_share(design: Design) -> float:
    """`mem_fraction_static` by SGLang's rule (python/sglang/srt/server_args.py, _handle_gpu_memory_settings), weights and KV
    together, on GPUs of 60 GiB and more."""
    memory = capacity_bytes(design.hardware.memory) / MIB
    ranks = design.parallelism.tensor * design.parallelism.pipeline
    chunk = 8192 if memory < 160 * 1024 else 16384
    largest_graph = 256 if design.parallelism.tensor < 4 and memory < 160 * 1024 else 512
    reserved = 512 + chunk * 1.5 + largest_graph * 2 + ranks / 8 * 1024
    return 1 - max(reserved, 10 * 1024) / memory


