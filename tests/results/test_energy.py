"""Energy of a run by component."""

import pytest

from simulator.design.load import load_design
from simulator.simulate import simulate


def result_of(name, **changes):
    design = load_design(name, {"workload": "chat-200", **changes})
    return design, simulate(design)


@pytest.mark.parametrize("name", ["h100-chat", "npu-chat", "npu-pim-chat"])
def test_components_add_up_to_the_energy_of_the_run(name):
    design, result = result_of(name)
    parts, m = result.energy_by_component_j(design), result.metrics
    assert sum(parts.values()) == pytest.approx(m["energy"])
    assert m["power"] == pytest.approx(m["energy"] / m["makespan"])
    assert m["board_power"] * m["devices"] == pytest.approx(m["power"] - 250 * m["devices"])
    assert m["energy_per_request"] * m["requests"] == pytest.approx(m["energy"])
    assert (parts["pim"] > 0) == (name == "npu-pim-chat")


def test_idle_is_the_context_of_the_board_for_as_long_as_the_run_lasts():
    design, result = result_of("h100-chat")
    parts = result.energy_by_component_j(design)
    assert parts["idle"] == pytest.approx(121.7 * result.metrics["makespan"])
    assert parts["sampler"] == 0


def test_sampling_streams_memory():
    """1 ms a sequence and step at 130 W and 0.815 x 3.35 TB/s x 12.99 pJ a bit: 414 W."""
    design, result = result_of("h100-chat", **{"hardware.host.device_sequence": "1 ms"})
    m = result.metrics
    drawn = 130 + 0.815 * 3.35e12 * 8 * 12.99e-12
    assert result.energy_by_component_j(design)["sampler"] == pytest.approx(1e-3 * m["batch_mean"] * m["steps"] * drawn)


def test_a_board_stays_inside_its_limit_and_above_idle():
    _, result = result_of("h100-chat", **{"workload.rate": "60 requests/s"})
    assert 121.7 < result.metrics["board_power"] < 700
