"""CUDA graphs: the batch sizes that an engine captures, and the padded size that a step really runs with.

vLLM v1 pads a batch to the next captured size: full graphs for decodes alone, piecewise ones (attention outside) for any
other batch up to the largest size; larger batches run unpadded. Sizes of a design without an engine from vllm/config/vllm.py,
`_set_cudagraph_sizes` (v0.19): 1, 2, 4, multiples of 8 below 256, multiples of 16 from there; an engine's from its record.

A step is looked up by its tokens alone: where an engine captures decodes only, steps with a prompt of so few tokens count as
covered too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from simulator.design.design import Design
from simulator.design.engine_defaults.graphs import GraphCover, graph_cover
from simulator.design.engine_defaults.situation import situation_of
from simulator.pricing.longest_step import whole_ns

LARGEST = 512


def cover_of(design: Design) -> GraphCover:
    """The graphs of a design's engine; none where they are not modelled."""
    serving = design.serving
    if not serving.cuda_graphs:
        return GraphCover()
    if design.engine is None:
        return GraphCover(capture_sizes(serving.max_num_seqs, serving.max_num_batched_tokens))
    return graph_cover(design.engine, situation_of(design, design.engine), serving.max_num_batched_tokens, serving.max_num_seqs)


def capture_sizes(max_num_seqs: int, max_num_batched_tokens: int) -> tuple[int, ...]:
    """Batch sizes vLLM captures by default, ascending."""
    largest = min(2 * max_num_seqs, LARGEST, max_num_batched_tokens)
    sizes = [1, 2, 4, *range(8, 256, 8), *range(256, LARGEST + 1, 16)]
    return tuple(size for size in sizes if size <= largest)


def padded(rows: NDArray[np.int64], graphs: GraphCover) -> NDArray[np.float64]:
    """Rows that run for each count in `rows`: the next captured size, the count itself where no graph covers it."""
    if not graphs.sizes or not graphs.pad:
        return rows.astype(np.float64)
    table = np.asarray(graphs.sizes)
    at = np.searchsorted(table, rows)
    up = np.where(at < len(table), table[np.minimum(at, len(table) - 1)], rows)
    return np.where(rows == 0, 0, up).astype(np.float64)


def exposed_launches_ns(linear_ns: NDArray[np.int64], stage_layers: Sequence[int], layer_s: float,
                        graphs: GraphCover) -> NDArray[np.int64]:
    """How long each stage's device waits for launches in steps that no graph covers: [stages, tokens].

    linear_ns: of all decoder blocks, by tokens. The CPU launches ahead of the device, so only what exceeds the device's time
    is exposed; attention, short where this matters, is left out of it. Without sizes graphs are not modelled, nor this.
    """
    if not graphs.sizes:
        return np.zeros((len(stage_layers), len(linear_ns)), dtype=np.int64)
    layers = np.asarray(stage_layers, dtype=float)[:, None]
    exposed = np.maximum(layers * layer_s * 1e9 - linear_ns * (layers / layers.sum()), 0.0)
    return whole_ns(np.where(graphless(np.arange(len(linear_ns)), graphs), exposed, 0.0))


def graphless(rows: NDArray[np.int64], graphs: GraphCover) -> NDArray[np.bool_]:
    """Which counts of rows run without a CUDA graph."""
    if not graphs.pad:
        return (rows > 0) & ~np.isin(rows, graphs.sizes)
    return rows > (graphs.sizes[-1] if graphs.sizes else 0)
