"""vLLM v1's scheduler in plain Python; numbers in comments are the rules of the scheduler specification.

There is no prefill or decode phase (4): a request always wants `known + pending - computed` tokens. One pass serves the
running requests in order, then admits from the queue. A policy of your own is a subclass that overrides one of the
first methods, given to `reference.run(..., scheduler=...)`:

    class ShortestFirst(Scheduler):
        def rank(self, request):
            return request.prompt + request.wanted
"""

from __future__ import annotations

import bisect
from typing import Any

from simulator.scheduler.config import SchedulerConfig
from simulator.scheduler.kv_blocks import BlockPool, blocks_for
from simulator.scheduler.limits import most_idle_preemptions
from simulator.scheduler.requests import Batch, Entry, Request
from simulator.workload.block_identities import BlockIdentities


class Scheduler:
    """State and decisions of one replica.

    With `channels` > 0 every running request lives on one PIM channel: at admission it gets the channel with the
    fewest tokens (sum of `known` over the running requests on it, outputs counted when delivered; ties: the lowest
    channel) and leaves it when it finishes or is preempted.
    """

    whole_prompts = False  # a policy that never splits a prompt

    def __init__(self, config: SchedulerConfig, identities: BlockIdentities | None, channels: int = 0) -> None:
        self.config = config
        self.identities = identities  # None: no prefix caching
        self.pool = BlockPool(config.num_gpu_blocks - 1)
        self.waiting: list[Request] = []  # sorted by rank
        self.running: list[Request] = []  # in order of admission
        self.channel_tokens = [0] * max(channels, 1)
        self.chunked = config.enable_chunked_prefill and not self.whole_prompts
        self.swapped_blocks = 0  # moved to or from host memory since the last batch
        self.idle_preemptions = 0  # since an output token was delivered

    # What a policy may change

    def rank(self, request: Request) -> Any:
        """Sort key of the queue, smallest first. Among equals arrivals go last, preempted requests first (1, 21)."""
        if self.config.policy == "priority":
            return request.priority, request.arrival_ns, request.index
        return 0

    def order(self) -> list[Request]:
        """The running requests in the order in which they are served."""
        return list(self.running)

    def victim(self) -> Request:
        """Whom to preempt (8)."""
        if self.config.policy == "priority":
            return max(self.running, key=lambda request: (request.priority, request.arrival_ns))
        return self.running[-1]

    def reserve(self, request: Request) -> int:
        """Tokens for which a request must hold blocks from its admission on; vLLM reserves nothing."""
        return 0

    def schedule(self) -> Batch:
        """One pass: running requests first, then admissions if nobody was preempted (10)."""
        batch, cap = Batch(), self.cap()
        budget = self.serve_running(batch, self.config.max_num_batched_tokens, cap)
        if not batch.preempted:
            self.admit(batch, budget, cap)
        return self.commit(batch)

    # The parts of a pass

    def cap(self) -> int:
        """Longest chunk (5): a lone request is not capped."""
        threshold = self.config.long_prefill_token_threshold
        return threshold if threshold and len(self.running) + len(self.waiting) > 1 else self.config.max_model_len

    def serve_running(self, batch: Batch, budget: int, cap: int) -> int:
        """Gives every running request its tokens, preempting where blocks are short; returns the budget left."""
        for request in self.order():
            if budget == 0:
                break
            if not request.running:  # preempted a moment ago
                continue
            new = min(request.missing, cap, budget, self.config.max_model_len - request.computed - 1)  # 6
            last_token_in_flight = request.pending and request.computed + 2 - request.pending >= (
                request.prompt + request.wanted)
            if new <= 0 or last_token_in_flight:
                continue
            needed = self.blocks_for(request.computed + new) - len(request.blocks)  # 7
            while needed > self.pool.free and request.running:
                victim = self.victim()
                budget += self.withdraw(batch, victim)
                self.preempt(batch, victim)
            if not request.running:  # it was its own victim: the pass ends (8)
                break
            self.add(batch, request, new)
            budget -= new
        return budget

    def admit(self, batch: Batch, budget: int, cap: int) -> int:
        """Takes requests from the head of the queue while they fit (10-15); returns the budget left."""
        stepped_over: list[Request] = []
        while self.waiting and budget > 0 and len(self.running) < self.config.max_num_seqs:
            request = self.waiting[0]
            if request.in_flight:
                stepped_over.append(self.waiting.pop(0))
                continue
            hits = self.cached_prefix(request)  # 11
            computed = max(len(hits) * self.config.block_size, request.swapped)
            new = min(request.known - computed, cap)  # 12
            if new > budget and not self.chunked:
                break
            new = min(new, budget)
            hold = max(computed + new, self.reserve(request))
            whole = max(hold, request.known) if self.config.scheduler_reserve_full_isl else hold  # 13
            margin = int(self.config.watermark * self.config.num_gpu_blocks) if self.running else 0  # 14
            taken = self.pool.idle_among(hits) - len(hits) + margin
            if self.blocks_for(whole) + taken > self.pool.free:
                break
            self.waiting.pop(0)
            self.start(request, hits, computed)
            batch.admitted.append(request)
            self.add(batch, request, new)
            budget -= new
        self.waiting[:0] = stepped_over
        return budget

    def commit(self, batch: Batch) -> Batch:
        """After the pass (19): tokens count as computed; who has caught up yields a token when the batch ends."""
        for entry in batch.entries:
            request = entry.request
            request.computed += entry.new
            entry.yields = request.computed == request.known + request.pending
            request.in_flight += 1
            if entry.yields and self.config.async_scheduling:
                request.pending += 1
        return batch

    def deliver(self, batch: Batch) -> list[Request]:
        """The batch has ended (20): hands out its tokens in batch order; returns the requests that got one."""
        receivers = [entry.request for entry in batch.entries if entry.yields]
        if receivers:
            self.idle_preemptions = 0
        for entry in batch.entries:
            entry.request.in_flight -= 1
        for request in receivers:
            request.outputs += 1
            if request.running:
                self.channel_tokens[request.channel] += 1
                if self.config.async_scheduling:
                    request.pending -= 1
                    self.publish(request, request.computed - request.pending)  # 18
            if request.outputs == request.wanted:
                if request.running:
                    self.running.remove(request)
                    self.stop(request)
                else:
                    self.waiting.remove(request)
        return receivers

    def enqueue(self, request: Request) -> None:
        """A request has arrived."""
        bisect.insort_right(self.waiting, request, key=self.rank)

    # Single actions

    def blocks_for(self, tokens: int) -> int:
        return blocks_for(tokens, self.config.block_size)

    def cached_prefix(self, request: Request) -> list[int]:
        """Cached blocks for its known tokens; the last token is always computed (11)."""
        if self.identities is None:
            return []
        return self.pool.lookup(self.identities.first(request.index, (request.known - 1) // self.config.block_size))

    def start(self, request: Request, hits: list[int], computed: int) -> None:
        """Moves a request from the queue to the running list with its cached blocks (15)."""
        self.pool.share(hits)
        request.blocks, request.published = hits, len(hits)
        if request.swapped > len(hits) * self.config.block_size:
            self.swapped_blocks += self.blocks_for(request.swapped) - len(hits)
        request.computed, request.swapped, request.running = computed, 0, True
        request.cached = computed if request.cached < 0 else request.cached
        request.channel = min(range(len(self.channel_tokens)), key=self.channel_tokens.__getitem__)
        self.channel_tokens[request.channel] += request.known
        self.running.append(request)

    def add(self, batch: Batch, request: Request, new: int) -> None:
        """Puts `new` tokens of a request into the batch with the blocks they need, full ones published (17)."""
        hold = max(request.computed + new, self.reserve(request))
        request.blocks += self.pool.take(max(self.blocks_for(hold) - len(request.blocks), 0))
        self.publish(request, min(request.computed + new, request.known))
        batch.entries.append(Entry(request, new, request.computed, request.channel, yields=False))

    def publish(self, request: Request, tokens: int) -> None:
        if self.identities is None:
            return
        full = tokens // self.config.block_size
        if full > request.published:
            identities = self.identities.first(request.index, full)
            for position in range(request.published, full):
                self.pool.publish(request.blocks[position], identities[position])
            request.published = full

    def withdraw(self, batch: Batch, victim: Request) -> int:
        """Takes a victim out of the batch being formed (8); returns its tokens."""
        for position, entry in enumerate(batch.entries):
            if entry.request is victim:
                return batch.entries.pop(position).new
        return 0

    def preempt(self, batch: Batch, victim: Request) -> None:
        """Back to the head of the queue; its KV is recomputed later, or moved to the host (21)."""
        if self.config.preemption == "swap":
            victim.swapped = victim.computed
            self.swapped_blocks += self.blocks_for(victim.computed)
        self.running.remove(victim)
        self.stop(victim)
        victim.computed = victim.pending = 0
        victim.preemptions += 1
        bisect.insort_left(self.waiting, victim, key=self.rank)
        batch.preempted.append(victim)
        self.idle_preemptions += 1
        if self.idle_preemptions > most_idle_preemptions(self.config):
            raise RuntimeError("the scheduler is in a livelock: requests preempt each other and nobody gets a token")

    def stop(self, request: Request) -> None:
        """Gives back what a running request held."""
        self.channel_tokens[request.channel] -= request.known
        self.pool.release(request.blocks)
        request.blocks, request.published, request.running = [], 0, False
