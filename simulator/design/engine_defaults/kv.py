"""Memory for the KV cache: the share of a device that an engine takes, and tokens of a block."""

from __future__ import annotations

from simulator.design.engine_defaults.graphs import largest_graph, prefill_graphs
from simulator.design.engine_defaults.limits import limits
from simulator.design.engine_defaults.situation import Situation, first
from simulator.design.records.engine import EngineRecord, StaticReserve
from simulator.inputs.errors import InputError

MIB_PER_GIB = 1024


def memory_fraction(record: EngineRecord, of: Situation) -> float:
    """The share of memory that the record's rule applies by default."""
    if record.kv.fraction is not None:
        return record.kv.fraction
    if record.kv.static_reserve is None:
        raise InputError("give either 'fraction' or 'static_reserve'", key="engine.kv")
    return _static_fraction(record, record.kv.static_reserve, of)


def _static_fraction(record: EngineRecord, reserve: StaticReserve, of: Situation) -> float:
    """SGLang's: what a table says that activations, graphs and communicators take, in MiB of nvidia-smi."""
    chunk = first(record.limits.max_num_batched_tokens, of, "limits.max_num_batched_tokens")  # before ranks share it
    budget, sequences = limits(record, of)
    graph = largest_graph(record, of, budget, sequences)
    mib = (reserve.base + reserve.per_chunk_token * max(chunk, reserve.least_chunk) + reserve.per_graph_row * graph
           + of.tensor * of.pipeline / 8 * reserve.per_eight_devices)
    if of.data > 1:
        mib += reserve.per_data_graph_row * graph * of.data
        if graph > reserve.large_graph_rows:
            mib += reserve.per_data_graph_row_large * graph * of.data
    if prefills := prefill_graphs(record, of, chunk):
        mib += reserve.prefill_graphs_latent if of.latent else reserve.per_prefill_graph * len(prefills)
    if of.memory_gib > reserve.least_from_gib:
        mib = max(mib, reserve.least)
    total = of.memory_gib * MIB_PER_GIB
    return round((total - mib) / total, 3)


def block_tokens(record: EngineRecord, of: Situation) -> int:
    """Tokens of a KV block where the user does not set it."""
    return first(record.kv.block_size, of, "kv.block_size")


def prefix_caching(record: EngineRecord, of: Situation) -> bool:
    """Whether prompts find their prefixes in the cache by default."""
    return record.kv.prefix_caching.hybrid if of.hybrid else record.kv.prefix_caching.default
