"""PIM attention against AttAcc's Ramulator model of an HBM3 stack (reruns), by placement of the MAC units."""

import numpy as np
import pytest

from simulator.devices import newton
from simulator.devices.pim_timing import TIMINGS, attention_cycles, head_line, timing, with_refresh
from simulator.inputs.errors import InputError
from tests.shared import shared_rows

UNIT = {"bank": "bank", "bg": "bank_group", "buffer": "buffer"}


@pytest.mark.parametrize("pim", UNIT)
def test_attacc_reruns_are_reproduced_without_a_fitted_constant(pim):
    rows = [r for r in shared_rows("data/hardware/attacc_pim_attention.csv")
            if r["source"] == "rerun" and r["pim"] == pim and int(r["seq_len"]) >= 512]
    assert len(rows) >= 15
    errors = []
    for row in rows:
        cycles = attention_cycles(
            TIMINGS["HBM3"], UNIT[pim], power_limited=row["power_constraint"] == "True",
            heads=np.array([float(row["heads_per_hbm"])]), context=np.array([float(row["seq_len"])]),
            head_dim=int(row["dhead"]), element_bytes=float(row["dbyte"]))
        errors.append(abs(cycles[0] / float(row["cycles"]) - 1))
    assert np.mean(errors) <= 0.02
    assert max(errors) <= 0.06


@pytest.mark.parametrize("unit", UNIT.values())
@pytest.mark.parametrize("kind", TIMINGS)
def test_the_line_runs_through_the_middle_of_the_staircase(unit, kind):
    part = TIMINGS[kind]
    context = np.arange(512.0, 1024.0)
    rounds = 100  # heads one after the other in every channel: refreshes average out
    exact = attention_cycles(part, unit, power_limited=True, heads=np.array([float(rounds * part.channels)]), context=context,
                             head_dim=128, element_bytes=2)
    constant, slope = head_line(part, unit, power_limited=True, head_dim=128, element_bytes=2, group=1)
    assert rounds * np.mean(constant + slope * context) == pytest.approx(np.mean(exact), rel=0.003)


def test_refresh_is_the_fixpoint_of_its_definition():
    part = TIMINGS["HBM3"]
    work = np.arange(0.0, 60_000.0, 7.0)
    cycles = with_refresh(part, work)
    assert (cycles == work + part.t_rfc * np.floor(cycles / part.t_refi)).all()


def test_grouped_queries_share_open_rows_but_not_mac_commands():
    args = {"power_limited": True, "heads": np.array([16.0]), "context": np.array([2048.0]), "head_dim": 128,
            "element_bytes": 2}
    one = attention_cycles(TIMINGS["HBM3"], "bank", group=1, **args)[0]
    four = attention_cycles(TIMINGS["HBM3"], "bank", group=4, **args)[0]
    assert 2 * one < four < 4 * one


def test_memory_without_pim_parts_is_refused():
    with pytest.raises(InputError, match="HBM3"):
        timing("GDDR7")


def test_newton_style_attention_is_that_of_neupims():
    rows = [r for r in shared_rows("data/hardware/neupims_layer.csv")
            if r["mode"] == "neupims" and r["model"] == "T1K" and "uniform" in r["trace"]]
    errors = []
    for row in rows:  # 32 channels, 8 heads of 128, whole requests on channels
        one = newton.attention_cycles(newton.NewtonChannel(), np.array([float(row["seq_len"])]), 8, 128)[0]
        errors.append(abs(one * int(row["batch"]) / 32 / float(row["mha_cycles"]) - 1))
    assert len(errors) >= 10
    assert np.mean(errors) <= 0.03
    assert max(errors) <= 0.06


@pytest.mark.parametrize("group", [1, 4, 32])
def test_newton_line_runs_through_the_middle_of_its_staircase(group):
    channel = newton.NewtonChannel()
    constant, slope = newton.request_line(channel, 8, group, 128)
    assert slope > 0
    if group == 1:
        context = np.arange(4096.0, 8192.0)
        exact = newton.attention_cycles(channel, context, 8, 128)
        assert np.mean(constant + slope * context) == pytest.approx(np.mean(exact), rel=1e-3)
    else:  # queries of a group share open rows: dearer than one, cheaper than each by itself
        alone = newton.request_line(channel, 8, 1, 128)[1]
        assert alone < slope < group * alone
