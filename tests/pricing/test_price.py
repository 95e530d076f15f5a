"""What designs share must not show in what they cost."""

from dataclasses import fields

import numpy as np
import pytest

from simulator.design.design import Design
from simulator.design.load import load_design
from simulator.pricing.cache import CostCache
from simulator.pricing.price import price
from simulator.simulate import simulate
from simulator.workload.load import head, load_trace


def variants(base: str, **serving: int) -> list[Design]:
    """A design and the same with other limits: all sections but `serving` are the very same records."""
    design = load_design(base)
    return [design, design.model_copy(update={"serving": design.serving.model_copy(update=serving)})]


@pytest.mark.parametrize("base", ["npu-chat", "npu-pim-chat", "h100-chat"])
def test_designs_that_share_prices_have_the_tables_of_designs_that_do_not(base):
    cache = CostCache()
    for design in [*variants(base, max_num_seqs=48, max_num_batched_tokens=640), *variants(base, max_num_seqs=1500)]:
        shared, alone = price(design, cache).costs, price(design, CostCache()).costs
        for field in fields(shared):
            one, other = getattr(shared, field.name), getattr(alone, field.name)
            assert np.array_equal(one, other) if one is not None else other is None, field.name


def test_shared_prices_count_as_hits_of_every_curve():
    cache = CostCache()
    one, two = variants("npu-chat", max_num_seqs=48)
    price(one, cache)
    first = cache.take_counters()
    assert price(two, cache).prices is price(one, cache).prices
    again = cache.take_counters()
    assert (again.hits, again.misses) == (2 * (first.hits + first.misses), 0)


def test_other_reach_of_the_grids_is_not_shared():
    cache = CostCache()
    one, two = variants("npu-chat", max_num_seqs=1500)  # beyond the first grid of batches
    assert price(one, cache).prices is not price(two, cache).prices


def test_metrics_do_not_depend_on_what_was_priced_before():
    cache = CostCache()
    one, two = variants("npu-pim-chat", max_num_batched_tokens=1024)
    trace = head(load_trace(one.workload), 50)
    simulate(one, cache=cache, trace=trace)
    assert simulate(two, cache=cache, trace=trace).metrics == simulate(two, trace=trace).metrics
