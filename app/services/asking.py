"""Having many rows predicted: several connections to an instance, patience, bad rows found."""

from __future__ import annotations

import http.client
import json
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from app.deployer.forward import hang_up
from app.errors import Problem, Refused, Unreachable
from app.services import places
from app.services.instances import Through, front_of, refusal_of
from app.services.tables import Row
from app.words import told

if TYPE_CHECKING:
    from app.workspace import Workspace

PATIENCE = 120.0
"""Seconds that one request is tried again for: an instance that restarts is back by then."""
PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0)
LONGEST_PAUSE = 30.0

PASSING = {408, 429, 502, 503}
"""Statuses that say: later."""
DIVIDED = {400, 413, 422, 500, 504}
"""Statuses that may be due to a few of the rows."""


class Answer(NamedTuple):
    status: int
    release: str
    version: str
    wait: float
    text: bytes


@dataclass
class Scored:
    """What became of some rows: a prediction each, None for those with a reason."""

    predictions: list[Any]
    reasons: dict[int, str] = field(default_factory=dict)


class Way:
    """The way to an instance, opened anew when it was lost."""

    def __init__(self, work: Workspace, name: str, to: str | None) -> None:
        self.name = name
        self.work = work
        self.location = places.location_of(work, name, to)
        self.closed = threading.Event()
        self._renewing = threading.Lock()
        self.road = work.reach(self.location)
        try:
            self.private = front_of(self.road, name, self.location)["private"]
        except BaseException:
            self.road.close()
            raise

    def renew(self) -> None:
        """See where the instance is now, over a new road if the old one ended."""
        with self._renewing:
            if self.closed.is_set():
                return
            try:
                self.private = front_of(self.road, self.name, self.location)["private"]
            except Unreachable:
                self.road.close()
                self.road = self.work.reach(self.location)
            except Problem:
                pass  # it is starting, or was stopped: patience decides

    def close(self) -> None:
        self.closed.set()
        with self._renewing:
            self.road.close()


class Line:
    """A connection to an instance that is kept, and made anew when it was lost."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._connection: Through | None = None

    def ask(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """An answer that is not "later". Raises Problem when none comes in time."""
        end = monotonic() + PATIENCE
        for attempt in range(1 << 30):
            answer, lost = self._try(method, path, body)
            if answer and answer.status not in PASSING:
                return answer
            pause = PAUSES[min(attempt, len(PAUSES) - 1)]
            if answer:
                pause = min(max(pause, answer.wait), LONGEST_PAUSE)
            if monotonic() + pause > end or self._way.closed.wait(pause):
                break
            if lost and attempt:
                self._renew()
        raise self._given_up(answer, lost)

    def _try(
        self, method: str, path: str, body: bytes | None
    ) -> tuple[Answer | None, Exception | None]:
        try:
            return self._once(method, path, body), None
        except (OSError, http.client.HTTPException, Unreachable) as error:
            self.close()
            return None, error

    def _once(self, method: str, path: str, body: bytes | None) -> Answer:
        if self._connection is None:
            self._connection = Through(self._way.road, self._way.private)
        kind = {"Content-Type": "application/json"} if body else {}
        with suppress(BrokenPipeError, ConnectionResetError):  # it answered before it had read all
            self._connection.request(method, path, body, kind)
        said = self._connection.getresponse()
        text = said.read()
        wait = said.headers.get("Retry-After", "")
        return Answer(
            said.status,
            said.headers.get("X-Release", ""),
            said.headers.get("X-Model-Version", ""),
            float(wait) if wait.isdigit() else 0.0,
            text,
        )

    def _renew(self) -> None:
        with suppress(Problem):
            self._way.renew()

    def _given_up(self, answer: Answer | None, lost: Exception | None) -> Problem:
        said = f"It answered {answer.status}." if answer else str(lost)
        return Unreachable(
            f"{self._way.name} on {self._way.location.name} gave no answer for {PATIENCE:g} s.",
            cause=said,
            remedy=f"rhythmicml status {self._way.name} shows how it is.",
        )

    def hang_up(self) -> None:
        """Wake whoever waits for an answer."""
        if self._connection and self._connection.sock:
            hang_up(self._connection.sock)

    def close(self) -> None:
        if self._connection:
            with suppress(OSError):
                self._connection.close()
            self._connection = None


class Asking:
    """An instance that is asked over several connections at once."""

    def __init__(self, work: Workspace, name: str, to: str | None, connections: int) -> None:
        self._way = Way(work, name, to)
        self.name = name
        self.location = self._way.location.name
        self._tasks: queue.SimpleQueue[tuple[Sequence[Row], Future[Scored]] | None]
        self._tasks = queue.SimpleQueue()
        self._lines = [Line(self._way) for _ in range(connections)]
        try:
            self.inputs = self._metadata()
        except BaseException:
            self._way.close()
            raise
        for line in self._lines:
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def __enter__(self) -> Asking:
        return self

    def __exit__(self, *_: object) -> None:
        self._way.closed.set()
        for line in self._lines:
            line.hang_up()
            self._tasks.put(None)
        self._way.close()

    def _metadata(self) -> list[dict[str, Any]]:
        """The model's inputs as the Open Inference Protocol has them; learns the release too."""
        answer = self._lines[0].ask("GET", f"/v2/models/{quote(self.name, safe='')}")
        self._refuse_stranger(answer)
        self.release = answer.release
        self.version = int(answer.version) if answer.version.isdigit() else None
        try:
            inputs: list[dict[str, Any]] = json.loads(answer.text)["inputs"]
        except (ValueError, KeyError, TypeError):
            return []
        return inputs

    def _refuse_stranger(self, answer: Answer) -> None:
        if answer.status in (401, 403):
            said = self._refusal(answer)
            raise Refused(said.what, cause=said.cause, remedy="It answers who has a token for it.")

    def submit(self, rows: Sequence[Row]) -> Future[Scored]:
        """Have rows predicted; the future raises Problem when that cannot go on."""
        future: Future[Scored] = Future()
        self._tasks.put((rows, future))
        return future

    def _serve(self, line: Line) -> None:
        while (task := self._tasks.get()) is not None:
            rows, future = task
            if self._way.closed.is_set():
                break
            try:
                future.set_result(self._score(line, rows))
            except BaseException as error:
                future.set_exception(error)
        line.close()

    def _score(self, line: Line, rows: Sequence[Row]) -> Scored:
        reasons = {place: row.fault for place, row in enumerate(rows) if row.fault}
        scored = Scored([None] * len(rows), reasons)
        whole = [place for place, row in enumerate(rows) if not row.fault]
        left = [whole] if whole else []
        while left:
            left += self._divide(line, rows, left.pop(), scored)
        return scored

    def _divide(
        self, line: Line, rows: Sequence[Row], places: list[int], scored: Scored
    ) -> list[list[int]]:
        """Ask for these rows; the halves to ask for instead when they were refused."""
        body = f'{{"inputs":[{",".join(rows[place].text for place in places)}]}}'.encode()
        answer = line.ask("POST", "/score", body)
        self._check(answer)
        if answer.status == 200:
            for place, prediction in zip(
                places, self._predictions(answer, len(places)), strict=True
            ):
                scored.predictions[place] = prediction
            return []
        if len(places) > 1:
            half = len(places) // 2
            return [places[half:], places[:half]]
        why = self._refusal(answer).cause.replace(", row 0: ", ": ", 1)
        scored.reasons[places[0]] = why or f"Status {answer.status}."
        return []

    def _check(self, answer: Answer) -> None:
        """Raise what cannot be the rows' fault."""
        self._refuse_stranger(answer)
        if answer.status != 200 and answer.status not in DIVIDED:
            raise self._refusal(answer)
        if answer.release != self.release:
            raise Problem(
                f"{self.name} on {self.location} was switched from "
                f"{told(self.release, answer.release)} to "
                f"{told(answer.release, self.release)} meanwhile.",
                cause="Predictions of two releases in one file could not be told apart.",
                remedy=f"Score it all with the new one: add --restart. Or go back: "
                f"rhythmicml rollback {self.name}, then run it again.",
            )

    def _refusal(self, answer: Answer) -> Problem:
        text = answer.text.decode("utf-8", "replace")
        return refusal_of(self.name, self._way.location, answer.status, text)

    def _predictions(self, answer: Answer, rows: int) -> list[Any]:
        try:
            said = json.loads(answer.text)["predictions"]
        except (ValueError, KeyError, TypeError):
            said = None
        if type(said) is dict and said and all(type(each) is list for each in said.values()):
            said = _rows_of(said)
        if type(said) is not list or len(said) != rows:
            raise Problem(
                f"{self.name} does not answer with one prediction for each row.",
                cause=f"It was sent {rows} rows at once.",
                remedy="Its predict must take rows and return as many; "
                "or send the data as one request: JSON, without --out.",
            )
        return said


def _rows_of(columns: dict[str, list[Any]]) -> list[Any]:
    """Rows of columns by name, if these are equally long."""
    if len(set(map(len, columns.values()))) > 1:
        return []
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
