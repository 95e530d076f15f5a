"""Engine records: the cases worked by hand, and what a design makes of a record."""

import pytest

from scripts.default_cases import cases
from simulator.design.engine_defaults.host import host_of
from simulator.design.engine_defaults.resolve import settings
from simulator.design.engine_defaults.situation import Situation, capability, first
from simulator.design.load import CONFIGS, load_design, load_engine, resolve
from simulator.design.records.engine import IntRule, When
from simulator.design_key import design_key
from simulator.inputs.errors import InputError
from sweeper.space.design_cache import DesignCache
from sweeper.space.file import load_space
from sweeper.space.resolved_yaml import resolved_yaml

CASES = {name: (expected, got) for name, expected, got in cases()}
CHAT = {"model": "llama-3.1-8b", "hardware": "h100-sxm", "workload": "chat-200"}


@pytest.mark.parametrize("name", CASES)
def test_the_records_give_what_was_worked_by_hand(name):
    expected, got = CASES[name]
    assert got == expected


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONFIGS / "engines").glob("*.yaml")))
def test_every_record_loads_and_serves_every_shipped_gpu(name):
    assert load_engine(name).name == name
    for path in sorted((CONFIGS / "hardware").glob("*.yaml")):
        design = resolve({**CHAT, "hardware": path.stem, "engine": name})
        assert design.serving.max_num_seqs <= design.serving.max_num_batched_tokens


def test_a_design_without_schema_or_engine_keeps_its_meaning():
    design = resolve(CHAT)
    assert design.engine is None and settings(design) == []
    assert (design.serving.max_num_seqs, design.serving.max_num_batched_tokens, design.serving.memory_utilization) == (256, 8192, 0.9)
    assert design == resolve({**CHAT, "schema": 1})


def test_schema_2_pins_vllm_0_32_and_an_engine_wins_over_it():
    assert resolve({**CHAT, "schema": 2}).engine.name == "vllm-0.32"
    assert resolve({**CHAT, "schema": 2, "engine": "sglang-0.5.14"}).engine.name == "sglang-0.5.14"
    assert load_design("h100-chat", {"schema": 2}).engine.name == "vllm-0.32"
    with pytest.raises(InputError, match=r"3 is not a schema of designs; known: 1, 2"):
        resolve({**CHAT, "schema": 3})


def test_what_serving_sets_wins_and_the_rest_is_the_engines():
    serving = resolve({**CHAT, "engine": "vllm-0.32", "serving": {"max_num_batched_tokens": 512}}).serving
    assert (serving.max_num_batched_tokens, serving.max_num_seqs) == (512, 512)  # the open limit follows the budget
    assert (serving.memory_utilization, serving.enable_prefix_caching, serving.async_scheduling, serving.cuda_graphs) == (
        0.92, True, True, True)


def test_every_value_says_where_it_came_from():
    design = resolve({**CHAT, "engine": "vllm-0.32", "serving": {"max_num_seqs": 64}})
    found = {setting.key: (setting.value, setting.origin) for setting in settings(design)}
    assert found["serving.max_num_seqs"] == (64, "set")
    assert found["serving.max_num_batched_tokens"] == (8192, "vllm-0.32")
    assert found["graphs"] == ("19 sizes to 128", "vllm-0.32")  # 1, 2, 4 and 8 to 128 by 8


def test_defaults_are_not_written_down_so_that_they_follow_other_hardware():
    design = resolve({**CHAT, "engine": "sglang-0.5.14", "serving": {"policy": "fcfs"}})
    plain = design.to_plain()
    assert plain["serving"] == {"policy": "fcfs"}
    assert resolve(plain) == design
    moved = resolve({**plain, "hardware": "l40s"})
    assert (design.serving.max_num_batched_tokens, moved.serving.max_num_batched_tokens) == (8192, 4096)


def test_an_engine_takes_its_own_kernels_where_the_gpu_has_them():
    assert resolve({**CHAT, "engine": "sglang-0.5.14"}).hardware.gpu.kernels == "sglang"
    assert resolve({**CHAT, "engine": "trtllm-1.3"}).hardware.gpu.kernels == "trtllm"
    said = {"base": "h100-sxm", "gpu": {"kernels": "vllm"}}
    assert resolve({**CHAT, "hardware": said, "engine": "trtllm-1.3"}).hardware.gpu.kernels == "vllm"
    assert resolve({**CHAT, "hardware": "l40s", "engine": "trtllm-1.3"}).hardware.gpu.kernels == "vllm"


def test_a_sweep_over_engines_and_hardware_resolves_each_design():
    cache = DesignCache({**resolve(CHAT).to_plain(), "serving": {}}, "space.yaml")
    for engine in ("vllm-0.10", "vllm-0.32", "sglang-0.5.14"):
        for hardware in ("h100-sxm", "b200"):
            built, key = cache.build({"engine": engine, "hardware": hardware})
            alone = resolve({**CHAT, "engine": engine, "hardware": hardware})
            assert built == alone and key == design_key(alone)
    plain, key = cache.build({})
    assert plain.engine is None and key == design_key(resolve(CHAT))


def test_limits_that_no_engine_starts_with_are_refused_by_section():
    for engine in ({}, {"engine": "vllm-0.32"}):
        with pytest.raises(InputError, match=r"serving: max_num_batched_tokens \(128\) must be at least max_num_seqs \(256\)"):
            resolve({**CHAT, **engine, "serving": {"max_num_batched_tokens": 128, "max_num_seqs": 256}})


def test_the_first_rule_that_holds_gives_the_value():
    rules = (IntRule(when=When(memory=">=70", name_lacks="a100"), value=3), IntRule(when=When(sm=(80,)), value=2), IntRule(value=1))
    for name, gib, expected in (("h100", 79.1, 3), ("a100-80gb", 79.3, 2), ("l40s", 44.4, 1)):
        assert first(rules, Situation(name, gib, sm=capability(name)), "x") == expected
    with pytest.raises(InputError, match="no rule covers 'l40s'"):
        first(rules[:1], Situation("l40s", 44.4), "x")


def test_a_study_of_several_engines_is_read_back_as_it_was(tmp_path):
    """What the base leaves open must stay open in the study's own file: each engine fills it in."""
    path = tmp_path / "space.yaml"
    path.write_text("design: {model: llama-3.1-8b, hardware: h100-sxm, workload: chat-200, serving: {policy: fcfs}}\n"
                    "parameters: {engine: {choices: [vllm-0.12, sglang-0.5.14]}}\nobjectives: [{minimize: ttft_p99}]\n")
    space = load_space(str(path))
    again = tmp_path / "again.yaml"
    again.write_text(resolved_yaml(space))
    read = load_space(str(again))
    assert read.hash == space.hash
    for engine in ("vllm-0.12", "sglang-0.5.14"):
        design = read.design({"engine": engine})
        assert design == space.design({"engine": engine})
        assert "max_num_seqs" not in design.serving.model_fields_set


def test_host_times_of_the_hardware_are_refused_beside_an_engine(tmp_path):
    load_design("h100-chat", {"hardware.host.step": "2 ms"})
    with pytest.raises(InputError, match=r"hardware.host.step: has no effect with engine 'vllm-0.32'.*set engine.host"):
        load_design("h100-chat", {"engine": "vllm-0.32", "hardware.host.step": "2 ms"})
    slower = load_design("h100-chat", {"engine": "vllm-0.32", "engine.host.worker.step": "2 ms"})
    assert host_of(slower).step_s == pytest.approx(2e-3 + 33e-6)  # and what scheduling and updating take
    path = tmp_path / "space.yaml"
    path.write_text("design: {base: h100-chat, engine: vllm-0.32}\nparameters: {hardware.host.step: {choices: [1 ms, 2 ms]}}\n"
                    "objectives: [{minimize: ttft_p99}]\n")
    with pytest.raises(InputError, match="has no effect with engine"):
        load_space(str(path))
