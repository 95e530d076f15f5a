"""Draws of accepted drafts: the formula, its statistics, and the same numbers compiled."""

from __future__ import annotations

import numpy as np
from numba import njit

from simulator.scheduler.acceptance import accepted_of, draw, mix, thresholds

compiled_draw = njit(lambda seed, request, outputs: draw(seed, request, outputs))


def test_mix_is_the_published_hash():
    # https://github.com/skeeto/hash-prospector, [16 21f0aaad 15 735a2d97 15], worked with 32-bit arithmetic
    def by_numpy(h):
        x = np.array([h], np.uint32)
        x ^= x >> np.uint32(16)
        x *= np.uint32(0x21F0AAAD)
        x ^= x >> np.uint32(15)
        x *= np.uint32(0x735A2D97)
        return int((x ^ (x >> np.uint32(15)))[0])
    for h in (0, 1, 2, 0xDEADBEEF, 0xFFFFFFFF, *np.random.default_rng(0).integers(0, 2**32, 200).tolist()):
        assert mix(h) == by_numpy(h)


def test_draws_are_those_of_the_formula():
    assert draw(3, 5, 7) == mix(mix((mix(3) + 5) % 2**32) ^ mix((7 + 0x9E3779B9) % 2**32))


def test_compiled_draws_are_equal():
    for seed, request, outputs in np.random.default_rng(1).integers(0, 2**40, (500, 3)).tolist():
        assert compiled_draw(seed, request, outputs) == draw(seed, request, outputs)


def test_draws_are_uniform_and_independent_along_and_across_requests():
    table = np.array([[draw(1, request, outputs) for outputs in range(200)] for request in range(200)]) / 2**32
    counts = np.histogram(table, 100, (0.0, 1.0))[0]
    chi_square = ((counts - 400) ** 2 / 400).sum()
    assert 58 < chi_square < 149  # 99 degrees of freedom: outside once in a thousand seeds
    for a, b in ((table[:, 1:], table[:, :-1]), (table[1:], table[:-1]), (table[1:, 1:], table[:-1, :-1])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.02  # 1 / sqrt(40,000) = 0.005
    other = np.array([[draw(2, request, outputs) for outputs in range(200)] for request in range(200)]) / 2**32
    assert abs(np.corrcoef(table.ravel(), other.ravel())[0, 1]) < 0.02


def test_accepted_counts_follow_the_distribution():
    at_least = (0.8, 0.5, 0.1)
    limits = thresholds(at_least)
    counts = np.array([accepted_of(draw(0, i, 0), limits, 3) for i in range(20_000)])
    for j, share in enumerate(at_least, 1):
        assert abs((counts >= j).mean() - share) < 0.012  # four standard errors at 0.5
    assert accepted_of(0, limits, 2) == 2  # no more than are checked
    assert accepted_of(0, limits, 5) == 3
    assert thresholds((1.0, 0.5, 0.0)) == [2**32, 2**31, 0]
    assert accepted_of(2**32 - 1, thresholds((1.0, 0.0)), 2) == 1  # certain, impossible
