"""What must hold for any engine, policy and trace, judged from the result and its log alone."""

from __future__ import annotations

import numpy as np

from simulator.engine.result import EngineResult
from simulator.scheduler.config import SchedulerConfig
from simulator.workload.trace import Trace


def check(trace: Trace, config: SchedulerConfig, result: EngineResult) -> None:
    """Asserts the invariants; `result` needs a log."""
    log = result.log
    assert log is not None
    prompt, wanted = trace.prompt_tokens.astype(int), trace.output_tokens.astype(int)
    outputs = np.minimum(wanted, config.max_model_len - prompt)
    usable = config.num_gpu_blocks - 1
    served = (outputs >= 1) & (-(-(prompt + outputs - 1) // config.block_size) <= usable)

    # nobody is lost: served or rejected, and in causal order
    for times in (result.first_scheduled_ns, result.first_token_ns, result.finish_ns):
        assert (times[~served] == -1).all()
    assert (trace.arrival_ns <= result.first_scheduled_ns)[served].all()
    assert (result.first_scheduled_ns <= result.first_token_ns)[served].all()
    assert (result.first_token_ns <= result.finish_ns)[served].all()

    # time is monotone
    assert (np.diff(log.scheduled_ns) >= 0).all()
    assert (log.scheduled_ns <= log.start_ns).all() and (log.start_ns <= log.end_ns).all()
    assert result.makespan_ns == max(log.end_ns, default=0)

    # limits hold
    assert (log.tokens <= config.max_num_batched_tokens).all() and (log.running <= config.max_num_seqs).all()
    assert ((log.free_blocks >= 0) & (log.free_blocks <= usable)).all()

    # tokens are conserved: since its last admission a request was computed up to its last token but one
    computed = np.zeros(len(trace), int)
    admissions: dict[int, list[tuple[int, int]]] = {}
    for step, request, hit in log.admissions.tolist():
        admissions.setdefault(step, []).append((request, hit))
    ends = np.cumsum(log.n)
    for step, (end, n) in enumerate(zip(ends.tolist(), log.n.tolist(), strict=True)):
        for request, hit in admissions.get(step, []):
            computed[request] = hit
        batch = slice(end - n, end)
        assert len(set(log.batch_request[batch].tolist())) == n
        assert (log.batch_new_tokens[batch] >= 1).all() and log.batch_new_tokens[batch].sum() == log.tokens[step]
        computed[log.batch_request[batch]] += log.batch_new_tokens[batch]
    assert (computed[served] == (prompt + outputs - 1)[served]).all()
    assert (computed[~served] == 0).all()
    calm = served & (result.preemptions == 0)
    work = np.bincount(log.batch_request, log.batch_new_tokens, len(trace))
    assert (work[calm] == (prompt + outputs - 1 - result.cached_tokens)[calm]).all()
    assert (np.bincount(log.preempted[:, 1], minlength=len(trace)) == result.preemptions).all()

    # nobody is overtaken in the queue
    if config.policy == "fcfs":
        first = list(dict.fromkeys(log.admissions[:, 1].tolist()))
        assert first == sorted(first)

    # totals are those of the log
    assert result.steps == len(log.n) == result.steps_by_tokens.sum() == result.steps_by_sequences.sum()
    assert (np.bincount(log.tokens, minlength=len(result.steps_by_tokens)) == result.steps_by_tokens).all()
    assert (np.bincount(log.n, minlength=len(result.steps_by_sequences)) == result.steps_by_sequences).all()
    ones = int((log.batch_new_tokens == 1).sum())
    assert result.decode_sequences == ones and result.prefill_chunks == len(log.batch_new_tokens) - ones
    assert result.decode_sequences + result.prefill_tokens == log.tokens.sum()
    assert result.peak_used_blocks == usable - min(log.free_blocks, default=usable)
