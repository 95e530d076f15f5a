"""The range of the simulated clock, which counts int64 nanoseconds, and the checks that a run stays within it.

A run may last until 2^62 ns (146 years) and a step 2^53 ns (104 days): the sum of a clock below the first limit and of every
step in flight (at most a few hundred, one a pipeline stage) is below 2^63, so no time wraps around.
"""

from __future__ import annotations

import numpy as np

from simulator.engine.result import EngineResult
from simulator.inputs.errors import InputError
from simulator.scheduler.config import SchedulerConfig
from simulator.workload.trace import Int64, Trace

END_NS = 1 << 62
NS_PER_YEAR = 365.25 * 86400e9


def beyond_the_clock() -> InputError:
    """What a run that reaches END_NS ends in."""
    return InputError(f"this run lasts longer than {END_NS / NS_PER_YEAR:.0f} simulated years, the end of the clock; look for a "
                      "rate or time with the wrong unit (mHz for MHz)")


def check_totals(result: EngineResult, trace: Trace, outputs: Int64, config: SchedulerConfig) -> EngineResult:
    """`result`, whose totals of blocks x ns fit int64. Raises InputError where they may not: then the use of the KV cache
    would be a wrong number.

    outputs: tokens that each request of `trace` was to get.
    """
    tokens = np.where(outputs > 0, trace.prompt_tokens.astype(np.float64) + outputs, 0.0)
    each = sum(np.sum(np.ceil(tokens / group.block_size) + (outputs > 0)) for group in config.groups)
    blocks = min(float(each), float(config.num_gpu_blocks))
    if result.makespan_ns * max(blocks, float(len(trace))) >= 2.0**63:
        raise beyond_the_clock()
    return result
