"""The recorder's thread: summaries of rows, what processes use, and the file."""

from __future__ import annotations

import traceback
from collections import defaultdict
from collections.abc import Callable
from time import monotonic, time
from typing import Any, Optional, Union

from . import samples, sampling, summaries, taking
from .recorder import Cut, Recorder
from .recording import FILE, File, Sample
from .samples import COARSEST, LATENCIES
from .sketch import Sketch
from .tap import Event, Rows, Sampled, Seconds
from .usage import Machine, Processes
from .workers import say

COLUMNS_EVERY = 300.0
"""Seconds after which summaries of columns are written: what a killed front loses at most."""
MOST_PENDING = 60
"""Rows, events and requests, of each, that wait for a file that cannot be written."""
MOST_COLUMNS = 2 * taking.MOST_COLUMNS  # of models whose rows have ever other keys

TROUBLES = {
    "damaged": "metrics.sqlite was damaged, and is metrics.sqlite.damaged now: ",
    "paused": "no metrics are kept for now: ",
    "resumed": "metrics are kept again",
}

Said = Optional[Union[Cut, Event, Rows, Sampled, Seconds]]
Table = dict[str, summaries.Summary]


class Scribe:
    """What the thread of a recorder does."""

    def __init__(self, recorder: Recorder) -> None:
        release = recorder.release
        self.release, self.version = release.id, release.version
        self.redact = recorder.redact
        path = recorder.folder / FILE
        self.file = File(path, recorder.size, recorder.kept, self._trouble)
        self.processes = Processes(shared=bool(release.scoring.get("preload")))
        self.machine = Machine(release.instance_folder)
        self.latency, self.predict = Sketch(LATENCIES), Sketch(LATENCIES)
        self.inputs: Table = {}
        self.outputs: Table = {}
        self._quarter = int(time()) // COARSEST * COARSEST
        self._written = monotonic()
        self._rows: list[Sample] = []
        self._events: list[Event] = []
        self._requests: list[sampling.Row] = []

    def run(self, get: Callable[[], Said]) -> None:
        """Do what comes, until None does."""
        while True:
            said = get()
            try:
                if said is None:
                    self._end()
                    return
                self._take(said)
            except Exception:  # a mistake of ours: one row less
                traceback.print_exc()

    def _take(self, said: Said) -> None:
        if isinstance(said, Cut):
            self._cut(said)
        elif isinstance(said, Event):
            body = {"release": self.release, "version": self.version, **said.body}
            self._events.append(said._replace(body=body))
        elif isinstance(said, Seconds):
            sketch = self.latency if said.of == "latency" else self.predict
            sketch.add(said.values, said.each)
        elif isinstance(said, Rows):
            self._add(said.inputs, self.inputs)
            self._add(said.outputs, self.outputs)
        elif isinstance(said, Sampled):
            self._requests.append(sampling.row(said, self.release, self.redact))

    # Columns

    def _add(self, batches: list[list[taking.Piece]], table: Table) -> None:
        """Rows of batches, into the summaries of their columns."""
        columns: defaultdict[str, list[Any]] = defaultdict(list)
        for pieces in batches:
            for name, values in taking.read(pieces):
                columns[name] += values
        for name, values in columns.items():
            self._add_column(name, values, table)

    def _add_column(self, name: str, values: list[Any], table: Table) -> None:
        title = summaries.shown(name)
        if title not in table:
            if len(table) >= MOST_COLUMNS:
                return
            table[title] = summaries.of(values, hidden=name in self.redact)
        table[title].add(values)

    def _columns(self) -> list[Sample]:
        """What is known of columns since the last time, as a row of its quarter of an hour."""
        if not (self.inputs or self.outputs):
            return []
        body = samples.empty()
        for side, table in (("inputs", self.inputs), ("outputs", self.outputs)):
            body[side] = {name: summary.as_json() for name, summary in table.items()}
            table.clear()
        return [Sample(COARSEST, self._quarter, self.release, self.version, body)]

    # Rows

    def _cut(self, cut: Cut) -> None:
        quarter = cut.at // COARSEST * COARSEST
        due = monotonic() - self._written >= COLUMNS_EVERY
        if quarter != self._quarter or due:
            self._rows += self._columns()
            self._quarter, self._written = quarter, monotonic()
        known = {
            "latency": self.latency.as_json(),
            "predict": self.predict.as_json(),
            "cpu": self.processes.cpu(cut.pids),
            "memory": self.processes.memory(cut.pids),
            "files": self.processes.files(cut.pids),
            "host": self.machine.look(),
        }
        self.latency, self.predict = Sketch(LATENCIES), Sketch(LATENCIES)
        body = {**cut.body, **known}
        self._rows.append(Sample(samples.FINEST, cut.at, self.release, self.version, body))
        self._write()

    def _write(self) -> None:
        """Write what there is; what cannot be written waits, the last of it."""
        things = rows, events, requests = self._rows, self._events, self._requests
        self._rows, self._events, self._requests = [], [], []
        if not self.file.write(*things):
            self._rows = rows[-MOST_PENDING:]
            self._events = [*events, *self._events][-MOST_PENDING:]
            self._requests = requests[-MOST_PENDING:]

    def _end(self) -> None:
        self._rows += self._columns()
        self._write()
        self.file.close()

    def _trouble(self, what: str, why: str) -> None:
        """The file cannot be written, or can again: said once in the log, and kept as an event."""
        say(f"{TROUBLES[what]}{why}")
        self._take(Event(time(), "recording", {"what": what, "why": why}))
