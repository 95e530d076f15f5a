"""A window of steps in which nothing but decoding happens, looked at and priced together: loops without a branch, over a
length that the compiler does not know (`Plain.ahead`), which it turns into vector instructions."""

from __future__ import annotations

import numpy as np

from simulator.pricing.lookup import decode_on_line_ns


def clear_ahead(wheel, at, window):
    """Whether nobody finishes in the next `window` passes."""
    if at + window > len(wheel):
        return False
    latest = np.int32(-1)
    for j in range(window):
        latest = max(latest, wheel[at + j])
    return latest < 0


def blocks_ahead(taken_by, residues, phase, phases):
    """Blocks taken in the next `window` passes; writes those taken up to each of them."""
    total = np.int64(0)
    for j in range(len(taken_by)):
        total += residues[(phase + j) & phases]
        taken_by[j] = total
    return total


def priced_ahead(total_context, count, base, slope, fixed, taken_by):
    """A window of steps at once, without a branch: their decode attention, and the sum of blocks taken times step."""
    decodes = weighted = 0
    for j in range(len(taken_by)):
        decode = decode_on_line_ns(total_context + count * j, base, slope)
        decodes += decode
        weighted += taken_by[j] * (fixed + decode)
    return decodes, weighted
