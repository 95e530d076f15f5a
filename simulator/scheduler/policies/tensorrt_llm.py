"""TensorRT-LLM's scheduler (PyTorch backend) in plain Python; numbers in comments are the rules of the engines' specification.

Two passes (3.2.1): by KV memory which requests may run, then by tokens what of them does. Prompts and decodes share a step.
Prompts of `capacity: guaranteed_no_evict` reserve blocks for all their outputs; `max_utilization` pauses requests instead.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import dataclass

from simulator.scheduler.config import SchedulerConfig
from simulator.scheduler.kv_blocks import BlockPool, blocks_for
from simulator.scheduler.policies.channels import Channels
from simulator.scheduler.requests import Batch, Entry, Request
from simulator.workload.block_identities import BlockIdentities

Share = tuple[Request, int]  # of a step: a request and its new tokens


@dataclass(slots=True)
class Held:
    """What a started request holds."""

    blocks: list[int]
    published: int  # leading blocks that can be reused
    context: int  # tokens that it computes before it generates


class TensorRtLlm:
    """State and decisions of one replica. Requests stay in order of arrival; a paused one keeps its place."""

    def __init__(self, config: SchedulerConfig, identities: BlockIdentities | None, channels: int = 0) -> None:
        self.config, self.options, self.identities = config, config.tensorrt_llm, identities
        self.pool = BlockPool(config.num_gpu_blocks - 1)
        self.channels = Channels(channels)
        self.waiting: list[Request] = []  # not started, or paused
        self.running: list[Request] = []
        self.held: dict[int, Held] = {}  # by started request
        self.hits: dict[int, list[int]] = {}  # cached blocks of waiting requests, as this pass has looked them up
        self.waited = 0  # iterations for which prompts have been held back
        self.swapped_blocks = 0
        self._in_flight: list[Batch] = []

    def enqueue(self, request: Request) -> None:
        """A request has arrived."""
        self.waiting.append(request)

    def schedule(self) -> Batch:
        """One iteration."""
        batch = Batch()
        self.hits.clear()
        fitting = self._reserving() if self.options.capacity == "guaranteed_no_evict" else self._pausing(batch)
        contexts, generations = self._share_tokens(fitting)
        if self._held_back(contexts, generations):
            contexts = []
        starting = [request for request, _ in contexts if not request.running]
        for request in starting:  # all hits are taken before a block is that might hold one
            self._start(request)
        batch.admitted = starting
        for request, new in (*contexts, *generations):
            self._add(batch, request, new)
        if batch.entries:
            self._in_flight.append(batch)
        return batch

    def deliver(self, batch: Batch) -> list[Request]:
        """A batch has ended: hands out its tokens; computed prompts and finished sequences can be reused."""
        self._in_flight = [other for other in self._in_flight if other is not batch]
        receivers = []
        for entry in batch.entries:
            request = entry.request
            if not entry.yields or request.outputs == request.wanted:  # stopped an iteration ago, unseen then (3.2.11)
                continue
            request.outputs += 1
            self.channels.grow(request)
            receivers.append(request)
            self._publish(request, min(entry.computed + entry.new, request.known - 1), always=request.outputs == request.wanted)
            if request.outputs == request.wanted:
                self.running.remove(request)
                self._stop(request)
        return receivers

    # By memory

    def _reserving(self) -> list[Request]:
        """Those that may run when every one keeps blocks for all its tokens (3.2.2). Nothing is ever paused."""
        left, computing = self.pool.free, self._first_blocks_under_way()
        left -= sum(self._blocks(request.prompt + request.wanted) - self._has(request) for request in self.running)
        starting = []
        for request in self._active():
            if self._waits_to_reuse(request, computing):
                continue
            needed = self._blocks(request.prompt + request.wanted) - self._has(request)
            if needed > left:
                break
            left -= needed
            starting.append(request)
        generating = [request for request in self.running if not self._in_context(request)]
        under_way = [request for request in self.running if self._in_context(request)]
        return [*generating, *sorted((*under_way, *starting), key=lambda request: request.index)]

    def _pausing(self, batch: Batch) -> list[Request]:
        """Those that may run when each has blocks for its next step alone, two steps with overlap (3.2.3). Where blocks are
        short the request that started last is paused, and the walk goes on without it and those behind it."""
        order = sorted((*self.running, *self._active()), key=lambda request: request.index)
        while True:
            fitting, stopped = self._walk(order)
            last = next((k for k in range(len(order) - 1, stopped - 1, -1) if order[k].running), None)
            if last is None:
                return fitting
            self._pause(batch, order[last])
            del order[last:]

    def _walk(self, order: list[Request]) -> tuple[list[Request], int]:
        """Requests that have blocks for their next step, and how far down the list that is."""
        computing, taken = self._first_blocks_under_way(), 0
        fitting: list[Request] = []
        for at, request in enumerate(order):
            if not request.running and self._waits_to_reuse(request, computing):
                continue
            needed = self._next_blocks(request)
            if taken + needed > self.pool.free:
                return fitting, at
            taken += needed
            fitting.append(request)
        return fitting, len(order)

    def _next_blocks(self, request: Request) -> int:
        """Blocks that a request takes in its next step: of a prompt all at its start, then none."""
        if not request.running:
            return self._blocks(request.known) - self._has(request)
        if self._in_context(request):
            return 0
        steps = 2 if self.config.async_scheduling else 1
        upto = min(request.computed + steps, max(request.prompt + request.wanted, request.computed + 1))
        return self._blocks(upto) - len(self.held[request.index].blocks)

    def _has(self, request: Request) -> int:
        """Blocks that a request need not take from the free ones: its own, or cached ones that others use."""
        if request.running:
            return len(self.held[request.index].blocks)
        hits = self._cached(request)
        return len(hits) - self.pool.idle_among(hits)

    def _waits_to_reuse(self, request: Request, computing: set[int]) -> bool:
        """Whether the first block that it lacks is being computed for another request (3.2.4)."""
        first = self._first_missing(request, len(self._cached(request)))
        if first is None:
            return False
        if first in computing:
            return True
        computing.add(first)
        return False

    def _first_blocks_under_way(self) -> set[int]:
        """Identities of the first blocks that prompts under way have not put into the cache yet."""
        under_way = [request for request in self.running if self._in_context(request)]
        found = (self._first_missing(request, self.held[request.index].published) for request in under_way)
        return {first for first in found if first is not None}

    def _first_missing(self, request: Request, have: int) -> int | None:
        if self.identities is None or (request.known - 1) // self.config.block_size <= have:
            return None
        return self.identities.first(request.index, have + 1)[have]

    # By tokens

    def _share_tokens(self, fitting: Iterable[Request]) -> tuple[list[Share], list[Share]]:
        """Prompts and decodes of the iteration (3.2.5), each with its tokens."""
        budget = self.config.max_num_batched_tokens
        contexts: list[Share] = []
        generations: list[Share] = []
        for request in fitting:
            if not self._in_context(request):
                if budget < 1:
                    break
                budget -= 1
                generations.append((request, 1))
                continue
            missing = self._missing(request)
            if not self.config.enable_chunked_prefill:
                if missing > budget:
                    break
                budget -= missing
            contexts.append((request, missing))
        if self.config.enable_chunked_prefill and sum(missing for _, missing in contexts) > budget:
            contexts = (in_turn if self.options.chunking == "fcfs" else evenly)(contexts, budget, self.options.chunk_unit)
        return contexts, generations

    def _held_back(self, contexts: list[Share], generations: list[Share]) -> bool:
        """Whether the prompts wait for more to come, so that decodes stay in graphs (3.2.8)."""
        if not contexts or not generations:
            return False
        tokens = sum(new for _, new in contexts)
        if self.options.batch_wait.releases(tokens, len(generations), self.config.max_num_batched_tokens, self.waited):
            self.waited = 0
            return False
        self.waited += 1
        return True

    def _missing(self, request: Request) -> int:
        if request.running:
            return self.held[request.index].context - request.computed
        return request.known - len(self._cached(request)) * self.config.block_size

    # Single actions

    def _blocks(self, tokens: int) -> int:
        return blocks_for(tokens, self.config.block_size)

    def _in_context(self, request: Request) -> bool:
        return not request.running or request.computed < self.held[request.index].context

    def _active(self) -> list[Request]:
        """Waiting requests that the engine has taken in: no more than `max_num_seqs` with the running ones."""
        return self.waiting[: max(self.config.max_num_seqs - len(self.running), 0)]

    def _cached(self, request: Request) -> list[int]:
        """Cached blocks of a waiting request's known tokens; the last token is always computed."""
        if self.identities is None:
            return []
        if request.index not in self.hits:
            found: list[int] = []
            for identity in self.identities.first(request.index, (request.known - 1) // self.config.block_size):
                block = self.pool.cached(identity)
                if block is None:
                    break
                found.append(block)
            self.hits[request.index] = found
        return self.hits[request.index]

    def _start(self, request: Request) -> None:
        hits = self._cached(request)
        self.pool.share(hits)
        self.held[request.index] = Held(list(hits), len(hits), request.known)
        request.computed, request.running = len(hits) * self.config.block_size, True
        request.cached = request.computed if request.cached < 0 else request.cached
        self.channels.place(request)
        self.waiting.remove(request)
        bisect.insort(self.running, request, key=lambda other: other.index)

    def _add(self, batch: Batch, request: Request, new: int) -> None:
        """Puts a request into the batch. A prompt takes all its blocks with its first tokens."""
        held, after = self.held[request.index], request.computed + new
        hold = max(after, held.context)
        held.blocks += self.pool.take(max(self._blocks(hold) - len(held.blocks), 0))
        batch.entries.append(Entry(request, new, request.computed, request.channel, after >= held.context))
        request.computed = after

    def _publish(self, request: Request, tokens: int, *, always: bool) -> None:
        """Full blocks can be reused once the whole prompt is computed, those of outputs at the end."""
        held, full = self.held[request.index], tokens // self.config.block_size
        if self.identities is None or full <= held.published or not (always or request.outputs == self._first_output(request)):
            return
        identities = self.identities.first(request.index, full)
        for position in range(held.published, full):
            self.pool.publish(held.blocks[position], identities[position])
        held.published = full

    def _first_output(self, request: Request) -> int:
        """Outputs of a request once its prompt, or the one recomputed after a pause, has given its token."""
        return self.held[request.index].context - request.prompt + 1

    def _pause(self, batch: Batch, victim: Request) -> None:
        """Its blocks are freed, it computes prompt and outputs again, and tokens in flight are lost."""
        for other in self._in_flight:
            for entry in other.entries:
                if entry.request is victim:
                    entry.yields = False
        self.running.remove(victim)
        self._stop(victim)
        victim.computed = 0
        victim.preemptions += 1
        bisect.insort(self.waiting, victim, key=lambda other: other.index)
        self.hits.pop(victim.index, None)
        batch.preempted.append(victim)

    def _stop(self, request: Request) -> None:
        """Gives back what a request holds; the end of a sequence is reused before its head."""
        self.channels.leave(request)
        self.pool.release(reversed(self.held.pop(request.index).blocks))
        request.running = False


def in_turn(contexts: list[Share], budget: int, unit: int) -> list[Share]:
    """First come, first served (3.2.6): whole prompts while they fit, then what is left, in whole units."""
    shares = []
    for request, missing in contexts:
        new = missing if missing <= budget else budget // unit * unit
        budget -= new
        if new:
            shares.append((request, new))
    return shares


def evenly(contexts: list[Share], budget: int, unit: int) -> list[Share]:
    """Equal progress (3.2.6): a unit for each in turn until the budget is used."""
    given = [0] * len(contexts)
    moved = True
    while moved and budget > 0:
        moved = False
        for k, (_, missing) in enumerate(contexts):
            more = min(unit, missing - given[k])
            if 0 < more <= budget:
                given[k] += more
                budget -= more
                moved = True
    return [(request, new) for (request, _), new in zip(contexts, given, strict=True) if new]
