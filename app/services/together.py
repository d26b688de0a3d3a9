"""Several streams of events at the same time, each in a thread, heard as one."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from app.errors import Problem
from app.models import Event, Location
from app.words import size
from app.workspace import Workspace

if TYPE_CHECKING:
    from app.deployer.road import Road

Said = queue.SimpleQueue[tuple[str, Any]]
"""A task's name, and an Event or its End; None when a thread has done its last."""
Task = Callable[[], Iterable[Event]]
ASKED_AT_ONCE = 32
"""Locations that are only asked, at the same time."""
PATIENCE = 15.0
"""Seconds that what is stopped gets for its end."""


@dataclass(frozen=True)
class End:
    """How a stream ended: with a result, or with what went wrong; and the seconds it took."""

    data: dict[str, Any]
    error: BaseException | None
    seconds: float


@dataclass(frozen=True)
class Crew(Workspace):
    """A workspace for several threads: it knows how far they came, and can leave all hosts.

    Questions to the person come one at a time.
    """

    begun: set[str] = field(default_factory=set)
    reached: set[str] = field(default_factory=set)
    roads: list[Road] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def of(cls, work: Workspace) -> Crew:
        return cls(work.home, _in_turn(work.ask))

    def reach(self, location: Location, *, looking: bool = False) -> Road:
        road = super().reach(location, looking=looking)
        self.reached.add(location.name)
        self.roads.append(road)
        if self.stopping.is_set():
            road.close()
        return road

    def leave(self) -> None:
        """Close all roads: what waits for a host gets a Problem, and its agent takes it back."""
        self.stopping.set()
        for road in self.roads:
            threading.Thread(target=road.close, daemon=True).start()


def _in_turn(ask: Callable[[str], str | None] | None) -> Callable[[str], str | None] | None:
    if ask is None:
        return None
    turn = threading.Lock()

    def asked(question: str) -> str | None:
        with turn:
            return ask(question)

    return asked


def together(
    crew: Crew, tasks: Mapping[str, Task], at_once: int, ends: dict[str, End]
) -> Generator[Event, None, None]:
    """Do the tasks, so many at once; yields what they say, each event with its task's name.

    ends: filled as they end; a task that was not begun has none. What is no Problem is raised, when
    all have ended. Closed or interrupted, no more is begun, the crew leaves its hosts, and what was
    begun gets PATIENCE seconds.
    """
    said: Said = queue.SimpleQueue()
    waiting: queue.SimpleQueue[tuple[str, Task]] = queue.SimpleQueue()
    for task in tasks.items():
        waiting.put(task)
    left = min(at_once, len(tasks))
    for _ in range(left):
        threading.Thread(target=_work, args=(crew, waiting, said), daemon=True).start()

    def hear(patience: float | None = None) -> Iterator[Event]:
        nonlocal left
        until = patience and time.monotonic() + patience
        while left:
            name, news = said.get(timeout=until and max(0.0, until - time.monotonic()))
            if news is None:
                left -= 1
            elif isinstance(news, End):
                ends[name] = news
            else:
                yield named(name, news)

    try:
        yield from hear()
    except BaseException:
        crew.leave()
        with suppress(queue.Empty):
            deque(hear(PATIENCE), maxlen=0)
        raise
    for end in ends.values():
        if end.error and not isinstance(end.error, Problem):
            raise end.error


def _work(
    crew: Crew,
    waiting: queue.SimpleQueue[tuple[str, Task]],
    said: Said,
) -> None:
    with suppress(queue.Empty):
        while not crew.stopping.is_set():
            name, task = waiting.get_nowait()
            crew.begun.add(name)
            said.put((name, _end(name, task, said)))
    said.put(("", None))


def _end(name: str, task: Task, said: Said) -> End:
    began = time.monotonic()
    data: dict[str, Any] = {}
    error: BaseException | None = None
    try:
        for event in task():
            if event.kind == "result":
                data = event.data
            else:
                said.put((name, event))
    except BaseException as raised:
        error = raised
    return End(data, error, round(time.monotonic() - began, 3))


def named(name: str, event: Event) -> Event:
    """The event, its text begun with the name of what it is about."""
    text = event.text
    if event.kind == "progress" and not text and event.unit == "B":
        text = f"{size(event.done or 0)} of {size(event.total or 0)}"
    return replace(event, text=f"{name}: {text}" if text else "")


def values(
    crew: Crew, calls: Mapping[str, Callable[[], Any]], at_once: int
) -> dict[str, Any | Problem]:
    """What each call gives, or its Problem; all at the same time."""
    ends: dict[str, End] = {}
    tasks = {name: partial(_only_result, call) for name, call in calls.items()}
    deque(together(crew, tasks, at_once, ends), maxlen=0)
    return {name: ends[name].error or ends[name].data["value"] for name in calls}


def _only_result(call: Callable[[], Any]) -> Iterator[Event]:
    yield Event("result", data={"value": call()})
