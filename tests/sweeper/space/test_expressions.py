"""Expressions of constraints and objectives: units, violations, and what is refused."""

from __future__ import annotations

import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.inputs.errors import InputError
from sweeper.space.expressions.expression import Expression, UndefinedError, parse_condition, parse_number
from sweeper.space.expressions.grammar import MAX_LENGTH, parse
from sweeper.space.expressions.symbols import Symbol, all_symbols

SYMBOLS = all_symbols()
ALIASES = {"tp": "parallelism.tensor", "pp": "parallelism.pipeline"}


def condition(text: str) -> Expression:
    return parse_condition(text, SYMBOLS, ALIASES)


def number(text: str) -> Expression:
    return parse_number(text, SYMBOLS, ALIASES)


def refusal(text: str) -> str:
    with pytest.raises(InputError) as caught:
        condition(text)
    return str(caught.value)


# --- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "expected"), [
    ("tp * 2 + 1", 9), ("tp - 1 - 1", 2), ("2 ** 3 ** 2 * tp", 2048), ("-tp ** 2", -16), ("tp // 3", 1), ("tp % 3", 1),
    ("(tp + 2) / 3", 2), ("max(tp, pp, 3)", 4), ("min(tp, pp)", 2), ("abs(pp - tp)", 2), ("log2(tp)", 2),
    ("ceil(tp / 3)", 2), ("floor(tp / 3)", 1), ("+tp", 4), ("--tp", 4), ("1e1 * tp", 40), (".5 * tp", 2),
])
def test_arithmetic_binds_as_in_python(text: str, expected: float) -> None:
    assert number(text).value({"parallelism.tensor": 4, "parallelism.pipeline": 2}) == expected


@pytest.mark.parametrize(("text", "expected"), [
    ("2 s / ttft_p99", 4.0),  # the unit stops where a name begins
    ("ttft_p99 / 250 ms", 2.0),
    ("ttft_p99 / 1 s * tp", 2.0),
    ("cost_per_hour * 1 h / 1 USD", 7.2),  # 7.2 USD/h for an hour
    ("power * 2 s / 1 kJ", 3.0),
    ("area / 1 mm^2", 800.0),
    ("area / 1 mm**2", 800.0),
    ("hardware.memory.bandwidth / 1 TB/s", 3.35),
    ("1 GiB / 1 MiB", 1024.0),
    ("50 % * 4", 2.0),
    ("7 % 4", 3.0),
])
def test_quantities_carry_their_units(text: str, expected: float) -> None:
    values = {"ttft_p99": 0.5, "cost_per_hour": 7.2, "power": 1500.0, "area": 800.0, "parallelism.tensor": 4,
              "hardware.memory.bandwidth": 3.35e12}
    assert number(text).value(values) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("text", "unit"), [
    ("ttft_p99", "s"), ("ttft_p99 * tp", "s"), ("output_throughput / power", "tokens/J"), ("ttft_p99 ** 2", "s**2"),
    ("ttft_p99 / e2e_p99", ""), ("capital / output_throughput", "USD*s/tokens"), ("area", "m**2"), ("tp ** 2", ""),
])
def test_dimensions_follow_the_arithmetic(text: str, unit: str) -> None:
    assert number(text).unit == unit


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.sampled_from(["<=", ">=", "<", ">", "=="]))
def test_a_violation_is_negative_or_zero_exactly_where_python_agrees(a: float, b: float, op: str) -> None:
    expected = {"<=": a <= b, ">=": a >= b, "<": a < b, ">": a > b, "==": math.isclose(a, b, rel_tol=1e-9)}[op]
    assert (condition(f"ttft_p99 {op} tpot_p99").violation({"ttft_p99": a, "tpot_p99": b}) <= 0) == expected


@pytest.mark.parametrize(("text", "violation"), [
    ("ttft_p99 <= 2 s", 0.5), ("ttft_p99 <= 4 s", -0.25), ("ttft_p99 <= 3 s", 0.0), ("ttft_p99 >= 4 s", 0.25),
    ("ttft_p99 <= 2000 ms", 0.5), ("2 s >= ttft_p99", 1 / 3), ("1 s <= ttft_p99 <= 2 s", 0.5),
    ("ttft_p99 <= 2 s and tp <= 1", 3.0), ("ttft_p99 <= 2 s or tp <= 1", 0.5), ("not ttft_p99 >= 2 s", 0.5),
    ("tp == 2", 1.0), ("tp != 4", 1e-12), ("tp != 2", -1.0), ("tp < 4", 1e-12), ("not tp <= 4", 1e-12),
    ("hardware.pim.placement == 'local'", -1.0), ("hardware.pim.placement != 'local'", 1.0),
    ("serving.enable_prefix_caching", 1.0), ("not serving.enable_prefix_caching", -1.0),
    ("serving.enable_prefix_caching == true", 1.0), ("tp - 4 <= 0", 0.0),
])
def test_violations_are_relative_to_the_right_side(text: str, violation: float) -> None:
    values = {"ttft_p99": 3.0, "parallelism.tensor": 4, "hardware.pim.placement": "local",
              "serving.enable_prefix_caching": False}
    assert condition(text).violation(values) == pytest.approx(violation, abs=1e-15)


def test_an_expression_knows_whether_it_needs_a_simulation() -> None:
    static = condition("tp * pp <= 16 and hardware.memory.stacks * 16 GiB >= 80 GB")
    assert static.static
    assert static.names == {"parallelism.tensor", "parallelism.pipeline", "hardware.memory.stacks"}
    measured = condition("ttft_p99 <= 2 s or tp == 1")
    assert not measured.static
    assert measured.metrics == {"ttft_p99"}
    assert condition("devices <= 4").static  # a metric too, but the design alone decides it


def test_an_operand_without_a_value_does_not_matter_where_another_holds() -> None:
    either = condition("hardware.npu.array[0] >= 128 or tp == 4")
    assert either.holds({"hardware.npu": None, "parallelism.tensor": 4})
    with pytest.raises(UndefinedError, match=r"hardware.npu.array\[0\] is not set"):
        either.holds({"hardware.npu": None, "parallelism.tensor": 2})


@pytest.mark.parametrize(("text", "values", "reason"), [
    ("ttft_p99", {}, "ttft_p99 is not set"),
    ("ttft_p99", {"ttft_p99": math.nan}, "not a finite number"),
    ("ttft_p99 * 2", {"ttft_p99": math.inf}, "not a finite number"),
    ("1 / (tp - 4)", {"parallelism.tensor": 4}, "division by zero"),
    ("tp % (tp - 4)", {"parallelism.tensor": 4}, "division by zero"),
    ("log2(tp - 4)", {"parallelism.tensor": 4}, "log2 of 0"),
    ("(tp - 5) ** 0.5", {"parallelism.tensor": 4}, "fractional power"),
    ("energy ** 16", {"energy": 1e30}, "too large"),
    ("serving.max_model_len * 2", {"serving.max_model_len": "auto"}, "'auto'"),
    ("1e308 * tp", {"parallelism.tensor": 4}, "not a finite number"),
])
def test_what_has_no_value_says_why_and_is_never_nan(text: str, values: dict[str, object], reason: str) -> None:
    with pytest.raises(UndefinedError, match=reason):
        number(text).value(values)


def test_expressions_travel_to_workers() -> None:
    expression = condition("ttft_p99 <= 2 s and tp * pp <= 16")
    assert pickle.loads(pickle.dumps(expression)) == expression


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "words"), [
    ("ttft_p99 <= 2 tokens", ["s", "tokens", "units do not match"]),
    ("ttft_p99 <= 2", ["'1 s'"]),
    ("ttft_p99 + tp <= 2 s", ["'+'"]),
    ("ttft_p99 <= 2 parsecs", ["'parsecs' is not a unit"]),
    ("max(ttft_p99, tp) <= 2 s", ["max"]),
    ("log2(ttft_p99) <= 1", ["log2", "divide"]),
    ("ttft_p9 <= 2 s", ["did you mean 'ttft_p99'"]),
    ("parallelism.tensr <= 2", ["did you mean 'parallelism.tensor'"]),
    ("hardware.pim.placement == 'nonne'", ["did you mean 'none'"]),
    ("hardware.pim.placement == none", ["quotes"]),
    ("hardware.pim.placement <= 'none'", ["== or !="]),
    ("hardware.npu.array <= 3", ["list"]),
    ("hardware.npu <= 3", ["mapping"]),
    ("ttft_p99", ["not a condition"]),
    ("tp", ["not a condition"]),
    ("tp and pp", ["join conditions"]),
    ("(tp <= 2) + 1 <= 3", ["arithmetic needs numbers"]),
    ("ttft_p99 = 2 s", ["=="]),
    ("tp <= s", ["'1 s'"]),
    ("tp ** pp <= 4", ["exponent"]),
    ("tp ** 17 <= 4", ["exponent"]),
    ("2 ** 99999999999 <= tp", ["exponent"]),
    ("floor(tp, 2) == 2", ["takes one value"]),
    ("min(tp) == 2", ["at least two"]),
    ("sin(tp) == 2", ["unknown function 'sin'"]),
    ("1 / 0 <= tp", ["division by zero"]),
    ("tp <= 1e999", ["too large"]),
    ("tp ^ 2 <= 4", ["'**'"]),
    ("tp & 3 == 1", ["and"]),
    ("tp <= 2;", [";"]),
    ("tp <=", ["stops"]),
    ("tp 2", ["unexpected"]),
    ("(tp <= 2", ["stops"]),
    ("tp <= 2)", ["unexpected ')'"]),
    ("", ["empty"]),
    ("   ", ["empty"]),
    ("'local'", ["not a condition"]),
])
def test_mistakes_are_told_in_the_users_words(text: str, words: list[str]) -> None:
    message = refusal(text)
    assert all(word in message for word in words), message


@pytest.mark.parametrize("text", [
    "__import__('os').system('true') == 0", "().__class__.__bases__ == 1", "lambda: 1", "[x for x in (1, 2)] == 1",
    "tp.real <= 2", "(1).real == 1", "tp.__class__ == 1", "__builtins__ == 1", "open('/etc/passwd') == 1",
    "f'{tp}' == 'a'", "'%s' % tp == 'a'", "tp if pp else 1", "tp := 3", "exec('1') == 1", "tp[0] <= 1", "*tp <= 1",
    "{'a': 1} == 1", "tp @ pp == 1", "tp | pp == 1", "~tp == 1", "tp << 60 <= 1", "tp <= 0x10", "tp <= 1_000",
    "tp <= 1j", "tp is 1", "tp in (1, 2)", "a.b.c.d.e.f <= 1", "print(tp) == 1", "b'a' == 'a'", "tp <= ...",
    "ｔｐ <= 4", "tp ≤ 4", "t\u200bp <= 4", "tp <= 4\u2028", "tp <= ４", "т <= 4", "tp <= 4 # comment", "tp <= 4\\", "\x00",
    "'" + "a" * 50, '"', "tp <= '\\x41'",
])
def test_nothing_outside_the_grammar_is_read(text: str) -> None:
    assert "\n" not in refusal(text)


@pytest.mark.parametrize("text", [
    "(" * 500 + "tp" + ")" * 500 + " <= 1", "-" * 400 + "tp <= 1", "+".join(["tp"] * 5000),
    "abs(" * 100 + "tp" + ")" * 100 + " <= 1", "2**" * 140 + "2 <= tp", "9" * 900 + " <= tp", "tp" * 2000 + " <= 1",
    "max(" + ",".join(["tp"] * 400) + ") <= 1", "tp <= 1" + " and tp <= 1" * 200,
])
def test_length_and_depth_are_bounded(text: str) -> None:
    message = refusal(text)
    assert len(message) < 600


@given(st.text(max_size=60))
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        parse(text, lambda name: name in SYMBOLS)
    except InputError as error:
        assert "\n" not in str(error)


@given(st.lists(st.sampled_from(["tp", "ttft_p99", "2 s", "3", "<=", "+", "*", "**", "(", ")", "and", "not", "'local'",
                                 "hardware.pim.placement", "max", ",", "%", "/", "==", "true"]), max_size=12))
def test_every_sequence_of_tokens_is_an_expression_or_one_clear_line(tokens: list[str]) -> None:
    text = " ".join(tokens)
    assert len(text) < MAX_LENGTH
    try:
        condition(text)
    except InputError as error:
        assert len(str(error)) > 10


def test_every_metric_and_numeric_design_key_can_be_read() -> None:
    for name, symbol in SYMBOLS.items():
        if symbol.kind == "number":
            assert parse_number(name, SYMBOLS).names == {name}
    assert SYMBOLS["ttft_p99"] == Symbol("number", "s", metric=True)
    assert SYMBOLS["hardware.memory.bandwidth"].unit == "B/s"
    assert SYMBOLS["hardware.pim.placement"].choices == ("none", "local", "pooled", "shared")
