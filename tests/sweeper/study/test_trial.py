"""A trial as one line of JSON."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.inputs.errors import InputError
from sweeper.study.trial import Trial, from_json_line

numbers = st.dictionaries(st.text(max_size=8), st.floats(allow_nan=False))
values = st.one_of(st.integers(-2**60, 2**60), st.booleans(), st.text(max_size=8), st.floats(allow_nan=False, allow_infinity=False),
                   st.lists(st.integers(0, 512), max_size=2))


@given(st.builds(Trial, number=st.integers(0, 10**9), parameters=st.dictionaries(st.text(max_size=8), values),
                 status=st.sampled_from(["complete", "infeasible", "failed"]), metrics=numbers, objectives=numbers,
                 constraints=numbers, reason=st.text(max_size=40), seconds=st.floats(0, 1e6), cached=st.booleans()))
def test_a_line_reads_back_to_the_same_trial(trial: Trial) -> None:
    line = trial.to_json_line()
    assert "\n" not in line
    assert from_json_line(line) == trial


def test_the_line_is_strict_json_even_with_numbers_that_are_not_finite() -> None:
    line = Trial(0, {}, "failed", metrics={"a": math.inf, "b": math.nan}).to_json_line()
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    back = from_json_line(line).metrics
    assert back["a"] == math.inf
    assert math.isnan(back["b"])


@pytest.mark.parametrize("line", ["", "{", "[]", "3", '{"number": 1}', '{"number":1,"parameters":{},"status":"done"}',
                                  '{"number":1,"parameters":{},"status":"failed","metrics":{"a":"x"}}',
                                  '{"number":1,"parameters":{},"status":"failed","other":2}', "\x00\x01"])
def test_what_is_not_a_trial_is_refused(line: str) -> None:
    with pytest.raises(InputError, match="not a trial"):
        from_json_line(line)
