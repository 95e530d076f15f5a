"""When `auto` takes the ladder, and what a space may say of it."""

import pytest

from simulator.inputs.errors import InputError
from sweeper.run.ladder import auto_ladder
from sweeper.run.ladder.ladder import Rungs
from tests.sweeper.spaces import OBJECTIVES, space_of

PARAMETERS = "  parallelism.tensor: {ordinal: [1, 2, 4]}"
LONG = """{model: llama-3.1-8b, hardware: npu-base, workload: {arrivals: {process: poisson, rate: 20 requests/s},
  prompt: {distribution: fixed, mean: 200}, output: {distribution: fixed, mean: 50}, requests: 64000}}"""


@pytest.mark.parametrize(("full_s", "short_s", "taken"), [(0.2, 0.01, True), (0.2, 0.12, False), (0.05, 0.001, False)])
def test_auto_takes_it_where_it_pays_and_says_so(tmp_path, monkeypatch, full_s, short_s, taken):
    monkeypatch.setattr(auto_ladder, "_measured", lambda _space, _requests: (full_s, short_s))
    space = space_of(tmp_path, PARAMETERS, design=LONG)
    rungs, why = auto_ladder.resolve(space, "auto", "gp")
    assert (rungs == Rungs(4000)) is taken
    assert ("4,000 requests" in why) is taken


def test_auto_does_not_measure_short_traces(tmp_path, monkeypatch):
    monkeypatch.setattr(auto_ladder, "_measured", None)
    assert auto_ladder.resolve(space_of(tmp_path, PARAMETERS), "auto", "gp") == (None, "")


def test_a_space_may_say_it_all(tmp_path):
    space = space_of(tmp_path, PARAMETERS, rest=OBJECTIVES + "study: {ladder: {requests: 50, anchors: 16, retention: 0.9, proofs: false}}")
    assert auto_ladder.resolve(space, space.study.ladder, "tpe")[0] == Rungs(50, 16, 0.9, False)
    assert auto_ladder.resolve(space, "on", "gp")[0] == Rungs(200)
    assert auto_ladder.resolve(space, "off", "gp")[0] is None


def test_refused(tmp_path):
    space = space_of(tmp_path, PARAMETERS)
    with pytest.raises(InputError, match="an exhaustive sweep simulates every design"):
        auto_ladder.resolve(space, "on", "exhaustive")
    assert auto_ladder.resolve(space, "auto", "exhaustive") == (None, "")
    for wrong in ("anchors: 2", "retention: 1.5", "requestss: 3", "proofs: maybe"):
        with pytest.raises(InputError, match=r"study\.ladder"):
            space_of(tmp_path, PARAMETERS, rest=OBJECTIVES + f"study: {{ladder: {{{wrong}}}}}")
