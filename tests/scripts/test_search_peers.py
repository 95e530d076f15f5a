"""Peers of the search benchmark: only simulations count, illegal and repeated proposals are free."""

import sys

import pytest

from scripts import search_peers
from sweeper.space.legality import broken_rule
from sweeper.space.space import Space
from sweeper.study.trial import Trial
from tests.sweeper.spaces import OBJECTIVES, space_of

PARAMETERS = """  tp: {sets: [parallelism.tensor], ordinal: [1, 2, 4, 8]}
  pp: {sets: [parallelism.pipeline], ordinal: [1, 2, 4]}
  dtype: {sets: [precision.weights], choices: [bf16, fp8]}"""
RULE = "constraints: {one_node: tp * pp <= 8}\n"


@pytest.fixture
def space(tmp_path) -> Space:
    return space_of(tmp_path, PARAMETERS, rest=RULE + OBJECTIVES)


@pytest.mark.parametrize("name", ["optuna_nsga2", "optuna_mv_tpe", "optuna_random", "pymoo_nsga2"])
def test_a_peer_simulates_new_legal_designs_alone(space, name):
    if name == search_peers.PYMOO:
        pytest.importorskip("pymoo")
    simulated = []

    def look_up(point):
        simulated.append(space.key(point))
        assert broken_rule(space, point) is None
        return Trial(0, dict(point), "complete", objectives={o.name: 1.0 + point["tp"] for o in space.objectives})

    found, _ = search_peers.run(name, space, look_up, seed=1, trials=12, hub=None)
    assert len(found) == 12
    assert len({space.key(t.parameters) for t in found}) == 12
    again, _ = search_peers.run(name, space, look_up, seed=1, trials=12, hub=None)
    assert [t.parameters for t in again] == [t.parameters for t in found]


def test_a_package_that_is_not_there_is_named(space, monkeypatch):
    monkeypatch.setitem(sys.modules, "pymoo.algorithms.moo.nsga2", None)
    with pytest.raises(search_peers.MissingError, match=r"pymoo.*scripts/search_peers\.py says how"):
        search_peers.run("pymoo_nsga2", space, lambda _: None, seed=0, trials=4, hub=None)
