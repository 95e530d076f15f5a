"""The type check of an expression: numbers with dimensions, texts with their possible values, conditions."""

from __future__ import annotations

import math
from collections.abc import Mapping

from simulator.design.units import unit_dimension, unit_scale
from simulator.inputs.errors import InputError, nearest
from sweeper.space.expressions import evaluation
from sweeper.space.expressions.grammar import Binary, Call, Compare, Flag, Logic, Name, Node, Number, Text, Unary, is_unit
from sweeper.space.expressions.symbols import Symbol, lookup

MAX_EXPONENT = 16

Dimension = tuple[tuple[str, float], ...]
_BASE_UNITS = {"[time]": "s", "[information]": "B", "[operation]": "FLOP", "[token]": "tokens",
               "[request]": "requests", "[money]": "USD", "[energy]": "J", "[length]": "m"}


def base_unit(dimension: Dimension) -> str:
    """A dimension as text: (('[information]', 1), ('[time]', -1)) -> 'B/s'."""
    above = [_power(name, power) for name, power in dimension if power > 0]
    below = [_power(name, -power) for name, power in dimension if power < 0]
    if not below:
        return "*".join(above)
    return ("*".join(above) or "1") + "".join(f"/{part}" for part in below)


def _power(name: str, power: float) -> str:
    return _BASE_UNITS.get(name, name) + ("" if power == 1 else f"**{power:g}")


_NONE: Dimension = ()
Checked = tuple[Node, str, Dimension]


class Checker:
    """Types and dimensions, bottom up; returns the tree with units and scales resolved to base units."""

    def __init__(self, symbols: Mapping[str, Symbol], aliases: Mapping[str, str]) -> None:
        self.symbols, self.aliases, self.names = symbols, aliases, set[str]()

    def known(self, name: str) -> bool:
        return name in self.symbols or name in self.aliases

    def check(self, node: Node) -> Checked:
        match node:
            case Number(value, unit):
                if not math.isfinite(value):
                    raise InputError("a number is too large")
                return Number(value * unit_scale(unit)[0] if unit else value), "number", unit_dimension(unit)
            case Text():
                return node, "text", _NONE
            case Flag():
                return node, "flag", _NONE
            case Name(name):
                return self.name(name)
            case Unary("not", operand):
                return Unary("not", self.flag(operand)), "flag", _NONE
            case Unary(op, operand):
                tree, dimension = self.number(operand)
                return _folded(Unary(op, tree)), "number", dimension
            case Logic(op, operands):
                return Logic(op, tuple(self.flag(o) for o in operands)), "flag", _NONE
            case Binary(op, left, right):
                return self.arithmetic(op, left, right)
            case Compare(op, left, right):
                return self.comparison(op, left, right)
            case Call(function, arguments):
                return self.call(function, arguments)

    def name(self, name: str) -> Checked:
        target = self.aliases.get(name, name)
        if target not in self.symbols and is_unit(target):
            raise InputError(f"the unit '{target}' stands without a number; write '1 {target}'")
        symbol = lookup(target, {**self.symbols, **dict.fromkeys(self.aliases, Symbol("number"))}
                        if target not in self.symbols else self.symbols)
        if symbol.kind == "list":
            raise InputError(f"'{target}' is a list; name an element, for example '{target}[0]'")
        if symbol.kind == "record":
            parts = [s for s in self.symbols if s.startswith(f"{target}.")]
            raise InputError(f"'{target}' is a mapping; name one of its keys, for example '{parts[0]}'")
        self.names.add(target)
        scale = unit_scale(symbol.unit)[0] if symbol.unit else 1.0
        return Name(target, scale), symbol.kind, unit_dimension(symbol.unit) if symbol.unit else _NONE

    def number(self, node: Node) -> tuple[Node, Dimension]:
        tree, kind, dimension = self.check(node)
        if kind != "number":
            raise InputError(f"arithmetic needs numbers, but {_label(node)} is {_KIND[kind]}")
        return tree, dimension

    def flag(self, node: Node) -> Node:
        tree, kind, _ = self.check(node)
        if kind != "flag":
            raise InputError(f"and/or/not join conditions, but {_label(node)} is {_KIND[kind]}")
        return tree

    def arithmetic(self, op: str, left: Node, right: Node) -> Checked:
        a, da = self.number(left)
        b, db = self.number(right)
        if op == "**":
            exponent = b.value if isinstance(b, Number) else None
            if exponent is None or db or abs(exponent) > MAX_EXPONENT:
                raise InputError(f"the exponent of ** must be a plain number of at most {MAX_EXPONENT}")
            return _folded(Binary(op, a, b)), "number", tuple((n, p * exponent) for n, p in da if exponent)
        if op in ("*", "/"):
            return _folded(Binary(op, a, b)), "number", _product(da, db, 1 if op == "*" else -1)
        _same(da, db, op)
        return _folded(Binary(op, a, b)), "number", _NONE if op == "//" else da

    def comparison(self, op: str, left: Node, right: Node) -> Checked:
        self._quoted(left, right)
        self._quoted(right, left)
        (a, kind_a, da), (b, kind_b, db) = self.check(left), self.check(right)
        if kind_a != kind_b:
            raise InputError(f"'{op}' compares {_KIND[kind_a]} with {_KIND[kind_b]}")
        if kind_a == "number":
            _same(da, db, op)
        elif op not in ("==", "!="):
            raise InputError(f"{_KIND[kind_a]} can only be compared with == or !=")
        for name, text in ((a, b), (b, a)):
            if isinstance(name, Name) and isinstance(text, Text):
                self._one_of(name.name, text.value)
        return Compare(op, a, b, kind_a == "number"), "flag", _NONE

    def _one_of(self, name: str, text: str) -> None:
        choices = self.symbols[name].choices
        if choices is not None and text not in choices:
            raise InputError(f"{name} is never '{text[:40]}'; {nearest(text, choices)}")

    def _quoted(self, text: Node, name: Node) -> None:
        """Helps with `placement != none`: a word without quotes where the other side is text."""
        if isinstance(text, Name) and isinstance(name, Name) and not self.known(text.name):
            symbol = self.symbols.get(self.aliases.get(name.name, name.name))
            if symbol is not None and symbol.kind == "text":
                raise InputError(f"text needs quotes: write '{text.name}' between quotation marks")

    def call(self, function: str, arguments: tuple[Node, ...]) -> Checked:
        many = function in ("min", "max")
        if (len(arguments) < 2) if many else (len(arguments) != 1):
            raise InputError(f"{function}() takes {'at least two values' if many else 'one value'}, "
                             f"got {len(arguments)}")
        checked = [self.number(argument) for argument in arguments]
        for _, dimension in checked[1:]:
            _same(checked[0][1], dimension, function)
        if function in ("ceil", "floor", "log2") and checked[0][1]:
            raise InputError(f"{function}() needs a number without unit, got one in {base_unit(checked[0][1])}; "
                             f"divide by a quantity first")
        return _folded(Call(function, tuple(tree for tree, _ in checked))), "number", checked[0][1]


_KIND = {"number": "a number", "text": "text", "flag": "a condition"}


def _label(node: Node) -> str:
    match node:
        case Name(name):
            return f"'{name}'"
        case Text(value):
            return f"'{value}'"
        case Number(value, unit):
            return f"'{value:g}{' ' + unit if unit else ''}'"
        case Compare(op):
            return f"the comparison '{op}'"
        case _:
            return "one side"


def _folded(node: Unary | Binary | Call) -> Node:
    """A number where all operands are numbers, so that `1 / 0` is found when the expression is read."""
    operands = (node.operand,) if isinstance(node, Unary) else (node.left, node.right) \
        if isinstance(node, Binary) else node.arguments
    if not all(isinstance(operand, Number) for operand in operands):
        return node
    try:
        return Number(evaluation.number(node, {}))
    except evaluation.UndefinedError as error:
        raise InputError(str(error)) from None


def _product(a: Dimension, b: Dimension, sign: int) -> Dimension:
    powers = dict(a)
    for name, power in b:
        powers[name] = powers.get(name, 0.0) + sign * power
    return tuple(sorted((name, power) for name, power in powers.items() if power))


def _same(a: Dimension, b: Dimension, op: str) -> None:
    if a != b:
        left, right = (base_unit(d) or "a plain number" for d in (a, b))
        hint = f"; write a number with its unit, as in '1 {base_unit(a or b)}'" if not a or not b else ""
        raise InputError(f"'{op}' joins {left} with {right}: the units do not match{hint}")
