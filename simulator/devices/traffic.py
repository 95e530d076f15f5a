"""DRAM traffic of a GEMM when on-chip memory is limited: which operand stays, how often the others are read again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.model.operators import OUTPUT_BYTES, Gemm

Float64 = NDArray[np.float64]

ACCUMULATOR_BYTES = 4.0  # partial sums are kept in fp32


def gemm_bytes(operator: Gemm, m: Float64, budget_bytes: float) -> Float64:
    """Bytes moved between DRAM and a memory of which `budget_bytes` hold the resident tile (the other half of a double
    buffer streams). The least of three orders, shape of m:

    inputs resident (weights read again per piece of the inputs), weights resident (the reverse), outputs resident (both
    read again per row or column of output tiles). Exact when the smallest operand fits: everything moves once.
    """
    weights = operator.n * operator.k * operator.stored_weight_bits / 8
    inputs = m * (operator.k * operator.stored_activation_bits / 8)
    outputs = m * (operator.n * OUTPUT_BYTES)
    inputs_resident = inputs + weights * np.ceil(inputs / budget_bytes)
    weights_resident = weights + inputs * np.ceil(weights / budget_bytes)
    tile = max(1.0, budget_bytes / ACCUMULATOR_BYTES)  # output elements
    tile_m = np.minimum(m, max(1.0, np.floor(tile**0.5)))
    tile_n = np.minimum(operator.n, np.maximum(1.0, np.floor(tile / np.maximum(tile_m, 1.0))))
    tile_m = np.minimum(m, np.maximum(1.0, np.floor(tile / tile_n)))
    outputs_resident = (inputs * np.ceil(operator.n / tile_n)
                        + weights * np.ceil(m / np.maximum(tile_m, 1.0)))
    return outputs + np.minimum(np.minimum(inputs_resident, weights_resident), outputs_resident)
