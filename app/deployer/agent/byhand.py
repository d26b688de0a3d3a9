"""What `rhythmicml-host` does on the host itself, for the day when no client is left."""

from __future__ import annotations

import importlib
import os
import socket
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import OPS, exposure, shadowing
from .failure import Failure
from .host import user_name
from .instances import unwritable
from .judging import SAMPLE_ALONE
from .layout import Instance, read_json
from .loop import Agent, Payload, operation
from .managers import supervisor
from .retention import rollback_target
from .supervise import serving
from .words import cannot_write, told

if TYPE_CHECKING:
    from .supervise import Supervisor

USAGE = """rhythmicml-host: what was deployed to this host, without the machine it was deployed from

  status            what runs here, and to what a rollback would go
  logs MODEL [N]    the last N lines that it said (100)
  rollback MODEL    back to the release that was production before
  start MODEL       start it, or make it serve again
  stop MODEL        it answers no more, also not after a reboot, until it is started
"""


class ByHand(Agent):
    """An agent whose client is the person at this terminal."""

    def event(self, **said: Any) -> None:
        if "out" in said:
            print(said["out"])


def main(mode: str) -> None:
    base = Path(sys.argv[0]).resolve().parent
    for module in OPS:
        importlib.import_module("." + module, __package__)
    agent = ByHand(base, mode, (0, 1), 60.0)
    try:
        _refuse_wrong_user(agent)
        _do(agent, sys.argv[1:])
    except Failure as failure:
        said = failure.as_dict()
        print(f"Error: {said['what']}", file=sys.stderr)
        for name in ("cause", "remedy", "detail"):
            if said[name]:
                print(f"  {name.capitalize()}: {said[name]}", file=sys.stderr)
        sys.exit(1)
    finally:
        agent.take_back()


def _refuse_wrong_user(agent: Agent) -> None:
    owner = agent.base.stat().st_uid
    if os.getuid() != owner:
        again = f"sudo {sys.argv[0]}" if owner == 0 else f"Log in as the user with the id {owner}"
        raise Failure("What runs here is another user's.", remedy=again)


def _do(agent: Agent, words: list[str]) -> None:
    if words == ["status"]:
        _status(agent)
    elif words[:1] == ["logs"] and len(words) in (2, 3) and words[-1:] != [""]:
        lines = int(words[2]) if words[2:] and words[2].isdigit() else 100
        _call(agent, "logs", name=words[1], lines=lines, follow=False)
    elif len(words) == 2 and words[0] in ("rollback", "start", "stop"):
        instance = Instance(agent.base, words[1])
        if not instance.facts_file.is_file():
            raise Failure(f"{instance.name} is not deployed here.", kind="NotFound")
        who = {"who": user_name(), "host": socket.gethostname(), "step": words[0]}
        _call(agent, "lock", name=instance.name, **who)
        {"rollback": _roll_back, "start": _start, "stop": _stop}[words[0]](agent, instance)
    else:
        print(USAGE, end="")
        sys.exit(0 if words in ([], ["-h"], ["--help"], ["help"]) else 2)


def _call(agent: Agent, do: str, **args: Any) -> Any:
    return operation(do)(agent, args, Payload(0, lambda size: b""))


def _status(agent: Agent) -> None:
    found = _call(agent, "status", name=None, history=1_000_000)
    rows = [("MODEL", "STATE", "VERSION", "RELEASE", "PORT", "ROLLBACK TO")]
    for each in found:
        version = {one["id"]: f"v{one['version']}" for one in each["releases"]}
        target = rollback_target(each["history"], each["releases"], each["current"])
        current = each["current"] or ""
        release, port = current or "-", str(each["port"])
        to = version.get(target or "", "-")
        rows.append((each["name"], _state(each), version.get(current, "-"), release, port, to))
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        print("  ".join(word.ljust(widths[at]) for at, word in enumerate(row)).rstrip())


def _state(each: dict[str, Any]) -> str:
    open_to_all = [one for one in each["fronts"] if one.get("accepting")]
    if any(one["ready"] and one["release"] == each["current"] for one in open_to_all):
        return "serving"
    if each["current"] is None:
        return "never served"  # who deployed it first was cut off
    return "stopped" if each["stopped"] else "failing"


def _roll_back(agent: Agent, instance: Instance) -> None:
    releases, current = instance.complete(), instance.current()
    target = rollback_target(instance.history(1_000_000), releases, current)
    if target is None:
        raise Failure(f"{instance.name} has no earlier release here to go back to.")
    _become(agent, instance, "rollback", target)


def _start(agent: Agent, instance: Instance) -> None:
    current = instance.current()
    if current is None:
        raise Failure(f"{instance.name} has no production release here.")
    _become(agent, instance, "start", current)


def _stop(agent: Agent, instance: Instance) -> None:
    _call(agent, "stop", name=instance.name, entry=_entry("stop", None))
    print(f"{instance.name} is stopped.")


def _become(agent: Agent, instance: Instance, action: str, release: str) -> None:
    """Start a release, prove it and make it production, as a plan of the client's would."""
    manager, name, current = supervisor(agent), instance.name, instance.current()
    _refuse_unwritable(manager, instance, release)
    wrong = _call(agent, "sound", name=name, release=release)
    manifest = read_json(instance.release(release) / "release.json")
    if wrong or manifest is None:
        cause = "; ".join(wrong[:5])
        raise Failure(f"{name} {told(release)} cannot be production: it is damaged.", cause=cause)
    scoring, meant = manifest["scoring"], exposure.of_release(manifest)
    now = read_json(instance.release(current or "") / "release.json") or manifest
    if meant != exposure.of_release(now):
        raise Failure(
            f"{name} {told(release)} is {meant}, and the one in production is not.",
            remedy="Opening and closing the port takes RhythmicML itself: see `adopt`.",
        )
    if not manager.listening(instance):
        port = instance.port()
        _call(agent, "listen", name=name, port=port, release=release, units={}, exposure=meant)
    if current != release:
        _end_shadow(agent, instance)
    _call(agent, "start", name=name, release=release, within=scoring["start_timeout"])
    if current != release:
        _prove(agent, name, release, scoring)
    entry = _entry(action, manifest["version"])
    said = {"unit": release, "expected": current, "opening": None, "entry": entry}
    _call(agent, "switch", name=name, release=release, **said)
    _call(agent, "confirm", name=name, keep_warm=0)
    print(f"{name} v{manifest['version']} is serving.")


def _refuse_unwritable(manager: Supervisor, instance: Instance, release: str) -> None:
    """What runs already needs no folders to be made; a shadow is started anew."""
    copied = (shadowing.order_of(instance) or {}).get("release")
    ready = {each["release"] for each in serving(manager, instance) if each["ready"]}
    up = release in ready - {copied}
    lacking = unwritable(manager)
    if lacking and not up:
        raise Failure(**cannot_write(user_name(), lacking))


def _end_shadow(agent: Agent, instance: Instance) -> None:
    """It is held against the release that is production until now; and if it is what production
    becomes, it starts anew: nothing gives a process its priority back."""
    if order := shadowing.order_of(instance):
        shadowing.end(agent, instance)
        print(f"{instance.name} v{order['version']} gets no more copies of the requests.")


def _prove(agent: Agent, name: str, release: str, scoring: dict[str, Any]) -> None:
    asked = {**SAMPLE_ALONE, "sample": scoring["sample"], "within": scoring["timeout"] + 5}
    report = _call(agent, "gate", name=name, release=release, **asked)
    if not report["passed"]:
        cause = " ".join(report["over"][:5])
        raise Failure(
            f"{name} {told(release)} did not pass its gate.", cause=cause, detail=report["log"]
        )


def _entry(action: str, version: Any) -> dict[str, Any]:
    who = f"{user_name()}@{socket.gethostname()} (rhythmicml-host)"
    at = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {"action": action, "version": version, "who": who, "at": at, "id": os.urandom(8).hex()}
