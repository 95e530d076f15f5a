"""Requests on PIM channels in the synchronous engine: what lies on each channel, and the busiest channel's time.

Whole requests lie on channels. One is put where running requests have the fewest tokens, as it is admitted, and stays until
it leaves the running list.
"""

from __future__ import annotations

import numpy as np

from simulator.engine.fast_plain_state import (
    CONTEXTS,
    DECODES,
    LAST_PASS,
    NEXT,
    PASS,
    PROMPTS,
    SINGLE_CONTEXTS,
    SINGLES,
    STEP_CONTEXTS,
    STEP_DECODES,
    TOTAL,
)
from simulator.pricing.lookup import channel_time_ns


def settle(slot, known, plain):
    """Puts a request of `known` tokens on the channel with the fewest; the first of equal ones."""
    channels, least = plain.channels, np.int64(0)
    for c in range(1, channels.shape[1]):
        if _tokens(channels, c) < _tokens(channels, least):
            least = np.int64(c)
    plain.channel_of[slot] = least
    channels[PROMPTS, least] += known


def _tokens(channels, c):
    """Known tokens of the requests on channel c: a decode knows one more than it has computed."""
    return channels[CONTEXTS, c] + channels[DECODES, c] + channels[PROMPTS, c]


def count_again(plain):
    """After preemptions: all running requests are decodes (the partial prompt was the first victim)."""
    channels, slots = plain.channels, plain.slots
    channels[:] = 0
    slot = slots[len(slots) - 1, NEXT]
    while slot != len(slots) - 1:
        c = plain.channel_of[slot]
        channels[DECODES, c] += 1
        channels[CONTEXTS, c] += slots[slot, TOTAL] - (slots[slot, LAST_PASS] - plain.groups[0, PASS] + 1)
        slot = slots[slot, NEXT]


def advance(channels):
    """Every decode has computed one token more."""
    for c in range(channels.shape[1]):
        channels[CONTEXTS, c] += channels[DECODES, c]


def add_single(channels, c, context):
    """A chunk of one token, which is priced like a decode, is part of the pass."""
    channels[SINGLES, c] += 1
    channels[SINGLE_CONTEXTS, c] += context


def busiest_ns(channels, tables):
    """Decode attention of a step of mere decodes, after `advance`."""
    return channel_time_ns(channels[DECODES], channels[CONTEXTS], tables.channel_request_ns, tables.channel_token_ns)


def busiest_with_singles_ns(channels, tables):
    """Decode attention of a pass, before `advance`; forgets the chunks of one token."""
    for c in range(channels.shape[1]):
        channels[STEP_DECODES, c] = channels[DECODES, c] + channels[SINGLES, c]
        channels[STEP_CONTEXTS, c] = channels[CONTEXTS, c] + channels[DECODES, c] + channels[SINGLE_CONTEXTS, c]
        channels[SINGLES, c] = channels[SINGLE_CONTEXTS, c] = 0
    return channel_time_ns(channels[STEP_DECODES], channels[STEP_CONTEXTS], tables.channel_request_ns, tables.channel_token_ns)
