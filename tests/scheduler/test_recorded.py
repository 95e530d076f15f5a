"""The specification of KV groups and speculation against vLLM's recorded decisions: every scenario, every column."""

from __future__ import annotations

import copy

import pytest

from scripts import scheduler_oracle as oracle
from simulator.engine import engine, reference
from simulator.engine.reference import run
from simulator.inputs.errors import InputError
from tests.engine.builders import oracle_folder

FOLDERS = ("vllm_kv_groups", "vllm_kv_state_align", "vllm_spec_decode", "vllm_spec_groups")
LOGGED = {"vllm_kv_groups": {"computed"}, "vllm_kv_state_align": {"computed"}, "vllm_spec_decode": {"computed", "drafts", "out"},
          "vllm_spec_groups": {"computed", "drafts", "out"}}


@pytest.mark.slow
@pytest.mark.parametrize("serve", [reference.run, engine.run], ids=["reference", "kernel"])
@pytest.mark.parametrize("folder", FOLDERS)
def test_every_recorded_scenario_is_reproduced(folder, serve):
    for scenario, answer in oracle.load(oracle_folder(folder)):
        result = serve(oracle.trace_of(scenario), oracle.config_of(scenario), oracle.costs_of(scenario), log=True)
        mine = oracle.answer_of(result)
        assert oracle.first_difference(answer, mine) is None, scenario["name"]
        assert LOGGED[folder] <= answer["batch"].keys() <= mine["batch"].keys()
        assert answer["iterations"].keys() <= mine["iterations"].keys()


@pytest.mark.parametrize("part", ["", "scheduler", "latency", "requests", "scheduler.spec", "scheduler.kv_groups.0"])
def test_a_key_that_is_not_known_is_refused(part):
    scenario = copy.deepcopy(oracle.load(oracle_folder("vllm_spec_groups"))[0][0])
    place = scenario
    for name in filter(None, part.split(".")):
        place = place[int(name)] if name.isdigit() else place[name]
    place["mystery"] = 1
    with pytest.raises(InputError, match="mystery"):
        oracle.config_of(scenario)


def test_a_recorded_column_that_is_not_logged_is_a_difference():
    scenario, answer = oracle.load(oracle_folder("vllm_kv_groups"))[5]
    mine = oracle.answer_of(run(oracle.trace_of(scenario), oracle.config_of(scenario), oracle.costs_of(scenario), log=True))
    assert oracle.first_difference(answer, mine) is None
    del mine["iterations"]["held"]
    assert "held was recorded" in str(oracle.first_difference(answer, mine))
