"""What a version was made from: a table of training data, kept as a summary of each column.

What instances are asked later is held against it (`moved.py`). The table itself stays where it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import msgspec

from app.errors import Problem
from app.models import Event, Model, Version
from app.scoring import summaries
from app.scoring.columns import Wrong, microseconds
from app.scoring.schema import DATATYPES
from app.services import history, parquet, trials, versions
from app.services.scoring import TICK, batches, opened
from app.services.tables import Row, Wanted, kind_of

if TYPE_CHECKING:
    from app.workspace import Workspace

BATCH_ROWS = 2000
Values = list[Any]


def record(work: Workspace, what: str, data: Path, target: Sequence[str] = ()) -> Iterator[Event]:
    """Keep with a version, the newest unless one is named, what its training data were like.

    target: columns of the table that the model is not given. The result: {"model", "version",
    "source", "rows", "bad": rows that cannot be read, "columns": {name: summary}}.
    """
    model, version = _version(work, what)
    program = parquet.tool(work) if kind_of(data, packed=True) == "parquet" else []
    gathered = Gathered(version, target)
    words = f"Read {data.name}"
    yield Event("step", words)
    with closing(opened(data, Wanted(datatypes=_datatypes(version, target)), program)) as table:
        shown = 0.0
        for batch in batches(table.rows(), BATCH_ROWS):
            gathered.add(batch)
            if monotonic() - shown > TICK:
                shown = monotonic()
                yield Event("progress", f"{gathered.rows:,} rows", table.done, table.total)
    yield Event("done", words)
    _check(version, data, gathered)
    columns = gathered.columns()
    with work.open_store() as store:
        kept = store.training.keep(version, data.name, gathered.rows, columns)
        history.note(
            store, "record reference", model.name, version=version.number, detail=data.name
        )
    said = {"model": model.name, "version": kept.version, "source": kept.source, "rows": kept.rows}
    yield Event(
        "result",
        f"{model.name} v{kept.version} is known to be made from {kept.rows:,} rows of "
        f"{len(columns)} columns. rhythmicml monitor {model.name} shows what has moved since.",
        data={**said, "bad": gathered.bad, "columns": columns},
    )


def _version(work: Workspace, what: str) -> tuple[Model, Version]:
    model, number = trials.chosen(work, what)
    with work.open_store() as store:
        return versions.find(store, f"{model.name}@{number}" if number else model.name)


def _inputs(version: Version) -> dict[str, str]:
    """Name → type of the columns that it takes, where they are known."""
    schema = version.schema or {}
    known = schema.get("inputs", []) if schema.get("kind") == "columns" else []
    return {each["name"]: each["type"] for each in known}


def _datatypes(version: Version, target: Sequence[str]) -> dict[str, str]:
    known = _inputs(version).items()
    return {name: DATATYPES.get(kind, "BYTES") for name, kind in known if name not in target}


class Gathered:
    """Summaries of columns, as rows come. bad: rows that cannot be read."""

    def __init__(self, version: Version, target: Sequence[str]) -> None:
        self.rows = self.bad = 0
        self._target = set(target)
        self._redact = set(version.configuration.log.get("redact", ()))
        self._times = {name for name, kind in _inputs(version).items() if kind == "datetime"}
        self._found: dict[str, summaries.Summary] = {}
        self._empty: Counter[str] = Counter()

    def add(self, batch: Sequence[Row]) -> None:
        whole = [msgspec.json.decode(row.text) for row in batch if not row.fault]
        self.bad += len(batch) - len(whole)
        self.rows += len(whole)
        records = [each if isinstance(each, dict) else _numbered(each) for each in whole]
        for name in dict.fromkeys(name for each in records for name in each):
            if name not in self._target:
                self._add(name, [each.get(name) for each in records])

    def _add(self, name: str, values: Values) -> None:
        """A column without any value yet may still be one of numbers."""
        values = [_seconds(each) for each in values] if name in self._times else values
        if name not in self._found:
            if all(value is None for value in values):
                self._empty[name] += len(values)
                return
            self._found[name] = summaries.of(values, hidden=name in self._redact)
            self._found[name].add([None] * self._empty.pop(name, 0))
        self._found[name].add(values)

    def columns(self) -> dict[str, dict[str, Any]]:
        nothing = {name: summaries.Words() for name in self._empty}
        return {
            summaries.shown(name): each.as_json()
            for name, each in {**self._found, **nothing}.items()
        }


def _numbered(row: Any) -> dict[str, Any]:
    return {str(number): value for number, value in enumerate(row if type(row) is list else [row])}


def _seconds(value: Any) -> float | None:
    """A time as fronts record it."""
    try:
        return microseconds(value) / 1e6
    except (Wrong, TypeError):
        return None


def _check(version: Version, data: Path, gathered: Gathered) -> None:
    """Refuse what is not the data that this version takes."""
    columns, wanted = list(gathered.columns()), _inputs(version)
    if not gathered.rows:
        raise Problem(f'"{data}" has no rows that can be read.')
    if lacking := [name for name in wanted if name not in columns]:
        raise Problem(
            f'"{data}" has no column {", ".join(lacking[:5])}, which the model takes.',
            cause=f"Its columns are: {', '.join(columns[:20])}",
            remedy="Give the table with the columns that the model is asked with.",
        )
    width = _width(version)
    if width and len(columns) != width:
        raise Problem(
            f'"{data}" has {len(columns)} columns, and the model takes {width}.',
            cause=f"Its columns are: {', '.join(columns[:20])}",
            remedy="Name those that the model is not given: --target COLUMN",
        )


def _width(version: Version) -> int:
    """How many columns of a matrix it takes; 0: not known."""
    schema = version.schema or {}
    fields = schema.get("inputs", [])
    if schema.get("kind") != "matrix" or len(fields) != 1 or len(fields[0]["shape"]) != 1:
        return 0
    return max(0, int(fields[0]["shape"][0]))
