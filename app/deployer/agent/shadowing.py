"""A release that runs beside production and gets copies of its requests (scoring/shadow.py).

`shadow.json` of the instance says so for as long as it is so: production reads it when it starts,
the keeper and the enabled unit start the release again after a boot.
"""

from __future__ import annotations

import contextlib
import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from . import fronts, room
from .crash import crash_point
from .failure import Failure
from .files import replace
from .layout import Instance, read_json
from .loop import op
from .managers import supervisor
from .releases import start_and_wait
from .supervise import serving

if TYPE_CHECKING:
    from pathlib import Path

    from .loop import Agent, Payload
    from .supervise import Supervisor

ROUTE = "/admin/shadow"


def order_of(instance: Instance) -> dict[str, Any] | None:
    """What shadow.json says; None where nothing is copied."""
    return read_json(instance.shadow_file)


@op("shadow")
def shadow(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Start a release that is here beside production, and have it sent copies.

    args: name, release, version, percent, tolerance, answers_within [s] (each copy), within [s]
    (until it is ready), entry (history).
    """
    instance, release = Instance(agent.base, args["name"]), args["release"]
    manager = supervisor(agent)
    private = _production(manager, instance)
    agent.undo.append(lambda: end(agent, instance))
    end(agent, instance)
    if release in manager.running(instance):  # one that is kept warm has not the lowest priority
        manager.stop(instance, release)
        instance.warm_file.unlink(missing_ok=True)
    kept = {key: args[key] for key in ("release", "version", "percent", "tolerance")}
    since = datetime.now(timezone.utc).isoformat(timespec="microseconds")
    socket = str(manager.private(instance, release))
    order = {**kept, "socket": socket, "since": since, "timeout": args["answers_within"]}
    replace(instance.shadow_file, json.dumps(order).encode() + b"\n")
    crash_point("shadow-noted")
    manager.beside(instance, release)
    said = start_and_wait(agent, instance, release, args["within"])
    if not _tell(private, order):
        raise Failure(f"Production of {instance.name} could not be told to send copies.")
    instance.remember(**args["entry"])
    agent.undo.pop()
    return {**order, "seconds": said["seconds"]}


@op("unshadow")
def unshadow(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """End it; what was found until then. args: name, entry (history; null: none of its own)."""
    instance = Instance(agent.base, args["name"])
    found = _found(supervisor(agent), instance)
    end(agent, instance)
    if args.get("entry"):
        instance.remember(**args["entry"])
    return found


@op("shadowed")
def shadowed(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any] | None:
    """What was found so far, and how the candidate fares; null where nothing is copied.

    args: name. Returns {"order", "report" (null: production does not say), "candidate"}.
    """
    instance = Instance(agent.base, args["name"])
    return _found(supervisor(agent), instance) if order_of(instance) else None


def end(agent: Agent, instance: Instance) -> None:
    """Send no more copies, and stop the release that got them. Nothing happens where none did."""
    order, manager = order_of(instance), supervisor(agent)
    if order is None:
        return
    instance.shadow_file.unlink(missing_ok=True)
    for each in serving(manager, instance):
        if each.get("accepting"):
            _tell(manager.private(instance, each["unit"]), {})
    forget(manager, instance, order)
    if order["release"] != instance.current():
        with contextlib.suppress(Failure):  # no keeper, nothing to stop
            manager.stop(instance, order["release"])


def forget(manager: Supervisor, instance: Instance, order: dict[str, Any] | None) -> None:
    """Let it not start again: for who ends all that runs."""
    if order:
        instance.shadow_file.unlink(missing_ok=True)
        manager.alone(instance, order["release"])


def _production(manager: Supervisor, instance: Instance) -> Path:
    """The private socket of who would send the copies. Raises Failure where nobody can."""
    current = instance.current()
    for each in serving(manager, instance):
        if each["release"] == current and each.get("accepting"):
            private = manager.private(instance, each["unit"])
            if _ask(private) is not None:
                return private
            raise Failure(
                f"Production of {instance.name} cannot send copies: its release is too old.",
                remedy=f"rhythmicml deploy {instance.name} puts one there that can.",
            )
    raise Failure(
        f"{instance.name} serves nobody here, so there is nothing to copy.",
        remedy=f"rhythmicml start {instance.name}",
    )


def _tell(private: Path, order: dict[str, Any]) -> bool:
    with contextlib.suppress(OSError):
        return fronts.ask(private, "POST", ROUTE, json.dumps(order).encode())[0] == 200
    return False


def _ask(private: Path) -> dict[str, Any] | None:
    """The report of a front; None where it has none to give."""
    with contextlib.suppress(OSError, ValueError):
        status, body = fronts.ask(private, "GET", ROUTE)
        found = json.loads(body) if status == 200 else None
        return found if isinstance(found, dict) else None
    return None


def _found(manager: Supervisor, instance: Instance) -> dict[str, Any]:
    order = order_of(instance) or {}
    up = {each["unit"]: each for each in serving(manager, instance)}
    reports = (
        _ask(manager.private(instance, unit)) for unit, each in up.items() if each.get("accepting")
    )
    candidate = up.get(order.get("release"), {})
    return {
        "order": order,
        "report": next((each for each in reports if each), None),
        "candidate": _how(manager, instance, order, candidate),
    }


def _how(
    manager: Supervisor, instance: Instance, order: dict[str, Any], front: dict[str, Any]
) -> dict[str, Any]:
    fate = manager.fate(instance, order["release"]) if order else {}
    held = [room.held(pid) for pid in room.pids_of(front)] if front else []
    return {
        "ready": bool(front.get("ready")),
        "error": front.get("error") or "",
        "restarts": fate.get("restarts", 0),
        "memory": sum(each for each in held if each) or None,
    }
