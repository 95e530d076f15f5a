"""The records that the kernel works on: counters and arrays of records, all plain numpy memory.

A run's whole state lies in the arrays named here, so a copy of them is a snapshot and `advance` goes on from it.
Slots, groups, nodes and requests are named by unsigned numbers, which spares the test for negative indices.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any, NamedTuple

import numpy as np

Array = Any  # a numpy array, of numbers or of records
Int = Any  # an integer; where compiled, of 64 bits, and unsigned if it names a slot, group, node or request
Record = Any  # a row of a record array: attributes are the fields

NEVER = 1 << 62  # as a time or an event: does not come
ANCHOR = 0  # node of the prefix cache that closes its list; as a node: none
UNKNOWN = -(1 << 60)  # as `longest`: to be looked for
ALL = -1  # as `done` of a waiting request: its last token is in flight
SLOT_BITS = 20  # of an event; events are (pass << SLOT_BITS) | slot
PART_BITS = 4  # slots whose earliest event is kept together
# `kind` of a slot; 0 and above: a decode of this group
PROMPT, LATE, LEAVING, EMPTY = -1, -2, -3, -4

_SHAPES = """slot_places parts context_cells context_knots context_marks chunk_knots chunk_marks beside_knots token_counts
    sequence_counts window_kinds hash_entries waiter_places node_places beside_counts"""
_LIMITS = """max_num_seqs token_budget block_size block_shift usable_blocks threshold margin_blocks depth asynchronous chunked
    caching by_priority full_gate swap clients most_idle_preemptions requests channels layers stages overlap swap_block_ns spread
    has_beside gaps logging outputs_recur growing fixed_blocks"""
_COUNTERS = """clock free running prompts lates stack head joined finished decided delivered newest oldest order
    nonempty_in_flight blocked leaving_queue idle_preemptions swapped_blocks fresh_blocks free_nodes
    last_decision_ns last_waiting last_start_ns last_end_ns last_used
    entries budget preempted decodes tokens start_ns end_ns"""
_TOTALS = """steps makespan_ns blocks_ns decode_ns prefill_ns decode_sequences decode_context prefill_chunks prefill_tokens
    prefill_context prefill_pairs used_block_ns peak_used_blocks waiting_ns"""
TOTALS = tuple(_TOTALS.split())  # in the order of EngineResult


def record(int64: str, *others: tuple[str, Any], size: int = 0) -> np.dtype[Any]:
    """A record of int64 fields and others, padded to `size` bytes."""
    made = np.dtype([(name, np.int64) for name in int64.split()] + list(others), align=True)
    padding = (size - made.itemsize) // 8
    return made if padding <= 0 else np.dtype([*((name, made[name]) for name in made.names or ()), ("padding", np.int64, padding)],
                                              align=True)


# Of the dense kernel: KV groups and their kinds, tokens of a hash and of the common boundary, what speculation takes (see
# `speculation.Reserved`), whether acceptance is recorded (2: and proposals)
_DENSE = """kv_groups kinds hash_unit unit interval keeps_states max_model_len draft_tokens lookahead drafting reads_ahead
    drops_last keeps_all recorded junction prefilling checked accepted draft_ns"""

# The limits (see SchedulerConfig and StepTables), the state of the loop and the totals of one replica.
RUN = record(f"{_SHAPES} {_LIMITS} {_DENSE} {_COUNTERS} {_TOTALS} logged_entries logged_admissions preemptions",
              ("channel_request_ns", np.float64), ("channel_token_ns", np.float64))

# Decodes that advance together, by one token in every pass of theirs. `context`: their computed tokens in all; `phase`:
# the pass modulo the block size; `next`: the first event; `longest`: computed tokens of the longest, less the pass.
GROUP = record("count context pass_ phase next longest last_token_ns last_decision")

# A running request. `total`: KV tokens at its end; `known`: of a prompt, tokens to compute before it yields one;
# `computed`: valid for PROMPT and LATE, for LEAVING the published tokens; `last`: decision that held it (not of a group's);
# `stamp`: decision that served it by itself; `chunk`: tokens that it then got; `key`: the phase in which it needs a block;
# `joined`: its group's first pass with it; `published`: leading blocks that are nodes of their own; `steady`: bits of the windows
# whose blocks it gives back with its group; `dropped`: decision in which it gave blocks back by itself. Two cache lines, of which
# the second one is rarely used.
SLOT = record("last last_pass", *((name, np.int32) for name in
               ("total", "known", "computed", "chunk", "kind", "key", "channel", "published")),
               *((name, np.uint32) for name in ("request", "before", "after")),
               *((name, np.int64) for name in ("stamp", "order", "joined", "steady", "dropped")), size=128)

# Groups of layers with one window, or one chunk (`chunked`): `count` of them, `span` tokens, `most` blocks of a request (G6)
WINDOW = record("count span chunked most")

# A batch in flight. `yields`: requests that get a token at its end; `dones`: those that get their last one
FLIGHT = record("end_ns yields dones nonempty")

# A block of the prefix cache that can be hit, or a run of blocks that only their `owner` (request + 1; 0: nobody) can hit.
# `users`: 0 idle, below 0 minus the length of an idle run. `older`, `newer`: in order of release; twins: equal contents.
NODE = np.dtype([("identity", np.int64), ("users", np.int32)]
                + [(name, np.uint32) for name in ("owner", "older", "newer", "twin_older", "twin_newer")], align=True)
KEY = np.dtype([("identity", np.int64), ("first", np.uint32), ("last", np.uint32)], align=True)  # of the hash table

STEP = record("scheduled_ns start_ns end_ns", *((name, np.int32) for name in
               ("n", "tokens", "free_blocks", "waiting", "running")))


class Core(NamedTuple):
    """The running requests. G groups, S slots."""

    run: Record  # RUN
    groups: Array  # GROUP [G]
    slots: Array  # SLOT [S + 1]; the last one closes the list in order of admission
    free_slots: Array  # uint32 [S]; the first S - running are free
    events: Array  # int64 [G, S rounded up to 16]: when a decode's last token or next publication comes; NEVER: not of the group
    least: Array  # int64 [G, parts]: the first event of 16 slots
    residues: Array  # int32 [G, block size]: decodes that need a block in this phase
    entries: Array  # uint32 [S]: requests of the decision that are not decodes in step
    windows: Array  # WINDOW [kinds]
    drops: Array  # int32 [G, block size]: blocks that steady decodes give back in this phase
    gone: Array  # int32 [S + 1, kinds]: leading blocks of each group that a request has given back; of a steady one, before


class Requests(NamedTuple):
    """The trace. Shapes [n]; `priority` and the identities only where they are used."""

    arrival_ns: Array  # int64
    prompt: Array  # int32
    output: Array  # int32 tokens that it will get
    priority: Array  # int32
    identity_offsets: Array  # int64 [n + 1], `shared`, `unique`: see BlockIdentities
    shared: Array  # int64
    unique: Array  # int64


class Queue(NamedTuple):
    """Requests that wait. FCFS: a stack of preempted ones, head last, before the range head..joined of the trace; by priority:
    a heap. What a preempted request brings back is kept by request."""

    waiters: Array  # int32
    done: Array  # int32 [n] tokens that it has when it can be resumed, or ALL
    due: Array  # int32 [n] decision whose batch must have ended before that
    swapped: Array  # int32 [n] tokens whose KV lies in host memory; only with swap


class Flights(NamedTuple):
    """Batches in flight, in a ring by decision modulo depth D, and what lies on C PIM channels."""

    ring: Array  # FLIGHT [D]
    dones: Array  # uint32 [D, S]
    on_channels: Array  # int64 [G, 2, C] decodes of a group and their computed tokens
    channel_tokens: Array  # int64 [C] known tokens of running requests
    yields_on: Array  # int64 [D, C] running requests that get a token
    load: Array  # int64 [2, C] scratch
    stage_free_ns: Array  # int64 [stages]


class Served(NamedTuple):
    """What a run writes: request times, shapes [n], and counts of steps (see EngineResult)."""

    first_scheduled_ns: Array  # int64
    first_token_ns: Array
    finish_ns: Array
    preemptions: Array  # int32
    cached_tokens: Array
    last_token_ns: Array  # int64 [n], only where gaps are counted
    by_tokens: Array  # int64
    by_sequences: Array
    gaps: Array  # int64 [gaps.BINS], only where gaps are counted


class Pool(NamedTuple):
    """The prefix cache (see `prefix_cache`); B usable blocks, W leading blocks of a request that are nodes of their own."""

    nodes: Array  # NODE [B + 1], 0 is the ANCHOR
    free: Array  # uint32 [B], the first `free_nodes`
    keys: Array  # KEY [power of two]
    table: Array  # uint32 [S, W] nodes of a running request
    found: Array  # uint32 [W] scratch
    own_run: Array  # uint32 [n] node of a waiting request's idle run


class Log(NamedTuple):
    """The step log; see StepLog."""

    steps: Array  # STEP
    batch: Array  # int32 [entries, 2] request, new tokens
    admissions: Array  # int32 [admissions, 3]
    preempted: Array  # int32 [preemptions, 2]


class State(NamedTuple):
    """All that a run reads and writes, but for the tables."""

    core: Core
    requests: Requests
    queue: Queue
    flights: Flights
    served: Served
    pool: Pool
    log: Log


# Fields of StepTables, by what they price: the batch but for attention, decode attention (`marks` are the `context_index`), and
# prefill attention with decode attention beside it.
StageTables = namedtuple(
    "StageTables", "linear_ns half_before_ns half_after_ns stage_layers stage_tokens_ns stage_sequences_ns host_ns"
)
DecodeTables = namedtuple("DecodeTables", "base_ns slope_ns spread_ns inverse knots marks")
ChunkTables = namedtuple(
    "ChunkTables", "prefill_ns chunk_knots chunk_marks per_chunk per_context beside_knots beside_ns beside_spread_ns"
)


class Tables(NamedTuple):
    """The priced design."""

    stages: StageTables
    decodes: DecodeTables
    chunks: ChunkTables
