"""Interval arithmetic over expressions: the value always lies inside."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.inputs.errors import InputError
from sweeper.space.expressions import evaluation, intervals
from sweeper.space.expressions.evaluation import UndefinedError
from sweeper.space.expressions.expression import parse_condition, parse_number
from sweeper.space.expressions.symbols import all_symbols

SYMBOLS = all_symbols()
METRICS = ("goodput", "request_throughput")  # two metrics of one dimension
FLAT = {"parallelism.tensor": 4, "devices": 8}


def trees():
    leaves = st.sampled_from(["goodput", "request_throughput", "3 requests/s", "0.25 requests/s"])

    def more(inner):
        pair = st.tuples(inner, inner)
        return st.one_of(
            pair.map(lambda p: f"({p[0]} + {p[1]})"), pair.map(lambda p: f"({p[0]} - {p[1]})"),
            pair.map(lambda p: f"min({p[0]}, {p[1]})"), pair.map(lambda p: f"max({p[0]}, {p[1]})"),
            pair.map(lambda p: f"({p[0]} % {p[1]})"),
            st.tuples(inner, inner, inner).map(lambda p: f"({p[0]} * {p[1]} / {p[2]})"),
            st.tuples(inner, inner, inner).map(lambda p: f"({p[0]} * ceil({p[1]} / {p[2]}))"),
            st.tuples(inner, inner).map(lambda p: f"({p[0]} * (({p[1]}) / 1 requests/s) ** 2)"),
            st.tuples(inner, inner, inner).map(lambda p: f"({p[0]} * (abs({p[1]}) / abs({p[2]})) ** -0.5)"),
            inner.map(lambda t: f"abs({t})"), inner.map(lambda t: f"(-{t})"), inner.map(lambda t: f"({t} * devices)"))

    return st.recursive(leaves, more, max_leaves=5)


ends = st.tuples(st.floats(-5, 5), st.floats(0, 4), st.floats(0, 1))


@settings(max_examples=400, deadline=None)
@given(trees(), ends, ends)
def test_the_value_lies_inside(text, first, second):
    try:
        expression = parse_number(text, SYMBOLS)
    except InputError:  # too long, or a division of constants
        return
    known = {name: (low, low + width) for name, (low, width, _) in zip(METRICS, (first, second), strict=True)}
    values = {name: low + width * at for name, (low, width, at) in zip(METRICS, (first, second), strict=True)}
    low, high = intervals.number(expression.tree, FLAT, known)
    try:
        value = evaluation.number(expression.tree, {**FLAT, **values})
    except UndefinedError:
        return
    slack = 1e-9 * max(abs(value), 1.0)
    assert low - slack <= value <= high + slack


@settings(max_examples=200, deadline=None)
@given(trees(), trees(), st.sampled_from(["<=", "<", ">=", ">"]), ends, ends)
def test_what_is_certain_to_fail_fails(left, right, op, first, second):
    try:
        condition = parse_condition(f"{left} {op} {right}", SYMBOLS)
    except InputError:
        return
    known = {name: (low, low + width) for name, (low, width, _) in zip(METRICS, (first, second), strict=True)}
    values = {name: low + width * at for name, (low, width, at) in zip(METRICS, (first, second), strict=True)}
    floor = intervals.violation_floor(condition.tree, FLAT, known)
    if floor > 1e-9:
        try:
            assert condition.violation({**FLAT, **values}) >= floor * (1 - 1e-6) - 1e-9
        except UndefinedError:
            return


@pytest.mark.parametrize(("text", "interval"), [
    ("cost_per_hour / output_throughput", (1 / 3600 / 200, math.inf)),  # USD/h over tokens/s
    ("1 tokens / output_throughput", (1 / 200, math.inf)),
    ("power", (0.0, math.inf)),
    ("devices * 2", (16.0, 16.0)),
    ("ttft_p99 % 1 s", (-math.inf, math.inf)),
])
def test_intervals_of_common_objectives(text, interval):
    known = {"cost_per_hour": (1.0, math.inf), "output_throughput": (1e-9, 200.0), "power": (0.0, math.inf),
             "ttft_p99": (0.2, math.inf)}
    found = intervals.number(parse_number(text, SYMBOLS).tree, FLAT, known)
    assert found[0] == pytest.approx(interval[0], rel=1e-9)
    assert found[1] == pytest.approx(interval[1], rel=1e-3) or found[1] > 1e8


def test_what_cannot_be_said_is_not_said():
    tree = parse_condition("ttft_p99 <= 2 s or tpot_p99 <= 1 s", SYMBOLS).tree
    assert intervals.violation_floor(tree, FLAT, {"ttft_p99": (3.0, math.inf)}) == -math.inf
    assert intervals.violation_floor(tree, FLAT, {"ttft_p99": (3.0, math.inf), "tpot_p99": (2.0, math.inf)}) == pytest.approx(0.5)
    assert intervals.violation_floor(parse_condition("not ttft_p99 <= 2 s", SYMBOLS).tree, FLAT, {}) == -math.inf


def test_a_violation_of_a_limit_that_may_be_0_is_counted_in_base_units():
    """-24 >= x with x in 0..0.5: 24 at x = 0, 49 times 0.5 at its upper end."""
    tree = parse_condition("((-3 requests/s) * devices) >= request_throughput", SYMBOLS).tree
    assert intervals.violation_floor(tree, FLAT, {"request_throughput": (0.0, 0.5)}) == 24.0
