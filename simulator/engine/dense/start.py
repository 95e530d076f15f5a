"""What every policy does when a request starts to run."""

from __future__ import annotations

from simulator.engine.dense.records import State
from simulator.engine.kernel.records import Int
from simulator.pricing.compiled import callable_from_compiled, index


def place_on_channel(slot: Int, s: State) -> None:
    """Gives a request the PIM channel with the fewest tokens, if there are channels."""
    run, tokens, row = s.core.run, s.flights.channel_tokens, s.core.slots[slot]
    if run.channels:
        least = index(0)
        for c in range(index(1), index(run.channels)):
            if tokens[c] < tokens[least]:
                least = c
        row.channel = least
        tokens[least] += row.known


callable_from_compiled(__name__)
