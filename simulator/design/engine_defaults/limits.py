"""Token budget and sequence limit of a step: the engine's defaults, adjusted in its order where the user leaves them open."""

from __future__ import annotations

from simulator.design.engine_defaults.situation import Situation, first
from simulator.design.records.engine import EngineRecord, Running


def limits(record: EngineRecord, of: Situation, *, tokens: int | None = None, sequences: int | None = None,
           chunked: bool | None = None, pool_tokens: int | None = None) -> tuple[int, int]:
    """(token budget, sequences) of a step.

    tokens, sequences: what the user sets; chunked: the same of chunked prefill (None: the record's). pool_tokens: KV tokens of
    a replica, where they are known; SGLang's cap on running requests rises with them.
    """
    rules = record.limits
    budget = tokens if tokens is not None else first(rules.max_num_batched_tokens, of, "limits.max_num_batched_tokens")
    seqs = sequences if sequences is not None else _sequences(record, of, pool_tokens)
    if tokens is None and rules.budget_divided_by_data:
        budget = max(budget // of.data, 1)
    if rules.throughput_doubles and record.performance_mode == "throughput":
        budget, seqs = budget * (1 + (tokens is None)), seqs * (1 + (sequences is None))
    if tokens is None:
        if not (record.scheduler.chunked_prefill if chunked is None else chunked):
            budget = {"at_least_longest": max(budget, of.longest), "longest": of.longest, "unchanged": budget}[
                rules.unchunked_budget]
        if rules.budget_within_seqs:
            budget = min(budget, seqs * of.longest)
    if sequences is None and rules.seqs_within_budget:
        seqs = min(seqs, budget)
    return budget, seqs


def _sequences(record: EngineRecord, of: Situation, pool_tokens: int | None) -> int:
    if record.limits.running is not None:
        return running(record.limits.running, of, pool_tokens)
    return first(record.limits.max_num_seqs, of, "limits.max_num_seqs")


def running(rule: Running, of: Situation, pool_tokens: int | None) -> int:
    """SGLang's cap on running requests of one rank. pool_tokens None: the least that it can be."""
    if of.drafter is not None:
        return rule.speculation
    if pool_tokens is None:
        return rule.least
    return min(max(min(int(pool_tokens / of.longest * rule.per_context), rule.most), rule.least), pool_tokens // 2)
