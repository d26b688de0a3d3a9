"""Scoring whole files: rows of a table in, a prediction for each out, in the same order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

from app.errors import Problem
from app.models import Event
from app.services import parquet
from app.services.asking import Asking, Scored
from app.services.part import Journal, Part, likeness
from app.services.tables import (
    DELIMITERS,
    CsvTable,
    CsvText,
    JsonTable,
    JsonText,
    Row,
    Wanted,
    kind_of,
)
from app.words import told
from app.workspace import Workspace

BATCH_ROWS = 1000
BATCH_BYTES = 1 << 20
CONNECTIONS = 4
AHEAD = 2
"""Batches that are read ahead for each connection, so that one slow answer holds up none."""
FIRST = 1000
"""If more than half of so many rows are bad, it is not the rows that are wrong."""
SHOWN = 5
TICK = 0.1
"""Seconds between two reports of progress."""
PREDICTION = "prediction"


class Table(Protocol):
    """Rows in a file, whatever its kind. done and total: how far one has come, in one unit."""

    @property
    def done(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def kept_names(self) -> list[str]: ...
    def rows(self, at: int = 0, number: int = 0) -> Iterator[Row]: ...
    def kept(self, row: Row) -> dict[str, Any]: ...
    def shown(self, row: Row) -> Any: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Order:
    """What a person asked for. rows: records, lists, or empty for what the model takes."""

    model: str
    data: Path
    out: Path
    to: str | None = None
    batch_rows: int = BATCH_ROWS
    connections: int = CONNECTIONS
    keep: tuple[str, ...] = ()
    bad: Path | None = None
    rows: str = ""
    restart: bool = False
    force: bool = False

    @property
    def bad_path(self) -> Path:
        return self.bad or self.out.with_name(f"{self.out.name}.bad.jsonl")

    def check(self) -> None:
        """Raise Problem for what can never be done."""
        kind_of(self.data, packed=True)
        kind_of(self.out)
        if not self.data.is_file():
            raise Problem(
                f'"{self.data}" is not a file.',
                remedy="With --out, --data must name a file: what it reads must be there again "
                "when it continues.",
            )
        for path in (self.out, self.bad_path):
            if path.absolute() == self.data.absolute():
                raise Problem(f'"{path}" is the input itself.', remedy="Choose another name.")


def score_file(work: Workspace, order: Order) -> Iterator[Event]:
    """Score a file; the result's data is its summary.

    Closing the iterator, or a crash, leaves `OUT.part`, from which the same order goes on.
    """
    order.check()
    kinds = kind_of(order.data, packed=True), kind_of(order.out)
    program = parquet.tool(work) if "parquet" in kinds else []
    with Asking(work, order.model, order.to, order.connections) as instance:
        table = opened(order.data, _wanted(order, instance.inputs), program)
        part = Part(order.out)
        try:
            yield from _Run(order, instance, table, part, program).events()
        finally:
            table.close()
            part.close()


def opened(path: Path, wanted: Wanted, program: list[str]) -> Table:
    """A file of a kind that `kind_of` knows. program: `parquet.tool`, where it is one."""
    kind = kind_of(path, packed=True)
    if kind == "parquet":
        return parquet.ParquetTable(path, wanted, program)
    return JsonTable(path, wanted) if kind == "jsonl" else CsvTable(path, wanted, DELIMITERS[kind])


def _wanted(order: Order, inputs: list[dict[str, Any]]) -> Wanted:
    """What to send, as far as the instance's metadata tell."""
    width = 0
    datatypes = {str(each["name"]): str(each["datatype"]) for each in inputs}
    if len(inputs) == 1 and len(inputs[0]["shape"]) == 2:
        width, datatypes = max(0, int(inputs[0]["shape"][1])), {}
    return Wanted(
        keep=order.keep,
        datatypes=datatypes,
        width=width,
        lists=order.rows == "lists",
        as_text=kind_of(order.out) in DELIMITERS,
    )


@dataclass
class _Run:
    """One run of an order, from where an earlier one stopped."""

    order: Order
    instance: Asking
    table: Table
    part: Part
    program: list[str]
    reasons: list[str] = field(default_factory=list)
    early: list[tuple[list[Row], Scored]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.kind = kind_of(self.order.out)
        self.text = (
            CsvText(DELIMITERS[self.kind])
            if self.kind in DELIMITERS
            else JsonText(same_columns=self.kind == "parquet")
        )

    @property
    def journal(self) -> Journal:
        return self.part.journal

    def events(self) -> Iterator[Event]:
        began = monotonic()
        start = self._begin()
        if start:
            yield Event("done", f"Continuing at row {start + 1:,}")
        yield Event("step", f"Score {self.order.data.name} with {told(self.instance.release)}")
        try:
            yield from self._progress(self._finished(), start)
            self._end()
        finally:
            if not self.part.ended:
                self.part.save()
        summary = self._summary(start, monotonic() - began)
        yield from self._publish()
        yield Event("result", words(summary), data=summary)

    def _begin(self) -> int:
        """Take up what an earlier run left; the number of rows that are done."""
        wanted = self._identity()
        found = None if self.order.restart else self.part.found()
        if found:
            _refuse_another(found, wanted)
        elif not self.order.force:
            self._refuse_existing()
        self.part.begin(found or Journal(wanted))
        self.first_bad = self.journal.bad if self.journal.rows < FIRST else 0
        return self.journal.rows

    def _refuse_existing(self) -> None:
        """Raise Problem where a file would be overwritten that this order has not begun."""
        for path in (self.order.out, self.order.bad_path):
            if os.path.lexists(path):
                if not self.part.found():
                    self.part.remove()
                raise Problem(
                    f'"{path}" is there already.',
                    remedy="Choose another name; or overwrite it with --force.",
                )

    def _identity(self) -> dict[str, Any]:
        """All that must be the same for a run to go on."""
        return {
            "input": likeness(self.order.data),
            "options": {
                "MODEL": self.order.model,
                "--to": self.instance.location,
                "--keep": list(self.order.keep),
                "--rows": self.order.rows,
            },
            "release": self.instance.release,
        }

    def _progress(self, finished: Iterable[None], start: int) -> Iterator[Event]:
        began, shown, first = monotonic(), 0.0, None
        for _ in finished:
            now = monotonic()
            first = self.table.done if first is None else first
            if now - shown > TICK:
                shown = now
                done, total = self.table.done - first, self.table.total - first
                text = _progress_words(self.journal, start, now - began, done, total)
                yield Event("progress", text, self.table.done, self.table.total)

    # The rows

    def _finished(self) -> Iterator[None]:
        """Send batches, several at once; add them in order as their answers come.

        The first rows go alone: if the model refuses them all, no more need to be sent.
        """
        waiting: deque[tuple[list[Row], Future[Scored]]] = deque()
        rows = self.table.rows(self.journal.at, self.journal.rows)
        for batch in batches(rows, self.order.batch_rows):
            waiting.append((batch, self.instance.submit(batch)))
            young = batch[0].number <= FIRST
            if young or len(waiting) >= self.order.connections * AHEAD:
                self._take(*waiting.popleft())
                yield
        while waiting:
            self._take(*waiting.popleft())
            yield

    def _take(self, rows: list[Row], answered: Future[Scored]) -> None:
        scored = answered.result()
        self._judge(rows, scored)
        if self.journal.columns:
            self._add(rows, scored)
            return
        self.early.append((rows, scored))
        if len(scored.reasons) < len(rows):
            self._settle(scored)

    def _judge(self, rows: list[Row], scored: Scored) -> None:
        """Stop when the first rows show that it is not they that are wrong."""
        for place, why in sorted(scored.reasons.items()):
            if rows[place].number <= FIRST:
                self.first_bad += 1
                self.reasons.append(f"Row {rows[place].number:,}: {why}")
        if self.first_bad * 2 > FIRST:
            raise self._hopeless(FIRST)

    def _end(self) -> None:
        """The end of the input was reached."""
        rows = self.journal.rows + sum(len(early) for early, _ in self.early)
        if rows < FIRST and self.first_bad * 2 > rows:
            raise self._hopeless(rows)
        if not self.journal.columns:
            self._settle(Scored([]))

    def _hopeless(self, rows: int) -> Problem:
        self.part.remove()
        return Problem(
            f"More than half of the first {rows:,} rows are bad."
            if rows > 1
            else "The row is bad.",
            cause=self.reasons[0].partition(": ")[2] if self.reasons else "",
            remedy="Compare the file's columns with those of the version's sample.",
            detail="\n".join(self.reasons[:SHOWN]),
        )

    def _settle(self, scored: Scored) -> None:
        """Know the output's columns from the first prediction; add what waited for it."""
        prediction = next((each for each in scored.predictions if each is not None), None)
        kept = dict.fromkeys(self.table.kept_names)
        for rows, _ in self.early:
            for row in rows:
                kept |= dict.fromkeys(self.table.kept(row))
        predicted = list(spread(prediction))
        columns = [*(renamed(name, predicted) for name in kept), *predicted]
        self.part.add(self.text.head(columns), b"", columns=columns, predicted=predicted)
        for each in self.early:
            self._add(*each)
        self.early = []

    def _add(self, rows: list[Row], scored: Scored) -> None:
        records = [self._record(*each) for each in zip(rows, scored.predictions, strict=True)]
        if self.text.same_columns:
            _refuse_more(self.journal.columns, rows, records)
        bad = [
            {"row": rows[place].number, "reason": why, "data": self.table.shown(rows[place])}
            for place, why in sorted(scored.reasons.items())
        ]
        self.part.add(
            self.text.rows(self.journal.columns, records),
            JsonText().rows((), bad),
            rows=self.journal.rows + len(rows),
            bad=self.journal.bad + len(bad),
            at=rows[-1].end,
        )

    def _record(self, row: Row, prediction: Any) -> dict[str, Any]:
        predicted = self.journal.predicted
        kept = {renamed(name, predicted): value for name, value in self.table.kept(row).items()}
        if prediction is None:
            return kept | dict.fromkeys(predicted)
        return kept | spread(prediction)

    # The end

    def _publish(self) -> Iterator[Event]:
        whole = self.part.rows_path
        if self.kind == "parquet":
            yield Event("step", f"Write {self.order.out.name}")
            whole = self.part.folder / "whole.parquet"
            parquet.write(self.program, self.part.rows_path, self.journal.columns, whole)
        self.part.publish(whole, self.order.out, self.order.bad_path)

    def _summary(self, start: int, seconds: float) -> dict[str, Any]:
        journal = self.journal
        return {
            "rows": journal.rows,
            "bad": journal.bad,
            "seconds": round(seconds, 3),
            "rows_per_second": round((journal.rows - start) / max(seconds, 0.001), 1),
            "out": str(self.order.out),
            "bad_file": str(self.order.bad_path) if journal.bad else None,
            "release": self.instance.release,
            "version": self.instance.version,
            "resumed_at": start + 1 if start else None,
        }


def batches(rows: Iterable[Row], most: int) -> Iterator[list[Row]]:
    """Rows in lists of at most so many, or of about a MiB."""
    batch: list[Row] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += len(row.text)
        if len(batch) >= most or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def spread(prediction: Any) -> dict[str, Any]:
    """A prediction as columns: those of a record, numbered ones of a list, else one."""
    if type(prediction) is dict and prediction:
        return prediction
    if type(prediction) is list and prediction:
        return {f"{PREDICTION}_{place}": value for place, value in enumerate(prediction)}
    return {PREDICTION: prediction}


def renamed(name: str, predicted: Sequence[str]) -> str:
    """The name of a kept column, which must not be one of the prediction's."""
    return f"{name}_input" if name in predicted else name


def _refuse_more(
    columns: Sequence[str], rows: Sequence[Row], records: Sequence[dict[str, Any]]
) -> None:
    """A table has the columns of its first rows; more have no place in it."""
    known = set(columns)
    for row, record in zip(rows, records, strict=True):
        if more := record.keys() - known:
            raise Problem(
                f'Row {row.number:,} has a column "{min(more)}", which those before had not.',
                remedy="Write .jsonl, where each row may have its own columns, and add --restart.",
            )


def _refuse_another(found: Journal, wanted: dict[str, Any]) -> None:
    """Raise Problem unless this is what was begun."""
    if changed := _changed(found.wanted, wanted):
        raise Problem(
            f"{changed} since {found.rows:,} rows were scored.",
            cause="What was begun cannot be continued with it.",
            remedy="Begin anew with --restart; or bring back what was, to continue.",
        )


def _changed(before: dict[str, Any], now: dict[str, Any]) -> str:
    """What is different, as the beginning of a sentence; empty when nothing is."""
    if before.get("input") != now["input"]:
        return "The file that --data names has changed"
    for name, value in now["options"].items():
        if before.get("options", {}).get(name) != value:
            return f"{name} has changed"
    if before.get("release") != now["release"]:
        old, new = str(before.get("release")), now["release"]
        return f"Production was switched from {told(old, new)} to {told(new, old)}"
    return ""


def _progress_words(journal: Journal, start: int, seconds: float, done: float, total: float) -> str:
    """120,000 rows, 35,000 rows/s, 12 s left, 3 bad."""
    words = [f"{journal.rows:,} rows"]
    if seconds > 0.5 and done > 0:
        words.append(f"{(journal.rows - start) / seconds:,.0f} rows/s")
        words.append(f"{seconds * max(0.0, total - done) / done:,.0f} s left")
    if journal.bad:
        words.append(f"{journal.bad:,} bad")
    return ", ".join(words)


def words(summary: dict[str, Any]) -> str:
    """The summary for people."""
    return (
        f"{summary['rows']:,} rows in {summary['seconds']:.1f} s "
        f"({summary['rows_per_second']:,.0f} rows/s) "
        f"with {told(summary['release'])}: {summary['out']}"
    )
