"""A trace served in pieces: the same run, bit for bit, and percentiles within the stated error."""

import dataclasses
import itertools

import numpy as np
import pytest

from simulator.engine import engine, reference
from simulator.engine.stream import Stream
from simulator.workload.trace import Trace
from tests.engine.scenarios import outcome, random_scenario
from tests.engine.test_engine import difference

PER_REQUEST = ("first_scheduled_ns", "first_token_ns", "finish_ns", "preemptions", "cached_tokens")


def pieces(trace, cuts):
    """The trace cut before these requests; its prompts' contents are left out."""
    edges = [0, *cuts, len(trace)]
    for a, b in itertools.pairwise(edges):
        priority = None if trace.priority is None else trace.priority[a:b]
        yield Trace(trace.arrival_ns[a:b], trace.prompt_tokens[a:b], trace.output_tokens[a:b], priority), b < len(trace)


def streamed(trace, config, costs, *, cuts, gaps=False):
    """An EngineResult put together from what the pieces gave."""
    stream = Stream(config, costs, gaps=gaps)
    times = {name: np.full(len(trace), -1 if name.endswith("_ns") else 0) for name in PER_REQUEST}
    for piece, more in pieces(trace, cuts):
        served = stream.feed(piece, more=more)
        for name in PER_REQUEST:
            times[name][served.request] = getattr(served, name)
        assert np.array_equal(served.arrival_ns, trace.arrival_ns[served.request])
    return dataclasses.replace(stream.result(), **times)


def private(scenario):
    trace = dataclasses.replace(scenario.trace, segments=None, prompt_ids=None, prompt_id_offsets=None)
    return scenario._replace(trace=trace)


def compare(seeds):
    """Every seed cut at random."""
    for seed in seeds:
        scenario = private(random_scenario(seed, most=60))
        rng = np.random.default_rng(seed)
        cuts = np.sort(rng.integers(0, len(scenario.trace), rng.integers(0, 12)))
        gaps = seed % 2 == 0
        whole = outcome(engine.run, scenario, gaps=gaps)
        parts = outcome(streamed, scenario, cuts=cuts, gaps=gaps)
        assert difference(whole, parts) is None, (seed, cuts, scenario.config, difference(whole, parts))


@pytest.mark.slow
def test_a_trace_cut_anywhere_is_the_same_run():
    compare(range(1000))


def test_cut_anywhere_it_is_the_reference_engines_run():
    for seed in range(9000, 9120):
        scenario = private(random_scenario(seed))
        slow = outcome(reference.run, scenario, gaps=True)
        fast = outcome(streamed, scenario, cuts=np.arange(1, len(scenario.trace), 3), gaps=True)
        assert difference(slow, fast) is None, (seed, scenario.config, difference(slow, fast))
