"""SGLang's own RadixCache, PrefillAdder and SchedulePolicy behind our policy, so that both can be compared decision by decision.

Needs the unpacked wheel of SGLang 0.5.14 (`pip download --no-deps sglang==0.5.14`, then unzip), whose folder `load` is given. The
three classes need little of the package: the modules they stand in are loaded alone; all else that these import is an empty
stand-in, torch's tensors are numpy arrays, and the clock counts, so that nothing happens at the same time.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import itertools
import sys
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np

from simulator.scheduler.policies import sglang as ours
from simulator.scheduler.policies.sglang import Sglang
from simulator.scheduler.requests import Request

CACHE, POLICY = "sglang.srt.mem_cache.radix_cache", "sglang.srt.managers.schedule_policy"
LOADED = (CACHE, POLICY, *(f"sglang.srt.mem_cache.{name}" for name in ("evict_policy", "base_prefix_cache", "cache_init_params", "utils")))
ANSWERS = {"CONTINUE": "go on", "NO_TOKEN": "no tokens", "OTHER": "stop"}
MOST_TOKENS = 10_000  # of a prompt, for the numbers of tokens that no other request has


class OutOfMemoryError(Exception):
    """The engine would stop here."""


class Tensor(np.ndarray):
    """What of a torch tensor is used."""

    def clone(self) -> Any:
        return self.copy()


def tensor(values: Any, **_: Any) -> Any:
    return np.asarray(list(values), np.int64).view(Tensor)


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules in LOADED below `folder`; every other module of these packages is empty and has what it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name in LOADED:
            return importlib.util.spec_from_file_location(name, self.folder / f"{name.replace('.', '/')}.py")
        if name.split(".")[0] in ("sglang", "torch"):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: Any) -> ModuleType:
        module = ModuleType(spec.name)

        def missing(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return type(name, (), {}) if name[0].isupper() else MagicMock()

        module.__dict__["__getattr__"] = missing
        return module

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ == "torch":
            module.__dict__.update(tensor=tensor, empty=lambda shape, **_: tensor(np.zeros(shape)), Tensor=Tensor,
                                   cat=lambda parts: tensor(np.concatenate(parts)), device=lambda name: name)


@contextmanager
def load(folder: Path) -> Iterator[type[Sglang]]:
    """Inside, a policy like ours whose tree, admission and order of the queue are SGLang's own."""
    before, finder = set(sys.modules), StandIns(folder)
    own = ours.Admission, ours.sort_queue
    sys.meta_path.insert(0, finder)
    try:
        cache, policy = importlib.import_module(CACHE), importlib.import_module(POLICY)
        counter = itertools.count(1)
        cache.time = SimpleNamespace(monotonic=lambda: next(counter), perf_counter=lambda: 0.0)  # type: ignore[attr-defined]
        for name in ("_record_store_event", "_record_remove_event", "_record_all_cleared_event", "update_eviction_metrics"):
            setattr(cache.RadixCache, name, lambda *_: None)
        policy.__dict__.update(
            envs=SimpleNamespace(SGLANG_RADIX_FORCE_MISS=SimpleNamespace(get=lambda: False)),
            get_global_server_args=lambda: SimpleNamespace(disaggregation_mode="null"),
            is_dsa_prefill_cp_in_seq_split=lambda: False, is_prefill_context_parallel_enabled=lambda: False)

        class Itself(Sglang):
            def __init__(self, config: Any, identities: Any, channels: int = 0) -> None:
                super().__init__(config, identities, channels)
                if self.memory.tree is not None:
                    self.memory.tree = Tree(cache, self.page)  # type: ignore[assignment]

        ours.Admission = lambda scheduler: Adder(policy, scheduler)  # type: ignore[assignment, misc]
        ours.sort_queue = lambda *inputs: sort(policy, *inputs)
        yield Itself
    finally:
        ours.Admission, ours.sort_queue = own  # type: ignore[misc]
        sys.meta_path.remove(finder)
        for name in set(sys.modules) - before:
            if name.split(".")[0] in ("sglang", "torch"):
                del sys.modules[name]


class Tree:
    """A RadixCache that is asked in pages, and its pool of tokens."""

    device = "cpu"

    def __init__(self, module: Any, page: int) -> None:
        self.module, self.page, self.freed = module, page, 0
        self.itself = module.RadixCache(module.CacheInitParams(
            disable=False, req_to_token_pool=None, token_to_kv_pool_allocator=self, page_size=page))

    def free(self, indices: Any) -> None:
        """The cache gives tokens back."""
        self.freed += len(indices)

    def match(self, key: list[int]) -> tuple[int, Any]:
        if not key:
            return 0, self.itself.root_node
        found = self.itself.match_prefix(self.module.MatchPrefixParams(key=self._key(key)))
        return len(found.device_indices) // self.page, found.last_device_node

    def insert(self, key: list[int]) -> tuple[int, Any]:
        if not key:
            return 0, self.itself.root_node
        value = tensor(range(len(key) * self.page))
        there = self.itself.insert(self.module.InsertParams(key=self._key(key), value=value)).prefix_len
        return there // self.page, self.match(key)[1]

    def evict(self, pages: int) -> int:
        before = self.freed
        self.itself.evict(self.module.EvictParams(num_tokens=pages * self.page))
        return (self.freed - before) // self.page

    def lock(self, node: Any) -> None:
        self.itself.inc_lock_ref(node)

    def unlock(self, node: Any) -> None:
        self.itself.dec_lock_ref(node)

    @property
    def evictable(self) -> int:
        return self.itself.evictable_size() // self.page

    def _key(self, pages: list[int]) -> Any:
        return self.module.RadixKey(token_ids=tokens_of(pages, self.page), extra_key=None)


class NoTree:
    """The cache of an engine without prefix caching."""

    disable = True

    def evictable_size(self) -> int:
        return 0

    def supports_mamba(self) -> bool:
        return False

    def supports_fast_match_prefix(self) -> bool:
        return False

    def is_tree_cache(self) -> bool:
        return False

    def inc_lock_ref(self, _node: Any) -> None: ...

    def dec_lock_ref(self, _node: Any, _params: Any = None) -> None: ...


class Adder:
    """A PrefillAdder that is asked as our Admission is."""

    def __init__(self, module: Any, scheduler: Sglang) -> None:
        self.of, self.memory, config = scheduler, scheduler.memory, scheduler.config
        module.CLIP_MAX_NEW_TOKENS = scheduler.options.clip_max_new_tokens
        budget, prompts = config.max_num_batched_tokens, config.max_prefill_tokens
        running = SimpleNamespace(reqs=[_asked(request) for request in scheduler.decoding])
        self.itself = module.PrefillAdder(
            scheduler.page, _cache(self.memory), SimpleNamespace(available_size=lambda: self.memory.unused * scheduler.page),
            running, scheduler.ratio, prompts if config.enable_chunked_prefill else min(prompts, budget),
            budget if config.enable_chunked_prefill else None,
            len(scheduler.decoding) if scheduler.options.mixed_chunk else 0)
        self.chosen: list[tuple[Request, int]] = []
        self.half_done: Request | None = None

    def go_on(self, request: Request) -> bool:
        self.half_done = request
        if self.itself.rem_chunk_tokens <= 0:
            return False
        asked = _asked(request, request.computed)
        left = self.itself.add_chunked_req(asked)
        if asked.extend_input_len > self.memory.free * self.of.page + -request.computed % self.of.page:
            raise OutOfMemoryError
        self.chosen.append((request, asked.extend_input_len))
        self.half_done = None if left is None else request
        return True

    def admit(self, request: Request) -> str:
        pages, node = self.memory.match(request)
        asked = _asked(request, pages * self.of.page, node)
        before = len(self.itself.can_run_list)
        answer = self.itself.add_one_req(asked, self.half_done is not None, None)
        if len(self.itself.can_run_list) > before:
            request.computed, request.running = pages * self.of.page, True
            request.cached = request.computed if request.cached < 0 else request.cached
            self.of.channels.place(request)
            self.memory.start(request, pages, node)
            self.chosen.append((request, asked.extend_input_len))
            self.half_done = request if self.itself.new_chunked_req is asked else self.half_done
        return ANSWERS[answer.name]


def sort(module: Any, waiting: list[Request], policy: str, memory: Any, longest: int) -> None:
    """SchedulePolicy in place of our sort_queue. longest: 128 in the engine."""
    if policy == "fcfs":
        return
    asked = []
    for request in waiting:
        one = _asked(request)
        one.request, one.rid, one.extra_key = request, request.index, None
        one.output_ids = one.origin_input_ids = array("q")
        if memory.tree is not None:
            pages = memory.key(request, request.known)
            tail = range(request.known - len(pages) * memory.page)
            one.origin_input_ids = tokens_of(pages, memory.page) + array(
                "q", [-1 - request.index * MOST_TOKENS - position for position in tail])
        asked.append(one)
    itself = module.SchedulePolicy(policy, _cache(memory), False, False, False)
    if policy != "lpm" or len(waiting) <= longest:
        itself.calc_priority(asked, None)
    waiting[:] = [one.request for one in asked]


def tokens_of(pages: list[int], page: int) -> array[int]:
    """Tokens of pages: equal where the pages' identities are."""
    return array("q", [identity * page + position for identity in pages for position in range(page)])


def _cache(memory: Any) -> Any:
    return NoTree() if memory.tree is None else memory.tree.itself


def _asked(request: Request, computed: int = 0, node: Any = None) -> SimpleNamespace:
    """A request as the engine's classes see it."""
    one = SimpleNamespace(
        sampling_params=SimpleNamespace(max_new_tokens=request.wanted, ignore_eos=False), output_ids=range(request.outputs),
        prefix_indices=range(computed), full_untruncated_fill_ids=range(request.known), last_node=node,
        extend_input_len=request.known - computed, host_hit_length=0, swa_host_hit_length=0,
        retracted_stain=request.preemptions > 0, needs_host_load_back=lambda: False,
        _compute_max_prefix_len=lambda length: max(length - 1, 0))
    one.set_extend_input_len = lambda length: setattr(one, "extend_input_len", length)
    return one
