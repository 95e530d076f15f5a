"""The histogram of inter-token gaps, with bins of constant relative width.

Below 128 ns one bin per ns, above it 128 bins per octave: the middle of a bin is within 1/256 (0.4 %) of every value in
it. Histograms of replicas, or of parts of a run, add up.
"""

from __future__ import annotations

import numpy as np

from simulator.pricing.compiled import callable_from_compiled

MANTISSA_BITS = 7
BINS = (64 - MANTISSA_BITS) << MANTISSA_BITS
_BELOW = (1022 + MANTISSA_BITS) << MANTISSA_BITS  # leading bits of a double, less its bin


def gap_bin(gap_ns):  # type: ignore[no-untyped-def]
    """The bin of a gap in ns (below 2^62, which `engine.clock` sees to). Runs in plain Python and compiled."""
    if gap_ns < 1 << MANTISSA_BITS:
        return gap_ns
    return (np.float64(gap_ns).view(np.int64) >> (52 - MANTISSA_BITS)) - _BELOW


callable_from_compiled(__name__)
