"""The grammar of the expression language: text in, tree out. Nothing is ever executed.

    or:      and ("or" and)*                  comparison: sum (("<=" | "<" | ">=" | ">" | "==" | "!=") sum)*
    and:     not ("and" not)*                 sum:        product (("+" | "-") product)*
    not:     "not" not | comparison           product:    sign (("*" | "/" | "//" | "%") sign)*
    sign:    ("-" | "+") sign | power         power:      atom ("**" sign)?
    atom:    NUMBER unit? | 'text' | true | false | name | function "(" or ("," or)* ")" | "(" or ")"
    unit:    UNIT (("**" | "^") NUMBER)? (("*" | "/") unit)?      e.g. `2 s`, `1.5 TB/s`, `10 USD/h`, `99 %`, `800 mm^2`

A name is a metric (`ttft_p99`), a parameter's short name, or a dotted design key (`hardware.npu.array[0]`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn

from simulator.design.units import unit_scale
from simulator.inputs.errors import InputError, nearest

MAX_LENGTH, MAX_TOKENS, MAX_DEPTH = 1000, 300, 30
FUNCTIONS = ("abs", "ceil", "floor", "log2", "max", "min")
KEYWORDS = ("and", "or", "not", "true", "false")
COMPARISONS = ("<=", ">=", "==", "!=", "<", ">")


@dataclass(frozen=True)
class Number:
    value: float
    unit: str = ""


@dataclass(frozen=True)
class Text:
    value: str


@dataclass(frozen=True)
class Flag:
    value: bool


@dataclass(frozen=True)
class Name:
    name: str
    scale: float = 1.0  # stored unit -> base unit; set when the tree is checked


@dataclass(frozen=True)
class Unary:
    op: Literal["-", "not"]
    operand: Node


@dataclass(frozen=True)
class Binary:
    op: str
    left: Node
    right: Node


@dataclass(frozen=True)
class Compare:
    op: str
    left: Node
    right: Node
    numeric: bool = True  # else text or flags; set when the tree is checked


@dataclass(frozen=True)
class Logic:
    op: Literal["and", "or"]
    operands: tuple[Node, ...]


@dataclass(frozen=True)
class Call:
    function: str
    arguments: tuple[Node, ...]


Node = Number | Text | Flag | Name | Unary | Binary | Compare | Logic | Call

_TOKEN = re.compile(
    r"(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<name>\$|[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*(?:\[[0-9]{1,3}\])?)"
    r"|(?P<text>'[^'\"\\]*'|\"[^'\"\\]*\")"
    r"|(?P<op><=|>=|==|!=|\*\*|//|[-+*/%<>(),^])")


def is_unit(text: str) -> bool:
    """Whether a word is a unit's name."""
    try:
        unit_scale(text)
    except InputError:
        return False
    return True


def parse(text: str, is_name: Callable[[str], bool]) -> Node:
    """The tree of `text`. `is_name` tells names from units where both could stand (`2 s / ttft_p99`).

    Raises InputError for anything outside the grammar, and for texts that are too long or too deep.
    """
    return _Parser(text, is_name).parse()


def _tokens(text: str) -> list[tuple[str, str]]:
    if len(text) > MAX_LENGTH:
        raise InputError(f"the expression is longer than {MAX_LENGTH} characters")
    tokens: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        if text[at] in " \t\r\n":
            at += 1
            continue
        match = _TOKEN.match(text, at)
        if match is None:
            raise InputError(f"{_shown(text[at])} cannot stand in an expression{_hint(text, at)}")
        tokens.append((str(match.lastgroup), match.group()))
        at = match.end()
        if len(tokens) > MAX_TOKENS:
            raise InputError(f"the expression has more than {MAX_TOKENS} parts")
    return tokens


def _shown(character: str) -> str:
    return f"'{character}'" if character.isascii() and character.isprintable() else f"the character {character!a}"


def _hint(text: str, at: int) -> str:
    if text[at] == "=":
        return " (compare with '==')"
    if text[at] in "&|!":
        return " (write 'and', 'or', 'not')"
    return " (expressions know numbers with units, names, + - * / // % **, comparisons, and/or/not, " \
           f"{'/'.join(FUNCTIONS)} and parentheses)"


class _Parser:
    """Recursive descent, one method per rule of the grammar."""

    def __init__(self, text: str, is_name: Callable[[str], bool]) -> None:
        self.text, self.tokens, self.at, self.depth, self.is_name = text, _tokens(text), 0, 0, is_name

    def parse(self) -> Node:
        if not self.tokens:
            raise InputError("the expression is empty")
        tree = self.disjunction()
        if self.at < len(self.tokens):
            self.unexpected()
        return tree

    def peek(self, ahead: int = 0) -> str:
        """The token's text; quoted text is returned with its quotes, so it can never be taken for a keyword."""
        return self.tokens[self.at + ahead][1] if self.at + ahead < len(self.tokens) else ""

    def kind(self, ahead: int = 0) -> str:
        return self.tokens[self.at + ahead][0] if self.at + ahead < len(self.tokens) else ""

    def take(self, *wanted: str) -> str:
        """The next token if it is one of `wanted`, else ''."""
        if (token := self.peek()) in wanted and token:
            self.at += 1
            return token
        return ""

    def unexpected(self) -> NoReturn:
        if self.peek() == "^":
            raise InputError("'^' cannot stand in an expression (powers are written '**')")
        before = " ".join(token for _, token in self.tokens[max(0, self.at - 3):self.at])
        where = f" after '{before}'" if before else ""
        raise InputError(f"unexpected '{self.peek()}'{where}" if self.peek() else f"the expression stops{where}")

    def disjunction(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise InputError(f"the expression is nested deeper than {MAX_DEPTH} levels")
        node = self.joined("or", lambda: self.joined("and", self.negation))
        self.depth -= 1
        return node

    def joined(self, op: Literal["and", "or"], part: Callable[[], Node]) -> Node:
        operands = [part()]
        while self.take(op):
            operands.append(part())
        return operands[0] if len(operands) == 1 else Logic(op, tuple(operands))

    def chain(self, operators: Sequence[str], part: Callable[[], Node]) -> Node:
        left = part()
        while op := self.take(*operators):
            left = Binary(op, left, part())
        return left

    def negation(self) -> Node:
        if self.take("not"):
            return Unary("not", self.negation())
        return self.comparison()

    def comparison(self) -> Node:
        left = self.sum()
        parts: list[Node] = []
        while op := self.take(*COMPARISONS):
            right = self.sum()
            parts.append(Compare(op, left, right))
            left = right
        if not parts:
            return left
        return parts[0] if len(parts) == 1 else Logic("and", tuple(parts))

    def sum(self) -> Node:
        return self.chain(("+", "-"), lambda: self.chain(("*", "/", "//", "%"), self.sign))

    def sign(self) -> Node:
        minus = False
        while op := self.take("-", "+"):
            minus ^= op == "-"
        operand = self.power()
        return Unary("-", operand) if minus else operand

    def power(self) -> Node:
        base = self.atom()
        return Binary("**", base, self.sign()) if self.take("**") else base

    def atom(self) -> Node:
        kind, token = self.kind(), self.peek()
        self.at += 1
        if kind == "number":
            return Number(float(token), self.unit())
        if kind == "text":
            return Text(token[1:-1])
        if token in ("true", "false"):
            return Flag(token == "true")
        if kind == "name" and token not in KEYWORDS:
            return self.call(token) if self.peek() == "(" else Name(token)
        if token == "(":
            inner = self.disjunction()
            if not self.take(")"):
                self.unexpected()
            return inner
        self.at -= 1
        return self.unexpected()

    def call(self, function: str) -> Node:
        if function not in FUNCTIONS:
            raise InputError(f"unknown function '{function}'; {nearest(function, FUNCTIONS)}")
        self.take("(")
        arguments = [self.disjunction()]
        while self.take(","):
            arguments.append(self.disjunction())
        if not self.take(")"):
            self.unexpected()
        return Call(function, tuple(arguments))

    def unit(self) -> str:
        """The unit after a number, '' if there is none."""
        if self.peek() == "%" and self.kind(1) not in ("number", "name") and self.peek(1) not in ("(", "-", "+"):
            self.at += 1
            return "%"
        if self.kind() != "name" or self.peek() in KEYWORDS:
            return ""
        unit = self.unit_factor()
        while self.peek() in ("*", "/") and self.kind(1) == "name" and self._continues(self.peek(1)):
            unit += self.take("*", "/")
            unit += self.unit_factor()
        return unit

    def unit_factor(self) -> str:
        factor = self.peek()
        unit_scale(factor)
        self.at += 1
        if self.peek() in ("**", "^") and self.kind(1) == "number":
            factor += "**" + self.peek(1)
            self.at += 2
        return factor

    def _continues(self, name: str) -> bool:
        return not self.is_name(name) and name not in (*FUNCTIONS, *KEYWORDS) and is_unit(name)
