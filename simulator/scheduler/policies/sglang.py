"""SGLang 0.5's scheduler in plain Python; numbers in comments are the rules of the engines' specification.

A step is either prompts or decodes, prompts first (2.2.2). A request is admitted when the pool has room for its prompt and its
outputs, and for a guessed share of the outputs that running requests still have to come (2.2.5); where the guess was too low, a
request is retracted (2.2.9). Tokens are counted in pages of `block_size`.
"""

from __future__ import annotations

from typing import Literal

from simulator.scheduler.config import SchedulerConfig
from simulator.scheduler.policies.channels import Channels
from simulator.scheduler.policies.sglang_memory import PagedMemory
from simulator.scheduler.policies.sglang_queue import sort_queue
from simulator.scheduler.requests import Batch, Entry, Request
from simulator.workload.block_identities import BlockIdentities

Answer = Literal["go on", "no tokens", "stop"]


class Sglang:
    """State and decisions of one replica. `decoding` is the engine's running batch: finished requests leave it at the next
    decode step only. `last`: requests of the prompt batch before, which join it at the next pass."""

    def __init__(self, config: SchedulerConfig, identities: BlockIdentities | None, channels: int = 0) -> None:
        self.config, self.options, self.guess = config, config.sglang, config.sglang.new_token_ratio
        self.page = config.block_size
        self.memory = PagedMemory(config.num_gpu_blocks - 1, self.page, identities)
        self.channels = Channels(channels)
        self.waiting: list[Request] = []
        self.decoding: list[Request] = []
        self.last: list[Request] = []
        self.chunked: Request | None = None  # the one prompt under way in chunks
        self.full = False  # no prompt is tried before something changes (2.2.3)
        self.ratio = self.guess.start
        self.swapped_blocks = 0
        self._in_flight: list[Batch] = []
        self._idle_since_ns = 0

    @property
    def running(self) -> list[Request]:
        joining = [request for request in self.last if request is not self.chunked]
        return [request for request in (*self.decoding, *joining, *([self.chunked] if self.chunked else []))
                if request.outputs < request.wanted]

    @property
    def pool(self) -> PagedMemory:
        return self.memory

    def enqueue(self, request: Request) -> None:
        """A request has arrived. The first after an idle time finds the ratio at its start again (2.2.8)."""
        if not (self.waiting or self.running or self._in_flight) and request.arrival_ns > self._idle_since_ns:
            self.ratio = self.guess.start
        self.waiting.append(request)

    def schedule(self) -> Batch:
        """A batch of prompts if one comes out, otherwise a decode step of all (2.2.2)."""
        batch = self._pass()
        if not batch.entries and self.waiting and not self._in_flight:
            batch = self._pass()  # those that had finished have left by now
        if batch.entries:
            self._in_flight.append(batch)
        return batch

    def deliver(self, batch: Batch) -> list[Request]:
        """A batch has ended: hands out its tokens; prompts and finished sequences go into the tree (2.3)."""
        self._in_flight = [other for other in self._in_flight if other is not batch]
        self._idle_since_ns = batch.end_ns
        receivers = []
        for entry in batch.entries:
            request = entry.request
            if not entry.yields or request.outputs == request.wanted:  # finished a step ago, unseen when this one began (2.2.10)
                continue
            request.outputs += 1
            self.channels.grow(request)
            receivers.append(request)
            if request.outputs == request.wanted:
                request.running = False
                self.channels.leave(request)
                self.memory.finish(request, min(request.computed, request.known - 1))
            elif not self.memory.held[request.index].stored:
                self.memory.held[request.index].stored = True
                self.memory.store(request, entry.computed + entry.new)
        return receivers

    # The pass

    def _pass(self) -> Batch:
        self._merge()
        batch = Batch()
        under_way = self.chunked
        if chosen := self._choose_prompts():
            batch.admitted = [request for request, _ in chosen if request is not under_way]
            self._run_prompts(batch, chosen)
        else:
            self._run_decodes(batch)
        return batch

    def _merge(self) -> None:
        """Requests of the last prompt batch join the running ones; a half-done prompt goes into the tree instead (2.2.1)."""
        if self.chunked is not None:
            self.memory.store(self.chunked, self.chunked.computed)
        if not self.last:
            return
        joining = [request for request in self.last if request is not self.chunked and request.outputs < request.wanted]
        if len(joining) < len(self.last) or not self.decoding:
            self.full = False
        self.decoding += joining
        self.last = []

    def _choose_prompts(self) -> list[tuple[Request, int]]:
        """Prompts of the next batch with the tokens that each computes; empty: none now (2.2.3)."""
        if (self.full or not self.waiting) and self.chunked is None:
            return []
        places = self.config.max_num_seqs - len(self.decoding)
        if places <= 0 and self.chunked is None:
            self.full = True
            return []
        sort_queue(self.waiting, self.config.policy, self.memory, self.options.longest_prefix_queue)
        adder = Admission(self)
        if self.chunked is not None and not adder.go_on(self.chunked):
            return []
        for request in self.waiting:
            if len(adder.chosen) >= places:
                self.full = True
            if self.full:
                break
            answer = adder.admit(request)
            if answer != "go on":
                self.full = self.full or answer == "no tokens"
                break
        self.waiting = [request for request in self.waiting if not request.running]
        self.chunked = adder.half_done
        return adder.chosen

    def _run_prompts(self, batch: Batch, chosen: list[tuple[Request, int]]) -> None:
        pages = [self.memory.wanted(request, new) for request, new in chosen]
        overhead = len(chosen) if self.page > 1 else 0  # the engine allows each a page more
        self.memory.make_room(-(-sum(new for _, new in chosen) // self.page) + overhead)
        for (request, new), count in zip(chosen, pages, strict=True):
            self.memory.take(request, count)
            _add(batch, request, new, yields=request.computed + new == request.known)
        self.last = [request for request, _ in chosen]
        if self.options.mixed_chunk:
            self.decoding = self._unfinished()
            self._retract_for_room(batch)
            if self._fits(self.decoding):  # where the engine would stop for want of memory, they wait
                self.last += self.decoding
                self._decode(batch)
                self.decoding = []

    def _run_decodes(self, batch: Batch) -> None:
        """One step of all running requests. The ratio falls with each, unless somebody is retracted (2.2.8)."""
        before = len(self.decoding)
        self.decoding = self._unfinished()
        if self.decoding and not self._retract_for_room(batch):
            start, floor = self.guess.start, self.guess.start * self.guess.floor
            self.ratio = max(self.ratio - (start - floor) / self.guess.steps, floor)
        if not self._fits(self.decoding) and self.chunked is not None:  # where the engine would stop for want of memory
            self._retract(batch, self.chunked)
            self.chunked = None
        if len(self.decoding) < before or not self.decoding:
            self.full = False
        self._decode(batch)

    def _unfinished(self) -> list[Request]:
        return [request for request in self.decoding if request.outputs < request.wanted]

    def _retract_for_room(self, batch: Batch) -> bool:
        """Retracts requests until the others' next tokens have pages; one always stays (2.2.9). Whether any was."""
        if self._fits(self.decoding):
            return False
        # most outputs first, then the shortest prompt: the victims are at the end
        self.decoding.sort(key=lambda request: (request.outputs, -request.prompt), reverse=True)
        while len(self.decoding) > 1:
            self._retract(batch, self.decoding.pop())
            if self._fits(self.decoding):
                break
        done = sum(request.outputs for request in self.decoding)
        wanted = sum(request.wanted for request in self.decoding)
        self.ratio = min(1.0, (done + self.guess.retract_steps * len(self.decoding)) / (wanted + 1))
        return True

    def _fits(self, requests: list[Request]) -> bool:
        return self.memory.make_room(sum(request.computed % self.page == 0 for request in requests))

    def _retract(self, batch: Batch, victim: Request) -> None:
        """Back to the end of the queue; its prompt and outputs are computed again, and tokens in flight are lost."""
        for other in self._in_flight:
            for entry in other.entries:
                if entry.request is victim:
                    entry.yields = False
        self.channels.leave(victim)
        self.memory.release(victim)
        self.memory.make_room(-(-len(self.decoding) * self.guess.retract_steps // self.page))
        victim.computed, victim.running = 0, False
        victim.preemptions += 1
        self.waiting.append(victim)
        batch.preempted.append(victim)

    def _decode(self, batch: Batch) -> None:
        """A token of every running request. The engine keeps a page at hand for each."""
        self.memory.make_room(len(self.decoding))
        for request in self.decoding:
            self.memory.take(request, self.memory.wanted(request, 1))
            _add(batch, request, 1, yields=True)


class Admission:
    """One prompt batch being formed: what is left of tokens in the pool, of the batch and of the chunk (2.2.5)."""

    def __init__(self, scheduler: Sglang) -> None:
        config, options = scheduler.config, scheduler.options
        self.of, self.memory, self.page = scheduler, scheduler.memory, scheduler.page
        self.clip = options.clip_max_new_tokens
        mixed = len(scheduler.decoding) if options.mixed_chunk else 0
        to_come = sum(min(request.wanted - request.outputs, self.clip) for request in scheduler.decoding)
        self.spoken_for = mixed + to_come * scheduler.ratio
        self.prompts_left = config.max_prefill_tokens - mixed
        self.chunk_left: int | None = config.max_num_batched_tokens - mixed
        if not config.enable_chunked_prefill:
            self.prompts_left = min(config.max_prefill_tokens, config.max_num_batched_tokens) - mixed
            self.chunk_left = None
        self.chosen: list[tuple[Request, int]] = []
        self.half_done: Request | None = None

    @property
    def tokens_left(self) -> float:
        """Tokens that could be had, less those that are spoken for."""
        return self.memory.free * self.page - self.spoken_for

    def go_on(self, request: Request) -> bool:
        """The next chunk of the prompt under way, always the first of a batch (2.2.6). False: there is no room for any of it,
        where the engine would stop for want of memory."""
        assert self.chunk_left is not None
        missing, tail = request.known - request.computed, -request.computed % self.page
        most = min(self.chunk_left, int(self.tokens_left))
        new = min(missing, most if most > 0 else self.chunk_left, self.memory.free * self.page + tail)
        self.half_done = request
        if new <= 0:
            return False
        self.half_done = request if new < missing else None
        self._take(request, new, last=new == missing)
        return True

    def admit(self, request: Request) -> Answer:
        """Takes the head of the queue if it fits, whole or as a chunk."""
        pages, node = self.memory.match(request)
        missing, outputs = request.known - pages * self.page, min(request.wanted - request.outputs, self.clip)
        whole, needed = -(-missing // self.page) * self.page, missing + outputs + self.page
        if needed >= self.tokens_left:
            return "no tokens"
        if self.chunk_left is None and self.chosen and whole >= self.prompts_left:
            return "stop"
        self.memory.lock(node)  # what it hits can no longer be dropped for it
        if needed >= self.tokens_left:
            self.memory.unlock(node)
            return "no tokens"
        new = missing if self.chunk_left is None or whole <= self.chunk_left else self.chunk_left // self.page * self.page
        if new <= 0:
            self.memory.unlock(node)
            return "stop"
        self._start(request, pages)
        self.memory.start(request, pages, node)
        self._take(request, new, last=new == missing)
        if new < missing:
            self.half_done = request
        if self.tokens_left <= 0:
            return "no tokens"
        return "stop" if self.prompts_left <= 0 or (self.chunk_left is not None and self.chunk_left <= 0) else "go on"

    def _start(self, request: Request, pages: int) -> None:
        request.computed, request.running = pages * self.page, True
        request.cached = request.computed if request.cached < 0 else request.cached
        self.of.channels.place(request)

    def _take(self, request: Request, new: int, *, last: bool) -> None:
        """last: the prompt ends with it. All outputs are then spoken for, of a retracted request too (`_update_prefill_budget`)."""
        paged, outputs = -(-new // self.page) * self.page, min(request.wanted, self.clip) if last else 0
        self.spoken_for += paged + outputs + self.page
        self.prompts_left -= paged
        if self.chunk_left is not None:
            self.chunk_left -= paged
        self.chosen.append((request, new))


def _add(batch: Batch, request: Request, new: int, *, yields: bool) -> None:
    batch.entries.append(Entry(request, new, request.computed, request.channel, yields))
    request.computed += new
