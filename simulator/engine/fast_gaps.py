"""Counting gaps between tokens without a visit to the requests: the decodes of a group move in lockstep, so a step adds as
many equal gaps as it has decodes."""

from __future__ import annotations

from simulator.engine.fast_flatten import apart
from simulator.engine.gap_histogram import gap_bin
from simulator.pricing.lookup import decode_on_line_ns, in_decode_cell


def count_gaps(gap_ns, tokens, gap_counts):
    """`tokens` tokens that came `gap_ns` after their predecessors."""
    gap_counts[gap_bin(gap_ns)] += tokens


@apart
def count_run(steps, count, total_context, fixed, knots, bases, slopes, gap_counts):
    """Gaps of a run of `steps` steps with `count` decodes each, the first with `total_context` tokens of context; each
    takes `fixed` and decode attention, on the lines `bases` and `slopes` of the table's cells.

    Durations on one line rise or fall all the way: all between two of the same bin are in that bin.
    """
    first = c = 0
    while first < steps:
        context = total_context + count * first
        while not in_decode_cell(c, count, context, knots):
            c += 1
        base, slope = bases[c], slopes[c]
        bin_ = gap_bin(fixed + decode_on_line_ns(context, base, slope))
        last, beyond = first, steps
        probe = beyond - 1
        while last + 1 < beyond:
            context = total_context + count * probe
            if in_decode_cell(c, count, context, knots) and bin_ == gap_bin(fixed + decode_on_line_ns(context, base, slope)):
                last = probe
            else:
                beyond = probe
            probe = (last + beyond) // 2
        gap_counts[bin_] += (last + 1 - first) * count
        first = last + 1


@apart
def count_each(steps, count, fixed, model_ns, gap_counts):
    """Gaps of `steps` steps with `count` decodes each, which take `fixed` and model_ns[j]."""
    least = most = model_ns[0]
    for j in range(steps):
        least, most = min(least, model_ns[j]), max(most, model_ns[j])
    bin_ = gap_bin(least + fixed)
    if bin_ == gap_bin(most + fixed):
        gap_counts[bin_] += steps * count
        return
    for j in range(steps):
        gap_counts[gap_bin(model_ns[j] + fixed)] += count
