"""`when`: a condition over columns, row by row, of which nothing else can be made.

It is parsed as Python is, and each node of the few kinds that are known becomes a closure.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

LONGEST = 1000
_NAME = "[a-z][a-z0-9_]{0,31}"
_NUMBERED = re.compile(rf"""("[^"]*"|'[^']*')|\b({_NAME})\.(\d+)\b""")
_REFERENCE = re.compile(
    rf"""({_NAME})(?:\.(\*|\d+|[^\W\d]\w*)|\[(?:"([^"]+)"|'([^']+)')\])?"""
).fullmatch
EVERY = "*"

Row = Sequence[Any]
Value = Callable[[Row], Any]


class Reference(NamedTuple):
    """What a stage gave, or the request's "input": a column of it; "" is its only one or it whole,
    "*" all of them."""

    stage: str
    column: str = ""

    def __str__(self) -> str:
        if not self.column:
            return self.stage
        plain = self.column == EVERY or self.column.isdigit() or self.column.isidentifier()
        if plain:
            return f"{self.stage}.{self.column}"
        quote = "'" if '"' in self.column else '"'
        return f"{self.stage}[{quote}{self.column}{quote}]"


def reference(text: str) -> Reference:
    """`stage.column`, `stage["any name"]`, `stage.*` or `stage`. Raises ValueError."""
    found = _REFERENCE(text.strip())
    if found is None:
        raise ValueError(
            f'"{text}" is no reference. Write stage.column, stage["any name"], stage.* or stage.'
        )
    stage, *columns = found.groups()
    return Reference(stage, next(filter(None, columns), ""))


class Expression(NamedTuple):
    """holds(row): whether a row meets it; the row has the values of `references`, in order."""

    text: str
    references: tuple[Reference, ...]
    holds: Callable[[Row], bool]


def parse(text: str) -> Expression:
    """Raises ValueError with a sentence that says what is wrong with it."""
    if len(text) > LONGEST:
        raise ValueError(f"An expression may have {LONGEST} characters; this one has {len(text)}.")
    try:
        tree = ast.parse(_NUMBERED.sub(_subscripted, text.strip()), mode="eval").body
        builder = _Builder()
        value = builder.build(tree)
    except (SyntaxError, RecursionError, MemoryError):
        raise ValueError(f'"{text}" is not a complete expression.') from None
    return Expression(text, tuple(builder.places), lambda row: _true(value(row)))


def _subscripted(found: re.Match[str]) -> str:
    """`stage.0`, which Python would not read, as `stage["0"]`."""
    return found[1] or f'{found[2]}["{found[3]}"]'


class _Builder:
    """Makes closures of nodes, and gathers the references they read."""

    def __init__(self) -> None:
        self.places: dict[Reference, int] = {}

    def build(self, node: ast.expr) -> Value:
        build = self._known.get(type(node))
        if build is None:
            raise ValueError(f"{_shown(node)} is not possible in an expression.")
        made: Value = build(self, node)
        return made

    def _constant(self, node: ast.Constant) -> Value:
        value = node.value
        if not isinstance(value, (bool, int, float, str, type(None))):
            raise ValueError(f"{_shown(node)} is neither a number nor a text.")
        return lambda row: value

    def _name(self, node: ast.Name) -> Value:
        if node.id in _WORDS:
            word = _WORDS[node.id]
            return lambda row: word
        return self._refer(Reference(node.id))

    def _attribute(self, node: ast.Attribute) -> Value:
        return self._refer(self._column(node.value, node.attr, node))

    def _subscript(self, node: ast.Subscript) -> Value:
        name = node.slice.value if isinstance(node.slice, ast.Constant) else None
        if not isinstance(name, str):
            raise ValueError(f"{_shown(node)} names no column.")
        return self._refer(self._column(node.value, name, node))

    def _column(self, of: ast.expr, name: str, node: ast.expr) -> Reference:
        if not isinstance(of, ast.Name):
            raise ValueError(f"{_shown(node)} is no reference to a column of a stage.")
        return Reference(of.id, name)

    def _refer(self, wanted: Reference) -> Value:
        return operator.itemgetter(self.places.setdefault(wanted, len(self.places)))

    def _bool(self, node: ast.BoolOp) -> Value:
        parts = [self.build(one) for one in node.values]
        if isinstance(node.op, ast.And):
            return lambda row: all(_true(part(row)) for part in parts)
        return lambda row: any(_true(part(row)) for part in parts)

    def _unary(self, node: ast.UnaryOp) -> Value:
        inner = self.build(node.operand)
        if isinstance(node.op, ast.Not):
            return lambda row: not _true(inner(row))
        if isinstance(node.op, ast.USub):
            return _reckon(operator.neg, inner)
        raise ValueError(f"{_shown(node)} is not possible in an expression.")

    def _binary(self, node: ast.BinOp) -> Value:
        reckon = _SUMS.get(type(node.op))
        if reckon is None:
            raise ValueError(f"{_shown(node)}: only + - * / are possible.")
        return _reckon(reckon, self.build(node.left), self.build(node.right))

    def _call(self, node: ast.Call) -> Value:
        is_abs = isinstance(node.func, ast.Name) and node.func.id == "abs"
        if not is_abs or len(node.args) != 1 or node.keywords:
            raise ValueError(f"{_shown(node)}: only abs() of one value can be called.")
        return _reckon(abs, self.build(node.args[0]))

    def _compare(self, node: ast.Compare) -> Value:
        values = [self.build(node.left), *map(self._side, node.comparators)]
        tests = [_test(op, node) for op in node.ops]
        steps = list(zip(tests, values, values[1:]))
        return lambda row: all(test(left(row), right(row)) for test, left, right in steps)

    def _side(self, node: ast.expr) -> Value:
        """What is compared with: a value, or a list of them."""
        if not isinstance(node, (ast.List, ast.Tuple)):
            return self.build(node)
        values = [self.build(one) for one in node.elts]
        return lambda row: [value(row) for value in values]

    _known: dict[type, Callable[..., Value]] = {
        ast.Constant: _constant,
        ast.Name: _name,
        ast.Attribute: _attribute,
        ast.Subscript: _subscript,
        ast.BoolOp: _bool,
        ast.UnaryOp: _unary,
        ast.BinOp: _binary,
        ast.Call: _call,
        ast.Compare: _compare,
    }


def _shown(node: ast.expr) -> str:
    return f'"{ast.unparse(node)}"'


# Values: null and NaN are nothing; what cannot be reckoned is nothing; nothing is never true


def _absent(value: Any) -> bool:
    return value is None or value != value


def _true(value: Any) -> bool:
    return not _absent(value) and bool(value)


def _reckon(how: Callable[..., Any], *parts: Value) -> Value:
    """A sum of numbers; null where one is missing or no number."""

    def value(row: Row) -> Any:
        operands = [part(row) for part in parts]
        if not all(isinstance(one, (int, float)) for one in operands):
            return None
        try:
            return how(*operands)
        except ArithmeticError:
            return None

    return value


def _test(op: ast.cmpop, node: ast.expr) -> Callable[[Any, Any], bool]:
    listed = isinstance(op, (ast.In, ast.NotIn))
    if listed != any(isinstance(one, (ast.List, ast.Tuple)) for one in _sides(node)):
        raise ValueError(f"{_shown(node)}: `in` takes a list, and nothing else does.")
    if isinstance(op, (ast.Is, ast.IsNot)):
        return _nothing_test(op, node)
    compare = _COMPARISONS[type(op)]

    def test(left: Any, right: Any) -> bool:
        if _absent(left) or _absent(right):
            return False
        try:
            return bool(compare(left, right))
        except TypeError:
            return False

    return test


def _sides(node: ast.expr) -> list[ast.expr]:
    assert isinstance(node, ast.Compare)
    return node.comparators


def _nothing_test(op: ast.cmpop, node: ast.expr) -> Callable[[Any, Any], bool]:
    """`is null` and `is not null`."""
    if any(not isinstance(one, ast.Name) or one.id != "null" for one in _sides(node)):
        raise ValueError(f"{_shown(node)}: `is` can only be followed by null or not null.")
    if isinstance(op, ast.Is):
        return lambda left, _: _absent(left)
    return lambda left, _: not _absent(left)


_WORDS = {"true": True, "false": False, "null": None}
_SUMS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_COMPARISONS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}
