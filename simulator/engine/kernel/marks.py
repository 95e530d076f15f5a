"""The sentinel values and bit widths of the kernel's arrays."""

from __future__ import annotations

NEVER = 1 << 62  # as a time or an event: does not come
ANCHOR = 0  # node of the prefix cache that closes its list; as a node: none
UNKNOWN = -(1 << 60)  # as `longest`: to be looked for
ALL = -1  # as `done` of a waiting request: its last token is in flight
SLOT_BITS = 20  # of an event; events are (pass << SLOT_BITS) | slot
PART_BITS = 4  # slots whose earliest event is kept together
# `kind` of a slot; 0 and above: a decode of this group
PROMPT, LATE, LEAVING, EMPTY = -1, -2, -3, -4
