"""How many of a request's draft tokens the target model accepts: drawn from a distribution, or recorded.

A draw depends on the seed, the request and how many output tokens the request has, on nothing else: designs that speculate
differently meet the same luck at the same place of the same answer. With `mix` a 32-bit hash (two rounds of multiply-xor) and all
arithmetic modulo 2^32:

    draw(seed, request, outputs) = mix(mix(mix(seed) + request) xor mix(outputs + 0x9E3779B9))
    accepted = the number of j in 1..k with draw < thresholds[j - 1],   thresholds[j - 1] = round(P(at least j) x 2^32)

request: its number in the trace; outputs: output tokens delivered before those of this step. No draw depends on k, the batch or
the time. Every value stays below 2^63, so that compiled int64 arithmetic and Python's integers give the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from numba.extending import register_jitable

MASK = 0xFFFFFFFF


@dataclass(frozen=True)
class DrawnAcceptance:
    """at_least[j - 1]: probability that a step accepts at least j drafts of k proposed, not rising; missing entries are 0."""

    at_least: tuple[float, ...]
    seed: int = 0


@dataclass(frozen=True)
class RecordedAcceptance:
    """Counts as a run recorded them. accepted[i][j]: of the j-th verification of request i, from the start again where the list
    ends. proposed[i][j]: drafts after the j-th step of request i that gave tokens and did not finish it; None: always k."""

    accepted: tuple[tuple[int, ...], ...]
    proposed: tuple[tuple[int, ...], ...] | None = None


@register_jitable
def mix(h):  # type: ignore[no-untyped-def]
    """A bijection of 32-bit numbers (Ettinger's multipliers in the finaliser that Wellons calls lowbias32,
    https://github.com/skeeto/hash-prospector)."""
    h = ((h ^ (h >> 16)) * 0x21F0AAAD) & 0xFFFFFFFF
    h = ((h ^ (h >> 15)) * 0x735A2D97) & 0xFFFFFFFF
    return h ^ (h >> 15)


@register_jitable
def draw(seed, request, outputs):  # type: ignore[no-untyped-def]
    """The 32-bit number of a request's step, see the module text. seed, request, outputs: integers >= 0 below 2^62."""
    of_request = mix((mix(seed & 0xFFFFFFFF) + request) & 0xFFFFFFFF)
    return mix(of_request ^ mix((outputs + 0x9E3779B9) & 0xFFFFFFFF))


@register_jitable
def accepted_of(number, thresholds, checked):  # type: ignore[no-untyped-def]
    """Accepted drafts of `checked` for a drawn `number`; `thresholds` as in the module text, not rising."""
    accepted = 0
    while accepted < checked and accepted < len(thresholds) and number < thresholds[accepted]:
        accepted += 1
    return accepted


def thresholds(at_least: Sequence[float]) -> list[int]:
    """The integers that a draw is compared with."""
    return [round(share * (MASK + 1)) for share in at_least]
