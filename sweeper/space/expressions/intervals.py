"""Interval arithmetic for checked expressions: what they can be worth when names are only known within intervals.

Every result holds the expression's value for certain (Moore, "Interval Analysis", 1966); where nothing can be said it is
(-inf, inf). Of conditions: the least violation that is certain.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sweeper.space.expressions.grammar import Binary, Call, Compare, Flag, Logic, Name, Node, Number, Unary

Interval = tuple[float, float]
UNKNOWN: Interval = (-math.inf, math.inf)
SLACK = 1e-12  # relative: what rounding may add to the ends


def number(node: Node, flat: Mapping[str, Any], metrics: Mapping[str, Interval]) -> Interval:
    """The interval of a number, in base units. `flat`: what the design says (it goes before a metric of that name)."""
    match node:
        case Number(value):
            return value, value
        case Name(name, scale):
            return _scaled(_known(name, flat, metrics), scale)
        case Unary(_, operand):
            low, high = number(operand, flat, metrics)
            return -high, -low
        case Binary(op, left, right):
            return _widened(_arithmetic(op, number(left, flat, metrics), number(right, flat, metrics)))
        case Call(function, arguments):
            return _widened(_call(function, [number(argument, flat, metrics) for argument in arguments]))
    return UNKNOWN


def violation_floor(node: Node, flat: Mapping[str, Any], metrics: Mapping[str, Interval]) -> float:
    """A condition's violation is at least this; above 0 it is certain to fail. -inf where nothing can be said."""
    match node:
        case Logic("and", operands):
            return max(violation_floor(operand, flat, metrics) for operand in operands)
        case Logic(_, operands):
            return min(violation_floor(operand, flat, metrics) for operand in operands)
        case Flag(value):
            return -1.0 if value else 1.0
        case Compare("<=" | "<", left, right, True):
            return _above(number(left, flat, metrics), number(right, flat, metrics))
        case Compare(">=" | ">", left, right, True):
            return _above(*((-high, -low) for low, high in (number(side, flat, metrics) for side in (left, right))))
    return -math.inf


def _above(left: Interval, right: Interval) -> float:
    """By how much `left` is above `right` at least, relative to the right side (a right side of 0 counts as one base unit)."""
    if not left[0] > right[1] or not math.isfinite(left[0]):
        return -math.inf
    size = max(abs(right[0]), abs(right[1]))
    if right[0] <= 0 <= right[1]:
        size = max(size, 1.0)
    return (left[0] - right[1]) / size if math.isfinite(size) else -math.inf


def _known(name: str, flat: Mapping[str, Any], metrics: Mapping[str, Interval]) -> Interval:
    value = flat.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value), float(value)
    return UNKNOWN if name in flat else metrics.get(name, UNKNOWN)


def _scaled(interval: Interval, scale: float) -> Interval:
    return interval if scale == 1.0 else (interval[0] * scale, interval[1] * scale)  # units are above 0


def _arithmetic(op: str, a: Interval, b: Interval) -> Interval:
    match op:
        case "+":
            return a[0] + b[0], a[1] + b[1]
        case "-":
            return a[0] - b[1], a[1] - b[0]
        case "*":
            return _hull(_times(x, y) for x in a for y in b)
        case "/" if b[0] > 0 or b[1] < 0:
            return _hull(_over(x, y) for x in a for y in b)
        case "**" if b[0] == b[1] and a[0] >= 0:
            return _power(a, b[0])
    if a[0] == a[1] and b[0] == b[1] and op in ("//", "%") and b[0]:
        value = a[0] // b[0] if op == "//" else a[0] % b[0]
        return value, value
    return UNKNOWN


def _power(a: Interval, exponent: float) -> Interval:
    try:
        ends = [math.inf if end == 0 and exponent < 0 else float(end) ** exponent for end in a]
    except OverflowError:
        return UNKNOWN
    return min(ends), max(ends)


def _times(x: float, y: float) -> float:
    return 0.0 if x == 0 or y == 0 else x * y


def _over(x: float, y: float) -> float:
    return math.copysign(0.0, x * y) if math.isinf(y) else x / y if x else 0.0


def _hull(values: Any) -> Interval:
    found = list(values)
    return min(found), max(found)


def _call(function: str, arguments: list[Interval]) -> Interval:
    lows, highs = [a[0] for a in arguments], [a[1] for a in arguments]
    match function:
        case "min":
            return min(lows), min(highs)
        case "max":
            return max(lows), max(highs)
        case "abs":
            return (0.0 if lows[0] <= 0 <= highs[0] else min(abs(lows[0]), abs(highs[0]))), max(abs(lows[0]), abs(highs[0]))
        case "ceil" | "floor":
            step = math.ceil if function == "ceil" else math.floor
            return (float(step(lows[0])) if math.isfinite(lows[0]) else lows[0],
                    float(step(highs[0])) if math.isfinite(highs[0]) else highs[0])
        case "log2" if lows[0] > 0:
            return math.log2(lows[0]), (math.log2(highs[0]) if math.isfinite(highs[0]) else math.inf)
    return UNKNOWN


def _widened(interval: Interval) -> Interval:
    low, high = interval
    if math.isnan(low) or math.isnan(high):
        return UNKNOWN
    if low == high:
        return interval
    return low - SLACK * abs(low) if math.isfinite(low) else low, high + SLACK * abs(high) if math.isfinite(high) else high
