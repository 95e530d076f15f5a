"""State groups with prefix caching: where a chunk must end so that a state can be kept (G24; vLLM's mode "align").

A state holds all tokens before it, so only the one at the end of a chunk exists; to be found by others it must end on a block.
"""

from __future__ import annotations


def aligned_tokens(start: int, new: int, prompt: int, known: int, junction: int, block_size: int, limit: int) -> int:
    """Of `new` tokens after the first `start`, how many to compute in this step; 0: none yet.

    junction: tokens where other requests' prefixes part from this one's (0: none known). limit: the longest possible chunk.
    """
    last = max(prompt, known - 1)
    if start >= last:
        return new
    end = start + new
    if end < last:
        whole = end // block_size * block_size
        if whole > start:
            end = whole
        elif block_size <= limit:
            return 0
    stops = [-(-start // block_size) * block_size, (known - 1) // block_size * block_size]
    if start < junction < end:
        stops.append(start + (junction - start) // block_size * block_size)
    return min([stop for stop in stops if start < stop < end], default=end) - start
