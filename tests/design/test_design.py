"""Designs: names, bases and overrides resolve; everything malformed is one line naming file, key and fix."""

import subprocess
import sys

import pytest

from simulator.__main__ import main
from simulator.design.design import Design
from simulator.design.load import CONFIGS, apply_overrides, load_design, parse_override, resolve
from simulator.design_key import design_key
from simulator.inputs.errors import InputError

GOOD = """
model: llama-3.1-8b
hardware: npu-base
workload: chat-200
"""


def write(folder, text):
    file = folder / "design.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def test_every_shipped_design_and_catalogue_entry_loads():
    for path in sorted((CONFIGS / "designs").glob("*.yaml")):
        assert isinstance(load_design(path), Design)
    for section, catalogue in (("hardware", "hardware"), ("model", "models"), ("workload", "workloads")):
        entries = sorted((CONFIGS / catalogue).glob("*.yaml"))
        assert entries
        for path in entries:
            base = {"model": "llama-3.1-8b", "hardware": "npu-base", "workload": "chat-200", section: path.stem}
            assert getattr(resolve(base), section).name == path.stem


def test_what_is_written_reads_back_to_the_same_design(tmp_path):
    design = load_design(write(tmp_path, GOOD))
    again = resolve(design.to_plain())
    assert again == design
    assert design_key(again) == design_key(design)


def test_base_and_overrides_change_single_knobs(tmp_path):
    file = write(tmp_path, "model: llama-3.1-8b\nworkload: chat-200\nhardware: {base: npu-base, npu: {clock: 2 GHz}}\n")
    overrides = dict(parse_override(t) for t in ("hardware.npu.array=[64, 32]", "parallelism.tensor=4", "workload.rate=3 requests/s"))
    design = load_design(file, overrides)
    assert design.hardware.npu.clock_hz == 2e9
    assert design.hardware.npu.array == (64, 32)
    assert design.parallelism.tensor == 4
    assert design.workload.rate_per_s == 3.0


def test_a_design_can_be_based_on_another(tmp_path):
    design = load_design(write(tmp_path, "base: h100-chat\nparallelism: {tensor: 2}\n"))
    assert (design.hardware.name, design.parallelism.tensor) == ("h100-sxm", 2)


def test_hugging_face_config_is_a_model(tmp_path):
    (tmp_path / "config.json").write_text("""{"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
        "num_attention_heads": 32, "num_key_value_heads": 8, "num_hidden_layers": 32, "vocab_size": 128256,
        "max_position_embeddings": 131072, "tie_word_embeddings": false}""")
    text = GOOD.replace("llama-3.1-8b", "./config.json")
    found, shipped = load_design(write(tmp_path, text)).model, load_design(write(tmp_path, GOOD)).model
    assert found.model_copy(update={"name": "", "source": ""}) == shipped.model_copy(update={"name": "", "source": ""})


def test_overrides_do_not_change_their_source():
    plain = {"hardware": {"npu": {"arrays": 1}}}
    assert apply_overrides(plain, {"hardware.npu.arrays": 2})["hardware"]["npu"]["arrays"] == 2
    assert plain["hardware"]["npu"]["arrays"] == 1


def test_knobs_without_effect_do_not_change_the_key():
    key = design_key(resolve({"model": "llama-3.1-8b", "hardware": "npu-base", "workload": "chat-200"}))
    idle = {"base": "npu-base", "pim": {"placement": "none", "stacks_per_npu": 9}}
    assert design_key(resolve({"model": "llama-3.1-8b", "hardware": idle, "workload": "chat-200"})) == key
    other = {"base": "npu-base", "npu": {"arrays": 3}}
    assert design_key(resolve({"model": "llama-3.1-8b", "hardware": other, "workload": "chat-200"})) != key


MALFORMED = {
    "unknown section": (GOOD + "hardwear: x\n", "hardwear: unknown key; did you mean 'hardware'"),
    "unknown model": (GOOD.replace("llama-3.1-8b", "llama-3.1-9b"), "model: unknown model 'llama-3.1-9b'; did you mean"),
    "unknown hardware": (GOOD.replace("npu-base", "npu-bass"), "did you mean 'npu-base'"),
    "unknown knob": (GOOD + "serving: {max_num_seq: 3}\n", "serving.max_num_seq: unknown key; did you mean 'max_num_seqs'"),
    "nested unknown knob": (GOOD.replace("npu-base", "{base: npu-base, npu: {aray: [1, 1]}}"), "hardware.npu.aray: unknown key; did you mean 'array'"),
    "wrong unit": (GOOD.replace("npu-base", "{base: npu-base, npu: {clock: 1 GB}}"), "hardware.npu.clock: '1 GB' has the wrong unit"),
    "missing unit": (GOOD.replace("npu-base", "{base: npu-base, npu: {clock: 1.0e9}}"), "needs a unit"),
    "unknown unit": (GOOD + "slo: {ttft: 2 lightyears}\n", "slo.ttft: 'lightyears' is not a unit"),
    "text for a number": (GOOD + "parallelism: {tensor: two}\n", "parallelism.tensor: expected a whole number, got 'two'"),
    "fraction for a count": (GOOD + "parallelism: {tensor: 1.5}\n", "expected a whole number"),
    "boolean for a count": (GOOD + "parallelism: {tensor: true}\n", "parallelism.tensor"),
    "zero": (GOOD + "parallelism: {tensor: 0}\n", "greater than 0"),
    "absurdly large": (GOOD + "parallelism: {tensor: 99999999999999999999}\n", "parallelism.tensor"),
    "not finite": (GOOD + "serving: {memory_utilization: .nan}\n", "serving.memory_utilization"),
    "infinite": (GOOD + "serving: {watermark: .inf}\n", "serving.watermark"),
    "share above one": (GOOD + "serving: {memory_utilization: 1.5}\n", "less than or equal to 1"),
    "text for a switch": (GOOD + "serving: {async_scheduling: maybe}\n", "expected true or false"),
    "unknown choice": (GOOD + "precision: {weights: fp17}\n", "precision.weights: 'fp17' is not one of"),
    "wrong shape": (GOOD.replace("npu-base", "{base: npu-base, npu: {array: [128]}}"), "hardware.npu.array"),
    "list for a mapping": (GOOD + "parallelism: [1]\n", "parallelism: expected a mapping"),
    "impossible combination": (GOOD + "serving: {max_num_seqs: 512, max_num_batched_tokens: 256}\n", "must be at least max_num_seqs"),
    "two devices": (GOOD.replace("npu-base", "{base: npu-base, gpu: {peak_bf16: 1 TFLOP/s, sms: 1, clock: 1 GHz, l2: 1 MB, launch: 1 us}}"), "exactly one of 'npu', 'gpu'"),
    "PIM wanted but absent": (GOOD.replace("npu-base", "{base: npu-base, decode_attention: pim}"), "pim.placement is 'none'"),
    "half a local stack": (GOOD.replace("npu-base", "{base: npu-base, pim: {placement: local, stacks_per_npu: 1.5}}"), "whole number"),
    "missing section": ("model: llama-3.1-8b\nhardware: npu-base\n", "workload: is missing"),
    "incomplete workload": ("model: llama-3.1-8b\nhardware: npu-base\nworkload: {requests: 3}\n", "needs 'arrivals'"),
    "trace and synthetic": (GOOD.replace("chat-200", "{base: chat-200, prompt: {distribution: fixed, mean: 3}}"), "either 'trace' or 'prompt'"),
    "reversed range": (GOOD.replace("chat-200", "{base: offline-batch, prompt: {distribution: uniform, low: 9, high: 3}}"), "low (9) is above high (3)"),
    "missing trace file": (GOOD.replace("chat-200", "{trace: nowhere.csv}"), "no such trace file"),
    "missing model file": (GOOD.replace("llama-3.1-8b", "./nowhere.json"), "no such file: ./nowhere.json"),
    "path into nothing": (GOOD.replace("llama-3.1-8b", "../../../../etc/nothing.yaml"), "no such file"),
    "unsupported model": (GOOD.replace("llama-3.1-8b", "{model_type: mixtral, num_local_experts: 8}"), "model"),
    "circular base": ("base: ./design.yaml\n", "circle|too deep|refer"),
    "duplicate key": (GOOD + "model: llama-3.1-8b\n", "given twice"),
    "tag": (GOOD + "slo: !!python/object/apply:os.system ['true']\n", "not allowed"),
    "binary": (bytes(range(256)), "not a text file"),
    "empty": ("", "is empty"),
    "a list": ("- 1\n", "expected a mapping"),
    "a word": ("hello\n", "expected a mapping"),
    "number for a name": (GOOD.replace("npu-base", "7"), "hardware: expected"),
    "null section": (GOOD.replace("npu-base", "null"), "hardware: expected"),
    "heads that do not divide": (GOOD.replace("llama-3.1-8b", "{base: llama-3.1-8b, kv_heads: 5}"), "multiple of kv_heads"),
    "deep nesting": ("a: " + "{a: " * 100 + "1" + "}" * 100, "nested deeper"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_designs_give_one_line(tmp_path, name):
    text, says = MALFORMED[name]
    file = write(tmp_path, text)
    from simulator.simulate import load_trace
    with pytest.raises(InputError) as error:
        load_trace(load_design(file).workload)
    line = str(error.value)
    assert any(part in line for part in says.split("|")), line
    assert "\n" not in line
    assert len(line) < 600


@pytest.mark.parametrize(("args", "says"), [
    (["design.yaml", "--set", "hardware.npu.arays=3"], "hardware.npu.arays: unknown key; did you mean 'arrays'"),
    (["design.yaml", "--set", "nonsense"], "--set expects KEY=VALUE"),
    (["design.yaml", "--set", "hardware..npu=3"], "is not a dotted key"),
    (["design.yaml", "--set", "parallelism.tensor=3"], "32 attention heads"),
    (["absent"], "unknown design 'absent'"),
])
def test_the_command_line_ends_with_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys, args, says):
    write(tmp_path, GOOD)
    monkeypatch.chdir(tmp_path)
    assert main(["run", *args]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert says in printed.err


def test_from_any_folder_without_a_path_a_process_ends_the_same_way(tmp_path):
    done = subprocess.run([sys.executable, "-m", "simulator", "run", "absent"], cwd=tmp_path, capture_output=True, text=True,
                          env={"PYTHONPATH": str(CONFIGS.parent), "PATH": ""}, timeout=120, check=False)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert "unknown design 'absent'" in done.stderr
