"""The gate: a started release answers its golden inputs before it may take traffic, and is watched
for a while after it has taken it. `trial` asks a release that is deployed nowhere."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from . import fronts, late
from .comparing import Tolerance, compare, misfits, rows_of
from .failure import Failure
from .judging import over
from .layout import Instance, make_base, make_folder
from .locks import share
from .loop import ClientGone, op
from .managers import supervisor
from .releases import assemble
from .supervise import own_environment, serving, tail

if TYPE_CHECKING:
    from .loop import Agent, Payload
    from .supervise import Supervisor

LINES = 50
"""Lines of the log that are shown of a release that failed."""
PR_SET_PDEATHSIG = 1
FAILURES = 3
"""How often in a row a release may be seen not ready while it is watched."""


class Question(NamedTuple):
    """A golden input: the body to send, and what was recorded as the answer, if anything was."""

    name: str
    body: bytes
    recorded: Any
    sample: bool


class Trial:
    """A release asked its golden inputs several times over, and beside it the current one."""

    def __init__(self, agent: Agent, new: Path, current: Path | None, args: dict[str, Any]) -> None:
        self.agent = agent
        self.new, self.current, self.args = new, current, args
        self.tolerance = Tolerance(*args["limits"]["tolerance"])
        self.deadline = time.monotonic() + args["time"]
        self.late = False
        self.times: dict[str, list[float]] = {"new": [], "current": []}
        self.asked: dict[str, dict[str, Any]] = {}

    def run(self, questions: list[Question]) -> None:
        """The first pass warms up: only the later ones count as latency."""
        for number in range(self.args["passes"]):
            for each in questions:
                if self.agent.gone.is_set():
                    raise ClientGone
                if time.monotonic() < self.deadline or (number and each.sample):
                    self._ask(each, first=number == 0)
                elif number == 0:
                    self.late = True

    def _ask(self, question: Question, first: bool) -> None:
        reply = fronts.score(self.new, question.body, self.args["within"])
        alone = self.args["passes"] == 1
        if reply.status == 200 and (alone or not first):
            self.times["new"].append(reply.seconds)
        if first:
            self.asked[question.name] = self._judged(question, reply)
        elif question.name in self.asked:
            self._again(question, reply)
        if self.current and time.monotonic() < self.deadline:
            self._compare(question, reply, self.current, first)

    def _judged(self, question: Question, reply: fronts.Reply) -> dict[str, Any]:
        good = reply.status == 200
        return {
            "name": question.name,
            "sample": question.sample,
            "rows": len(rows_of(reply.value)) if good else 0,
            "status": reply.status,
            "cause": reply.cause,
            "steady": True,
            "misfits": misfits(self.args["declared"], reply.value) if good else [],
            "recorded": self._recorded(question, reply),
            "current": None,
            "answer": reply.value,
        }

    def _recorded(self, question: Question, reply: fronts.Reply) -> dict[str, Any] | None:
        if question.recorded is None:
            return None
        return compare(question.recorded, reply.value, self.tolerance)

    def _again(self, question: Question, reply: fronts.Reply) -> None:
        """What failed, or was not as recorded, even once, counts; the last word does not."""
        known = self.asked[question.name]
        if (reply.status == 200) != (known["status"] == 200):
            known["steady"] = False
            known["cause"] = known["cause"] or reply.cause
        recorded = self._recorded(question, reply)
        if recorded and recorded["differ"] > known["recorded"]["differ"]:
            known["recorded"] = recorded

    def _compare(self, question: Question, reply: fronts.Reply, current: Path, first: bool) -> None:
        other = fronts.score(current, question.body, self.args["within"])
        if not first and other.status == 200:
            self.times["current"].append(other.seconds)
        if not first or question.name not in self.asked:
            return
        known = self.asked[question.name]
        if other.status != 200:
            known["current"] = {"cannot": other.cause or f"status {other.status}"}
        elif reply.status == 200:
            known["current"] = compare(other.value, reply.value, self.tolerance)

    def inputs(self, answers: bool) -> list[dict[str, Any]]:
        drop = () if answers else ("answer",)
        return [
            {key: held for key, held in each.items() if key not in drop}
            for each in self.asked.values()
        ]


def latency(times: list[float]) -> dict[str, Any] | None:
    """{"median", "p99" [s], "requests"}; null where nothing was answered."""
    if not times:
        return None
    ordered = sorted(times)
    last = len(ordered) - 1
    return {
        "median": round(ordered[last // 2], 6),
        "p99": round(ordered[min(last, int(len(ordered) * 0.99))], 6),
        "requests": len(ordered),
    }


def questions(folder: Path, args: dict[str, Any]) -> list[Question]:
    """The sample, then the golden inputs, as they lie in a release. args: sample, golden."""
    found = []
    if args["sample"]:
        found.append(Question(args["sample"], (folder / args["sample"]).read_bytes(), None, True))
    for name, recorded in args["golden"]:
        known = _recording(folder, recorded) if recorded else None
        found.append(Question(name, (folder / name).read_bytes(), known, False))
    return found


def _recording(folder: Path, name: str) -> Any:
    try:
        return json.loads((folder / name).read_bytes())
    except ValueError as error:
        raise Failure(
            f'The recorded answer "{name}" is not valid JSON.',
            remedy="Record it anew: rhythmicml record MODEL --force. Production is as it was.",
            kind="GateFailed",
        ) from error


def prove(
    agent: Agent,
    new: Path,
    current: Path | None,
    against: str | None,
    asked: list[Question],
    args: dict[str, Any],
) -> dict[str, Any]:
    """The report of the gate (see `judging`), with `over` and `passed`."""
    before = _restarts(new)
    trial = Trial(agent, new, current, args)
    trial.run(asked)
    said = fronts.state(new) or {}
    report = {
        "against": against,
        "passes": args["passes"],
        "late": trial.late,
        "died": max(0, _restarts(new) - before),
        "inputs": trial.inputs(args.get("answers", False)),
        "latency": {side: latency(times) for side, times in trial.times.items()},
        "memory": {"new": peak(new), "current": peak(current) if current else None},
        "schema": said.get("schema"),
    }
    report["over"] = over(report, args["limits"])
    if not said.get("ready"):
        report["over"].append("It was no longer ready after it had been asked.")
    report["passed"] = not report["over"]
    return report


def _restarts(private: Path) -> int:
    said = fronts.state(private) or {}
    return sum(int(each.get("restarts") or 0) for each in said.get("workers", []))


# Memory


def peak(private: Path) -> int | None:
    """The most memory [bytes] that a front and all below it have had, by /proc; null if unknown.

    The sum of each process's own peak: what they share is counted more than once.
    """
    pid = (fronts.state(private) or {}).get("pid")
    sizes = [_high_water(each) for each in _family(int(pid))] if pid else []
    return sum(sizes) or None


def _family(pid: int) -> Iterator[int]:
    """A process and all its descendants."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(OSError, ValueError):
            for child in (task / "children").read_text().split():
                yield from _family(int(child))


def _high_water(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


# Operations


@op("gate")
def gate(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Ask the started release its sample and golden inputs through the private socket.

    args: name, release, sample (null: none), golden ([input, recorded answer or null] of the
    release's files), declared ([schema] outputs), limits, passes, within [s] (one request),
    time [s] (all). Gives the report; a release that has not passed is stopped, with the last lines
    of its log in `log`. The current release is asked too where it runs and there is a comparison
    to make.
    """
    instance, release = Instance(agent.base, args["name"]), args["release"]
    manager = supervisor(agent)
    asked = questions(instance.release(release) / "files", args)
    against = instance.current() if args["beside"] else None
    current = _private_of(manager, instance, against)
    report = prove(
        agent,
        manager.private(instance, release),
        current,
        against if current else None,
        asked,
        args,
    )
    if not report["passed"]:
        report["log"] = manager.log(instance, release, LINES)
        manager.stop(instance, release)
    return report


def _private_of(manager: Supervisor, instance: Instance, release: str | None) -> Path | None:
    """Where the front of a release is asked, if one is ready."""
    for each in serving(manager, instance) if release else []:
        if each["release"] == release and each["ready"]:
            return manager.private(instance, each["unit"])
    return None


@op("watch")
def watch(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """See that production stays ready for a while after a switch. args: name, unit, seconds.

    {"steady": true}, or else "why", "after" [s] and the last lines of its log.
    """
    instance, unit = Instance(agent.base, args["name"]), args["unit"]
    manager = supervisor(agent)
    private = manager.private(instance, unit)
    fate, workers = manager.fate(instance, unit)["restarts"], _restarts(private)
    began, missed = time.monotonic(), 0
    while (gone := time.monotonic() - began) < args["seconds"]:
        if agent.gone.is_set():
            raise ClientGone
        said = fronts.state(private)
        missed = 0 if said and said.get("ready") else missed + 1
        now = manager.fate(instance, unit)
        why = ""
        if now["over"] or now["restarts"] > fate:
            why = f"its process ended{' (' + now['why'] + ')' if now['why'] else ''}"
        elif said and _restarts(private) > workers:
            why = "a worker of it died"
        elif missed >= FAILURES:
            why = "it was no longer ready"
        if why:
            log = manager.log(instance, unit, LINES)
            return {"steady": False, "why": why, "after": round(gone, 1), "log": log}
        agent.event(progress=round(gone, 1), total=args["seconds"])
        time.sleep(min(0.2, max(0.0, args["seconds"] - gone)))
    return {"steady": True}


@op("trial")
def trial(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Start a release that is deployed nowhere, on a private socket only, and have it proved.

    args: manifest (as for `place`), start_timeout [s], and those of `gate`. Gives the report with
    `log` and `ready` [s]; Failure when it is never ready. Nothing of it stays, nothing runs on.
    """
    manifest = args["manifest"]
    make_folder(agent.base / "tmp")
    with late.scratch(agent.base / "tmp", "trial-") as folder:
        instance = Instance(Path(folder), manifest["model"])
        release = instance.release(manifest["id"])
        assemble(agent.base, release, manifest)
        private, log = instance.folder / "run" / "trial.sock", instance.log(manifest["id"])
        make_folder(log.parent)
        make_folder(private.parent, 0o700)
        began = time.monotonic()
        with _front(instance, manifest["id"], private, log) as process:
            _wait_ready(agent, process, private, log, args["start_timeout"])
            ready = round(time.monotonic() - began, 3)
            report = prove(agent, private, None, None, questions(release / "files", args), args)
        return {**report, "ready": ready, "log": tail(log, LINES)}


@op("prepare_trial")
def prepare_trial(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Keep others from collecting what is about to be put here and no release mentions."""
    make_base(agent)
    share(agent)
    return {}


@contextlib.contextmanager
def _front(
    instance: Instance, release: str, private: Path, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """The scoring program, with a session of its own so that all of it can be ended."""
    program = instance.release(release) / "runtime"
    argv = [str(program / "env/bin/python"), "-I", str(program / "program"), "front"]
    argv += ["--instance", str(instance.folder), "--release", release, "--private", str(private)]
    with log.open("ab") as output:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=str(instance.folder),
            env=own_environment(),
            start_new_session=True,
            preexec_fn=end_with_agent,
        )
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def end_with_agent() -> None:
    """Have the kernel end the front should the agent be killed (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait_ready(
    agent: Agent, process: subprocess.Popen[bytes], private: Path, log: Path, within: float
) -> None:
    began = time.monotonic()
    while time.monotonic() - began < within:
        if agent.gone.is_set():
            raise ClientGone
        if (fronts.state(private) or {}).get("ready"):
            return
        if process.poll() is not None:
            raise _not_ready(f"It failed {time.monotonic() - began:.1f} s after its start.", log)
        time.sleep(0.05)
    raise _not_ready(f"It was not ready after {within:g} s.", log)


def _not_ready(what: str, log: Path) -> Failure:
    return Failure(
        what,
        remedy="The lines of its log below show where.",
        detail=tail(log, LINES),
        kind="GateFailed",
    )
