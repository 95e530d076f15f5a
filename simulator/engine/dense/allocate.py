"""The allocation of the dense kernel's arrays, with the values that they begin with."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np

from simulator.engine.dense import records as rec
from simulator.engine.kernel import records
from simulator.engine.kernel.allocate import common_memory, empty_keys, record_array, shape_of, table_parts
from simulator.engine.kernel.prefix_cache import NONE
from simulator.pricing.step_time import StepTables
from simulator.scheduler.acceptance import MASK, DrawnAcceptance, RecordedAcceptance, mix, thresholds
from simulator.scheduler.config import SchedulerConfig
from simulator.scheduler.kv_cache import KvCache
from simulator.scheduler.prefix_cache import window_blocks
from simulator.scheduler.speculation import reserved

KINDS = {"full": rec.FULL, "window": rec.WINDOW, "chunk": rec.CHUNK, "state": rec.STATE}


def set_limits(run: Any, config: SchedulerConfig) -> None:
    """Writes the limits that only the dense kernel knows into a run's record [1]."""
    cache, reads, speculation = KvCache(config, None), reserved(config.speculation), config.speculation
    acceptance = speculation.acceptance if speculation else None
    values = {
        "kv_groups": len(cache.groups), "kinds": len(cache.kinds), "hash_unit": cache.hash_unit, "unit": cache.unit,
        "interval": cache.interval, "keeps_all": config.prefix_cache_retention_interval is None,
        "max_model_len": config.max_model_len, "draft_tokens": config.draft_tokens,
        "keeps_states": config.enable_prefix_caching and any(group.kind == "state" for group in cache.groups),
        "lookahead": reads.lookahead, "drafting": reads.drafting, "reads_ahead": reads.reads_ahead, "drops_last": reads.drops_last,
        "recorded": 1 + (acceptance.proposed is not None) if isinstance(acceptance, RecordedAcceptance) else 0,
    }
    for name, value in values.items():
        run[name] = value


def new_memory(run: Any, config: SchedulerConfig, log: tuple[int, int, int, int]) -> dict[str, Any]:
    """All arrays but the run's record, without requests: as `kernel.allocate.new_memory`."""
    set_limits(run, config)
    shape, cache = shape_of(run), KvCache(config, None)
    seqs, depth, channels, groups = shape["max_num_seqs"], shape["depth"], shape["channels"], shape["kv_groups"]
    i32, i64, u32, blocks, places = np.int32, np.int64, np.uint32, shape["free_nodes"], shape["node_places"]
    nodes = record_array(blocks + 1, records.NODE)
    nodes.identity = NONE
    kinds = record_array(groups, rec.KIND)
    for g, (group, most) in enumerate(zip(cache.groups, cache.most, strict=True)):
        needed = window_blocks(group) if group.kind in ("window", "state") else 0
        again = max(reserved(config.speculation).reads_ahead - 1, 0) if group.kind == "window" else 0  # tokens computed again
        kinds[g] = (KINDS[group.kind], group.block_size, group.span + again, most, needed)
    members = [members for _, members in cache.kinds]
    common = common_memory(shape, log)
    held, gone, published = (np.zeros((seqs, groups), i32) for _ in range(3))
    return {
        "core": rec.Core(run, record_array(seqs, rec.SLOT), np.zeros(seqs, u32), np.arange(seqs, dtype=u32), kinds,
                         np.array(list(chain.from_iterable(members)), i32), np.cumsum([0, *map(len, members)], dtype=i32)),
        **common,
        "drafts": rec.Drafts(_thresholds(config), np.zeros(0, u32), np.zeros(1, i64), np.zeros(0, i32), np.zeros(1, i64),
                             np.zeros(0, i32), np.zeros(0, i32), np.zeros(0, i32)),
        "flights": rec.Flights(record_array(depth, records.FLIGHT), np.zeros((depth, seqs), rec.ENTRY).view(np.recarray),
                               np.zeros(channels, i64), np.zeros((2, channels), i64), np.zeros(shape["stages"], i64)),
        "pool": rec.Pool(held, gone, published, nodes, np.arange(blocks, 0, -1, dtype=u32),
                         empty_keys(shape["hash_entries"]), np.zeros((seqs if blocks else 0, groups, places), u32),
                         np.zeros((groups, places), u32)),
        "log": rec.Log(common["log"].steps, record_array(log[1], rec.ROW), common["log"].admissions, common["log"].preempted,
                       np.zeros((log[0], groups), i32)),
    }


def _thresholds(config: SchedulerConfig) -> Any:
    """See `acceptance.thresholds`; none where no draws are made."""
    acceptance = config.speculation.acceptance if config.speculation else None
    shares = acceptance.at_least if isinstance(acceptance, DrawnAcceptance) else ()
    return np.array([*thresholds(shares), *[0] * (config.draft_tokens - len(shares))], np.int64)


def dense_tables(tables: StepTables) -> rec.Tables:
    """The tables as the dense kernel takes them."""
    return rec.Tables(*table_parts(tables), rec.DraftTables(tables.verify_base_ns, tables.verify_slope_ns, tables.draft_tokens_ns,
                                                            tables.draft_sequences_ns))


def extended(drafts: rec.Drafts, config: SchedulerConfig, numbers: Any) -> rec.Drafts:
    """`drafts` for more requests: those at the places `numbers` of the trace."""
    acceptance = config.speculation.acceptance if config.speculation else None
    if isinstance(acceptance, RecordedAcceptance):
        accepted_at, accepted = _appended(drafts.accepted_at, drafts.accepted, [acceptance.accepted[n] for n in numbers])
        proposals = [acceptance.proposed[n] if acceptance.proposed else () for n in numbers]
        proposed_at, proposed = _appended(drafts.proposed_at, drafts.proposed, proposals)
        return drafts._replace(accepted_at=accepted_at, accepted=accepted, proposed_at=proposed_at, proposed=proposed)
    luck = mix((mix(acceptance.seed & MASK) + np.asarray(numbers, np.int64)) & MASK) if acceptance else drafts.luck[:0]
    return drafts._replace(luck=np.concatenate([drafts.luck, luck.astype(np.uint32)]))


def _appended(offsets: Any, values: Any, lists: list[Any]) -> tuple[Any, Any]:
    """Lists behind those that lie one after the other in `values`."""
    lengths = np.array([len(each) for each in lists], np.int64)
    more = np.fromiter((value for each in lists for value in each), np.int32)
    return np.concatenate([offsets, offsets[-1] + np.cumsum(lengths)]), np.concatenate([values, more])


def renumber(memory: dict[str, Any], kept: Any) -> None:
    """Forgets all requests but `kept`: what is on its way to others in batches in flight, and their luck."""
    batches, drafts = memory["flights"].batches, memory["drafts"]
    places = np.searchsorted(kept, batches.request)
    batches.yields[~np.isin(batches.request, kept)] = 0
    batches.request[:] = np.minimum(places, max(len(kept) - 1, 0))
    memory["drafts"] = drafts._replace(luck=drafts.luck[kept] if len(drafts.luck) else drafts.luck)
