"""The switch: a started release becomes production, for good once the client has confirmed it.

`unconfirmed.json` stands in the instance's folder from before the rename until then. The line in
the history is what confirms: once it is there, the switch is no longer taken back by anybody.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from . import exposure, fronts, guard, shadowing
from .crash import crash_point
from .failure import Failure
from .files import replace
from .layout import CURRENT, Instance, read_json
from .locks import held
from .loop import op
from .managers import supervisor
from .ports import claim
from .releases import start_and_wait
from .supervise import listening_sockets, open_sockets, parent_of, serving
from .words import told

if TYPE_CHECKING:
    from .loop import Agent, Payload
    from .supervise import Supervisor

TAKEN_BACK = "take-back"
"""What the history says of a switch that nobody confirmed."""

_switched: dict[str, dict[str, Any]] = {}


@op("stop_first")
def stop_first(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """End production to make room for what comes; it is started again unless that succeeds, by
    the host itself where the agent is killed.

    args: name.
    """
    instance = Instance(agent.base, args["name"])
    manager = supervisor(agent)
    before, running = instance.current(), manager.running(instance)
    if before:
        guard.wake_later(agent, instance)
        agent.undo.append(lambda: begin_again(manager, instance, before))
    make_room(manager, instance)
    return {"stopped": running}


def make_room(manager: Supervisor, instance: Instance) -> None:
    """End all that runs. systemd would wake production for the next connection, so there the port
    is closed too, until a release is started; the keeper's port stays, and connections wait."""
    if manager.mode == "process":
        stop_others(manager, instance, keep=set())
    else:
        manager.halt(instance)


def begin_again(manager: Supervisor, instance: Instance, production: str) -> None:
    manager.start(instance, production if manager.mode == "process" else CURRENT)


@op("switch")
def switch(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Make a started release production; `confirm` has to follow, else it is taken back.

    args: name, release, unit (what it was started as), expected (current), entry (history),
    opening (where to listen from now on, if not where we do; see `_reopen`).
    The rename of `current` is the switch; it is taken back when the release does not open.
    """
    instance, release = Instance(agent.base, args["name"]), args["release"]
    manager = supervisor(agent)
    found = instance.current()
    if found != args["expected"]:
        raise _not_as_expected(instance, found, args["expected"])
    unit = release if args["opening"] else args["unit"]
    noted = {**args["entry"], "release": release, "previous": found, "unit": unit}
    noted.update(opened=agent.opened, opening=bool(args["opening"]))
    _note(instance, noted)
    crash_point("switch-noted")
    if guarded(noted):
        guard.arm(agent, instance, str(noted.get("id", "")))
    manager.stay(instance, unit)
    crash_point("guard-armed")
    if args["opening"]:
        back = _reopen(agent, instance, release, args["opening"])
    else:
        instance.make_current(release)

        def back() -> None:
            restore(agent, instance, noted)

    crash_point("current-renamed")
    if not _opens(manager, instance, unit):
        lost = _socket_lost(manager, instance, unit)
        back()
        _forget(agent, instance)
        if lost:
            raise lost
        raise Failure(
            f"{instance.name} {told(release)} was ready and then did not accept requests.",
            remedy="The last lines of its log say why. Production is as it was.",
            detail=manager.log(instance, unit, 50),
            kind="GateFailed",
        )
    crash_point("new-one-accepts")
    _switched[instance.name] = noted
    agent.undo.append(lambda: _unconfirmed_end(agent, instance, noted, back))
    return {"previous": found}


@op("confirm")
def confirm(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Make the switch final: the client heard of it, and reached us afterwards.

    args: name, keep_warm [s]. The others finish and stop; the one before may stay, idle.
    """
    instance = Instance(agent.base, args["name"])
    held(agent, instance.name)
    manager = supervisor(agent)
    noted = _switched.pop(instance.name)
    agent.undo.clear()
    remember(instance, noted)
    crash_point("switch-remembered")
    try:
        return _clear_up(agent, manager, instance, noted, args["keep_warm"])
    except Failure as failure:
        raise Failure(
            f"{instance.name} {told(noted['release'])} is production, "
            "but what comes after the switch failed.",
            cause=f"{failure.what} {failure.cause}",
            remedy=f"When that is mended: rhythmicml start {instance.name}",
        ) from failure


def _clear_up(
    agent: Agent, manager: Supervisor, instance: Instance, noted: dict[str, Any], keep_warm: float
) -> dict[str, Any]:
    """What there is to do once a switch is final: see `confirm`."""
    _forget(agent, instance)
    crash_point("guard-ended")
    manager.enable(instance)
    instance.warm_file.unlink(missing_ok=True)
    unit, warm = noted["unit"], None
    if keep_warm and noted["previous"] not in (None, noted["release"]):
        warm = _rest(agent, instance, noted["previous"], keep_warm)
    crash_point("others-stopping")
    keep = {unit, warm} if warm else {unit}
    if noted["previous"] == noted["release"]:
        keep.add((shadowing.order_of(instance) or {}).get("release"))
    else:
        shadowing.end(agent, instance)  # as the plan did, unless somebody switched by hand
    return {"stopped": stop_others(manager, instance, keep), "warm": warm}


def unconfirmed(instance: Instance) -> dict[str, Any] | None:
    """The switch that nobody has confirmed yet, as its line in the history will be, and more."""
    return read_json(instance.unconfirmed_file)


def settle_switch(agent: Agent, instance: Instance) -> None:
    """What a switch that was broken off with its agent has become; for who holds the lock.

    It is final when its release is current: who asks has reached the host, and that is all that was
    left to be shown.
    """
    noted = unconfirmed(instance)
    if noted and instance.name not in _switched:
        if instance.current() == noted["release"]:
            remember(instance, noted)
        _forget(agent, instance)


def restore(agent: Agent, instance: Instance, noted: dict[str, Any]) -> None:
    """Make the release before production again; it is started first where it does not run."""
    manager, previous = supervisor(agent), noted["previous"]
    if previous == noted["release"]:
        return
    unit = _unit_of(manager, instance, previous)
    if previous and not unit and not noted["opened"]:
        start_and_wait(agent, instance, previous, 300.0)
        unit = previous
    instance.make_current(previous)
    crash_point("current-taken-back")
    if unit:
        _opens(manager, instance, unit)
    if noted["unit"] != unit:
        manager.stop(instance, noted["unit"])
    if noted["opened"]:
        manager.close(instance)


def taken_back(agent: Agent, instance: Instance, noted: dict[str, Any], by: str) -> None:
    """Say so in the history; it is no production of the past, so it names no `release`."""
    at = datetime.now(timezone.utc).isoformat(timespec="seconds")
    with contextlib.suppress(OSError):
        line: dict[str, Any] = {key: noted.get(key) for key in ("id", "version", "who")}
        instance.remember(**line, action=TAKEN_BACK, at=at, by=by)
    _forget(agent, instance)


def remember(instance: Instance, noted: dict[str, Any]) -> None:
    """The line of the history, once."""
    private = ("unit", "opened", "opening")
    line = {key: value for key, value in noted.items() if key not in private}
    if line not in instance.history(20):
        with contextlib.suppress(OSError):  # a disk that is full does not undo a switch
            instance.remember(**line)


def stop_others(manager: Supervisor, instance: Instance, keep: set[str]) -> list[str]:
    """Stop every unit but those; what they hold is answered first."""
    idle = warm(instance)
    if idle and idle["unit"] not in keep:
        instance.warm_file.unlink(missing_ok=True)
    stopped = [unit for unit in manager.running(instance) if unit not in keep]
    for unit in stopped:
        manager.stop(instance, unit)
    return stopped


def warm(instance: Instance) -> dict[str, Any] | None:
    """The release that is kept running idle: {"release", "unit", "until"}."""
    found = read_json(instance.warm_file)
    if not found or found["until"] < datetime.now(timezone.utc).isoformat(timespec="seconds"):
        return None
    return found


def _not_as_expected(instance: Instance, found: str | None, expected: str | None) -> Failure:
    last = next(iter(instance.history(1)), {})
    who = f" {last['action']} by {last['who']} at {last['at']}." if last.get("who") else ""
    return Failure(
        f"Production of {instance.name} is {found or 'nothing'} now, not {expected or 'nothing'}.",
        cause=f"Someone else switched it meanwhile:{who}" if who else "",
        remedy="Look at it (rhythmicml status), then try again.",
        kind="Busy",
    )


def guarded(noted: dict[str, Any]) -> bool:
    """Whether a timer of the host watches too. Going between loopback and public it cannot."""
    return not noted["opening"] and noted["previous"] != noted["release"]


def _note(instance: Instance, noted: dict[str, Any]) -> None:
    with contextlib.suppress(OSError, Failure):  # a disk that is full does not hinder a rollback
        replace(instance.unconfirmed_file, json.dumps(noted).encode() + b"\n")


def _forget(agent: Agent, instance: Instance) -> None:
    instance.unconfirmed_file.unlink(missing_ok=True)
    guard.disarm(agent, instance)


def _unconfirmed_end(
    agent: Agent, instance: Instance, noted: dict[str, Any], back: Callable[[], None]
) -> None:
    back()
    taken_back(agent, instance, noted, "the agent")


def _reopen(
    agent: Agent, instance: Instance, release: str, opening: dict[str, Any]
) -> Callable[[], None]:
    """Listen elsewhere, with the release as production started on the new socket; the way back.

    opening: exposure, port, units, within [s]. What fails is taken back at once; what is broken
    off, when the agent ends.
    """
    manager = supervisor(agent)
    back = exposure.way_back(manager, instance, opening)
    agent.undo.append(back)
    claim(opening["port"])
    try:
        exposure.turn(manager, instance, release, opening)
        start_and_wait(agent, instance, release, opening["within"])
    except Failure:
        agent.undo.remove(back)
        back()
        instance.unconfirmed_file.unlink(missing_ok=True)
        raise
    agent.undo.remove(back)
    return back


def _opens(manager: Supervisor, instance: Instance, unit: str) -> bool:
    """Whether the front accepts the public's connections, once told to."""
    private = manager.private(instance, unit)
    for _ in range(50):
        if fronts.serve(private) and (fronts.state(private) or {}).get("accepting"):
            return True
        time.sleep(0.1)
    return False


def _socket_lost(manager: Supervisor, instance: Instance, unit: str) -> Failure | None:
    """Whether the front was given no socket: systemd lets go of one whose unit is edited."""
    parent = parent_of((fronts.state(manager.private(instance, unit)) or {}).get("pid"))
    port = instance.port()
    if parent is None or port is None or listening_sockets(port) & open_sockets(parent):
        return None
    return Failure(
        f"systemd does not hold port {port} any more, so no other release can be given it.",
        cause="The socket's unit was changed by hand. The release in production has it still.",
        remedy=f"rhythmicml stop {instance.name}, then start; connections are refused meanwhile.",
    )


def _unit_of(manager: Supervisor, instance: Instance, release: str | None) -> str | None:
    """What a release runs as, when it is ready."""
    for each in serving(manager, instance):
        if release and each["release"] == release and each["ready"]:
            return str(each["unit"])
    return None


def _rest(agent: Agent, instance: Instance, release: str, seconds: float) -> str | None:
    """Let a release stay up without accepting; its unit. None where it cannot or did not run."""
    manager = supervisor(agent)
    unit = _unit_of(manager, instance, release)
    if unit is None or not fronts.rest(manager.private(instance, unit)):
        return None
    until = datetime.now(timezone.utc) + timedelta(seconds=seconds)
    facts = {"release": release, "unit": unit, "until": until.isoformat(timespec="seconds")}
    replace(instance.warm_file, json.dumps(facts).encode() + b"\n")
    guard.stop_later(agent, instance, unit, seconds)
    return unit
