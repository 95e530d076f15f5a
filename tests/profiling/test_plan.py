"""Plan, journal and resumption: everything of a profile but the measuring, without PyTorch."""

import itertools
import json

import pytest

from simulator.inputs.errors import InputError
from simulator.model.operators import Collective, DecodeAttention, Gemm
from simulator.profiling.journal import open_journal
from simulator.profiling.plan import LargestShapes, plan, row_counts
from simulator.profiling.profile import profile, table_of
from tests.profiling.tiny import tiny

LIMITS = LargestShapes(max_tokens=64, max_sequences=4, max_context=128)
HEADER = {"device": "X", "launch": "eager"}


def fake(measured):
    def one(point):
        measured.append(point.key)
        return {"seconds": 1e-6 * (1 + len(measured)), "mad_s": 1e-8, "repeats": 5}

    return one, lambda points: [one(p) for p in points]


def silent(*_):
    pass


def test_rows_are_every_tile_while_weights_rule_and_few_beyond():
    assert row_counts(40) == [1, 2, 4, 8, 16, 32, 40]
    counts = row_counts(8192)
    assert counts[:6] == [1, 2, 4, 8, 16, 32] and 240 in counts and counts[-1] == 8192
    assert max(b / a for a, b in itertools.pairwise(counts[3:])) <= 2.0


def test_every_operator_is_planned_once_and_within_the_limits():
    points = plan(tiny(), 2, LIMITS)
    assert len({p.key for p in points}) == len(points)
    gemms = {(p.operator.n, p.operator.k) for p in points if isinstance(p.operator, Gemm)}
    assert gemms == {(64, 64), (128, 64), (64, 32)}  # qkv, gate and up, output and down; the head is 128 x 64 too
    assert {p.operator.ranks for p in points if isinstance(p.operator, Collective)} == {2}
    decodes = [p for p in points if isinstance(p.operator, DecodeAttention)]
    assert max(p.axes[0] for p in decodes) == 4 and max(p.axes[1] for p in decodes) == 128
    small = LargestShapes(64, 4, 128, kv_bytes=2 * 2 * 16 * 2 * 128 / 2)  # one sequence of 128 tokens, on one of two ranks
    kept = [p.axes for p in plan(tiny(), 2, small) if isinstance(p.operator, DecodeAttention)]
    assert (1, 128) in kept and (2, 128) not in kept


def test_a_killed_profile_goes_on_where_it_stopped(tmp_path):
    points, measured = plan(tiny(), 1, LIMITS), []
    one, together = fake(measured)

    def killed(point):
        if len(measured) == 7:
            raise KeyboardInterrupt
        return one(point)

    with pytest.raises(KeyboardInterrupt):
        profile(points, open_journal(tmp_path / "j", HEADER), killed, together, silent)
    with (tmp_path / "j").open("a") as file:
        file.write('{"key": "half a li')  # the write that the kill cut
    journal = open_journal(tmp_path / "j", HEADER)
    assert list(journal.finished) == [p.key for p in points[:7]]
    profile(points, journal, one, together, silent)
    assert measured == [p.key for p in points]  # nothing twice
    again = open_journal(tmp_path / "j", HEADER)
    table = table_of(points, again, {"device": "X"})
    assert len(table) == len(points) and table.columns["repeats"].tolist() == [5] * len(points)
    profile(points, again, lambda p: pytest.fail("measured again"), together, silent)
    wider = plan(tiny(), 1, LargestShapes(128, 4, 128))
    profile(wider, again, one, together, silent)
    assert sorted(measured) == sorted({p.key for p in [*points, *wider]})


def test_collectives_are_measured_together_and_failed_points_are_left_out(tmp_path):
    points, calls = plan(tiny(), 2, LIMITS), []

    def together(alike):
        calls.append(len(alike))
        return [{"seconds": 1e-5, "mad_s": 0.0, "repeats": 3} for _ in alike]

    journal = open_journal(tmp_path / "j", HEADER)
    profile(points, journal, lambda p: {"skipped": "out of memory"}, together, silent)
    assert calls == [7]  # 1, 2 ... 64 rows
    table = table_of(points, journal, {})
    assert set(table.columns["kind"].tolist()) == {"collective"}
    assert table.points("collective", ("all_reduce", 2)).axes[0].tolist() == [128.0 * 2**i for i in range(7)]


def test_a_journal_of_another_profile_is_refused_by_what_differs(tmp_path):
    open_journal(tmp_path / "j", HEADER)
    with pytest.raises(InputError) as refused:
        open_journal(tmp_path / "j", {**HEADER, "device": "Y"})
    assert refused.value.key == "device" and "--out" in str(refused.value)
    (tmp_path / "k").write_text(json.dumps({"something": "else"}) + "\n")
    with pytest.raises(InputError, match="not the journal"):
        open_journal(tmp_path / "k", HEADER)
