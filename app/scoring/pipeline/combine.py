"""What several stages gave made into one: mean, weighted, vote, first, concat. Pure."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import repeat
from math import prod
from operator import mul
from typing import Any

from ..inputs import OBJECT
from ..outputs import Column, Outputs, unpack
from . import table
from .graph import Stage
from .table import Held, Unfit

Branch = dict[str, Column]
PIECE = 1 << 12
_NUMBERS = (int, float, type(None))


def combine(stage: Stage, held: Mapping[str, Held], count: int) -> Held:
    """What the stage gives. held: of those in its `after` that there are. Raises Unfit."""
    if stage.combine == "concat":
        return _concat(held, count)
    groups = _groups(held, count)
    merge = partial(_merged, stage)
    if len(groups) == 1:
        ((names, rows),) = groups.items()
        chosen = rows if len(rows) < count else None
        return Held(merge({one: table.at(held[one], chosen) for one in names}), chosen)
    pieces = [
        merge({one: table.at(held[one], rows) for one in names}) for names, rows in groups.items()
    ]
    rows = [row for group in groups.values() for row in group]
    if not rows:
        return Held(Outputs("json", []), ())
    order = sorted(range(len(rows)), key=rows.__getitem__)
    whole = table.take(_stacked(pieces), order)
    return Held(whole, None if len(rows) == count else sorted(rows))


def _groups(held: Mapping[str, Held], count: int) -> dict[tuple[str, ...], Sequence[int]]:
    """The rows by which stages have them; those that none has are in no group."""
    if all(one.rows is None for one in held.values()):
        return {tuple(held): range(count)}
    having: list[tuple[str, ...]] = [()] * count
    for name, one in held.items():
        for row in range(count) if one.rows is None else one.rows:
            having[row] += (name,)
    groups: dict[tuple[str, ...], list[int]] = {}
    for row, names in enumerate(having):
        if names:
            groups.setdefault(names, []).append(row)
    return dict(groups)


def _merged(stage: Stage, given: Mapping[str, Outputs]) -> Outputs:
    """The outputs of several stages, all of the same rows, element by element."""
    if stage.combine == "first":
        return next(iter(given.values()))
    branches = {name: table.parts(outputs) for name, outputs in given.items()}
    _check_alike(branches)
    weights = dict(zip(stage.after, stage.weights or [1.0] * len(stage.after)))
    merge = partial(_mean, weights) if stage.combine != "vote" else _vote
    first = next(iter(branches.values()))
    made = {
        name: merge({stage: branch[name] for stage, branch in branches.items()}) for name in first
    }
    return _as_outputs(made)


def _check_alike(branches: Mapping[str, Branch]) -> None:
    """Raises Unfit when they differ in names or shapes, naming two that do."""
    (first, wanted), *others = branches.items()
    for name, branch in others:
        if list(branch) != list(wanted) and set(branch) != set(wanted):
            raise Unfit(f'"{first}" gave {_shown(wanted)}, "{name}" {_shown(branch)}.')
        for title, column in branch.items():
            one, other = tuple(wanted[title].shape[1:]), tuple(column.shape[1:])
            if one != other:
                raise Unfit(f'"{first}" gave {_values(one)} a row, "{name}" {_values(other)}.')


def _shown(branch: Branch) -> str:
    return "no names" if list(branch) == [""] else f"the columns {', '.join(branch)}"


def _values(shape: tuple[int, ...]) -> str:
    return "1 value" if not shape else f"{' × '.join(map(str, shape))} values"


def _as_outputs(made: Branch) -> Outputs:
    rows = next(iter(made.values())).shape[0] if made else 0
    if list(made) != [""]:
        return table.table_of(made, rows)
    column = made[""]
    return Outputs("json", column.rows()) if column.code == OBJECT else table.array_of(column)


# Element by element


def _mean(weights: Mapping[str, float], columns: Mapping[str, Column]) -> Column:
    """Of numbers; those of a stage that are null do not count, NaN stays NaN."""
    shares = [weights[name] for name in columns]
    shape = next(iter(columns.values())).shape
    total = sum(shares)
    if not total:
        return table.listed([None] * shape[0])
    if any(column.code == OBJECT for column in columns.values()):
        lists = [_numbers(name, column) for name, column in columns.items()]
        return table.packed([_mean_of(shares, values) for values in zip(*lists)])
    parts = [share / total for share in shares]
    return Column("d", _mean_of_numbers(parts, list(columns.values())), shape)


def _mean_of_numbers(parts: Sequence[float], columns: Sequence[Column]) -> bytes:
    """Piece by piece, so that no single step keeps other threads from running for long."""
    views = [_flat(column) for column in columns]
    means = array("d")
    for start in range(0, len(views[0]), PIECE):
        pieces = [list(view[start : start + PIECE]) for view in views]
        scaled = [map(mul, piece, repeat(part)) for piece, part in zip(pieces, parts)]
        means.extend(map(sum, zip(*scaled)))
    return means.tobytes()


def _mean_of(shares: Sequence[float], values: Sequence[Any]) -> float | None:
    there = [(share, value) for share, value in zip(shares, values) if value is not None]
    total = sum(share for share, _ in there)
    return sum(share * value for share, value in there) / total if total else None


def _numbers(stage: str, column: Column) -> list[Any]:
    values = column.rows()
    if column.code == OBJECT and not set(map(type, values)) <= {*_NUMBERS}:
        raise Unfit(f'"{stage}" gave values that are no numbers.')
    return values


def _flat(column: Column) -> Any:
    """All its numbers, row by row, as something that can be sliced."""
    if column.code == "e":
        return unpack("e", column.data, (prod(column.shape),))
    code: Any = column.code
    return memoryview(column.data).cast("B").cast(code)


def _vote(columns: Mapping[str, Column]) -> Column:
    """The most frequent value of each row; of several, that of the earliest stage."""
    if any(len(column.shape) > 1 for column in columns.values()):
        raise Unfit("A vote is about one value a row; these stages gave several.")
    rows = zip(*(column.rows() for column in columns.values()))
    return table.packed([_winner(values) for values in rows])


def _winner(values: Sequence[Any]) -> Any:
    there = [value for value in values if value is not None]
    try:
        return Counter(there).most_common(1)[0][0] if there else None
    except TypeError:
        raise Unfit("A vote is about labels; these are lists or objects.") from None


# Below each other, and side by side


def _stacked(pieces: Sequence[Outputs]) -> Outputs:
    """The rows of all, in order."""
    branches = [table.parts(outputs) for outputs in pieces]
    _check_alike({str(number): branch for number, branch in enumerate(branches)})
    return _as_outputs({name: _below([one[name] for one in branches]) for name in branches[0]})


def _below(columns: Sequence[Column]) -> Column:
    rows = sum(column.shape[0] for column in columns)
    if len({column.code for column in columns}) == 1 and columns[0].code != OBJECT:
        data = b"".join(column.data for column in columns)
        return Column(columns[0].code, data, (rows, *columns[0].shape[1:]))
    return table.listed([value for column in columns for value in column.rows()])


def _concat(held: Mapping[str, Held], count: int) -> Held:
    """The columns of all; a row that one has not is null there."""
    found = []
    for stage, one in held.items():
        if one.outputs.rows == 0 and one.outputs.kind == "json":
            continue  # what columns it would have is not known
        outputs = one.outputs if one.rows is None else table.spread(one.outputs, one.rows, count)
        columns = table.named(outputs, stage)
        found += [(stage, name, column) for name, column in columns.items()]
    return Held(table.table_of(table.joined(found), count))
