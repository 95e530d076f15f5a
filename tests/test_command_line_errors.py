"""Bad input on both command lines: one line that names the place and the fix, exit code 2, no traceback."""

from __future__ import annotations

import errno
import io
import os
import shlex
from pathlib import Path

import pytest

from simulator.__main__ import main as simulator
from simulator.inputs.cli import guarded
from sweeper.__main__ import main as sweeper

DESIGN = {"model": "llama-3.1-8b", "hardware": "npu-base", "parallelism": "{tensor: 2}", "workload": "chat-200"}

DESIGNS = [
    ({"model": "lama-3.1-8b"}, "model: unknown model 'lama-3.1-8b'; did you mean 'llama-3.1-8b'?"),
    ({"model": ""}, "model: expected a mapping"),
    ({"hardware": "h100"}, "hardware: unknown hardware 'h100'; did you mean 'h100-sxm'?"),
    ({"hardware": "{base: npu-base, npu: {array: 128x128}}"}, "hardware.npu.array: expected a list, got '128x128'"),
    ({"hardware": "{base: npu-base, npu: {clock: 1}}"}, "hardware.npu.clock: 1 needs a unit, for example '1 Hz'"),
    ({"hardware": "{base: npu-base, npu: {clock: 1 GB}}"}, "hardware.npu.clock: '1 GB' has the wrong unit"),
    ({"hardware": "{base: npu-pim, pim: {stacks_per_npus: 2}}"}, "hardware.pim.stacks_per_npus: unknown key; did you mean 'stacks_per_npu'?"),
    ({"hardware": "{base: npu-base, memory: {kind: HBM9}}"}, "hardware.memory.kind: 'HBM9' is not one of HBM2, HBM2E"),
    ({"hardware": "{base: h100-sxm, tables: nope.parquet}"}, "nope.parquet: hardware.tables: no such operator table"),
    ({"parallelism": "{tenser: 2}"}, "parallelism.tenser: unknown key; did you mean 'tensor'?"),
    ({"parallelism": "{tensor: 3}"}, "32 attention heads do not divide over tensor parallel 3"),
    ({"parallelism": "{tensor: true}"}, "parallelism.tensor: expected a whole number, got True"),
    ({"serving": "{max_num_seqs: 256, max_num_batched_tokens: 8}"}, "max_num_batched_tokens (8) must be at least max_num_seqs (256)"),
    ({"serving": "fast"}, "serving: 'fast' names nothing: configs/serving is empty; write a mapping or a path"),
    ({"workload": "chat-2k"}, "workload: unknown workload 'chat-2k'; did you mean 'chat-1k'?"),
    ({"workload": "{}"}, "workload: a synthetic workload needs 'arrivals'"),
    ({"slo": "{tfft: 1 s}"}, "slo.tfft: unknown key; did you mean 'ttft'?"),
    ({"hardwear": "npu-base"}, "hardwear: unknown key; did you mean 'hardware'?"),
    ({"precision": "{weights: fp7}"}, "precision.weights: 'fp7' is not one of"),
]

HEADER = "arrival_s,prompt_tokens,output_tokens\n"
TRACES = [
    ("", "holds no requests"),
    (HEADER, "holds no requests"),
    ("a,b,c\n1,2,3\n", "the CSV header has no column 'arrival_s'"),
    (HEADER + "0,abc,3\n", "line 2: expected a token count from 1 to 134,217,728, got 'abc'"),
    (HEADER + "0,5,0\n", "line 2: expected a token count from 1 to 134,217,728, got '0'"),
    (HEADER + "0,900000000,3\n", "line 2: expected a token count from 1 to 134,217,728, got '900000000'"),
    (HEADER + "soon,5,3\n", "line 2: expected an arrival time in seconds, got 'soon'"),
    (HEADER + "0,5\n", "line 2: has 2 columns, the header 3"),
    (HEADER + "0,5,3\n1,5,3,9\n", "line 3: has 4 columns, the header 3"),
    (HEADER + "inf,5,3\n", "line 2: expected an arrival time in seconds, got 'inf'"),
    ("[1, 2]\n", "line 1: expected one JSON object per line"),
    ('{"arrival_s": 0, "prompt_tokens": 5}\n', "line 1: has no 'output_tokens'"),
]

SIMULATOR = [
    ("rn x", "unknown command 'rn'; did you mean 'run'? (python -m simulator --help)"),
    ("run", "the following arguments are required: design (python -m simulator run --help)"),
    ("run npu-chat --jsn", "does not take '--jsn'; did you mean '--json'?"),
    ("run nope", "unknown design 'nope'"),
    ("run npu-chat --set a", "--set expects KEY=VALUE, got 'a'"),
    ("run npu-chat --set parallelism.tensr=1", "parallelism.tensr: unknown key; did you mean 'tensor'?"),
    ("run npu-chat --requests-csv x.txt", "x.txt: must end in .csv or .parquet"),
    ("price --hardware npu-pim --op 'gem m=1'", "did you mean 'gemm'?"),
    ("price --hardware npu-pim --op 'gemm m=1'", "--op gemm n: is missing"),
    ("capacity npu-chat --slo ttft=2s", "'ttft' cannot be a target; did you mean 'ttft_p99'?"),
    ("capacity npu-chat --seeds 0", "--seeds: must be from 1 to 10, got 0"),
]

SWEEPER = [
    ("lists", "unknown command 'lists'"),
    ("validat quick", "unknown command 'validat'; did you mean 'validate'?"),
    ("schema spaces", "kind: 'spaces'; did you mean 'space'?"),
    ("run quick --trails 5", "does not take '--trails 5'; did you mean '--trials'? (python -m sweeper run --help)"),
    ("run quick --output x", "does not take '--output x'; did you mean '--out'?"),
    ("run quick --ladder maybe", "--ladder: 'maybe'; one of: auto, off, on"),
    ("run quick --trials 0", "--trials: must be at least 1, got 0"),
    ("run quick --workers -1", "--workers: must be 0 (in this process, without Ray) or more, got -1"),
    ("run quick --workers 0 --address 127.0.0.1:1", "--address: 0 workers are this process"),
    ("run quick --seed -1", "--seed: must be 0 or more, got -1"),
    ("run quick --tracking-uri ''", "--tracking-uri"),
    ("run quick --timeout ''", "--timeout"),
    ("run quick --timeout soon", "--timeout"),
    ("run quick --tracking-uri ./mlruns", "file store"),
    ("run quick --set nonsense", "--set expects KEY=VALUE"),
    ("run quick --sampler tpee", "--sampler: unknown sampler 'tpee'; did you mean 'tpe'?"),
    ("run quick --cache nope.npz", "nope.npz: no such cost cache"),
    ("run quik", "no such search space: 'quik'; did you mean 'quick'?"),
    ("run quick --set parallelism.tensor=2", "is swept and cannot be fixed by --set parallelism.tensor"),
    ("resume nope", "nope/trials.jsonl: no study here"),
    ("best nope", "nope/trials.jsonl: no study here"),
    ("report nope", "nope/trials.jsonl: no study here"),
    ("ui nope", "nope: no study here"),
]


@pytest.mark.parametrize(("changes", "words"), DESIGNS)
def test_designs(changes: dict[str, str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                 capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("design.yaml").write_text("".join(f"{key}: {value!s}\n" for key, value in {**DESIGN, **changes}.items()))
    _one_line(simulator, ["run", "design.yaml"], words, capsys)


@pytest.mark.parametrize(("text", "words"), TRACES)
def test_traces(text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    _one_line(simulator, ["run", "npu-chat", "--set", f"workload={{trace: {path}}}"], f"{path}: {words}", capsys)


@pytest.mark.parametrize(("line", "words"), SIMULATOR)
def test_simulator(line: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    _one_line(simulator, shlex.split(line), words, capsys)


@pytest.mark.parametrize(("line", "words"), SWEEPER)
def test_sweeper(line: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    _one_line(sweeper, shlex.split(line), words, capsys)
    assert not list(tmp_path.iterdir())


def test_a_design_is_told_from_a_search_space(capsys: pytest.CaptureFixture[str]) -> None:
    root = Path(__file__).parents[1]
    design, space = str(root / "configs/designs/npu-chat.yaml"), str(root / "search_spaces/quick.yaml")
    _one_line(sweeper, ["validate", design], f"is a design, not a search space; simulate it with `python -m simulator run {design}`", capsys)
    _one_line(simulator, ["run", space], f"is a search space, not a design; sweep it with `python -m sweeper run {space}`", capsys)


def _one_line(main, arguments, words, capsys) -> None:  # type: ignore[no-untyped-def]
    try:
        code = main(arguments)
    except SystemExit as end:
        code = end.code
    printed = capsys.readouterr()
    assert code == 2 and printed.out == ""
    assert printed.err.startswith("error: ") and printed.err.count("\n") == 1 and words in printed.err


@pytest.mark.parametrize(("number", "said"), [(errno.ENOSPC, "No space left on device"), (errno.EROFS, "Read-only file system")])
def test_a_disk_that_cannot_be_written_is_one_line(capsys, number, said):
    def command():
        raise OSError(number, os.strerror(number), "runs/x/pareto.csv.new")

    assert guarded(command) == 2
    assert capsys.readouterr().err == f"error: runs/x/pareto.csv.new: {said}\n"


@pytest.mark.parametrize(("error", "code", "words"), [
    (OSError(errno.EBADF, "Bad file descriptor"), 2, "Bad file descriptor"),
    (OSError(errno.ENAMETOOLONG, "x", "n" * 300), 2, "File name too long"),
    (ZeroDivisionError("division by zero"), 2, "leaves the range of arithmetic"),
    (OverflowError("Python int too large to convert to C int"), 2, "leaves the range of arithmetic"),
    (FloatingPointError("overflow"), 2, "leaves the range of arithmetic"),
    (RecursionError("deep"), 2, "leaves the range"), (MemoryError(), 2, "not enough memory"),
    (TypeError("a bug"), 1, "this is a bug: set SWEEPER_TRACEBACK=1"),
])
def test_no_error_passes_the_border_as_a_traceback(error, code, words, capsys, monkeypatch):
    def command():
        raise error

    assert guarded(command) == code
    printed = capsys.readouterr().err
    assert printed.startswith("error: ") and printed.count("\n") == 1 and words in printed
    monkeypatch.setenv("SWEEPER_TRACEBACK", "1")
    with pytest.raises(type(error)):
        guarded(command)


@pytest.mark.parametrize("main", [simulator, sweeper])
@pytest.mark.parametrize("name", ["a\0b", "a\udcffb"])
def test_a_name_that_is_no_text_is_one_line(main, name, capsys):
    with pytest.raises(SystemExit) as end:
        main(["run", name])
    assert end.value.code == 2
    assert "is not text" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_unicode_still_gets_every_line(encoding, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding))
    assert guarded(lambda: print("128 \u2192 256 \u00b1 1 \u2500")) == 0
    assert raw.getvalue().startswith(b"128 ? 256 ")
