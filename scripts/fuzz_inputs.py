"""Malformed files of every kind through the real command lines.

    python scripts/fuzz_inputs.py --count 1000 --seed 0

Each case is a file made from a good one by hostile changes (or a special file in its place) and the command that reads it, run
in a forked child. Broken is: a traceback, an internal error, more than 10 s, more than 1 GB, any exit code but 0 and 2. A broken
case's file and command are kept in a folder. Exit code 1 where there is one.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import os
import random
import re
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.report import finish, json_option, measured, show
from simulator.__main__ import main as simulator
from simulator.design.load import CONFIGS, load_design
from simulator.pricing.cache import CostCache, save
from simulator.simulate import load, simulate
from sweeper.__main__ import main as sweeper

SECONDS, BYTES = 10.0, 1e9
HOSTILE = ["", "null", "-1", "0", "1", "1e308", "1e-308", "1e400", ".nan", "nan", "inf", "-inf", "true", "9" * 25, "9" * 5000,
           "[]", "{}", "[[]]", "'x'", "\0", "\x85", "\ufeff", "9**9**9**9", "1 9**9**9**9*Hz", "1 mHz", "1e300 B/s",
           "1e-300 s", "2147483648", "-2147483649", "4294967297", "1099511627776", "&a [*a, *a]", "*a",
           "!!python/object/apply:os.system [x]", "../../../../etc/passwd", "/dev/zero", "/dev/stdin", "x" * 300, "x" * 5000,
           "~", "2023-01-01", "0x10", "1_000", "\u202e", "=1+1", "<script>", "{a: b}", "[1, 2, 3]", "1.5", "now",
           "9999-12-31 23:59:59", "2023-02-30 00:00:00", "\t", "- -", "? x", "|", ">", "%YAML 3", "--- a", "...", "{" * 100,
           "[" * 2000]
TOKEN = re.compile(rb"[A-Za-z0-9_.+-]+|\"[^\"]*\"")

SPACE = """name: small
design: npu-chat
parameters:
  tp: {sets: [parallelism.tensor], ordinal: [1, 2, 4]}
  seqs: {sets: [serving.max_num_seqs], ordinal: [16, 32, 64, 128]}
constraints: {one: tp * 2 <= 8, slo: ttft_p99 <= 2 s}
objectives: [{minimize: tpot_p95, unit: ms}, {maximize: output_throughput}]
baselines: {pim: {design: npu-pim-chat}}
study: {trials: 4, sampler: random, seed: 1}
"""
CSV = "arrival_s,prompt_tokens,output_tokens,priority\n0.0,100,20,0\n0.5,17,1,3\n1.5,300,40,-2\n2.0,5,5,0\n"
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,100,20\n2023-11-16 18:15:50.9951690+00:00,17,9\n"
JSONL = "".join(json.dumps(row) + "\n" for row in (
    {"arrival_s": 0, "prompt_tokens": 3, "output_tokens": 5, "prompt_token_ids": [1, 2, 3]},
    {"timestamp": 500, "input_length": 2, "output_length": 4, "prompt_token_ids": [1, 2], "priority": 3}))
STEPS = "ctx_tokens,ctx_requests,ctx_kv_tokens,decode_requests,decode_kv_tokens,latency_ms\n" + "".join(
    f"{i % 3 * 100},{i % 3},0,{i},{i * 200},{10 + i}\n" for i in range(12))
CONFIG = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 2048, "num_hidden_layers": 16,
          "head_dim": 64, "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 8192, "vocab_size": 128256,
          "hidden_act": "silu", "max_position_embeddings": 131072, "tie_word_embeddings": True, "torch_dtype": "bfloat16",
          "mlp_bias": False,
          "rms_norm_eps": 1e-5, "quantization_config": {"quant_method": "fp8"}}


@dataclass(frozen=True)
class Kind:
    """A kind of file: its good bytes, its name, and the words of the command that reads it (FILE and DIR stand for paths)."""

    name: str
    good: Callable[[], bytes]
    file: str
    words: tuple[str, ...]
    program: Callable[[list[str]], int] = simulator


class Study:
    """A finished study, made once, whose files are good."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "small.yaml").write_text(SPACE)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            code = sweeper(["run", str(folder / "small.yaml"), "--workers", "0", "--out", str(folder / "out"), "--quiet"])
        assert code == 0
        cache = CostCache()
        simulate(load_design("npu-chat", {"workload.requests": 4}), cache=cache)
        save(cache.take_new(), folder / "costs.npz")

    def bytes(self, name: str) -> Callable[[], bytes]:
        return lambda: (self.folder / "out" / name).read_bytes()


def kinds(study: Study) -> list[Kind]:
    """Every kind of file that a command reads."""
    table = io.BytesIO()
    pq.write_table(pa.table({"kind": ["gemm"] * 8, "n": [4096] * 8, "k": [4096] * 8, "weight_bits": [16] * 8,
                             "activation_bits": [16] * 8, "rows": [1, 2, 4, 8, 16, 32, 64, 128],
                             "seconds": [1e-5 * i for i in range(1, 9)]}), table)
    run = ("run", "npu-chat", "--set")
    shipped = [Kind(f"{folder} YAML", path.read_bytes, "a.yaml", words) for folder, words in (
        ("hardware", ("hardware", "FILE")), ("models", (*run, "model=FILE", "--set", "workload.requests=3")),
        ("designs", ("run", "FILE", "--set", "workload.requests=3")),
        ("costs", (*run, "costs=FILE", "--set", "workload.requests=3")),
        ("engines", (*run, "engine=FILE", "--set", "workload.requests=3")),
        ("workloads", (*run, "workload=FILE", "--set", "workload.requests=3")),
        ("hardware", (*run, "hardware=FILE", "--set", "workload.requests=3")))
        for path in sorted((CONFIGS / folder).glob("*.yaml"))]
    one_trial = ("explain", "DIR", "2"), ("export", "DIR", "1", "--to", "json"), ("best", "DIR"), ("report", "DIR"), (
        "resume", "DIR", "--workers", "0", "--trials", "5", "--quiet")
    studies = [Kind(f"{name} ({words[0]})", study.bytes(name), name, words, sweeper)
               for name in ("trials.jsonl", "space.yaml", "summary.json", "costs.npz") for words in one_trial]
    traces = [Kind(f"trace {name}", text.encode, name, (*run, "workload={trace: FILE}", *more)) for name, text, more in (
        ("a.csv", CSV, ()), ("a.csv", CSV, ("--stream",)), ("b.csv", AZURE, ()), ("a.jsonl", JSONL, ()),
        ("a.jsonl", JSONL, ("--set", "serving.enable_prefix_caching=true")), ("a.csv", CSV, ("--set", "serving.policy=priority")))]
    return [*shipped, *studies, *traces,
            Kind("space", SPACE.encode, "s.yaml", ("validate", "FILE"), sweeper),
            Kind("space run", SPACE.encode, "s.yaml",
                 ("run", "FILE", "--workers", "0", "--out", "DIR/o", "--trials", "3", "--quiet"), sweeper),
            Kind("config.json", json.dumps(CONFIG, indent=1).encode, "config.json", (*run, "model=FILE", "--set",
                 "workload.requests=3")),
            Kind("config.json", json.dumps(CONFIG).encode, "config.json", (*run, "model=FILE", "--set", "workload.requests=3")),
            Kind("steps", STEPS.encode, "steps.csv", ("calibrate", "FILE", "--model", "qwen3-32b", "--hardware", "b300")),
            Kind("parquet", table.getvalue, "t.parquet", ("import", "parquet", "FILE", "DIR/tables")),
            Kind("CSV table", lambda: b"kind,n,k,rows,seconds\ngemm,64,64,1,1e-5\ngemm,64,64,2,2e-5\n", "t.csv",
                 ("import", "parquet", "FILE", "DIR/tables")),
            Kind("cost cache", (study.folder / "costs.npz").read_bytes, "c.npz",
                 ("run", "DIR/good.yaml", "--workers", "0", "--trials", "2", "--quiet", "--out", "DIR/o", "--cache",
                 "FILE"), sweeper),
            Kind("storage", lambda: b'{"op_code": 0, "worker_id": "x", "study_name": "s", "directions": [1, 2]}\n', "journal.log",
                 ("run", "DIR/good.yaml", "--workers", "0", "--trials", "2", "--quiet", "--out", "DIR/o", "--storage",
                 "FILE"), sweeper)]


def mutated(good: bytes, rng: random.Random) -> bytes:
    """One to four hostile changes."""
    data = good
    for _ in range(rng.randint(1, 4)):
        data = rng.choice((_token, _token, _token, _token, _line, _bytes, _cut, _bits, _wrap))(data, rng)
    return data


def _token(data: bytes, rng: random.Random) -> bytes:
    found = list(TOKEN.finditer(data[:20_000]))
    if not found:
        return data
    at = rng.choice(found)
    other = rng.choice(found)[0] if rng.random() < 0.2 else rng.choice(HOSTILE).encode("utf-8", "surrogatepass")
    return data[: at.start()] + other + data[at.end():]


def _line(data: bytes, rng: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    if not lines:
        return data
    at = rng.randrange(len(lines))
    return b"".join(rng.choice(([*lines[:at], *lines[at + 1:]], [*lines[:at], lines[at], *lines[at:]], lines[::-1],
                                [*lines[:at], rng.choice(HOSTILE).encode() + b"\n", *lines[at:]])))


def _bytes(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.randint(1, 8)) + data[at + rng.randint(0, 8):]


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _bits(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 5)):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _wrap(data: bytes, rng: random.Random) -> bytes:
    return rng.choice((lambda: gzip.compress(data), lambda: b"\xef\xbb\xbf" + data, lambda: data.replace(b"\n", b"\r\n"),
                       lambda: data.decode("latin-1").encode("utf-16"), lambda: data * 3, lambda: b""))()


def special(path: Path, rng: random.Random) -> None:
    """Something that is no file of that kind at all."""
    def bomb() -> None:
        with gzip.open(path, "wb", 9) as file:
            for _ in range(200):
                file.write(bytes(1 << 20))

    def sparse() -> None:
        with path.open("wb") as file:
            file.truncate(10 << 30)

    rng.choice((lambda: path.symlink_to("/dev/zero"), lambda: path.symlink_to("/dev/full"), lambda: os.mkfifo(path), path.mkdir,
                lambda: path.symlink_to(path), lambda: path.symlink_to("nowhere"), bomb, sparse,
                lambda: path.write_bytes(b"[" * 200_000), lambda: path.write_bytes(b'{"a":' * 100_000),
                lambda: path.write_bytes(rng.randbytes(5000)), lambda: path.write_bytes(bytes(5000))))()


def case(kind: Kind, folder: Path, study: Study, rng: random.Random) -> list[str]:
    """Writes the files of a case into `folder`; its command."""
    if kind.file in ("trials.jsonl", "space.yaml", "summary.json", "costs.npz"):
        shutil.copytree(study.folder / "out", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("best", "mlflow*",
        "report*"))
    (folder / "good.yaml").write_text(SPACE)
    path = folder / kind.file
    path.unlink(missing_ok=True)
    if rng.random() < 0.06:
        special(path, rng)
    else:
        path.write_bytes(mutated(kind.good(), rng))
    return [word.replace("FILE", str(path)).replace("DIR", str(folder)) for word in kind.words]


def broken(program: Callable[[list[str]], int], words: list[str], log: Path) -> str:
    """Runs a command in a forked child; what is wrong with how it ended, '' where nothing is."""
    child = os.fork()
    if child == 0:
        _in_child(program, words, log)
    end_s = time.monotonic() + SECONDS
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > end_s or _rss(child) > BYTES:
            how = "takes longer than 10 s" if time.monotonic() > end_s else "takes more than 1 GB"
            os.kill(child, signal.SIGKILL)
            os.wait4(child, 0)
            return how
        time.sleep(0.005)
    code = os.waitstatus_to_exitcode(status)
    text = log.read_text(errors="replace")
    if "Traceback (most recent call last)" in text:
        return "prints a traceback: " + text.strip().splitlines()[-1][:200]
    if "this is a bug" in text:
        return text.strip().splitlines()[-1][:300]
    if code not in (0, 2):
        return f"ends with exit code {code}: {text.strip()[-200:]}"
    return "takes more than 1 GB" if usage.ru_maxrss * 1024 > BYTES else ""


def _in_child(program: Callable[[list[str]], int], words: list[str], log: Path) -> None:
    code = 70
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = (io.TextIOWrapper(os.fdopen(fd, "wb", 0), "utf-8", errors=errors, write_through=True)
                                  for fd, errors in ((1, "strict"), (2, "backslashreplace")))
        try:
            code = program(words)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:
            import traceback

            traceback.print_exc()
    finally:
        os.execv("/bin/sh", ["sh", "-c", f"exit {code & 255}"])  # nothing of the parent's is closed or flushed twice


def _rss(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0.0


def campaign(count: int, seed: int, keep: Path | None = None, minutes: float = float("inf")) -> tuple[Counter[str], list[str]]:
    """(cases by kind, words of the broken ones)."""
    load()
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    tried: Counter[str] = Counter()
    found: list[str] = []
    end_s = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        (root / "good").mkdir()
        study = Study(root / "good")
        every = kinds(study)
        names = sorted({kind.name for kind in every})
        for number in range(seed, seed + count):
            if time.monotonic() > end_s:
                break
            rng = random.Random(number)
            name = rng.choice(names)
            kind = rng.choice([kind for kind in every if kind.name == name])
            folder = root / f"case{number}"
            folder.mkdir()
            words = case(kind, folder, study, rng)
            tried[kind.name.split(" (")[0]] += 1
            why = broken(kind.program, words, root / "log")
            if why:
                program = "simulator" if kind.program is simulator else "sweeper"
                found.append(f"seed {number}: {kind.name}: {why}\n  python -m {program} {shlex.join(words)}")
                print(found[-1], flush=True)
                if keep is not None:
                    shutil.copytree(folder, keep / str(number), dirs_exist_ok=True, symlinks=True, ignore=_no_pipes)
            shutil.rmtree(folder, ignore_errors=True)
    return tried, found


def _no_pipes(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if not (Path(folder) / name).is_file() and not (Path(folder) / name).is_dir()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300, help="cases")
    parser.add_argument("--seed", type=int, default=0, help="of the first one")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after this time")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the files of broken cases here")
    json_option(parser)
    args = parser.parse_args()
    tried, found = campaign(args.count, args.seed, args.keep, args.minutes)
    rows = [*(measured(f"fuzz inputs: {name}", count) for name, count in sorted(tried.items())),
            measured("fuzz inputs: cases", tried.total()),
            measured("fuzz inputs: broken", len(found), "", "<= 0", not found)]
    return finish(show(rows), args.json, shown=True)


if __name__ == "__main__":
    sys.exit(main())
