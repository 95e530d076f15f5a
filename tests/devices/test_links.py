"""Collectives against closed forms and measured all-reduces on A100 and H100."""

import csv
import gzip

import numpy as np
import pytest

from simulator.design.records.hardware import ScaleOut
from simulator.design.records.serving import Parallelism
from simulator.devices.build import build, link_device
from simulator.devices.links import LinkDevice, Protocol, on_wire
from simulator.devices.torus import sides
from simulator.model.operators import Collective
from tests.devices.builders import shipped
from tests.shared import shared_file

PLAIN = Protocol(bandwidth_bytes_per_s=100e9, latency_s=1e-6, launch_s=5e-6)


def seconds(link, kind, ranks, size):
    return link.price(Collective(kind, ranks, 1.0), np.array([float(size)])).seconds[0]


def test_headers_add_a_sixteenth():
    assert on_wire(np.array([256.0, 257.0, 2.0**30])).tolist() == [272.0, 257.0 + 32, 2.0**30 * 1.0625]


def test_ring_all_reduce_moves_the_message_nearly_twice_in_two_rounds():
    wire = 2 * 7 / 8 * 2**26 * 1.0625
    assert seconds(LinkDevice("ring", PLAIN), "all_reduce", 8, 2**26) == pytest.approx(5e-6 + 14e-6 + wire / 100e9)


def test_peers_that_see_each_other_reduce_small_messages_in_one_step():
    assert seconds(LinkDevice("switch", PLAIN), "all_reduce", 8, 256) == pytest.approx(5e-6 + 1e-6 + 7 * 272 / 100e9)
    assert seconds(LinkDevice("ring", PLAIN), "all_reduce", 8, 256) > 5e-6 + 14e-6


def test_switches_that_reduce_save_bytes_only_on_large_messages():
    with_sum, without = (LinkDevice("switch", PLAIN, ring_only=True, in_network=flag) for flag in (True, False))
    assert seconds(with_sum, "all_reduce", 8, 1024) == seconds(without, "all_reduce", 8, 1024)
    assert seconds(with_sum, "all_reduce", 8, 2**30) < 0.8 * seconds(without, "all_reduce", 8, 2**30)


def test_a_second_protocol_is_used_only_below_its_limit():
    quick = Protocol(bandwidth_bytes_per_s=100e9, latency_s=0.0, launch_s=1e-6, max_bytes=4096.0)
    link = LinkDevice("switch", PLAIN, quick)
    assert seconds(link, "all_reduce", 2, 4095) < 2e-6
    assert seconds(link, "all_reduce", 2, 4096) > 5e-6
    assert seconds(link, "all_gather", 2, 64) > 5e-6


def test_a_torus_takes_fewer_steps_than_a_ring_and_moves_as_much():
    ring, torus = (LinkDevice(topology, PLAIN) for topology in ("ring", "torus_2d"))
    saved = (2 * 15 - 2 * (3 + 3)) * PLAIN.latency_s  # 16 devices: one ring of 16, or 4 x 4
    assert seconds(ring, "all_reduce", 16, 2**20) - seconds(torus, "all_reduce", 16, 2**20) == pytest.approx(saved)


def test_a_third_dimension_saves_hops_and_shortens_the_middle():
    """64 devices, 8 x 8 or 4 x 4 x 4: an all-to-all's middle has 2 x 8 links of a quarter of a device's bandwidth, or
    2 x 16 links of a sixth, for the same 32 x 32 pairs' shares."""
    flat, cube = (LinkDevice(topology, PLAIN) for topology in ("torus_2d", "torus_3d"))
    saved = (2 * (7 + 7) - 2 * (3 + 3 + 3)) * PLAIN.latency_s
    assert seconds(flat, "all_reduce", 64, 2**26) - seconds(cube, "all_reduce", 64, 2**26) == pytest.approx(saved)
    wire = 2**26 * 1.0625
    for link, hops, links, share in ((flat, 8, 16, 1 / 4), (cube, 6, 32, 1 / 6)):
        crossing = 32 * 32 * wire / 64 / (links * share * 100e9)
        assert seconds(link, "all_to_all", 64, 2**26) == pytest.approx(5e-6 + hops * 1e-6 + crossing)


@pytest.mark.parametrize(("ranks", "dimensions", "expected"), [
    (16, 2, (4, 4)), (8, 2, (2, 4)), (6, 2, (2, 3)), (7, 2, (1, 7)), (8, 3, (2, 2, 2)), (4, 3, (1, 2, 2)),
    (24, 3, (2, 3, 4)), (64, 3, (4, 4, 4)), (5, 1, (5,))])
def test_ranks_are_laid_out_as_near_to_a_cube_as_they_divide(ranks, dimensions, expected):
    assert sides(ranks, dimensions) == expected


def test_links_that_lead_elsewhere_carry_nothing():
    """Two neighbours on a 3-D torus share the links of one dimension out of three; of a fully connected node of 8, two
    devices share one of 7 links, four devices 3 of 7."""
    def transfer(link, kind, ranks, size=2.0**30):
        return seconds(link, kind, ranks, size) - seconds(link, kind, ranks, 1e-9)

    switch, cube = LinkDevice("switch", PLAIN, ring_only=True), LinkDevice("torus_3d", PLAIN)
    node = LinkDevice("fully_connected", PLAIN, ring_only=True, wired_devices=8)
    assert transfer(cube, "all_reduce", 2) == pytest.approx(3 * transfer(switch, "all_reduce", 2), rel=1e-4)
    assert transfer(node, "all_reduce", 2) == pytest.approx(7 * transfer(switch, "all_reduce", 2), rel=1e-4)
    assert transfer(node, "all_reduce", 4) == pytest.approx(7 / 3 * transfer(switch, "all_reduce", 4), rel=1e-4)
    assert transfer(node, "all_reduce", 8) == pytest.approx(transfer(switch, "all_reduce", 8), rel=1e-4)


def test_a_message_to_one_peer_has_one_link():
    """Of 2 on a ring, 4 and 6 on tori, 7 in a fully connected node of 8; all of them through a switch."""
    links = [LinkDevice(t, PLAIN) for t in ("switch", "ring", "torus_2d", "torus_3d")]
    links.append(LinkDevice("fully_connected", PLAIN, wired_devices=8))
    wire_s = 2**30 * 1.0625 / 100e9
    for link, among in zip(links, (1, 2, 4, 6, 7), strict=True):
        assert seconds(link, "p2p", 2, 2**30) == pytest.approx(6e-6 + among * wire_s)


def test_an_all_to_all_goes_straight_on_a_switch_and_through_the_middle_of_a_ring():
    """16 devices, 64 MiB a rank: 15/16 of it over a switch; the two links across a ring's middle, half of a device's
    bandwidth each, carry 8 x 8 pairs' shares; a 4 x 4 torus has four times as many such links of half the bandwidth."""
    wire = 2**26 * 1.0625
    switch, ring, torus = (seconds(LinkDevice(t, PLAIN), "all_to_all", 16, 2**26) - 5e-6
                           for t in ("switch", "ring", "torus_2d"))
    assert switch == pytest.approx(1e-6 + 15 / 16 * wire / 100e9)
    assert ring == pytest.approx(8e-6 + 8 * 8 * wire / 16 / (2 * 50e9))
    assert torus == pytest.approx(4e-6 + 8 * 8 * wire / 16 / (8 * 25e9))


def test_an_all_reduce_is_a_reduce_scatter_and_an_all_gather():
    ring = LinkDevice("ring", PLAIN)
    both = sum(seconds(ring, kind, 8, 2**24) for kind in ("reduce_scatter", "all_gather"))
    assert seconds(ring, "all_reduce", 8, 2**24) == pytest.approx(both - PLAIN.launch_s)


def test_an_all_to_all_over_nodes_waits_for_what_leaves_them():
    h100 = shipped("h100-sxm")
    inside, over = (build(h100, Parallelism(tensor=t)).link for t in (8, 16))
    assert seconds(over, "all_to_all", 16, 2**26) > 8 / 16 * 2**26 * 1.0625 / h100.scale_out.bandwidth_bytes_per_s
    assert seconds(over, "all_to_all", 16, 2**26) > 2 * seconds(inside, "all_to_all", 8, 2**26)


def test_a_replica_over_nodes_pays_the_network_between_them():
    h100 = shipped("h100-sxm")
    inside, over = (build(h100, Parallelism(tensor=t)).link for t in (8, 16))
    size = 2**26
    shares = 2 * (size / 8 / 2) * 1.0625 / 50e9  # an eighth of the message, all-reduced between two nodes
    assert seconds(over, "all_reduce", 16, size) > seconds(inside, "all_reduce", 8, 256) + shares
    assert seconds(over, "all_reduce", 8, size) == seconds(inside, "all_reduce", 8, size)


def test_stages_on_other_nodes_send_over_the_network():
    h100 = shipped("h100-sxm")
    near, far = (build(h100, Parallelism(tensor=8, pipeline=p)).link for p in (1, 2))
    assert seconds(far, "p2p", 2, 2**26) > 5 * seconds(near, "p2p", 2, 2**26)


def test_a_replica_inside_a_node_does_not_know_the_network():
    h100 = shipped("h100-sxm")
    slow = h100.model_copy(update={"scale_out": ScaleOut(bandwidth_bytes_per_s="1 GB/s")})
    for tensor, same in ((8, True), (16, False)):
        one, other = (build(hardware, Parallelism(tensor=tensor)).link.fingerprint() for hardware in (h100, slow))
        assert (one == other) is same


@pytest.mark.parametrize(("system", "entry"), [("a100_sxm", "a100-80gb"), ("h100_sxm", "h100-sxm")])
@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_all_reduce_presets_follow_vllm_in_a_graph_and_nccl(system, entry, ranks):
    errors = []
    with gzip.open(shared_file("data/silicon/op_comm.csv.gz"), "rt") as file:
        for row in csv.DictReader(file):
            if (row["system"], row["kernel_source"], int(row["num_gpus"])) == (system, "vLLM_custom_graph", ranks):
                price = seconds(link_device(shipped(entry).link, 8), "all_reduce", ranks, int(row["elems"]) * 2)
                errors.append(abs(price * 1e6 / float(row["us"]) - 1))
    assert len(errors) >= 20
    assert np.mean(errors) <= 0.15


@pytest.mark.parametrize("topology", ["ring", "fully_connected", "switch", "torus_2d", "torus_3d"])
@pytest.mark.parametrize("kind", ["all_reduce", "all_gather", "reduce_scatter", "all_to_all", "p2p"])
@pytest.mark.parametrize("node", [1, 2, 4])
@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("ring_only", [False, True])
def test_groups_of_every_size_in_nodes_of_every_size_have_a_price(topology, kind, node, ranks, ring_only):
    """A node of one device exchanges nothing inside: only the way between nodes counts."""
    protocol = Protocol(1e9, 1e-6, 1e-6)
    link = LinkDevice(topology, protocol, ring_only=ring_only, wired_devices=node if topology == "fully_connected" else 0,
                      scale_out=protocol if ranks > node else None, node_devices=node)
    priced = link.price(Collective(kind, ranks, 1.0), np.array([0.0, 1.0, 1e6]))
    assert np.isfinite(priced.seconds).all() and (priced.seconds >= 0).all() and (priced.joules >= 0).all()
    assert ranks == 1 or priced.seconds[2] > 0
