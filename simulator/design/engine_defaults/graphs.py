"""CUDA graphs that an engine captures: which batches they cover, and with how many rows those run."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

from simulator.design.engine_defaults.situation import Situation, first
from simulator.design.records.engine import EngineRecord, SizeRange


@dataclass(frozen=True)
class GraphCover:
    """Captured sizes, ascending. pad: batches between them run with the next size's rows; else without a graph."""

    sizes: tuple[int, ...] = ()
    pad: bool = True

    def rows(self, tokens: int) -> int | None:
        """Rows that a batch of so many tokens runs with; None: no graph covers it."""
        at = bisect_left(self.sizes, tokens)
        if at == len(self.sizes) or (not self.pad and self.sizes[at] != tokens):
            return None
        return self.sizes[at]


def largest_graph(record: EngineRecord, of: Situation, budget: int, sequences: int) -> int:
    """The limit of captured sizes, in tokens of a step."""
    graphs = record.graphs
    most = first(graphs.largest, of, "graphs.largest")
    if graphs.per_sequence is not None:
        most = min(graphs.per_sequence * sequences * (1 + of.drafts), most, budget)
    return most


def graph_cover(record: EngineRecord, of: Situation, budget: int, sequences: int) -> GraphCover:
    """The sizes that are captured for steps of up to `budget` tokens and `sequences` sequences."""
    graphs = record.graphs
    if graphs.mode == "none":
        return GraphCover()
    most = largest_graph(record, of, budget, sequences)
    asked = graphs.pad_can_be_asked and record.graph_padding
    ranges = graphs.sizes
    if asked and graphs.padded_sizes is not None:
        ranges = graphs.padded_sizes
    elif record.performance_mode == "interactivity" and graphs.interactive_sizes is not None:
        ranges = graphs.interactive_sizes
    elif of.drafter is not None and graphs.speculative_sizes is not None:
        ranges = graphs.speculative_sizes
    sizes = set(_expanded(ranges))
    extra = {"largest": [most], "budget": [budget], "seqs": [sequences], "drafts": _uniform(of, sequences)}
    for name in graphs.adds:
        sizes.update(extra[name])
    return GraphCover(tuple(sorted(size for size in sizes if size <= most)), graphs.pad or bool(asked))


def prefill_graphs(record: EngineRecord, of: Situation, chunk: int) -> tuple[int, ...]:
    """Token counts of graphs of their own for prefills, up to the chunk."""
    graphs = record.graphs
    if graphs.prefill_sizes is None or of.data > 1 or of.pipeline > 1:
        return ()
    most = min(chunk, graphs.prefill_latent_most or chunk) if of.latent else chunk
    return tuple(size for size in _expanded(graphs.prefill_sizes) if size <= most)


def _uniform(of: Situation, sequences: int) -> list[int]:
    """Tokens of batches in which every sequence has its draft tokens."""
    if not of.drafts:
        return []
    counts = [1, 2, 4, *range(8, 256, 8), *range(256, sequences + 1, 16), sequences]
    return [count * (1 + of.drafts) for count in counts if count <= sequences]


def _expanded(ranges: Iterable[SizeRange]) -> list[int]:
    return [size for start, last, step in ranges for size in range(start, last + 1, step)]
