"""Every way to get a search space wrong ends in one clear line and exit code 2, before anything runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.inputs.cli import guarded
from sweeper.commands.validate import validate

GOOD = """
design: npu-chat
parameters:
  parallelism.tensor: {ordinal: [1, 2, 4]}
objectives:
  - minimize: ttft_p99
"""


def parameters(text: str) -> str:
    return f"design: npu-chat\nparameters:\n{text}\nobjectives: [minimize: ttft_p99]\n"


def parameter(spec: str, key: str = "parallelism.tensor") -> str:
    return parameters(f"  {key}: {spec}")


def constraints(*texts: str) -> str:
    return GOOD + "constraints:\n" + "".join(f"  - {text}\n" for text in texts)


def objectives(text: str) -> str:
    return f"design: npu-chat\nparameters: {{parallelism.tensor: {{ordinal: [1, 2]}}}}\nobjectives: {text}\n"


# name -> (text, what the line must contain)
CASES: dict[str, tuple[str | bytes, list[str]]] = {
    # the file
    "empty": ("", ["is empty"]),
    "only comments": ("# nothing\n", ["is empty"]),
    "a scalar": ("quick\n", ["expected a mapping"]),
    "a list": ("- 1\n- 2\n", ["expected a mapping"]),
    "binary junk": (bytes(range(256)) * 20, ["not"]),
    "an image": (b"\x89PNG\r\n\x1a\n" + b"\x00" * 100, ["not"]),
    "utf-16": (GOOD.encode("utf-16"), ["UTF-8"]),
    "nul bytes": (GOOD.encode() + b"\x00", ["not"]),
    "not yaml": ("design: [npu-chat\nparameters: }{", ["line"]),
    "tabs as indentation": ("design: npu-chat\nparameters:\n\tparallelism.tensor: {ordinal: [1, 2]}\n", ["line"]),
    "two documents": (GOOD + "---\n" + GOOD, ["document"]),
    "a python tag": ("design: !!python/object/apply:os.system ['true']\n" + GOOD, ["not allowed"]),
    "an own tag": (GOOD.replace("npu-chat", "!secret npu-chat"), ["not allowed"]),
    "a date tag": (GOOD + "description: !!timestamp 2020-01-01\n", ["not allowed"]),
    "an alias bomb": ("a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(8)), ["expands"]),
    "an alias to itself": ("design: &a [*a]\n", []),
    "an unknown alias": (GOOD.replace("npu-chat", "*nobody"), ["nobody"]),
    "absurd nesting": ("design: " + "[" * 2000 + "]" * 2000, ["nested deeper"]),
    "absurd block nesting": ("\n".join(" " * i + "a:" for i in range(300)), ["nested deeper"]),
    "a huge file": ("# " + "x" * 5_000_000, ["larger than"]),
    "a duplicate key": (GOOD + "design: h100-chat\n", ["design", "given twice"]),
    "a duplicate parameter": (parameters("  parallelism.tensor: {ordinal: [1, 2]}\n  parallelism.tensor: {ordinal: [4]}"),
                              ["parallelism.tensor", "given twice"]),
    "a key that is a list": ("design: npu-chat\n? [a, b]\n: 1\n", ["keys must be plain words"]),
    # the sections
    "an unknown section": (GOOD + "paramters: {}\n", ["paramters", "did you mean 'parameters'"]),
    "no design": (GOOD.replace("design: npu-chat", ""), ["design", "missing"]),
    "no parameters": ("design: npu-chat\nobjectives: [minimize: ttft_p99]\n", ["parameters", "missing"]),
    "no objectives": (GOOD.split("objectives")[0], ["objectives", "missing"]),
    "empty parameters": (parameters("  {}"), ["parameters"]),
    "parameters as a list": (parameters("  - parallelism.tensor"), ["parameters", "mapping"]),
    "parameters as null": ("design: npu-chat\nparameters:\nobjectives: [minimize: ttft_p99]\n", ["parameters"]),
    "a name with a slash": (GOOD + "name: ../../etc/passwd\n", ["name"]),
    "a name that is a number": (GOOD + "name: 12\n", ["name"]),
    # the base design
    "an unknown design": (GOOD.replace("npu-chat", "npu-chta"), ["npu-chta", "did you mean 'npu-chat'"]),
    "a design that is a number": (GOOD.replace("npu-chat", "7"), ["design"]),
    "a design file that is not there": (GOOD.replace("npu-chat", "nowhere/x.yaml"), ["no such file"]),
    "an unknown model": (GOOD.replace("npu-chat", "{base: npu-chat, model: llama-4-9b}"), ["llama-4-9b"]),
    "an unknown hardware": (GOOD.replace("npu-chat", "{base: npu-chat, hardware: tpu-v9}"), ["tpu-v9"]),
    "a wrong unit in the design": (GOOD.replace("npu-chat", "{base: npu-chat, slo: {ttft: 2 GB}}"), ["slo.ttft", "unit"]),
    "an unknown key in the design": (GOOD.replace("npu-chat", "{base: npu-chat, serving: {max_seqs: 2}}"),
                                     ["serving.max_seqs", "did you mean 'max_num_seqs'"]),
    "an impossible combination in the design": (
        GOOD.replace("npu-chat", "{base: npu-chat, serving: {max_num_seqs: 64, max_num_batched_tokens: 32}}"),
        ["serving", "max_num_batched_tokens (32)"]),
    # parameters
    "an unknown design key": (parameter("{ordinal: [1, 2]}", "parallelism.tensr"), ["did you mean 'parallelism.tensor'"]),
    "a short name without sets": (parameter("{ordinal: [1, 2]}", "tp"), ["tp", "sets"]),
    "sets an unknown key": (parameter("{sets: [hardware.npu.aray], ordinal: [1]}", "a"), ["hardware.npu.aray"]),
    "sets nothing": (parameter("{sets: [], ordinal: [1]}", "a"), ["sets"]),
    "sets text": (parameter("{sets: parallelism.tensor, ordinal: [1]}", "a"), ["sets"]),
    "two parameters set one key": (parameters("  parallelism.tensor: {ordinal: [1, 2]}\n"
                                              "  tp: {sets: [parallelism.tensor], ordinal: [4]}"), ["sets already"]),
    "a short name that is a metric": (parameter("{sets: [parallelism.tensor], ordinal: [1, 2]}", "power"),
                                      ["already means something"]),
    "a short name that is a unit": (parameter("{sets: [parallelism.tensor], ordinal: [1, 2]}", "ms"),
                                    ["already means something"]),
    "a short name with a dash": (parameter("{sets: [parallelism.tensor], ordinal: [1, 2]}", "t-p"), ["short name"]),
    "a dunder name": (parameter("{ordinal: [1]}", "__class__"), ["__class__", "unknown design key"]),
    "a derived key": (parameter("{ordinal: [1, 2]}", "devices"), ["devices", "derived"]),
    "an element of a list": (parameter("{ordinal: [64, 128]}", "'hardware.npu.array[0]'"), ["whole list"]),
    "no domain": (parameter("{when: parallelism.pipeline == 1}"), ["choices, ordinal, int, float"]),
    "two domains": (parameter("{ordinal: [1, 2], choices: [1, 2]}"), ["exactly one"]),
    "a bare list": (parameter("[1, 2, 4]"), ["parallelism.tensor", "mapping"]),
    "an unknown domain": (parameter("{values: [1, 2]}"), ["parallelism.tensor.values", "unknown key"]),
    "no choice": (parameter("{choices: []}"), ["lists no value"]),
    "a null choice": (parameter("{choices: [1, null]}"), ["not a value"]),
    "a duplicate choice": (parameter("{ordinal: [1, 2, 2]}"), ["2", "twice"]),
    "a duplicate under another unit": (parameter("{ordinal: [1 GHz, 1000 MHz]}", "hardware.npu.clock"), ["same"]),
    "a choice of the wrong type": (parameter("{ordinal: [1, two]}"), ["ordinal[1]", "whole number"]),
    "a fraction where whole numbers go": (parameter("{ordinal: [1, 2.5]}"), ["ordinal[1]", "whole number"]),
    "a zero": (parameter("{ordinal: [0, 1]}"), ["ordinal[0]", "greater than 0"]),
    "a huge integer": (parameter("{ordinal: [1, " + "9" * 400 + "]}"), ["ordinal[1]"]),
    "an integer beyond the parser": (parameter("{ordinal: [1, " + "9" * 6000 + "]}"), []),
    "infinity": (parameter("{choices: [.inf]}", "serving.memory_utilization"), ["finite"]),
    "not a number": (parameter("{choices: [.nan]}", "serving.memory_utilization"), ["finite"]),
    "a wrong unit in one choice": (parameter("{ordinal: [1 GHz, 1 GB]}", "hardware.npu.clock"), ["ordinal[1]", "unit"]),
    "a missing unit": (parameter("{ordinal: [1000000000]}", "hardware.npu.clock"), ["needs a unit"]),
    "a typo in one choice": (parameter("{choices: [none, lokal]}", "hardware.pim.placement"), ["choices[1]", "lokal"]),
    "an unknown model as a choice": (parameter("{choices: [llama-3.1-8b, lama]}", "model"), ["choices[1]", "lama"]),
    "GPU keys of an NPU": (parameter("{ordinal: [100, 132]}", "hardware.gpu.sms"), ["gpu"]),
    "a choice that is a mapping": (parameter("{choices: [{a: 1}]}"), ["choices[0]"]),
    "an int range reversed": (parameter("{int: {low: 8, high: 2}}"), ["low (8) is above high (2)"]),
    "an int range of one": (parameter("{int: {low: 2, high: 2}}"), ["both 2"]),
    "an int range with a fraction": (parameter("{int: {low: 1.5, high: 2}}"), ["int.low", "whole number"]),
    "an int range without end": (parameter("{int: {low: 1}}"), ["int.high", "missing"]),
    "an int step that does not divide": (parameter("{int: {low: 1, high: 8, step: 3}}"), ["does not divide", "7"]),
    "an int step of zero": (parameter("{int: {low: 1, high: 8, step: 0}}"), ["above 0"]),
    "a negative step": (parameter("{int: {low: 1, high: 8, step: -1}}"), ["above 0"]),
    "a log range from zero": (parameter("{int: {low: 0, high: 8, log: true}}", "serving.long_prefill_token_threshold"),
                              ["start above 0"]),
    "a log range with a step": (parameter("{int: {low: 1, high: 8, log: true, step: 2}}"), ["no step"]),
    "an int range below what is allowed": (parameter("{int: {low: 0, high: 8}}"), ["int.low", "greater than 0"]),
    "log as text": (parameter("{int: {low: 1, high: 8, log: 'yes'}}"), ["true or false"]),
    "a float range without unit": (parameter("{float: {low: 1e9, high: 2e9}}", "hardware.npu.clock"), ["needs a unit"]),
    "a float range of two units": (parameter("{float: {low: 1 GHz, high: 2 GB}}", "hardware.npu.clock"),
                                   ["float.high", "unit"]),
    "a float range with infinity": (parameter("{float: {low: 0.5, high: .inf}}", "serving.memory_utilization"),
                                    ["float.high", "finite"]),
    "a float range reversed": (parameter("{float: {low: 2 GHz, high: 1 GHz}}", "hardware.npu.clock"), ["above high"]),
    "a float step that does not divide": (parameter("{float: {low: 0.5, high: 0.9, step: 0.3}}",
                                                    "serving.memory_utilization"), ["does not divide"]),
    "a float range out of bounds": (parameter("{float: {low: 0.5, high: 1.5}}", "serving.memory_utilization"),
                                    ["float.high", "less than or equal to 1"]),
    # conditions
    "a condition on itself": (parameter("{ordinal: [1, 2], when: parallelism.tensor > 1}"), ["circle"]),
    "conditions in a circle": (parameters("  parallelism.tensor: {ordinal: [1, 2], when: parallelism.pipeline > 1}\n"
                                          "  parallelism.pipeline: {ordinal: [1, 2], when: parallelism.tensor > 1}"),
                               ["circle", "->"]),
    "a condition on a metric": (parameter("{ordinal: [1, 2], when: ttft_p99 <= 2 s}"), ["known after a simulation"]),
    "a condition on nothing": (parameter("{ordinal: [1, 2], when: 1 < 2}"), ["reads nothing"]),
    "a condition that is a number": (parameter("{ordinal: [1, 2], when: parallelism.pipeline}"), ["not a condition"]),
    "a condition without quotes": (parameter("{ordinal: [1, 2], when: hardware.pim.placement != none}"), ["quotes"]),
    "a condition on an impossible text": (parameter("{ordinal: [1, 2], when: hardware.pim.placement == 'far'}"),
                                          ["never 'far'"]),
    "a condition that never holds": (parameter("{ordinal: [1, 2], when: parallelism.pipeline > 8}"), ["never exists"]),
    # constraints
    "an unknown metric": (constraints("ttft_p98 <= 2 s"), ["constraints[0]", "did you mean 'ttft_p9"]),
    "a wrong dimension": (constraints("ttft_p99 <= 2 tokens"), ["constraints[0]", "units do not match"]),
    "no comparison": (constraints("ttft_p99"), ["not a condition"]),
    "always false": (constraints("1 > 2"), ["never true"]),
    "always true": (constraints("1 < 2"), ["always true"]),
    "given twice": (constraints("ttft_p99 <= 2 s", "ttft_p99  <=  2 s"), ["given twice"]),
    "impossible for all choices": (constraints("parallelism.tensor * parallelism.pipeline >= 16"),
                                   ["no value of parallelism.tensor satisfies"]),
    "impossible for the base design": (constraints("hardware.memory.stacks >= 100"), ["the base design does not"]),
    "contradictory parameters": (constraints("parallelism.tensor <= 1", "parallelism.tensor >= 4"), ["contradict"]),
    "contradictory metrics": (constraints("ttft_p99 <= 1 s", "ttft_p99 >= 2 s"), ["contradict"]),
    "touching but open": (constraints("ttft_p99 < 1 s", "1000 ms <= ttft_p99"), ["contradict"]),
    "a negative latency": (constraints("ttft_p99 <= -1 s"), ["contradict", ">= 0"]),
    "code": (constraints("\"__import__('os').system('touch /tmp/x') == 0\""), ["cannot stand in an expression"]),
    "a lambda": (constraints("\"(lambda: 1)() == 1\""), ["cannot stand"]),
    "an attribute of a number": (constraints("\"(1).__class__ == 1\""), ["cannot stand"]),
    "a format string": (constraints("\"'{}'.format(1) == '1'\""), ["cannot stand"]),
    "lookalike letters": (constraints("ttft_р99 <= 2 s"), ["\\u0440"]),  # Cyrillic er
    "an invisible character": (constraints("\"ttft_p99\\u200b <= 2 s\""), ["\\u200b"]),
    "a huge power": (constraints("9 ** 9 ** 9 <= parallelism.tensor"), ["exponent"]),
    "a division by zero": (constraints("parallelism.tensor <= 1 / 0"), ["division by zero"]),
    "a long expression": (constraints("parallelism.tensor <= " + "1 + " * 600 + "1"), ["longer than"]),
    "deep parentheses": (constraints("(" * 60 + "parallelism.tensor" + ")" * 60 + " <= 1"), ["nested deeper"]),
    "constraints as text": (GOOD + "constraints: ttft_p99 <= 2 s\n", ["constraints"]),
    "a constraint that is a number": (constraints("5"), ["constraints"]),
    "a constraint that is a mapping": (GOOD + "constraints: [{slo: ttft_p99 <= 2 s}]\n", ["constraints"]),
    # objectives
    "no direction": (objectives("[{name: a}]"), ["objectives[0]", "minimize and maximize"]),
    "both directions": (objectives("[{minimize: ttft_p99, maximize: goodput}]"), ["exactly one"]),
    "an unknown direction": (objectives("[{minimise: ttft_p99}]"), ["did you mean 'minimize'"]),
    "an objective that is a condition": (objectives("[{minimize: ttft_p99 <= 2 s}]"), ["is a condition"]),
    "an objective that is text": (objectives("[{minimize: hardware.pim.placement}]"), ["is text"]),
    "a constant objective": (objectives("[{minimize: 3 s}]"), ["constant"]),
    "the same objective twice": (objectives("[{minimize: ttft_p99}, {maximize: ttft_p99}]"), ["twice"]),
    "an objective's wrong unit": (objectives("[{minimize: ttft_p99, unit: GB}]"), ["objectives[0].unit", "not a unit of"]),
    "an objective's unknown unit": (objectives("[{minimize: ttft_p99, unit: fortnight}]"), ["not a unit"]),
    "an objective under a metric's name": (objectives("[{minimize: ttft_p99, name: goodput}]"), ["metric of its own"]),
    "objectives of two units added": (objectives("[{minimize: ttft_p99 + cost_per_hour}]"), ["units do not match"]),
    "objectives as a mapping": (objectives("{minimize: ttft_p99}"), ["objectives"]),
    "no objective": (objectives("[]"), ["objectives"]),
    "nine objectives": (objectives("[" + ", ".join(f"{{minimize: ttft_p99 * {i}, name: o{i}}}" for i in range(1, 10)) + "]"),
                        ["objectives"]),
    # baselines and study
    "an unknown baseline design": (GOOD + "baselines: {a: h100-cat}\n", ["baselines.a", "h100-cat"]),
    "an unknown baseline key": (GOOD + "baselines: {a: {parallelism.tensr: 2}}\n", ["did you mean 'parallelism.tensor'"]),
    "a baseline with a wrong unit": (GOOD + "baselines: {a: {hardware.npu.clock: 1 GB}}\n", ["baselines.a", "unit"]),
    "a baseline that is a list": (GOOD + "baselines: {a: [1]}\n", ["baselines"]),
    "a baseline's odd name": (GOOD + "baselines: {'<script>': {}}\n", ["baseline's name"]),
    "an unknown sampler": (GOOD + "study: {sampler: bayes}\n", ["study.sampler", "tpe"]),
    "trials as text": (GOOD + "study: {trials: '200'}\n", ["study.trials", "whole number"]),
    "no trials": (GOOD + "study: {trials: 0}\n", ["study.trials"]),
    "a negative seed": (GOOD + "study: {seed: -1}\n", ["study.seed"]),
    "an unknown study key": (GOOD + "study: {trial: 10}\n", ["did you mean 'trials'"]),
    "a timeout of no time": (GOOD + "study: {timeout: 0 s}\n", ["study.timeout", "above 0"]),
    "a timeout in bytes": (GOOD + "study: {timeout: 30 GB}\n", ["study.timeout", "unit"]),
    "a timeout without unit": (GOOD + "study: {timeout: 30}\n", ["study.timeout"]),
}


@pytest.mark.parametrize("name", CASES)
def test_each_mistake_gives_one_line_and_exit_code_2(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, words = CASES[name]
    path = tmp_path / "space.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert guarded(lambda: validate(path)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert err.isprintable() or err[:-1].isprintable()
    assert len(err) < 800
    assert "space.yaml" in err or ".yaml" in err
    assert not re.search(r"Traceback|pydantic|NoneType|<class", err)
    for word in words:
        assert word in err


def test_the_good_space_is_good(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(GOOD)
    assert guarded(lambda: validate(path)) == 0
    assert "3 designs" in capsys.readouterr().out


@pytest.mark.parametrize(("source", "words"), [
    ("quik", ["did you mean 'quick'"]), ("missing/space.yaml", ["no such file"]), ("/", ["folder"]), ("..", ["folder"]),
    ("", ["no such"]), ("a" * 5000 + ".yaml", ["no such"]), ("a" * 400 + ".yaml", ["cannot be"]),
])
def test_a_space_that_is_not_there(source: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(lambda: validate(source)) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert all(word in err for word in words), err


def test_the_command_line_ends_the_same_way(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(constraints("ttft_p99 <= 2 tokens"))
    done = subprocess.run([sys.executable, "-m", "sweeper", "validate", str(path)], capture_output=True, text=True,
                          timeout=60, check=False, cwd=Path(__file__).parents[3])
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "units do not match" in done.stderr
