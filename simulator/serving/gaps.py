"""Inter-token gaps as a histogram with bins of constant relative width.

Below 128 ns one bin per ns, above it 128 bins per octave: the middle of a bin is within 1/256 (0.4 %) of every value in
it. Histograms of replicas, or of parts of a run, add up.
"""

from __future__ import annotations

import math

from numba.extending import register_jitable

MANTISSA_BITS = 7
BINS = (64 - MANTISSA_BITS) << MANTISSA_BITS


@register_jitable
def gap_bin(gap_ns):  # type: ignore[no-untyped-def]
    """The bin of a gap in ns (below 2^53, 104 days). Runs in plain Python and compiled."""
    if gap_ns < 1 << MANTISSA_BITS:
        return gap_ns
    mantissa, exponent = math.frexp(gap_ns)  # mantissa in [0.5, 1)
    octave = exponent - MANTISSA_BITS  # 1 for 128..255
    return (octave << MANTISSA_BITS) + int(mantissa * (2 << MANTISSA_BITS)) - (1 << MANTISSA_BITS)
