"""What a step's attention costs that does not depend on how its tokens are cut into chunks and decodes."""

import numpy as np
import pytest

from simulator.design.load import load_design
from simulator.devices.build import build
from simulator.engine.batch_time import step_time
from simulator.model.layers import operators
from simulator.model.operators import DecodeAttention, PrefillAttention
from simulator.pricing.cache import CostCache
from simulator.pricing.price import price
from simulator.pricing.step_time import step_tables
from simulator.scheduler.requests import Entry


def tables(name, **overrides):
    design = load_design(name, overrides)
    return design, step_tables(price(design, CostCache()).costs)


def blocks_ns(tables, entries):
    """Decoder blocks of a step of (new tokens, tokens computed before) entries."""
    return step_time([Entry(None, new, computed, 0, True) for new, computed in entries], tables).blocks_ns


@pytest.mark.parametrize("name", ["h100-chat", "npu-chat"])
def test_chunks_of_a_step_share_one_launch(name):
    """Four chunks of 256 against one: three more times the chunk's own work, without a launch each."""
    design, step = tables(name)
    launch_ns = build(design.hardware, design.parallelism).attention_launch_s * 32 * 1e9  # Llama-3.1-8B: 32 layers
    four = step_time([Entry(None, 256, 0, 0, False) for _ in range(4)], step)
    one = step_time([Entry(None, 256, 0, 0, False)], step)
    assert four.prefill_ns == pytest.approx(4 * one.prefill_ns, rel=1e-9)
    for time, rows in ((one, 256), (four, 1024)):
        assert time.blocks_ns == step.linear_ns[rows] + time.prefill_ns
    assert one.blocks_ns > launch_ns


def test_whole_requests_on_channels_pay_launch_and_link_latency_of_the_pool():
    """A one-token step of a pool that is otherwise equal: 2 x 10 us more latency in each of 32 layers."""
    common = {"hardware.pim.placement": "pooled", "hardware.pim.mapping": "request"}
    near, far = (tables("npu-pim-chat", **common, **{"hardware.pim.link_latency": latency})[1]
                 for latency in ("0 s", "10 us"))
    assert blocks_ns(far, [(1, 500)]) - blocks_ns(near, [(1, 500)]) == pytest.approx(32 * 20e3, abs=2)


@pytest.mark.parametrize("name", ["h100-chat", "npu-chat", "npu-pim-chat"])
def test_a_step_of_decodes_alone_costs_what_its_operators_cost(name):
    """Taking the launch out of attention and counting it beside adds up to the operators' own prices."""
    design, step = tables(name, **{"parallelism.tensor": 1})
    devices = build(design.hardware, design.parallelism)
    total = 0.0
    for named in operators(design.model, design.precision, 1):
        if isinstance(named.operator, DecodeAttention):
            total += named.repeats * devices.decode.price(named.operator, np.array([8.0]), np.array([512.0])).seconds[0]
        elif named.part in ("before", "after") and not isinstance(named.operator, PrefillAttention):
            total += named.repeats * devices.compute.price(named.operator, np.array([8.0])).seconds[0]
    assert blocks_ns(step, [(1, 511)] * 8) == pytest.approx(total * 1e9, rel=1e-6)
