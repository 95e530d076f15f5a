"""A trace served in pieces: the same run, bit for bit, and percentiles within the stated error."""

import dataclasses
import itertools

import numpy as np

from simulator.engine import engine, reference
from simulator.engine.stream import Preempted, Stream
from simulator.workload.trace import Trace
from tests.engine.scenarios import outcome, random_scenario
from tests.engine.test_engine import difference, plain

PER_REQUEST = ("first_scheduled_ns", "first_token_ns", "finish_ns", "preemptions", "cached_tokens")


def pieces(trace, cuts):
    """The trace cut before these requests; its prompts' contents are left out."""
    edges = [0, *cuts, len(trace)]
    for a, b in itertools.pairwise(edges):
        priority = None if trace.priority is None else trace.priority[a:b]
        yield Trace(trace.arrival_ns[a:b], trace.prompt_tokens[a:b], trace.output_tokens[a:b], priority), b < len(trace)


def streamed(trace, config, costs, *, cuts, gaps=False):
    """An EngineResult put together from what the pieces gave."""
    for general in (False, True):
        stream = Stream(config, costs, gaps=gaps, general=general)
        times = {name: np.full(len(trace), -1 if name.endswith("_ns") else 0) for name in PER_REQUEST}
        try:
            for piece, more in pieces(trace, cuts):
                served = stream.feed(piece, more=more)
                for name in PER_REQUEST:
                    times[name][served.request] = getattr(served, name)
                assert np.array_equal(served.arrival_ns, trace.arrival_ns[served.request])
            return dataclasses.replace(stream.result(), **times)
        except Preempted:
            continue
    raise AssertionError("the general engine gives up at no preemption")


def private(scenario):
    trace = dataclasses.replace(scenario.trace, segments=None, prompt_ids=None, prompt_id_offsets=None)
    return scenario._replace(trace=trace)


def compare(seeds):
    """Every seed four times: as drawn, and with the settings of the O(1) engines, synchronous or not, with caching or not."""
    for seed in seeds:
        drawn = private(random_scenario(seed, most=60))
        rng = np.random.default_rng(seed)
        cuts = np.sort(rng.integers(0, len(drawn.trace), rng.integers(0, 12)))
        caching = plain(drawn)._replace(config=dataclasses.replace(plain(drawn).config, enable_prefix_caching=True))
        for scenario in (drawn, plain(drawn), plain(drawn, caching=True), caching):
            gaps = seed % 2 == 0
            whole = outcome(engine.run, scenario, gaps=gaps)
            parts = outcome(streamed, scenario, cuts=cuts, gaps=gaps)
            assert difference(whole, parts) is None, (seed, cuts, scenario.config, difference(whole, parts))


def test_a_trace_cut_anywhere_is_the_same_run():
    compare(range(300))


def test_cut_anywhere_it_is_the_reference_engines_run():
    for seed in range(9000, 9060):
        drawn = private(random_scenario(seed))
        for scenario in (drawn, plain(drawn)):
            slow = outcome(reference.run, scenario, gaps=True)
            fast = outcome(streamed, scenario, cuts=np.arange(1, len(drawn.trace), 3), gaps=True)
            assert difference(slow, fast) is None, (seed, scenario.config, difference(slow, fast))
