"""The small functions of a compiled engine written into one, before numba sees it.

What numba spends on a function hardly depends on its length, and a named tuple of arrays costs it more the wider it is, at
every use. So a kernel is flattened: calls give way to the body of the function called (its variables renamed), every field
of a record (`tables.linear_ns`) becomes an argument of its own (`tables_linear_ns`), constants of modules are written out,
and branches that they decide are left out. The source stays in small functions of whole records; it runs as it is where
nothing is compiled, and with the same results.

A call stays a call, of a function flattened likewise, where the callee is declared `apart`, where it returns from inside a
loop, or where several statements would have to go into the middle of an expression. Arguments are used where the callee
uses them: they must not have effects of their own.
"""

from __future__ import annotations

import ast
import builtins
import itertools
from collections.abc import Iterator, Sequence
from types import CodeType, FunctionType
from typing import Any, NamedTuple

from simulator.engine.fast_syntax import (
    Emit,
    Renamer,
    assign,
    code_of,
    copied,
    definition,
    emitter,
    known_test,
    load,
    names,
    split,
    with_returns,
    without_aliases,
)

_AS_RECORD = "record "  # no name in a source begins so


def apart(function: Any) -> Any:
    """Declares that calls of a function stay calls: it is long, and called from several places."""
    function.apart = True
    return function


class Flat(NamedTuple):
    """Plain data (it can be marshalled). `fields`: the (record, field) that are the arguments of `code`."""

    code: CodeType
    fields: tuple[tuple[str, str], ...]
    apart: tuple[tuple[str, CodeType], ...]  # functions that it calls: name, code


class _Body(NamedTuple):
    parameters: list[str]  # those that are not records
    statements: list[ast.stmt]
    fields: list[str]  # used


def flatten(function: FunctionType, name: str) -> Flat:
    """`function`, all of whose parameters are records (named tuples), and everything that it calls; called `name`."""
    flattener = _Flattener()
    parameters = function.__code__.co_varnames[: function.__code__.co_argcount]
    code, fields = flattener.code(function, parameters, name)
    return Flat(code, tuple(flattener.fields[field] for field in fields), tuple(flattener.apart.values()))


class _Flattener:
    def __init__(self) -> None:
        self.fields: dict[str, tuple[str, str]] = {}  # by the argument that stands for it
        self.callees: dict[str, Any] = {}  # functions by the name that they are called by
        self.apart: dict[Any, tuple[str, CodeType]] = {}
        self._bodies: dict[Any, _Body] = {}
        self._numbers = itertools.count()

    def code(self, function: FunctionType, records: Sequence[str | None], name: str) -> tuple[CodeType, list[str]]:
        """The flattened function and the fields that are its first arguments; `records`: the record that each parameter
        stands for, or None."""
        body = self.body(function, tuple(records))
        return code_of(name, body.fields + body.parameters, body.statements, function.__code__.co_filename), body.fields

    def body(self, function: FunctionType, records: tuple[str | None, ...]) -> _Body:
        if (function, records) not in self._bodies:
            self._bodies[function, records] = self._body(function, records)
        return self._bodies[function, records]

    def _body(self, function: FunctionType, records: tuple[str | None, ...]) -> _Body:
        tree = definition(function.__code__)
        given = {argument.arg: record for argument, record in zip(tree.args.args, records, strict=True)}
        first = tree.body[0]
        documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
        statements: list[ast.stmt] = copied(tree.body[1:] if documented else tree.body)
        local = {*given, *names(statements, stored=True)}
        resolver = _Resolver(self, function, {p: record for p, record in given.items() if record}, local)
        statements = self._block([resolver.visit(statement) for statement in statements])
        statements = without_aliases(statements, set(self.fields))
        if local & set(self.fields):
            raise NameError(f"{function.__name__}: {local & set(self.fields)} are names of fields")
        used = sorted(names(statements) & set(self.fields))
        return _Body([p for p, record in given.items() if not record], statements, used)

    def _block(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        return [new for statement in statements for new in self._statement(statement)]

    def _statement(self, statement: ast.stmt) -> Iterator[ast.stmt]:
        if isinstance(statement, ast.If):
            holds = known_test(statement.test)
            if holds is not None:
                yield from self._block(statement.body if holds else statement.orelse)
                return
        if isinstance(statement, ast.Assign):
            parts = split(statement)
            if len(parts) > 1:
                yield from self._block(parts)
                return
        _in_expressions(statement, _Substituter(self))
        if isinstance(statement, ast.If | ast.While | ast.For):
            if isinstance(statement, ast.If) and self._can_be_written_out(statement.test):
                result = f"holds__{next(self._numbers)}"
                yield from self._written_out(statement.test, lambda value: [assign(result, value)])
                statement.test = load(result)
            statement.body = self._block(statement.body) or [ast.Pass()]
            statement.orelse = self._block(statement.orelse)
        else:
            value, emit = getattr(statement, "value", None), emitter(statement)
            if emit is not None and self._can_be_written_out(value):
                yield from self._block(self._written_out(value, emit))
                return
        _in_expressions(statement, _Caller(self))
        yield statement

    def callee(self, call: Any) -> tuple[Any, _Body] | None:
        """The function called and its flattened body; None where it is not one of ours."""
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in self.callees):
            return None
        function = self.callees[call.func.id]
        return function, self.body(function, _records(call))

    def _can_be_written_out(self, call: Any) -> bool:
        found = self.callee(call)
        if found is None or _stays_apart(found[0]):
            return False
        return with_returns(found[1].statements, lambda value: []) is not None

    def _written_out(self, call: Any, emit: Emit) -> list[ast.stmt]:
        """The callee's statements in place of the call."""
        found = self.callee(call)
        assert found is not None
        body = found[1]
        assigned = names(body.statements, stored=True)
        new: list[ast.stmt] = []
        renamed: dict[str, ast.expr] = {}
        for parameter, argument in zip(body.parameters, _values(call), strict=True):
            if isinstance(argument, ast.Name | ast.Constant) and parameter not in assigned:
                renamed[parameter] = argument
            else:
                name = self._fresh(parameter)
                renamed[parameter] = load(name)
                new.append(assign(name, argument))
        for variable in sorted(assigned - set(body.parameters)):
            renamed[variable] = load(self._fresh(variable))
        statements = [Renamer(renamed).visit(statement) for statement in copied(body.statements)]
        return new + (with_returns(statements, emit) or [])

    def _fresh(self, name: str) -> str:
        return f"{name.partition('__')[0]}__{next(self._numbers)}"

    def call_apart(self, call: ast.Call) -> ast.Call:
        """The call, made one of a function of its own."""
        found = self.callee(call)
        assert found is not None
        function, body = found
        key = function, _records(call)
        if key not in self.apart:
            name = f"{function.__name__}__{next(self._numbers)}"
            code, _ = self.code(function, _records(call), name)
            self.apart[key] = name, code
        return ast.Call(load(self.apart[key][0]), [*map(load, body.fields), *_values(call)], [])


class _Resolver(ast.NodeTransformer):
    """Fields of records, constants and functions of the module under names of their own."""

    def __init__(self, flattener: _Flattener, function: FunctionType, records: dict[str, str], local: set[str]) -> None:
        self.flattener, self.function, self.records, self.local = flattener, function, records, local

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if isinstance(node.value, ast.Name) and node.value.id in self.records:
            record = self.records[node.value.id]
            self.flattener.fields[f"{record}_{node.attr}"] = record, node.attr
            return ast.Name(f"{record}_{node.attr}", node.ctx)
        self.generic_visit(node)
        return node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        scope = self.function.__globals__
        if node.id in self.records:
            return ast.Name(_AS_RECORD + self.records[node.id], node.ctx)
        if node.id in self.local or node.id == "np" or (node.id not in scope and hasattr(builtins, node.id)):
            return node
        if node.id not in scope:
            raise NameError(f"{self.function.__name__}: {node.id} is not defined")
        value = scope[node.id]
        if isinstance(value, bool | int | float):
            return ast.Constant(value)
        name = f"call {value.__module__}.{value.__name__}"
        self.flattener.callees[name] = value
        return ast.Name(name, node.ctx)


class _Substituter(ast.NodeTransformer):
    """Calls of functions that are one expression give way to it."""

    def __init__(self, flattener: _Flattener) -> None:
        self.flattener = flattener

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        found = self.flattener.callee(node)
        if found is None or _stays_apart(found[0]) or len(found[1].statements) != 1:
            return node
        only = found[1].statements[0]
        if not isinstance(only, ast.Return):
            return node
        arguments = dict(zip(found[1].parameters, _values(node), strict=True))
        uses = [name.id for name in ast.walk(only) if isinstance(name, ast.Name)]
        if any(not isinstance(a, ast.Name | ast.Constant) and uses.count(p) > 1 for p, a in arguments.items()):
            return node
        return Renamer(arguments).visit(copied(only.value))


class _Caller(ast.NodeTransformer):
    """Calls that are left become calls of flattened functions."""

    def __init__(self, flattener: _Flattener) -> None:
        self.flattener = flattener

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        return node if self.flattener.callee(node) is None else self.flattener.call_apart(node)


def _in_expressions(statement: ast.stmt, transformer: ast.NodeTransformer) -> None:
    """Transforms what a statement itself evaluates, not the statements inside."""
    for field in ("test", "iter", "value"):
        part = getattr(statement, field, None)
        if part is not None:
            setattr(statement, field, transformer.visit(part))
    for target in getattr(statement, "targets", [getattr(statement, "target", None)]):
        for one in target.elts if isinstance(target, ast.Tuple) else [target]:
            if isinstance(one, ast.Subscript):
                one.slice = transformer.visit(one.slice)


def _stays_apart(function: Any) -> bool:
    return getattr(function, "apart", False)


def _records(call: ast.Call) -> tuple[str | None, ...]:
    ids = [argument.id if isinstance(argument, ast.Name) else "" for argument in call.args]
    return tuple(name[len(_AS_RECORD) :] if name.startswith(_AS_RECORD) else None for name in ids)


def _values(call: ast.Call) -> list[ast.expr]:
    return [argument for argument, record in zip(call.args, _records(call), strict=True) if record is None]
