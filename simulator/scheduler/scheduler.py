"""vLLM v1's scheduler in plain Python; numbers in comments are the rules of the scheduler specification, with G those on KV groups
and with S those on speculation.

There is no prefill or decode phase (4): a request always wants `known + drafts + pending - computed` tokens. One pass serves the
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
from simulator.scheduler.kv_blocks import blocks_for
from simulator.scheduler.kv_cache import KvCache
from simulator.scheduler.limits import most_idle_preemptions
from simulator.scheduler.prefix_cache import Hit
from simulator.scheduler.requests import Batch, Entry, Request
from simulator.scheduler.speculation import Drafts, cut_for_reading_ahead, reserved
from simulator.scheduler.states import aligned_tokens
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
        self.cache = KvCache(config, identities)  # identities: None, no prefix caching
        self.pool = self.cache.pool
        self.drafts = Drafts(config.speculation)
        self.reserved = reserved(config.speculation)
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
        batch, cap = self.begin(), self.cap()
        budget = self.serve_running(batch, self.config.max_num_batched_tokens, cap)
        if not batch.preempted:
            self.admit(batch, budget, cap)
        return self.commit(batch)

    # The parts of a pass

    def begin(self) -> Batch:
        """The empty batch of a new pass."""
        self.cache.computing.clear()
        return Batch()

    def cap(self) -> int:
        """Longest chunk (5): a lone request is not capped."""
        threshold = self.config.long_prefill_token_threshold
        return threshold if threshold and len(self.running) + len(self.waiting) > 1 else self.config.max_model_len

    def serve_running(self, batch: Batch, budget: int, cap: int) -> int:
        """Gives every running request its tokens, preempting where blocks are short; returns the budget left. The drafter's
        slots are paid from the budget, too (S2)."""
        for request in self.order():
            left = budget - self.reserved.drafting
            if left <= 0:
                break
            if not request.running:  # preempted a moment ago
                continue
            new = self.cut(request, request.computed, min(
                request.missing, cap, left, self.config.max_model_len - request.computed - 1))  # 6
            last_token_in_flight = request.pending and request.computed + 2 - request.pending >= (
                request.prompt + request.wanted)
            if new <= 0 or last_token_in_flight:
                continue
            self.cache.free_passed(request)  # G12
            hold = self.hold(request, request.computed + new)
            needed = self.cache.lacking([table.blocks for table in request.tables], hold)  # 7
            while needed > self.pool.free and request.running:
                victim = self.victim()
                budget += self.withdraw(batch, victim)
                self.preempt(batch, victim)
            if not request.running:  # it was its own victim: the pass ends (8)
                break
            checked = min(request.drafts, max(request.computed + new - request.known - request.pending, 0))  # S3
            self.add(batch, Entry(request, new, request.computed, request.channel, checked=checked))
            budget -= new + self.reserved.drafting
        return budget

    def admit(self, batch: Batch, budget: int, cap: int) -> int:
        """Takes requests from the head of the queue while they fit (10-15); returns the budget left."""
        served = [entry.request for entry in batch.entries]
        stepped_over: list[Request] = []
        while self.waiting and budget > self.reserved.drafting and len(self.running) < self.config.max_num_seqs:
            request, left = self.waiting[0], budget - self.reserved.drafting
            if request.in_flight:
                stepped_over.append(self.waiting.pop(0))
                continue
            hit = self.cache.find(request)  # 11
            request.junction = hit.junction
            computed = max(hit.tokens, request.swapped)
            new, checked = min(request.known - computed, cap), 0  # 12
            if new > left and not self.chunked:
                break
            new = self.cut(request, computed, min(new, left))
            if self.is_padded(request, computed, served):
                new, checked = 1 + self.drafts.tokens, self.drafts.tokens
                if new > left:
                    break
            if new <= 0 or self.cache.is_being_computed(hit):  # G28
                break
            margin = int(self.config.watermark * self.config.num_gpu_blocks) if self.running else 0  # 14
            free = self.pool.free - self.cache.idle_in(hit) - margin
            hold = self.hold(request, computed + new)
            if self.cache.lacking(hit.tables, hold) > free or (  # 13
                    self.config.scheduler_reserve_full_isl
                    and self.cache.lacking(hit.tables, max(request.known, self.reserve(request)), at_once=True) > free):
                break
            self.waiting.pop(0)
            self.start(request, hit, computed)
            batch.admitted.append(request)
            self.add(batch, Entry(request, new, computed, request.channel, checked=checked, padded=checked > 0))
            budget -= new + self.reserved.drafting
        self.waiting[:0] = stepped_over
        return budget

    def commit(self, batch: Batch) -> Batch:
        """After the pass (19): tokens count as computed; who has caught up yields tokens when the batch ends. With async
        scheduling the next step builds on them before anything is known (S16)."""
        for entry in batch.entries:
            request = entry.request
            request.computed += entry.new
            entry.yields = request.computed >= request.known + request.pending
            request.prefilling = not entry.yields
            request.in_flight += 1
            request.tokens_in_flight += entry.new
            request.drafts = 0
            if entry.yields and self.config.async_scheduling:
                request.pending += 1 + entry.checked
                request.drafts = self.drafts.tokens
        return batch

    def deliver(self, batch: Batch) -> list[Request]:
        """The batch has ended (20): hands out its tokens in batch order; returns the requests that got some."""
        for entry in batch.entries:
            entry.request.in_flight -= 1
            if entry.request.running:
                entry.request.tokens_in_flight -= entry.new
        receivers = [entry for entry in batch.entries if entry.yields and entry.request.outputs < entry.request.wanted]
        if receivers:
            self.idle_preemptions = 0
        for entry in receivers:
            self.hand_out(entry, self.drafts.accepted(entry))
        return [entry.request for entry in receivers]

    def hand_out(self, entry: Entry, accepted: int) -> None:
        """Gives a request one token and one for every accepted draft, up to its end. Rejected drafts are computed again, but
        for output in flight at a preemption, which has no KV any more (S12, S18)."""
        request = entry.request
        asynchronous = self.config.async_scheduling
        entry.delivered = min(1 + accepted, request.wanted - request.outputs)
        request.outputs += entry.delivered
        request.accepted += entry.delivered - 1
        if request.running:
            self.channel_tokens[request.channel] += entry.delivered
            request.computed -= entry.checked - accepted
            if asynchronous:
                request.pending -= entry.checked - accepted + entry.delivered
                self.cache.publish(request, request.computed - request.pending)  # 18
        if request.outputs == request.wanted:
            if request.running:
                self.running.remove(request)
                self.stop(request)
            else:
                self.waiting.remove(request)
        elif request.running and not asynchronous:
            request.drafts = self.drafts.proposed(request)  # S14

    def enqueue(self, request: Request) -> None:
        """A request has arrived."""
        bisect.insort_right(self.waiting, request, key=self.rank)

    def held(self) -> list[int]:
        """Real blocks in the tables of the running requests, per KV group."""
        return self.cache.held(self.running)

    # Single actions

    def blocks_for(self, tokens: int) -> int:
        return blocks_for(tokens, self.config.block_size)

    def hold(self, request: Request, tokens: int) -> int:
        """Tokens that a request must hold blocks for when so many are computed: the drafter's look-ahead and what its policy
        reserves included (S5)."""
        return max(min(tokens + self.reserved.lookahead, self.config.max_model_len), self.reserve(request))

    def cut(self, request: Request, computed: int, new: int) -> int:
        """What of `new` tokens behind the first `computed` makes a chunk that drafters (S6) and states (G24) can go on from."""
        if self.cache.keeps_states():
            threshold, budget = self.config.long_prefill_token_threshold, self.config.max_num_batched_tokens
            new = aligned_tokens(computed, new, request.prompt, request.known, request.junction, self.cache.unit,
                                 min(budget, threshold or budget))
        return cut_for_reading_ahead(new, request.known - computed, self.reserved.reads_ahead)

    def is_padded(self, request: Request, computed: int, served: list[Request]) -> bool:
        """Whether a request with one token left is admitted with dummy drafts, so that all of the batch have as many (S10).
        `served`: the running requests of this pass."""
        return (self.drafts.tokens > 0 and request.known - computed == 1
                and not any(other.prefilling for other in served) and (len(served) > 0 or computed > 0)
                and computed + self.drafts.tokens + 2 <= self.config.max_model_len)

    def start(self, request: Request, hit: Hit, computed: int) -> None:
        """Moves a request from the queue to the running list with its cached blocks (15)."""
        self.cache.start(request, hit)
        if request.swapped > hit.tokens:
            self.swapped_blocks += self.blocks_for(request.swapped) - self.blocks_for(hit.tokens)
        request.computed, request.swapped, request.running = computed, 0, True
        request.cached = computed if request.cached < 0 else request.cached
        request.channel = min(range(len(self.channel_tokens)), key=self.channel_tokens.__getitem__)
        self.channel_tokens[request.channel] += request.known
        self.running.append(request)

    def add(self, batch: Batch, entry: Entry) -> None:
        """Puts an entry into the batch; its request gets the blocks that it needs, and full ones are published (17)."""
        request, tokens = entry.request, entry.computed + entry.new
        self.cache.extend(request, self.hold(request, tokens))
        self.cache.publish(request, min(tokens, request.known))
        batch.entries.append(entry)

    def withdraw(self, batch: Batch, victim: Request) -> int:
        """Takes a victim out of the batch being formed (8, S2); returns its part of the budget."""
        for position, entry in enumerate(batch.entries):
            if entry.request is victim:
                return batch.entries.pop(position).new + self.reserved.drafting
        return 0

    def preempt(self, batch: Batch, victim: Request) -> None:
        """Back to the head of the queue; its KV is recomputed later, or moved to the host (21)."""
        if self.config.preemption == "swap":
            victim.swapped = victim.computed
            self.swapped_blocks += self.blocks_for(victim.computed)
        self.running.remove(victim)
        self.stop(victim)
        victim.computed = victim.pending = victim.drafts = 0
        victim.preemptions += 1
        bisect.insort_left(self.waiting, victim, key=self.rank)
        batch.preempted.append(victim)
        self.idle_preemptions += 1
        if self.idle_preemptions > most_idle_preemptions(self.config):
            raise RuntimeError("the scheduler is in a livelock: requests preempt each other and nobody gets a token")

    def stop(self, request: Request) -> None:
        """Gives back what a running request held."""
        self.channel_tokens[request.channel] -= request.known
        self.cache.release(request)
        request.tokens_in_flight, request.running = 0, False
