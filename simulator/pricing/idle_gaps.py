"""The idle gap between two dependent kernels, which tables of kernel times do not hold.

A profiler reports a kernel from its first instruction to its last; the next one starts a little later. NVIDIA measured on
kernels of 2.9 us that one takes 3.4 us in a CUDA graph and 3.8 us in a stream whose launches run ahead (A. Gray, "Getting
Started with CUDA Graphs", NVIDIA technical blog, 5 September 2019; V100, CUDA 10.1). A later post of NVIDIA's agrees: a graph
of 1,025 empty nodes in a row runs for 567 us on an RTX 3060, 0.55 us a node ("Constant Time Launch for Straight-Line CUDA
Graphs", CUDA 12.6). Both read in documents that quote the posts, not in the posts.
"""

from __future__ import annotations

import numpy as np

from simulator.design.engine_defaults.graphs import GraphCover
from simulator.devices.device import Bound, Fidelity
from simulator.devices.measured.table import OperatorTable
from simulator.model.operators import Collective, DecodeAttention, DecodeState, NamedOperator
from simulator.pricing.cuda_graphs import graphless
from simulator.pricing.curves import Curve

GRAPH_GAP_S = (3.4 - 2.9) * 1e-6
STREAM_GAP_S = (3.8 - 2.9) * 1e-6


def kernel_gaps(ops: list[NamedOperator], table: OperatorTable, graphs: GraphCover, knots: np.ndarray) -> list[Curve]:
    """The gaps of a decoder block as an operator of its own, at the row counts `knots`; none where the table's times hold
    them. One kernel per operator (both attention operators share one); batches that `graphs` cover
    run from one. Collectives carry their own launch."""
    if table.meta.get("time") != "CUDA kernels":
        return []
    block = [op for op in ops if op.part in ("before", "attention", "after", "gathered")
             and not isinstance(op.operator, Collective | DecodeAttention | DecodeState)]
    gap_s = np.where(graphless(knots.astype(np.int64), graphs), STREAM_GAP_S, GRAPH_GAP_S)
    layers = max(op.repeats for op in block)
    seconds = gap_s * sum(op.repeats for op in block) / layers
    return [Curve("kernel_gaps", "before", layers, seconds, np.zeros(len(knots)),
                  np.full(len(knots), float(Bound.LAUNCH)), Fidelity.CALIBRATED)]
