"""`timeline`: the trace, read back, against the engine's own log."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from simulator.__main__ import main
from simulator.design.load import load_design, parse_override
from simulator.simulate import simulate

CASES = [("npu-pim-chat", ["workload=chat-200"]),
         ("npu-chat", ["workload=chat-200", "parallelism.pipeline=2"]),
         ("h100-chat", ["workload=chat-200", "parallelism.replicas=2", "serving.async_scheduling=true"]),
         ("npu-chat", ["workload=chat-200", "serving.num_gpu_blocks=200", "slo.allow_rejected=0.01", "parallelism.tensor=1"]),
         ("npu-pim-chat", ["workload=chat-200", "hardware.pim.mapping=request"])]


def _ns(us: float) -> int:
    return round(us * 1e3)


def _written(tmp_path: Path, design: str, changes: list[str], *more: str) -> list[dict[str, Any]]:
    path = tmp_path / "trace.json"
    words = [word for change in changes for word in ("--set", change)]
    assert main(["timeline", design, "-o", str(path), *words, *more]) == 0
    found: list[dict[str, Any]] = json.loads(path.read_text())["traceEvents"]
    return found


@pytest.mark.parametrize(("design", "changes"), CASES)
def test_steps_are_the_engines_and_operators_nest(design: str, changes: list[str], tmp_path: Path) -> None:
    events = _written(tmp_path, design, changes, "--steps", "150")
    result = simulate(load_design(design, dict(parse_override(c) for c in changes)), log=True)
    for number, replica in enumerate(result.replicas, 1):
        log = replica.run.log
        assert log is not None
        own = [e for e in events if e["pid"] == number and e["ph"] == "X"]
        stages: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for e in (e for e in own if e["cat"] == "step"):
            stages[e["args"]["step"]].append((_ns(e["ts"]), _ns(e["ts"]) + _ns(e["dur"])))
        with_tokens = [i for i in range(min(150, replica.run.steps)) if log.n[i]]
        assert sorted(stages) == with_tokens
        for i in with_tokens:
            assert (stages[i][0][0], stages[i][-1][1]) == (log.start_ns[i], log.end_ns[i])
            assert all(b[0] >= a[1] for a, b in zip(stages[i], stages[i][1:], strict=False))
        _operators_lie_in_steps(own)
        _lanes_do_not_overlap(own)
        assert [e["args"]["running"] for e in events if e["pid"] == number and e["name"] == "running"] == log.running[:150].tolist()


def _operators_lie_in_steps(own: list[dict[str, Any]]) -> None:
    """In time and stage; together they fill the step."""
    for stage in {e["tid"] // 10 for e in own if e["cat"] == "step"}:
        steps = [e for e in own if e["cat"] == "step" and e["tid"] // 10 == stage]
        inside = [e for e in own if e["cat"] == "operator" and e["tid"] // 10 == stage]
        at = 0
        for step in steps:
            start, end = _ns(step["ts"]), _ns(step["ts"]) + _ns(step["dur"])
            while at < len(inside) and _ns(inside[at]["ts"]) < end:
                assert _ns(inside[at]["ts"]) == start
                start += _ns(inside[at]["dur"])
                at += 1
            assert start == end
        assert at == len(inside)


def _lanes_do_not_overlap(own: list[dict[str, Any]]) -> None:
    for kind in ("step", "host"):
        lanes: dict[int, int] = defaultdict(int)
        for e in (e for e in own if e["cat"] == kind):
            assert _ns(e["ts"]) >= lanes[e["tid"]]
            lanes[e["tid"]] = _ns(e["ts"]) + _ns(e["dur"])


def test_pim_has_a_lane_and_requests_are_spans(tmp_path: Path) -> None:
    events = _written(tmp_path, *CASES[0], "--steps", "1000000", "--requests", "20")
    lanes = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    ran = {e["name"]: lanes[e["tid"]] for e in events if e["ph"] == "X" and e["cat"] == "operator"}
    assert ran["decode_attention"] == "stage 0 PIM"
    assert ran["qkv"] == "stage 0 NPU"
    assert ran["mlp_all_reduce"] == "stage 0 links"
    run = simulate(load_design("npu-pim-chat", {"workload": "chat-200"})).replicas[0]
    for i in range(20):
        spans = [(e["ph"], e["name"], _ns(e["ts"])) for e in events if e["ph"] in "be" and e["id2"]["local"] == str(i)]
        assert spans[0] == ("b", f"request {i}", run.trace.arrival_ns[i])
        assert spans[-1] == ("e", f"request {i}", run.run.finish_ns[i])
        assert ("e", "prefill", run.run.first_token_ns[i]) in spans
        assert [at for _, _, at in spans] == sorted(at for _, _, at in spans)
    assert not any(e["ph"] in "be" and e["id2"]["local"] == "20" for e in events)


def test_gz_and_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.json.gz"
    assert main(["timeline", "npu-chat", "--set", "workload=chat-200", "-o", str(path), "--steps", "5"]) == 0
    assert json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    assert main(["timeline", "npu-chat", "-o", str(tmp_path / "no" / "such" / "x.json"), "--steps", "-1"]) == 2
    assert main(["timeline", "npu-chat", "--set", "workload=chat-200", "-o", str(tmp_path / "no" / "x.json")]) == 2
    assert "cannot be written" in capsys.readouterr().err
