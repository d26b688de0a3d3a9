"""Does the steps of a plan on a host, one after the other, saying what happens."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from app.crash import crash_point
from app.deployer import uploads
from app.deployer.plan import Step
from app.models import Event

if TYPE_CHECKING:
    from app.deployer.road import Road

Result = TypeVar("Result")
Tell = Callable[[Event], None]
Source = Callable[[str], tuple[Path, int]]
"""Where the content of a digest is on this side, and its size."""
Heed = Callable[[Step, Any], None]


def _go_on(step: Step, answer: Any) -> None:
    pass


def apply(
    steps: Sequence[Step], road: Road, instance: str, source: Source, heed: Heed = _go_on
) -> Generator[Event, None, dict[str, Any]]:
    """Do every step; returns what each op answered. Raises the first Problem and stops there.

    heed: hears each answer before the next step, and may raise.
    The lock that we hold on the instance says at which step we are, for those who find it taken.
    """
    answers = {}
    for number, step in enumerate(steps):
        yield Event("step", step.words, done=number, total=len(steps), data={"do": step.do})
        crash_point(f"{step.do}:before")
        road.send("step", name=instance, step=step.words)
        began = time.monotonic()
        answer = yield from watched(partial(_do, step, road, source))
        crash_point(f"{step.do}:after")
        seconds = time.monotonic() - began
        heed(step, answer)
        data = {"do": step.do, "seconds": round(seconds, 3), "answer": answer}
        yield Event("done", step.words, data=data)
        answers[step.do] = answer
    return answers


def watched(work: Callable[[Tell], Result]) -> Generator[Event, None, Result]:
    """Run work in a thread; yield what it tells meanwhile, return its value or raise its error."""
    said: queue.Queue[Event | None] = queue.Queue()
    outcome: list[Result] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(work(said.put))
        except BaseException as error:
            raised.append(error)
        finally:
            said.put(None)

    threading.Thread(target=run, daemon=True).start()
    yield from _until_none(said)
    if raised:
        raise raised[0]
    return outcome[0]


def _until_none(said: queue.Queue[Event | None]) -> Iterator[Event]:
    while (event := said.get()) is not None:
        yield event


def _do(step: Step, road: Road, source: Source, tell: Tell) -> Any:
    if step.do == "upload":
        return _upload(step, road, source, tell)
    if step.do == "switch":
        return _switch(step, road)

    def pass_on(said: dict[str, Any]) -> None:
        tell(_event(said))

    return road.call(step.do, payload=step.payload, on_event=pass_on, **step.args)


def _switch(step: Step, road: Road) -> dict[str, Any]:
    """Switch, and confirm it once we have heard that it is done: else the host takes it back."""
    args = dict(step.args)
    keep_warm = args.pop("keep_warm", 0)
    answer = road.call("switch", **args)
    crash_point("switch:unconfirmed")
    return {**answer, **road.call("confirm", name=args["name"], keep_warm=keep_warm)}


def _upload(step: Step, road: Road, source: Source, tell: Tell) -> dict[str, Any]:
    blobs = [(digest, source(digest)[1], source(digest)[0]) for digest in step.uploads]

    def progress(there: int, whole: int) -> None:
        tell(Event("progress", done=there, total=whole, unit="B"))

    done = uploads.persist(road, blobs, progress)
    return {"files": len(blobs), "bytes": done.total, "sent": done.sent, "damaged": done.damaged}


def _event(said: dict[str, Any]) -> Event:
    """What the agent says in the middle of a step: a line of output, or seconds gone by."""
    if "log" in said:
        return Event("log", str(said["log"]))
    return Event("progress", done=said.get("progress"), total=said.get("total"), unit="s")
