"""Flattened functions do what the functions did that they were made of."""

from __future__ import annotations

import marshal
from types import FunctionType
from typing import NamedTuple

import numpy as np
import pytest

from simulator.engine.fast_flatten import apart, flatten

LIMIT, NEVER = 7, False


class Box(NamedTuple):
    numbers: np.ndarray
    size: int
    unused: int = 0


def _cell(x, numbers):
    """The first number above x, or the last one: returns on several ways, and from within no loop."""
    last = len(numbers) - 1
    if x > LIMIT:
        return last
    c = 0
    while c < last and numbers[c] <= x:
        c += 1
    return c


def _search(x, numbers):
    for k in range(len(numbers)):
        if numbers[k] == x:
            return k
    return -1


def _double(x):
    return x + x


def _pair(a, b):
    if a > b:
        return b, a
    return a, b


def _add(box, at, amount):
    numbers = box.numbers
    numbers[at] += amount
    if amount == 0:
        return
    numbers[0] = numbers[at] + box.size


@apart
def _reset(box, value):
    for k in range(box.size):
        box.numbers[k] = value
    return value


def branches(box, other):
    c = 3
    c = _cell(c, box.numbers)
    d = _cell(9, box.numbers)
    c += _cell(c, other.numbers)
    if _cell(1, box.numbers):
        d += 1
    return 100 * c + d


def loops_and_expressions(box, other):
    k, total = 0, 0
    while _search(k, box.numbers) < 3 and _double(k + 1) < 30:
        k += 1
        total += _double(other.numbers[k & 1] + 1)
    return 1000 * k + total


def tuples(box, other):
    a, b = 5, box.size
    a, b = b, a
    a, b = _pair(b, a)
    box.numbers[0], other.numbers[0] = other.numbers[0], box.numbers[0]
    box.numbers[1], other.numbers[1] = a, b
    x = y = a + b
    return 10_000 * a + 100 * b + x + y


def effects(box, other):
    both, size = box.numbers, other.size
    _add(box, 1, size)
    _add(other, size - 1, 0)
    if NEVER:
        return _search(box.size, other.numbers)
    last = _reset(other, both[1])  # a call apart
    return last + both[0]


def boxes():
    return Box(np.array([1, 2, 4, 6, 8]), 5), Box(np.array([3, 5, 7]), 3)


def run(flat, given):
    """The flattened function as plain Python, on the fields that it asks for."""
    scope = {"np": np}
    for name, code in flat.apart:
        scope[name] = FunctionType(code, scope)
    return FunctionType(flat.code, scope)(*(getattr(given[record], field) for record, field in flat.fields))


@pytest.mark.parametrize("function", [branches, loops_and_expressions, tuples, effects])
def test_a_flattened_function_returns_and_changes_the_same(function):
    kept, changed = boxes(), boxes()
    before = function(*kept)
    assert run(flatten(function, "flat"), dict(zip(("box", "other"), changed, strict=True))) == before
    for one, other in zip(kept, changed, strict=True):
        assert one.numbers.tolist() == other.numbers.tolist()


def test_only_the_fields_in_use_are_arguments_and_few_functions_are_called():
    flat = flatten(effects, "flat")
    assert set(flat.fields) == {("box", "numbers"), ("box", "size"), ("other", "numbers"), ("other", "size")}
    assert flatten(branches, "flat").apart == ()
    called = [name.partition("__")[0] for name, _ in flatten(loops_and_expressions, "flat").apart]
    assert called == ["_search", "_double"]  # a return in a loop; an argument that would be computed twice


def test_what_is_declared_apart_stays_a_function():
    assert [name.partition("__")[0] for name, _ in flatten(effects, "flat").apart] == ["_reset"]


def clash(box, other):
    box_size = 1
    return box_size + box.size + other.size


def test_a_variable_named_like_a_field_is_refused():
    with pytest.raises(NameError, match="box_size"):
        flatten(clash, "flat")


def test_flattening_twice_gives_the_same_code():
    one, other = flatten(effects, "flat"), flatten(effects, "flat")
    assert one == other
    assert marshal.loads(marshal.dumps(tuple(one))) == tuple(other)
