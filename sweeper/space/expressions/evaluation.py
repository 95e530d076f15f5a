"""The evaluation of a checked expression for one design: numbers and signed violations, never NaN."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from sweeper.space.expressions.grammar import Binary, Call, Compare, Flag, Logic, Name, Node, Number, Text, Unary

ARITHMETIC: dict[str, Callable[[float, float], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "//": operator.floordiv, "%": operator.mod,
    "**": lambda a, b: float(a) ** b}
_FUNCTIONS: dict[str, Callable[[float], float]] = {"abs": abs, "ceil": math.ceil, "floor": math.floor, "log2": math.log2}
EPSILON = 1e-12  # violation of a strict comparison at equality


class UndefinedError(Exception):
    """The expression has no value for this design (division by zero, a metric that is not finite or not there)."""


def number(node: Node, values: Mapping[str, Any]) -> float:
    """The number of a checked tree, in base units. Raises UndefinedError."""
    match node:
        case Number(value):
            return value
        case Name(name, scale):
            found = values.get(name)
            if isinstance(found, bool) or not isinstance(found, int | float):
                raise UndefinedError(f"{name} is {'not set' if found is None else repr(found)}")
            return _finite(float(found) * scale if scale != 1.0 else found, name)
        case Unary(_, operand):
            return -number(operand, values)
        case Binary(op, left, right):
            return _arithmetic(op, number(left, values), number(right, values))
        case Call(function, arguments):
            return _call(function, [number(argument, values) for argument in arguments])
    raise UndefinedError("not a number")


def _arithmetic(op: str, a: float, b: float) -> float:
    try:
        result = ARITHMETIC[op](a, b)
    except ZeroDivisionError:
        raise UndefinedError(f"division by zero in '{op}'") from None
    except OverflowError:
        raise UndefinedError(f"'{op}' gives a number that is too large") from None
    if isinstance(result, complex):
        raise UndefinedError("a fractional power of a negative number")
    return _finite(result, f"'{op}'")


def _call(function: str, arguments: list[float]) -> float:
    if function in ("min", "max"):
        return min(arguments) if function == "min" else max(arguments)
    try:
        return _FUNCTIONS[function](arguments[0])
    except ValueError:
        raise UndefinedError(f"log2 of {arguments[0]:g}") from None


def _finite(value: float, what: str) -> float:
    if not math.isfinite(value):
        raise UndefinedError(f"{what} is {value}, not a finite number")
    return value


def violation(node: Node, values: Mapping[str, Any]) -> float:
    """The signed relative violation of a checked condition. Raises UndefinedError."""
    match node:
        case Logic("and", operands):
            return max(violation(operand, values) for operand in operands)
        case Logic(_, operands):
            return _best(operands, values)
        case Unary("not", operand):
            return -violation(operand, values) or EPSILON
        case Flag(value):
            return -1.0 if value else 1.0
        case Name(name):
            if not isinstance(values.get(name), bool):
                raise UndefinedError(f"{name} is {values.get(name)!r}, neither true nor false")
            return -1.0 if values[name] else 1.0
        case Compare(op, left, right, numeric):
            if numeric:
                return _comparison(op, left, right, values)
            equal = _plain(left, values) == _plain(right, values)
            return -1.0 if equal == (op == "==") else 1.0
    raise UndefinedError("not a condition")


def _best(operands: tuple[Node, ...], values: Mapping[str, Any]) -> float:
    """The least violation; an operand without a value does not matter where another one holds."""
    found: list[float] = []
    missing: UndefinedError | None = None
    for operand in operands:
        try:
            found.append(violation(operand, values))
        except UndefinedError as error:
            missing = error
    if missing is not None and not any(v <= 0 for v in found):
        raise missing
    return min(found)


def _comparison(op: str, left: Node, right: Node, values: Mapping[str, Any]) -> float:
    a, b = number(left, values), number(right, values)
    distance = (a - b) / (abs(b) or 1.0)
    if not math.isfinite(distance):
        distance = math.copysign(1e300, a - b)
    match op:
        case "<=":
            return distance
        case ">=":
            return -distance if distance else 0.0
        case "<":
            return distance or EPSILON
        case ">":
            return -distance or EPSILON
        case "==":
            return 0.0 if math.isclose(a, b, rel_tol=1e-9) else abs(distance)
        case _:
            return EPSILON if math.isclose(a, b, rel_tol=1e-9) else -abs(distance)


def _plain(node: Node, values: Mapping[str, Any]) -> Any:
    if isinstance(node, Text | Flag):
        return node.value
    return values.get(node.name) if isinstance(node, Name) else violation(node, values) <= 0
