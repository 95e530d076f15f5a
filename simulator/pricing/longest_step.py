"""The limit on a step's time, and the one way from float seconds to whole ns: nothing wraps around on the way into int64.

A clock typed as "1 mHz" for MHz makes steps of thousands of years. Such a design is refused here, by name, before an engine
counts with it (`engine.clock` has the limit on a whole run).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.inputs.errors import InputError
from simulator.pricing.step import StepCosts
from simulator.workload.trace import MAX_TOKENS

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

LONGEST_STEP_NS = 2.0**55  # 1.1 years
MOST_CONTEXT = 2.0 * MAX_TOKENS  # tokens of the longest prompt and output


def whole_ns(ns: Float64 | np.float64) -> Int64:
    """Rounded, as int64. Raises InputError above the longest step."""
    rounded = np.rint(ns)
    _check(float(rounded.max(initial=0.0)))
    return rounded.astype(np.int64)


def checked(costs: StepCosts, max_tokens: int) -> StepCosts:
    """`costs`, no step of which can be longer than LONGEST_STEP_NS. Raises InputError."""
    sequences = len(costs.host_ns) - 1
    prefill = costs.prefill_ns / np.maximum(costs.chunk_knots, 1.0)[:, None]  # a token; chunks share the step's tokens
    further = MOST_CONTEXT / costs.context_knots[-1]  # beyond the last knot the last cell is continued
    attention = further * (_most(prefill) * max_tokens + _most(costs.decode_ns) + _most(costs.beside_ns))
    spread = MOST_CONTEXT * (_most(costs.decode_spread_ns) + _most(costs.beside_spread_ns))
    channels = sequences * (costs.channel_request_ns + costs.channel_token_ns * MOST_CONTEXT)
    halves = 2 * (_most(costs.half_before_ns) + _most(costs.half_after_ns))
    blocks = _most(costs.linear_ns) + halves + attention + spread + channels
    _check(blocks + _most(costs.stage_tokens_ns) + _most(costs.stage_sequences_ns) + _most(costs.host_ns))
    return costs


def _most(table: Float64 | Int64 | None) -> float:
    return 0.0 if table is None else float(np.max(table, initial=0.0))


def _check(ns: float) -> None:
    if not ns <= LONGEST_STEP_NS:
        raise InputError(f"a step of this design may take {ns / 1e9:.3g} s, more than the {LONGEST_STEP_NS / 1e9:.3g} s that can "
                         "be counted in ns; look for a rate or time with the wrong unit (mHz for MHz)", key="hardware")
