"""The records of the dense kernel, in the place of the lockstep kernel's `Core`, `Flights` and `Pool`.

A running request has a slot; its counters are those of the specification's `Request`, and each pass visits every slot. What a
waiting request brings back is kept by request (`Queue`, `Drafts`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulator.engine.kernel.records import Array, Record, record

FULL, WINDOW, CHUNK, STATE = range(4)  # `kind` of a KV group
NULL = 0  # slot of a block table without a block
FAR = (1 << 31) - 1  # tokens that no request has

# A KV group (see KvGroupConfig). `span`: of a window, with the tokens that the drafter computes again; `most`: blocks that one
# request holds at once (G6); `needed`: blocks of a window before a boundary
KIND = record("kind block span most needed")

# A running request. `order`: number of its admission; `known`: prompt and delivered outputs; `goal`: `known` at its end; `last`:
# decision that held it last, `previous` the one before; `flying`: its tokens in batches in flight; `covered`: tokens that its
# blocks can hold; `passes`: settled tokens at which it gives a block back; `luck`: see `acceptance.draw`.
SLOT = record("order last previous", ("request", np.uint32), ("luck", np.uint32), *((name, np.int32) for name in
              ("computed", "known", "pending", "drafts", "prompt", "goal", "flying", "covered", "passes", "prefilling", "junction",
               "channel")), size=128)

# A request's part in a batch in flight: `new` tokens after `computed`, of which the last `checked` are drafts (`padded`: dummies).
# `order`: its admission, by which one that has been preempted since is known; `logged`: its row in the log; `yields`: whether the
# batch's end brings output.
ENTRY = record("order logged", ("request", np.uint32), ("slot", np.uint32), *((name, np.int32) for name in
               ("new", "computed", "checked", "padded", "yields")))
ROW = np.dtype([(name, np.int32) for name in ("request", "new", "computed", "drafts", "outputs")])  # of the log: an entry


class Core(NamedTuple):
    """The running requests, S slots."""

    run: Record  # kernel.records.RUN
    slots: Array  # SLOT [S]
    order: Array  # uint32 [S]: the first `running` are the slots in order of admission
    free_slots: Array  # uint32 [S]; the first S - running are free
    groups: Array  # KIND [G]
    kind_groups: Array  # int32 [G] groups sorted by kind
    kind_starts: Array  # int32 [kinds + 1] first of each kind among them


class Drafts(NamedTuple):
    """What the target accepts, and what recorded runs proposed (RecordedAcceptance); n requests."""

    thresholds: Array  # int64 [k]
    luck: Array  # uint32 [n]
    accepted_at: Array  # int64 [n + 1] first of `accepted`
    accepted: Array  # int32
    proposed_at: Array  # int64 [n + 1]
    proposed: Array  # int32
    verified: Array  # int32 [n] recorded verifications used
    proposals: Array  # int32 [n] recorded proposals used


class Flights(NamedTuple):
    """Batches in flight, in a ring by decision modulo depth D, and what lies on C PIM channels."""

    ring: Array  # FLIGHT [D]; `yields` holds the number of entries
    batches: Array  # ENTRY [D, S]
    channel_tokens: Array  # int64 [C] known tokens of running requests
    load: Array  # int64 [2, C] scratch
    stage_free_ns: Array  # int64 [stages]


class Pool(NamedTuple):
    """KV blocks of G groups. Blocks have numbers only with prefix caching; without, they are counted."""

    length: Array  # int32 [S, G] slots of a block table, those without a block included
    gone: Array  # int32 [S, G] leading slots whose blocks have been given back
    published: Array  # int32 [S, G] leading slots that have been offered to the prefix cache
    nodes: Array  # NODE [B + 1], 0 is the ANCHOR; `owner`: decision that computed its state
    free: Array  # uint32 [B]: the first `fresh_blocks` are blank
    keys: Array  # KEY [power of two]
    table: Array  # uint32 [S, G, W] blocks of a slot
    found: Array  # uint32 [G, W] what a look-up has found


class Log(NamedTuple):
    """The step log; see StepLog."""

    steps: Array  # STEP
    batch: Array  # ROW [entries]
    admissions: Array  # int32 [admissions, 3]
    preempted: Array  # int32 [preemptions, 2]
    held: Array  # int32 [steps, G]


class DraftTables(NamedTuple):
    """What checking and making drafts takes (see StepCosts)."""

    base_ns: Array  # of verify_ns, as DecodeTables
    slope_ns: Array
    tokens_ns: Array
    sequences_ns: Array


class Tables(NamedTuple):
    """The priced design."""

    stages: Record
    decodes: Record
    chunks: Record
    drafts: DraftTables


class State(NamedTuple):
    """All that a run reads and writes, but for the tables."""

    core: Core
    requests: Record
    queue: Record
    drafts: Drafts
    flights: Flights
    served: Record
    pool: Pool
    log: Log
