"""Whether answers are the same, row by row, and whether they are what was declared. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

WHOLE = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
FRACTIONS = ("float16", "float32", "float64")


class Tolerance(NamedTuple):
    """How far two numbers may lie apart: a share of the larger one, or so much in any case."""

    relative: float = 1e-6
    absolute: float = 1e-9

    def allows(self, one: float, other: float) -> bool:
        if math.isnan(one) or math.isnan(other):
            return math.isnan(one) and math.isnan(other)
        return math.isclose(one, other, rel_tol=self.relative, abs_tol=self.absolute)


class Difference(NamedTuple):
    """One place where what was got is not what was wanted.

    path: where in the row, such as `label` or `scores[2]`; empty for the row itself.
    kind: changed, missing (only wanted has it), more (only got has it).
    """

    path: str
    kind: str
    wanted: Any = None
    got: Any = None


def differences(
    wanted: Any, got: Any, tolerance: Tolerance, path: str = ""
) -> Iterator[Difference]:
    """All places where two values differ.

    Numbers within the tolerance are the same, but two whole numbers only when equal: they may be
    the names of classes. NaN is NaN. Texts, truths and null are the same when equal.
    """
    if isinstance(wanted, dict) and isinstance(got, dict):
        yield from _of_tables(wanted, got, tolerance, path)
    elif isinstance(wanted, list) and isinstance(got, list):
        yield from _of_lists(wanted, got, tolerance, path)
    elif not _same(wanted, got, tolerance):
        yield Difference(path, "changed", wanted, got)


def _of_tables(
    wanted: Mapping[str, Any], got: Mapping[str, Any], tolerance: Tolerance, path: str
) -> Iterator[Difference]:
    for key in dict.fromkeys((*wanted, *got)):
        inner = f"{path}.{key}" if path else key
        if key not in got:
            yield Difference(inner, "missing", wanted=wanted[key])
        elif key not in wanted:
            yield Difference(inner, "more", got=got[key])
        else:
            yield from differences(wanted[key], got[key], tolerance, inner)


def _of_lists(
    wanted: Sequence[Any], got: Sequence[Any], tolerance: Tolerance, path: str
) -> Iterator[Difference]:
    for place in range(max(len(wanted), len(got))):
        inner = f"{path}[{place}]"
        if place >= len(got):
            yield Difference(inner, "missing", wanted=wanted[place])
        elif place >= len(wanted):
            yield Difference(inner, "more", got=got[place])
        else:
            yield from differences(wanted[place], got[place], tolerance, inner)


def _same(wanted: Any, got: Any, tolerance: Tolerance) -> bool:
    if _number(wanted) and _number(got):
        if isinstance(wanted, int) and isinstance(got, int):
            return wanted == got
        return tolerance.allows(wanted, got)
    return type(wanted) is type(got) and bool(wanted == got)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def rows_of(answer: Any) -> list[Any]:
    """The rows of an answer to `/score`: those of a list, columns as records, else one."""
    held = answer.get("predictions", answer) if isinstance(answer, dict) else answer
    if isinstance(held, list):
        return held
    if isinstance(held, dict) and held and all(isinstance(each, list) for each in held.values()):
        lengths = {len(column) for column in held.values()}
        if len(lengths) == 1:
            return [{name: held[name][row] for name in held} for row in range(lengths.pop())]
    return [held]


def compare(wanted: Any, got: Any, tolerance: Tolerance, most: int = 5) -> dict[str, Any]:
    """Two answers, row by row: {"rows", "differ", "first": the first differing rows in full}.

    A row in "first": {"row" (from 1), "path", "kind", "wanted", "got", "places" (how many)}.
    """
    before, after = rows_of(wanted), rows_of(got)
    count = max(len(before), len(after))
    first: list[dict[str, Any]] = []
    differ = 0
    for place in range(count):
        found = list(_row(before, after, place, tolerance))
        if not found:
            continue
        differ += 1
        if len(first) < most:
            first.append({"row": place + 1, "places": len(found), **found[0]._asdict()})
    return {"rows": count, "differ": differ, "first": first}


def _row(
    before: Sequence[Any], after: Sequence[Any], place: int, tolerance: Tolerance
) -> Iterator[Difference]:
    if place >= len(after):
        yield Difference("", "missing", wanted=before[place])
    elif place >= len(before):
        yield Difference("", "more", got=after[place])
    else:
        yield from differences(before[place], after[place], tolerance)


def misfits(declared: Mapping[str, Mapping[str, Any]], answer: Any) -> list[str]:
    """What of an answer is not as `[schema] outputs` declares it, a sentence for each output."""
    said = []
    for name, field in declared.items():
        for row, held in enumerate(rows_of(answer), 1):
            if isinstance(held, dict) and name not in held:
                said.append(f'Row {row} has no "{name}", which [schema] declares.')
                break
            value = held[name] if isinstance(held, dict) else held
            if len(declared) > 1 and not isinstance(held, dict):
                said.append(f'Row {row} is no record, and [schema] declares "{name}" of it.')
                break
            if wrong := _misfit(field, value):
                said.append(f'"{name}" of row {row} {wrong}.')
                break
    return said


def _misfit(field: Mapping[str, Any], value: Any) -> str:
    if isinstance(value, list) and field["type"] != "json":
        return next((wrong for each in value if (wrong := _misfit(field, each))), "")
    if value is None:
        return "is null" if field.get("nullable") is False else ""
    if not _is(field["type"], value):
        return f"is {_said(value)}, and [schema] declares {field['type']}"
    if field.get("values") and value not in field["values"]:
        return f"is {_said(value)}, which is not one of the values in [schema]"
    if _number(value) and not field.get("min", -math.inf) <= value <= field.get("max", math.inf):
        return f"is {_said(value)}, beyond the bounds in [schema]"
    return ""


def _is(kind: str, value: Any) -> bool:
    if kind in WHOLE:
        return _number(value) and float(value).is_integer()
    if kind in FRACTIONS:
        return _number(value)
    if kind == "bool":
        return isinstance(value, bool)
    return kind in ("json", "category") or isinstance(value, str)


def _said(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else shown[:39] + "…"
