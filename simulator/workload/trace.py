"""A request trace as plain arrays, and what its prompts contain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]
Int32 = NDArray[np.int32]
Float64 = NDArray[np.float64]

MAX_TOKENS = 2**27  # of a prompt or an output; beyond any model's context


@dataclass(frozen=True)
class Segments:
    """Prompt content for prefix caching: request i is the concatenation of segments offsets[i]..offsets[i+1].

    Two tokens are equal exactly when (stream, position in the stream) are equal. The k-th token that request i
    generates is (OUTPUT_STREAM + i, k); prompts of later turns may quote it.
    """

    offsets: Int64  # [n + 1]
    stream: Int64  # [segments]
    start: Int64  # [segments] first position in the stream
    length: Int64  # [segments]


OUTPUT_STREAM = 2_000_000  # stream of generated tokens, as in the scheduler oracle's format
PRIVATE_STREAM = 1_000_000  # stream of a request's private prompt when there are no segments


@dataclass(frozen=True)
class Trace:
    """Requests in order of arrival (ties keep their order; a request's id is its index). Shapes [n].

    Closed-loop load (`concurrency` clients) is how serving benchmarks hold concurrency (`vllm bench serve --max-concurrency`,
    aiperf, genai-perf): each client sends its next request when its last one has finished, in the order of the trace, all
    start at time 0. So request i >= concurrency arrives when the (i - concurrency + 1)-th of the served requests finishes
    (`engine.result.with_arrivals`); the client of a rejected request goes on at once.

    Either `segments` or `prompt_ids` (token ids, CSR by `prompt_id_offsets`) may say what the prompts contain;
    with neither, every prompt is private and prefix caching never hits.
    """

    arrival_ns: Int64
    prompt_tokens: Int32
    output_tokens: Int32
    priority: Int32 | None = None
    segments: Segments | None = None
    prompt_ids: Int32 | None = None
    prompt_id_offsets: Int64 | None = None
    concurrency: int = 0  # clients of a closed loop, whose arrivals are all 0; 0: open loop
    number: Int64 | None = None  # of each request in the whole trace, where this is a part of one; None: counted from 0

    def __len__(self) -> int:
        return len(self.arrival_ns)
