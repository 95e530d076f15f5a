"""From a design to its prices: the one corridor that every simulation, search and sweep takes.

Legality and memory need no prices, so they are checked first: an impossible design costs microseconds.
"""

from __future__ import annotations

from simulator.design.design import Design
from simulator.design.scheduler_rules import rules_of
from simulator.devices.measured.table import OperatorTable
from simulator.model.checks import split_violations
from simulator.pricing import swap
from simulator.pricing.cache import CostCache
from simulator.pricing.kv_memory import KvMemory, longest_sequence, memory_of, pool_blocks
from simulator.pricing.price import PricedDesign, price
from simulator.result import Infeasible, Violation
from simulator.scheduler.kv_blocks import blocks_for
from simulator.silicon.power import least_w


def prepare(design: Design, cache: CostCache, table: OperatorTable | None = None) -> PricedDesign:
    """The design made ready to run: step tables, scheduler limits, KV memory and bill.

    cache: operator prices shared with other designs. table: measured operators, in place of the file that
    `hardware.tables` names. Raises Infeasible, with what is missed, for a design that cannot be simulated, and InputError
    where its operator tables cannot be read.
    """
    missed, memory = _checked(design)
    if missed:
        raise Infeasible(missed)
    return price(design, cache, table, memory=memory)


def violations(design: Design) -> list[Violation]:
    """Every static requirement that the design misses; empty where it can be simulated."""
    return _checked(design)[0]


def rejection(design: Design, rejected: int, requests: int) -> Violation | None:
    """More rejected requests than the design allows; they would be left out of every latency."""
    allowed = design.slo.allow_rejected or 0.0
    if rejected <= allowed * requests:
        return None
    return Violation("rejected", rejected / requests - allowed,
                     f"{rejected:,} of {requests:,} requests never fit the KV cache or max_model_len and are rejected; "
                     "slo.allow_rejected says what share may be")


def _checked(design: Design) -> tuple[list[Violation], KvMemory | None]:
    """What is missed, and the memory of one rank: None where the model does not split over the ranks."""
    parallelism = design.parallelism
    reasons = split_violations(design.model, parallelism.tensor, parallelism.pipeline, parallelism.expert_parallel)
    if reasons:
        return [Violation("model_split", 1.0, "; ".join(reasons))], None
    memory = memory_of(design)
    return _memory_violations(design, memory) or _limit_violations(design, memory), memory


def _memory_violations(design: Design, memory: KvMemory) -> list[Violation]:
    """Weights and activations in device memory, swapped KV blocks in the memory behind it, static power under the cap."""
    need = memory.weight_bytes + memory.activation_bytes
    if need > memory.memory_bytes:
        return [Violation("memory_fit", need / memory.memory_bytes - 1,
                          f"weights and activations need {need / 1e9:.1f} GB a device, "
                          f"{memory.memory_bytes / 1e9:.1f} GB are usable")]
    if design.serving.preemption == "swap":
        place = swap.tier(design.hardware, design.serving)
        have = place.capacity_bytes if place else 0.0
        if have < memory.kv_bytes:
            return [Violation("swap_fit", memory.kv_bytes / max(have, 1.0) - 1,
                              f"{design.serving.swap_to} memory holds {have / 1e9:.0f} GB a device, the KV cache it backs "
                              f"{memory.kv_bytes / 1e9:.0f} GB")]
    cap_w = design.hardware.power_cap_w
    if cap_w is not None and (needed_w := least_w(design.hardware)) >= cap_w:
        return [Violation("power_cap", (needed_w - cap_w + 1) / max(cap_w, 1.0),
                          f"idling and PIM take {needed_w:.0f} W, the power cap is {cap_w:.0f} W")]
    return []


def _limit_violations(design: Design, memory: KvMemory) -> list[Violation]:
    """Whether the scheduler's limits suit the KV cache and the model."""
    serving, positions = design.serving, design.model.max_positions
    wanted = serving.max_model_len
    tokens = serving.block_size if wanted == "auto" else wanted
    blocks = blocks_for(tokens, serving.block_size)
    have = max(pool_blocks(design, memory) - 1, 0)
    if have < blocks:
        return [Violation("kv_fit", (blocks - have) / blocks,
                          f"the KV cache holds {have} blocks, one sequence of {tokens} tokens needs {blocks}")]
    if wanted != "auto" and wanted > positions:
        return [Violation("context_fit", wanted / positions - 1,
                          f"max_model_len {wanted} is above the model's {positions} positions")]
    longest, budget = longest_sequence(design, memory), serving.max_num_batched_tokens
    if not serving.enable_chunked_prefill and budget < longest and rules_of(serving.scheduler).whole_limit:
        return [Violation("token_budget", longest / budget - 1,
                          f"without chunked prefill max_num_batched_tokens ({budget}) must cover max_model_len ({longest})")]
    return []
