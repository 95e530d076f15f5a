"""`fast_sync` compiled with other constants: the same code for prefix caching, PIM channels, closed loops, pieces of a trace."""

from __future__ import annotations

import functools
from types import FunctionType, ModuleType

from simulator.engine import fast_sync


@functools.cache
def variant(*, caching: bool = False, channels: bool = False, closed: bool = False, streamed: bool = False) -> ModuleType:
    """What `fast_compile.compiled` takes: `fast_sync` itself, or its like with these constants True."""
    constants = {"CACHING": caching, "CHANNELS": channels, "CLOSED": closed, "STREAMED": streamed}
    named = [name for name, value in constants.items() if value]
    if not named:
        return fast_sync
    made = ModuleType("_".join(["fast_sync", *(name.lower() for name in named)]))
    simulate = FunctionType(fast_sync.simulate.__code__, {**vars(fast_sync), **constants}, "simulate")
    made.__dict__.update(simulate=simulate, SIGNATURE=fast_sync.SIGNATURE)
    return made
