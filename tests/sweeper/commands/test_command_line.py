"""Help, lists, completion and schemas of both command lines."""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from simulator.command_line import build_parser as simulator_parser
from simulator.design.load import CONFIGS
from sweeper.__main__ import main
from sweeper.command_line import build_parser as sweeper_parser
from sweeper.commands.completion import script
from sweeper.commands.schema import KINDS, schema_of
from sweeper.space.file import SPACES

PARSERS = {"sweeper": sweeper_parser, "simulator": simulator_parser}


def _commands(program: str) -> dict[str, argparse.ArgumentParser]:
    parser = PARSERS[program]()
    return next(a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction))


EVERY = [(program, name) for program in PARSERS for name in _commands(program)]


@pytest.mark.parametrize(("program", "name"), EVERY)
def test_every_command_shows_an_example_that_its_parser_takes(program: str, name: str) -> None:
    text = _commands(program)[name].format_help()
    assert "examples:" in text
    for line in text.partition("examples:")[2].splitlines():
        words = line.split("python -m ")
        if len(words) == 2 and "completion" not in line and "schema" not in line:
            import shlex

            PARSERS[program]().parse_args(shlex.split(words[1])[1:])


@pytest.mark.parametrize("arguments", [(p, n) for p, n in EVERY] + [("sweeper", ""), ("simulator", "")])
def test_help_parses_without_heavy_imports(arguments: tuple[str, str]) -> None:
    """In one process for all, the modules that would make help slow must stay out."""
    program, name = arguments
    assert _HEAVY.isdisjoint(_imported_by_help()[f"{program} {name}".strip()])


_HEAVY = {"numpy", "ray", "optuna", "mlflow", "numba", "pydantic", "pint", "rich", "pyarrow", "shtab"}
_CACHE: dict[str, list[str]] = {}


def _imported_by_help() -> dict[str, list[str]]:
    if not _CACHE:
        code = ("import contextlib, io, json, sys\n"
                "from sweeper.__main__ import main as sweeper\nfrom simulator.__main__ import main as simulator\n"
                f"found = {{}}\nfor program, name in {[*EVERY, ('sweeper', ''), ('simulator', '')]!r}:\n"
                "    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
                "        {'sweeper': sweeper, 'simulator': simulator}[program](([name] if name else []) + ['--help'])\n"
                "    found[f'{program} {name}'.strip()] = [m for m in sys.modules if '.' not in m]\n"
                "print(json.dumps(found))")
        _CACHE.update(json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout))
    return _CACHE


@pytest.mark.parametrize("command", ["sweeper", "simulator"])
def test_help_answers_in_under_half_a_second_of_cpu(command: str) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", command, "run", "--help"], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("program", ["sweeper", "simulator"])
def test_completion_knows_every_command_and_option(program: str, shell: str) -> None:
    text = script(program, shell)
    for name, parser in _commands(program).items():
        assert name in text
        for action in parser._actions:
            assert all(option.lstrip("-") in text for option in action.option_strings)


def test_bash_completes_a_command(tmp_path: Path) -> None:
    path = tmp_path / "sweeper"
    path.write_text(script("sweeper", "bash"))
    code = (f"source {path}; COMP_WORDS=(sweeper val); COMP_CWORD=1; COMP_LINE='sweeper val'; "
            "$(complete -p sweeper | sed 's/.*-F \\([^ ]*\\).*/\\1/') sweeper val sweeper; echo \"${COMPREPLY[@]}\"")
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    assert done.stdout.strip() == "validate", done.stderr


@pytest.mark.parametrize(("command", "folder"), [("spaces", SPACES), ("models", CONFIGS / "models"),
                                                  ("hardware", CONFIGS / "hardware"), ("workloads", CONFIGS / "workloads")])
def test_lists_name_and_describe_everything(command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command]) == 0
    lines = capsys.readouterr().out.splitlines()
    for path in folder.glob("*.yaml"):
        line = next(line for line in lines if line.startswith(f"{path.stem} "))
        assert len(line.split()) > 3, line


FILES = [("space", SPACES.glob("*.yaml")), ("design", (CONFIGS / "designs").glob("*.yaml")),
         *((kind, (CONFIGS / folder).glob("*.yaml")) for kind, folder in
           (("model", "models"), ("hardware", "hardware"), ("workload", "workloads"), ("costs", "costs"), ("serving", "serving")))]
SHIPPED = [(kind, path) for kind, paths in FILES for path in sorted(paths)]


@pytest.mark.parametrize("kind", KINDS)
def test_schemas_are_json_schemas(kind: str) -> None:
    schema = schema_of(kind)
    Draft202012Validator.check_schema(schema)
    assert len(schema["properties"]) > 3


@pytest.mark.parametrize(("kind", "path"), SHIPPED, ids=lambda v: v.stem if isinstance(v, Path) else v)
def test_shipped_files_fit_their_schema(kind: str, path: Path) -> None:
    from simulator.inputs.yaml_file import load_yaml

    Draft202012Validator(schema_of(kind)).validate(load_yaml(path))


@pytest.mark.parametrize(("kind", "text"), [
    ("space", "design: npu-chat\nparameters: {tp: {sets: [parallelism.tensor], choice: [1]}}\nobjectives: [{minimize: tpot_p95}]"),
    ("space", "design: {base: npu-chat, servin: {max_num_seqs: 8}}\nparameters: {a: {choices: [1]}}\nobjectives: [{minimize: x}]"),
    ("space", "design: npu-chat\nobjectives: [{minimize: tpot_p95}]"),
    ("design", "model: llama-3.1-8b\nhardware: {base: npu-pim, npu: {aray: [1, 1]}}"),
    ("design", "serving: {max_num_seqs: many}"),
    ("hardware", "base: npu-pim\nlink: {topology: star}"),
    ("hardware", "base: npu-pim\nnpu: {clock: fast}"),
    ("workload", "requests: -1"),
])
def test_schemas_refuse_what_loading_refuses(kind: str, text: str) -> None:
    assert list(Draft202012Validator(schema_of(kind)).iter_errors(yaml.safe_load(text)))


def test_space_schema_completes_design_keys() -> None:
    keys = schema_of("space")["$defs"]["ParameterSpec"]["properties"]["sets"]["items"]["anyOf"][0]["enum"]
    assert {"parallelism.tensor", "hardware.npu.array", "serving.max_num_seqs", "hardware.pim.stacks_per_npu"} <= set(keys)
