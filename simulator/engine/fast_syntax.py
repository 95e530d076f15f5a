"""Syntax trees of Python functions taken apart and put together: what `fast_flatten` needs."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable, Mapping
from types import CodeType
from typing import Any

Emit = Callable[["ast.expr | None"], "list[ast.stmt]"]  # what becomes of a value that a function returns


@functools.cache
def definition(code: CodeType) -> ast.FunctionDef:
    """The source of a function. Not to be changed."""
    found = ast.parse(textwrap.dedent(inspect.getsource(code))).body[0]
    assert isinstance(found, ast.FunctionDef)
    return found


def code_of(name: str, arguments: list[str], statements: list[ast.stmt], file: str) -> CodeType:
    """A function of these statements, compiled to bytecode."""
    module = ast.parse(f"def {name}({', '.join(arguments)}): pass")
    module.body[0].body = copied(statements)  # type: ignore[attr-defined]
    scope: dict[str, Any] = {}
    exec(compile(ast.fix_missing_locations(module), file, "exec"), scope)
    code: CodeType = scope[name].__code__
    return code


def copied(node: Any) -> Any:
    """As `copy.deepcopy` of a syntax tree, several times faster, without line numbers."""
    if isinstance(node, list):
        return [copied(one) for one in node]
    if not isinstance(node, ast.AST) or not node._fields:
        return node
    return type(node)(**{field: copied(getattr(node, field, None)) for field in node._fields})


def load(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def assign(name: str, value: ast.expr | None) -> ast.stmt:
    return ast.Assign([ast.Name(name, ast.Store())], value)  # type: ignore[arg-type]


def names(nodes: list[Any], *, stored: bool = False) -> set[str]:
    """Names in these trees; `stored`: only those that are assigned."""
    found = (node for top in nodes for node in ast.walk(top) if isinstance(node, ast.Name))
    return {node.id for node in found if not stored or isinstance(node.ctx, ast.Store)}


class Renamer(ast.NodeTransformer):
    """Puts expressions in place of names."""

    def __init__(self, replacements: Mapping[str, ast.expr]) -> None:
        self.replacements = replacements

    def visit_Name(self, node: ast.Name) -> ast.expr:
        new = self.replacements.get(node.id)
        if new is None:
            return node
        return ast.Name(new.id, node.ctx) if isinstance(new, ast.Name) else copied(new)


def without_aliases(statements: list[ast.stmt], constants: set[str]) -> list[ast.stmt]:
    """Variables that are but another name of one of `constants` are replaced by it."""
    stores: dict[str, int] = {}
    for top in statements:
        for node in ast.walk(top):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                stores[node.id] = stores.get(node.id, 0) + 1
    aliases: dict[str, ast.expr] = {}

    class Remover(ast.NodeTransformer):
        def visit_Assign(self, node: ast.Assign) -> ast.stmt | None:
            target, value = node.targets[0], node.value
            known = isinstance(value, ast.Name) and value.id in constants
            if known and isinstance(target, ast.Name) and stores[target.id] == 1:
                aliases[target.id] = value
                return None
            return node

    kept = [new for new in (Remover().visit(top) for top in statements) if new is not None]
    return [Renamer(aliases).visit(top) for top in kept]


def split(assignment: ast.Assign) -> list[ast.stmt]:
    """`a, b = c, d` as two assignments, where the first changes nothing that the second reads, and `a = b = c` as well."""
    target, value = assignment.targets[0], assignment.value
    if len(assignment.targets) > 1:
        simple = isinstance(value, ast.Name | ast.Constant)
        return [ast.Assign([one], copied(value)) for one in assignment.targets] if simple else [assignment]
    if not (isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)):
        return [assignment]
    for k, one in enumerate(target.elts):
        later = value.elts[k + 1 :]
        if isinstance(one, ast.Name):
            if one.id in names(later):
                return [assignment]
        elif any(isinstance(node, ast.Subscript | ast.Call) for top in later for node in ast.walk(top)):
            return [assignment]
    return [ast.Assign([one], its) for one, its in zip(target.elts, value.elts, strict=True)]


def known_test(test: ast.expr) -> bool | None:
    """Whether a condition of constants holds; None for one with anything else in it."""
    parts = [test.left, *test.comparators] if isinstance(test, ast.Compare) else [test]
    if not all(isinstance(part, ast.Constant) for part in parts):
        return None
    return bool(eval(compile(ast.fix_missing_locations(ast.Expression(test)), "", "eval")))


def emitter(statement: ast.stmt) -> Emit | None:
    """How a statement that consists of one call goes on with the value returned; None for statements of other kinds."""
    if isinstance(statement, ast.Expr):
        return lambda value: [ast.Expr(value)] if isinstance(value, ast.Call) else []
    if isinstance(statement, ast.Return):
        return lambda value: [ast.Return(value)]
    if isinstance(statement, ast.Assign):
        return lambda value: [ast.Assign(copied(statement.targets), value)]  # type: ignore[arg-type]
    if isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
        return lambda value: [ast.AugAssign(copied(statement.target), statement.op, value)]  # type: ignore[arg-type]
    return None


def with_returns(statements: list[ast.stmt], emit: Emit) -> list[ast.stmt] | None:
    """The statements with `emit` in place of every return. None where a return is not the last thing done on its way: inside
    a loop, or in a branch that returns only sometimes."""
    done: list[ast.stmt] = []
    for k, statement in enumerate(statements):
        if isinstance(statement, ast.Return):
            return done + emit(statement.value)
        if not any(isinstance(node, ast.Return) for node in ast.walk(statement)):
            done.append(statement)
            continue
        if not isinstance(statement, ast.If) or not _always_returns(statement.body):
            return None
        body, rest = with_returns(statement.body, emit), with_returns(statement.orelse + statements[k + 1 :], emit)
        if body is None or rest is None:
            return None
        return [*done, ast.If(statement.test, body or [ast.Pass()], rest)]
    return done


def _always_returns(statements: list[ast.stmt]) -> bool:
    last = statements[-1]
    if isinstance(last, ast.If):
        return bool(last.orelse) and _always_returns(last.body) and _always_returns(last.orelse)
    return isinstance(last, ast.Return)
