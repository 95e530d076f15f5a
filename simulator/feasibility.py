"""What can be decided without simulating: does the model split, does it fit?"""

from __future__ import annotations

from simulator.design.design import Design
from simulator.model.checks import violations as split_violations
from simulator.pricing import swap
from simulator.pricing.kv_memory import longest_sequence, room_of
from simulator.result import Violation
from simulator.silicon import power_cap


def rejection(design: Design, rejected: int, requests: int) -> Violation | None:
    """More rejected requests than the design allows; they would be left out of every latency."""
    allowed = design.slo.allow_rejected or 0.0
    if rejected <= allowed * requests:
        return None
    return Violation("rejected", rejected / requests - allowed,
                     f"{rejected:,} of {requests:,} requests never fit the KV cache or max_model_len and are rejected; "
                     "slo.allow_rejected says what share may be")


def violations(design: Design) -> list[Violation]:
    """Every static requirement the design misses; empty where it can be simulated."""
    split = split_violations(design.model, design.parallelism.tensor, design.parallelism.pipeline,
                             design.parallelism.expert_parallel)
    if split:
        return [Violation("model_split", 1.0, "; ".join(split))]
    room = room_of(design)
    need = room.weight_bytes + room.activation_bytes
    if need > room.memory_bytes:
        return [Violation("memory_fit", need / room.memory_bytes - 1,
                          f"weights and activations need {need / 1e9:.1f} GB a device, "
                          f"{room.memory_bytes / 1e9:.1f} GB are usable")]
    if design.serving.preemption == "swap":
        place = swap.tier(design.hardware, design.serving)
        have = place.capacity_bytes if place else 0.0
        if have < room.kv_bytes:
            return [Violation("swap_fit", room.kv_bytes / max(have, 1.0) - 1,
                              f"{design.serving.swap_to} memory holds {have / 1e9:.0f} GB a device, the KV cache it backs "
                              f"{room.kv_bytes / 1e9:.0f} GB")]
    cap_w = design.hardware.power_cap_w
    if cap_w is not None and (least_w := power_cap.least_w(design.hardware)) >= cap_w:
        return [Violation("power_cap", (least_w - cap_w + 1) / max(cap_w, 1.0),
                          f"leakage, memory and PIM take {least_w:.0f} W, the power cap is {cap_w:.0f} W")]
    wanted = design.serving.max_model_len
    tokens = design.serving.block_size if wanted == "auto" else wanted
    blocks = -(-tokens // design.serving.block_size)
    if room.num_gpu_blocks - 1 < blocks:
        have = max(room.num_gpu_blocks - 1, 0)
        return [Violation("kv_fit", (blocks - have) / blocks,
                          f"the KV cache holds {have} blocks, one sequence of {tokens} tokens needs {blocks}")]
    if wanted != "auto" and wanted > design.model.max_positions:
        return [Violation("context_fit", wanted / design.model.max_positions - 1,
                          f"max_model_len {wanted} is above the model's {design.model.max_positions} positions")]
    if not design.serving.enable_chunked_prefill:
        longest = longest_sequence(design, room)
        budget = design.serving.max_num_batched_tokens
        if budget < longest:
            return [Violation("token_budget", longest / budget - 1,
                              f"without chunked prefill max_num_batched_tokens ({budget}) must cover max_model_len ({longest})")]
    return []
