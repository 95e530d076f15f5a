"""What a space spans: points, conditions, designs, Optuna's view."""

from __future__ import annotations

import itertools
import pickle
import random
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from simulator.inputs.errors import InputError
from sweeper.space.file import SPACES, load_space
from sweeper.space.resolved_yaml import resolved_yaml
from sweeper.space.schedulers import schedulers, slow_schedulers
from sweeper.space.space import describe
from sweeper.workers.verdict import check
from tests.sweeper.spaces import OBJECTIVES, space_of

CONDITIONAL = """
  tp: {sets: [parallelism.tensor], ordinal: [1, 2]}
  stacks: {sets: [hardware.pim.stacks_per_npu], ordinal: [2, 4, 8], when: pim != 'none'}
  sub: {sets: [hardware.pim.sub_batches], choices: [never, always], when: pim == 'local' and stacks >= 4}
  pim: {sets: [hardware.pim.placement], choices: [none, local, pooled]}
"""


def test_size_counts_each_design_once(tmp_path: Path) -> None:
    # none: 1; local: 2 stacks -> 1, 4 and 8 -> 2 each = 5; pooled: 3. Times two tensor degrees.
    space = space_of(tmp_path, CONDITIONAL)
    assert space.size() == 2 * (1 + 5 + 3)


def test_enumeration_is_the_whole_space_without_repeats(tmp_path: Path) -> None:
    space = space_of(tmp_path, CONDITIONAL)
    expected = set()
    for tp, pim, stacks, sub in itertools.product([1, 2], ["none", "local", "pooled"], [2, 4, 8], ["never", "always"]):
        point = {"tp": tp, "pim": pim}
        if pim != "none":
            point["stacks"] = stacks
        if pim == "local" and stacks >= 4:
            point["sub"] = sub
        expected.add(frozenset(point.items()))
    points = list(space.enumerate())
    assert {frozenset(point.items()) for point in points} == expected
    assert len(points) == len(expected) == space.size()


def test_parameters_stand_after_those_their_conditions_read(tmp_path: Path) -> None:
    names = [p.name for p in space_of(tmp_path, CONDITIONAL).parameters]
    assert names.index("pim") < names.index("stacks") < names.index("sub")


def test_canonical_drops_what_does_not_exist(tmp_path: Path) -> None:
    space = space_of(tmp_path, CONDITIONAL)
    full = {"tp": 2, "pim": "none", "stacks": 4, "sub": "always"}
    assert space.canonical(full) == {"tp": 2, "pim": "none"}
    assert space.canonical({**full, "pim": "pooled"}) == {"tp": 2, "pim": "pooled", "stacks": 4}
    assert space.key(space.canonical(full)) == space.key({"pim": "none", "tp": 2})


@pytest.mark.parametrize(("values", "words"), [
    ({"tp": 3, "pim": "none"}, "tp: 3 is not one of 1, 2"), ({"tp": 1}, "pim: has no value"),
    ({"tp": 1, "pim": "none", "pin": 1}, "did you mean 'pim'"), ({"tp": True, "pim": "none"}, "tp: true"),
    ({"tp": "1", "pim": "none"}, "tp: 1 is not"),
])
def test_points_outside_the_space_are_refused(tmp_path: Path, values: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        space_of(tmp_path, CONDITIONAL).canonical(values)


def test_samples_are_points_of_the_space(tmp_path: Path) -> None:
    space = space_of(tmp_path, CONDITIONAL)
    rng = random.Random(1)
    drawn = [space.sample(rng) for _ in range(300)]
    assert all(space.canonical(point) == point for point in drawn)
    assert len({space.key(point) for point in drawn}) == space.size()


def test_the_design_has_what_the_point_says(tmp_path: Path) -> None:
    space = space_of(tmp_path, """
  array: {sets: [hardware.npu.array], ordinal: [[64, 64], [256, 128]]}
  dtype: {sets: [precision.weights, precision.kv], choices: [bf16, fp8]}
  hardware.npu.clock: {float: {low: 0.5 GHz, high: 1.5 GHz, step: 250 MHz}}
""")
    design = space.design({"array": [256, 128], "dtype": "fp8", "hardware.npu.clock": 1.25})
    assert design.hardware.npu is not None
    assert design.hardware.npu.array == (256, 128)
    assert (design.precision.weights, design.precision.activations, design.precision.kv) == ("fp8", "bf16", "fp8")
    assert design.hardware.npu.clock_hz == 1.25e9
    assert space.size() == 2 * 2 * 5
    assert [p["hardware.npu.clock"] for p in itertools.islice(space.enumerate(), 5)] == [0.5, 0.75, 1.0, 1.25, 1.5]


def test_the_flat_view_is_the_designs(tmp_path: Path) -> None:
    from sweeper.space.expressions.symbols import flatten

    space = load_space("npu_pim")
    rng = random.Random(3)
    compared = 0
    for _ in range(50):
        point = space.sample(rng)
        try:
            design = space.design(point)
        except InputError:
            continue
        flat = space.flat(point)
        for name, value in flatten(design).items():
            shown = list(value) if isinstance(value, tuple) else value
            own = list(flat[name]) if isinstance(flat[name], tuple) else flat[name]
            assert own == shown or name in ("model", "hardware", "workload", "costs", "serving"), name
        compared += 1
    assert compared > 10


def test_exchanging_whole_hardware_changes_what_conditions_see(tmp_path: Path) -> None:
    space = space_of(tmp_path, """
  accelerator: {sets: [hardware], choices: [npu-base, h100-sxm]}
  array: {sets: [hardware.npu.array], ordinal: [[64, 64], [128, 128]], when: accelerator == 'npu-base'}
  sms: {sets: [hardware.gpu.sms], ordinal: [100, 132], when: accelerator == 'h100-sxm'}
""")
    assert {describe(point) for point in space.enumerate()} == {
        "accelerator=npu-base array=[64,64]", "accelerator=npu-base array=[128,128]",
        "accelerator=h100-sxm sms=100", "accelerator=h100-sxm sms=132"}
    assert all(space.design(point) for point in space.enumerate())


def test_optuna_sees_ordinals_as_steps_and_lists_as_text(tmp_path: Path) -> None:
    space = space_of(tmp_path, """
  array: {sets: [hardware.npu.array], choices: [[64, 64], [128, 128]]}
  stacks: {sets: [hardware.memory.stacks], ordinal: [2, 4, 8]}
  serving.max_num_seqs: {int: {low: 16, high: 256, log: true}}
  serving.memory_utilization: {float: {low: 0.5, high: 0.95}}
""")
    assert space.distributions() == {
        "array": CategoricalDistribution(["[64,64]", "[128,128]"]), "stacks": IntDistribution(0, 2),
        "serving.max_num_seqs": IntDistribution(16, 256, log=True),
        "serving.memory_utilization": FloatDistribution(0.5, 0.95)}
    assert space.size() is None
    with pytest.raises(InputError, match="continuous"):
        next(space.enumerate())


def test_encode_and_decode_are_inverse(tmp_path: Path) -> None:
    space = space_of(tmp_path, CONDITIONAL)
    for point in space.enumerate():
        assert space.decode(space.encode(point)) == point


def test_optuna_proposes_points_of_the_space(tmp_path: Path) -> None:
    space = space_of(tmp_path, CONDITIONAL)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=space.directions, sampler=optuna.samplers.RandomSampler(seed=0))
    seen = {space.key(space.decode(study.ask(space.distributions()).params)) for _ in range(200)}
    assert len(seen) == space.size()


def test_set_changes_the_base_design(tmp_path: Path) -> None:
    plain = "  parallelism.tensor: {ordinal: [1, 2]}"
    space = space_of(tmp_path, plain, overrides={"workload": "chat-200", "serving.max_num_seqs": 64})
    design = space.design({"parallelism.tensor": 2})
    assert (design.workload.requests, design.serving.max_num_seqs, design.parallelism.tensor) == (200, 64, 2)
    with pytest.raises(InputError, match="is swept"):
        space_of(tmp_path, plain, overrides={"parallelism.tensor": 2})
    with pytest.raises(InputError, match="max_num_seqs"):
        space_of(tmp_path, plain, overrides={"serving.max_num_sequences": 2})


def test_the_hash_is_of_the_content(tmp_path: Path) -> None:
    plain = "  parallelism.tensor: {ordinal: [1, 2]}"
    first = space_of(tmp_path, plain)
    (tmp_path / "other").mkdir()
    assert space_of(tmp_path / "other", plain, rest=OBJECTIVES + "study: {trials: 7}").hash == first.hash
    assert space_of(tmp_path, "  parallelism.tensor: {ordinal: [1, 2, 4]}").hash != first.hash
    assert space_of(tmp_path, plain, overrides={"serving.max_num_seqs": 64}).hash != first.hash
    assert space_of(tmp_path, plain, rest=OBJECTIVES + "constraints: [ttft_p99 <= 2 s]").hash != first.hash


def test_baselines_serve_the_same_workload(tmp_path: Path) -> None:
    space = space_of(tmp_path, "  parallelism.tensor: {ordinal: [1, 2]}", design="{base: npu-chat, workload: chat-200}",
                     rest=OBJECTIVES + "baselines: {gpu: {design: h100-chat}, pim: npu-pim-chat, four: {parallelism.tensor: 4}}")
    designs = {b.name: b.design for b in space.baselines}
    assert designs["gpu"].hardware.gpu is not None
    assert designs["pim"].hardware.pim.placement == "local"
    assert designs["four"].parallelism.tensor == 4
    assert {d.workload.requests for d in designs.values()} == {200}


def test_a_choice_that_fits_only_beside_others_is_legal(tmp_path: Path) -> None:
    # half a PIM stack an NPU is illegal on the package (the base design) and legal in a pool
    space = space_of(tmp_path, """
  hardware.pim.placement: {choices: [local, pooled]}
  hardware.pim.stacks_per_npu: {ordinal: [0.5, 1, 2]}
""", design="npu-pim-chat")
    assert space.size() == 6
    with pytest.raises(InputError, match="whole number"):
        space.design({"hardware.pim.placement": "local", "hardware.pim.stacks_per_npu": 0.5})


def test_spaces_travel_to_workers(tmp_path: Path) -> None:
    space = space_of(tmp_path, CONDITIONAL)
    copy = pickle.loads(pickle.dumps(space))
    assert copy.hash == space.hash
    assert list(copy.enumerate()) == list(space.enumerate())


@pytest.mark.parametrize("path", sorted(SPACES.glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_spaces_hold_designs_that_can_be_built(path: Path) -> None:
    space = load_space(path)
    rng = random.Random(0)
    built = 0
    for _ in range(20):
        try:
            space.design(space.sample(rng))
            built += 1
        except InputError:
            pass
    assert built >= 10
    assert space.name == path.stem


def test_a_resolved_space_is_the_same_space(tmp_path: Path) -> None:
    from sweeper.space.resolved_yaml import resolved_yaml

    for name in ("npu_pim", "gpu_cluster", "quick"):
        space = load_space(name)
        path = tmp_path / f"{name}.yaml"
        path.write_text(resolved_yaml(space))
        again = load_space(path)
        assert again.hash == space.hash
        assert str(SPACES.parent) not in path.read_text()  # a study can move to another machine
        assert list(itertools.islice(again.enumerate(), 200)) == list(itertools.islice(space.enumerate(), 200))


def test_baselines_cost_what_the_space_says_and_another_basis_is_refused(tmp_path: Path) -> None:
    space = load_space("npu_pim")
    assert {b.design.costs.cost_basis for b in space.baselines} == {"owned_bom"}
    text = (SPACES / "npu_pim.yaml").read_text().replace("{design: h100-chat}", "{design: h100-chat, costs.cost_basis: rental}")
    path = tmp_path / "mixed.yaml"
    path.write_text(text.replace("name: npu_pim", "name: mixed"))
    with pytest.raises(InputError, match="amounts on different bases are not compared"):
        load_space(path)


def test_a_space_says_which_of_its_schedulers_the_compiled_kernel_does_not_run(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("design: {base: h100-chat}\nparameters: {serving.scheduler: {choices: [vllm_v1, sglang, orca]}}\n"
                    "objectives: [{minimize: ttft_p99}]\nbaselines: {trt: {engine: trtllm-1.3}}\n")
    space = load_space(str(path))
    assert schedulers(space) == ["vllm_v1", "sglang", "orca", "tensorrt_llm"]
    assert slow_schedulers(space)[0] == "scheduler sglang runs on the reference engine: about 400 times slower"
    assert len(slow_schedulers(space)) == 2


def test_a_setting_that_a_scheduler_refuses_is_illegal_and_a_study_of_schedulers_is_read_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("design: {base: h100-chat, serving: {enable_prefix_caching: true}}\n"
                    "parameters: {serving.scheduler: {choices: [vllm_v1, sglang, orca]}, serving.policy: {choices: [fcfs, lpm]}}\n"
                    "objectives: [{minimize: ttft_p99}]\n")
    space = load_space(str(path))
    verdict = check(space, {"serving.scheduler": "orca", "serving.policy": "lpm"}).verdict
    assert verdict.constraints == {"legal_combination": 1.0}
    assert verdict.reason == "serving.policy: orca orders its queue by fcfs or priority, not by lpm"
    again = tmp_path / "again.yaml"
    again.write_text(resolved_yaml(space))
    read = load_space(str(again))
    assert read.hash == space.hash
    for scheduler in ("vllm_v1", "sglang", "orca"):
        point = {"serving.scheduler": scheduler, "serving.policy": "fcfs"}
        assert read.keyed_design(point) == space.keyed_design(point)
