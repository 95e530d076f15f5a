"""`fast_sync` for a trace that comes in pieces (see `stream`): the same code, compiled with STREAMED = True."""

from types import FunctionType

from simulator.serving import fast_sync

SIGNATURE = fast_sync.SIGNATURE
simulate = FunctionType(fast_sync.simulate.__code__, {**vars(fast_sync), "STREAMED": True}, "simulate")
