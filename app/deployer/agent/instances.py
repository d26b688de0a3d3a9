"""Instances on this host: looked at, stopped, started, taken away."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import credentials, environments, exposure, room, script, shadowing, stages, tunnels
from .access import known_certificate, known_tokens, token_hashes
from .blobs import free_bytes
from .collect import collect
from .crash import crash_point
from .failure import Failure
from .files import replace
from .host import HIDDEN, manager_answers, pythons, user_name
from .layout import (
    CURRENT,
    Instance,
    blob,
    environment,
    instances,
    make_base,
    read_json,
    runtime,
    whole_release,
)
from .locks import holder
from .loop import op
from .managers import supervisor
from .ports import ANYWHERE, free_port, taken_by
from .releases import remove_release, start_and_wait
from .retention import pinned, switches
from .supervise import serving
from .switching import stop_others, unconfirmed, warm

if TYPE_CHECKING:
    from .loop import Agent, Payload
    from .supervise import Supervisor

OURS = frozenset(
    (
        "ask",
        "blobs",
        "cache",
        "chunks",
        "envs",
        "incoming",
        "instances",
        "pythons",
        "runtime",
        "tmp",
        "tools",
        ".lock",
        ".ports",
        "lost+found",
        script.NAME,
    )
)


@op("look")
def look(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """All that a plan needs to know, in one answer.

    args: name, release (id wanted), environment (key), runtime (digest), tool, blobs (digests),
    units (file names), port (wanted or null), exposure (wanted), stages (names of instances here
    that it would ask). An environment of no name is one that is not needed.
    """
    instance = Instance(agent.base, args["name"])
    manager = supervisor(agent)
    port, listening = instance.port(), manager.listening(instance)
    fronts = [{**each, **_resources(each)} for each in serving(manager, instance)]
    key = args["environment"]
    has_environment = not key or environments.whole(environment(agent.base, key))
    has_runtime = environments.whole(runtime(agent.base, args["runtime"]))
    return {
        **_manager_facts(agent, manager),
        "mode": manager.mode,
        "base": str(agent.base),
        "missing": [each for each in args["blobs"] if not blob(agent.base, each).exists()],
        "tool": (agent.base / "tools" / args["tool"]).exists(),
        "runtime": has_runtime,
        "runtime_python": "" if has_runtime else environments.runtime_python(agent),
        "environment": has_environment,
        "pythons": [] if has_environment else pythons(agent),
        "release": whole_release(instance.release(args["release"])),
        "known": instance.facts_file.is_file(),
        "units": manager.units(args["units"]),
        "listening": listening,
        "asking": manager.asking(instance),
        "enabled": manager.enabled(instance),
        "serving": fronts,
        "current": instance.current(),
        "history": switches(instance),
        "pinned": pinned(instance),
        "warm": warm(instance),
        "shadow": shadowing.order_of(instance),
        "releases": [_brief(each) for each in instance.complete()],
        "port": port if instance.facts_file.is_file() else None,
        "port_owners": {} if listening else _owners(args["exposure"], port, args["port"]),
        "free_port": free_port(agent.base),
        "disk_free": free_bytes(agent.base),
        "room": room.facts(agent.base, fronts),
        "ready": _base_ready(agent, manager),
        **_access_facts(manager, instance),
        "secrets": credentials.facts(instance, fronts),
        "stages": {each: stages.asked(manager, agent.base, each) for each in args["stages"]},
        "dependents": stages.dependents(agent.base, instance.name),
        "tunnels": tunnels.facts(manager, instance),
        "ssh": os.access(tunnels.SSH, os.X_OK),
    }


def _access_facts(manager: Supervisor, instance: Instance) -> dict[str, Any]:
    """Who can reach it, and what they need."""
    return {
        "exposure": manager.exposure(instance),
        "tokens": len(known_tokens(instance)),
        "certificate": known_certificate(instance),
        "ipv6": exposure.has_ipv6(),
        "addresses": exposure.own_addresses(),
    }


def _manager_facts(agent: Agent, manager: Supervisor) -> dict[str, Any]:
    """Whether what has to keep instances alive is there at all."""
    by_user = manager.mode == "user"
    user = user_name()
    return {
        "user": user,
        "systemd": manager.mode == "process" or os.path.isdir("/run/systemd/system"),
        "linger": not by_user or os.path.exists(f"/var/lib/systemd/linger/{user}"),
        "user_manager": not by_user or manager_answers(agent, "--user"),
        "unwritable": unwritable(manager),
    }


def unwritable(manager: Supervisor) -> list[str]:
    """Where systemd has to make folders for a service and cannot.

    That of the system does without /var/tmp, that of a user does not.
    """
    needed = {"process": (), "system": ("/tmp",), "user": ("/tmp", "/var/tmp")}[manager.mode]
    return [each for each in needed if not os.access(each, os.W_OK)]


def _owners(wanted: str, *ports: int | None) -> dict[str, str]:
    """Who listens on these ports of this host, of those that are taken for that exposure."""
    host = ANYWHERE if wanted == exposure.PUBLIC else "127.0.0.1"
    found = {str(port): taken_by(port, host) for port in ports if port}
    return {port: owner for port, owner in found.items() if owner}


def _brief(manifest: dict[str, Any]) -> dict[str, Any]:
    wanted = ("id", "version", "digest", "created", "environment", "runtime", "python")
    return {
        **{key: manifest.get(key) for key in wanted},
        "expose": exposure.of_release(manifest),
        "secrets": manifest["scoring"].get("secrets") or [],
    }


@op("status")
def status(agent: Agent, args: dict[str, Any], payload: Payload) -> list[dict[str, Any]]:
    """Every instance here, or the one named: what should serve, what does, since when, how much.

    args: name or null, history (lines of it).
    """
    manager = supervisor(agent)
    chosen = [each for each in instances(agent.base) if args["name"] in (None, each.name)]
    return [_status(manager, each, args["history"]) for each in chosen if each.facts_file.is_file()]


def _status(manager: Supervisor, instance: Instance, history: int) -> dict[str, Any]:
    fronts = serving(manager, instance)
    for front in fronts:
        front.update(_resources(front))
        front["private"] = str(manager.private(instance, front["unit"]))
    releases = [_brief(each) for each in instance.complete()]
    listening = manager.listening(instance)
    return {
        "name": instance.name,
        "port": instance.port(),
        "current": instance.current(),
        "listening": listening,
        "stopped": bool(instance.facts().get("stopped")),
        "fronts": fronts,
        "fate": _fate(manager, instance),
        "releases": releases,
        "pinned": pinned(instance),
        "history": instance.history(history),
        "holder": holder(instance.lock_file),
        "unconfirmed": unconfirmed(instance),
        "warm": warm(instance),
        "shadow": shadowing.order_of(instance),
        "exposure": manager.exposure(instance) if listening else _meant(instance, releases),
        "tokens": len(known_tokens(instance)),
        "token_hashes": token_hashes(instance),
        "certificate": known_certificate(instance),
    }


def _meant(instance: Instance, releases: list[dict[str, Any]]) -> str:
    """Who would reach it if it listened."""
    meant = {each["id"]: str(each["expose"]) for each in releases}
    return meant.get(instance.current(), exposure.LOOPBACK)


def _fate(manager: Supervisor, instance: Instance) -> dict[str, Any]:
    """How production fares, whichever of its two names it was started by."""
    units = [CURRENT, instance.current() or CURRENT]
    return max((manager.fate(instance, unit) for unit in units), key=_trouble)


def _trouble(fate: dict[str, Any]) -> tuple[bool, int, bool]:
    return fate["over"], fate["restarts"], fate["alive"]


def _resources(front: dict[str, Any]) -> dict[str, Any]:
    """Memory of the front and its workers [bytes], from /proc; null where that is not there."""
    found = [room.held(pid) for pid in room.pids_of(front)]
    return {"memory": sum(each for each in found if each) or None}


@op("manifest")
def manifest(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any] | None:
    """The release.json of a release that is here. args: name, release."""
    return read_json(Instance(agent.base, args["name"]).release(args["release"]) / "release.json")


@op("stop")
def stop(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Stop an instance: its socket and all that runs, now and at boot. args: name, entry."""
    instance = Instance(agent.base, args["name"])
    running = supervisor(agent).running(instance)
    supervisor(agent).close(instance)
    shadowing.forget(supervisor(agent), instance, shadowing.order_of(instance))
    instance.warm_file.unlink(missing_ok=True)
    facts = {**instance.facts(), "stopped": True}
    replace(instance.facts_file, json.dumps(facts).encode() + b"\n")
    instance.remember(**args["entry"])
    return {"stopped": running}


@op("restart")
def restart(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Stop what serves and start it again; connections wait meanwhile. args: name, entry."""
    instance = Instance(agent.base, args["name"])
    manager = supervisor(agent)
    release = instance.current()
    if release is None:
        raise Failure(f"{instance.name} has no production release here.", kind="NotFound")
    scoring = (read_json(instance.release(release) / "release.json") or {})["scoring"]
    beside = (shadowing.order_of(instance) or {}).get("release", "")
    stop_others(manager, instance, keep={beside})
    said = start_and_wait(agent, instance, release, scoring["start_timeout"])
    stop_others(manager, instance, {release, beside})
    instance.remember(**args["entry"])
    return said


@op("undeploy")
def undeploy(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Take an instance away; its releases stay for the next time unless args["purge"].

    args: name, purge, entry (history). Returns bytes of blobs freed.
    """
    instance = Instance(agent.base, args["name"])
    manager = supervisor(agent)
    manager.close(instance)
    shadowing.forget(manager, instance, shadowing.order_of(instance))
    manager.forget(instance)
    crash_point("units-gone")
    instance.make_current(None)
    instance.facts_file.unlink(missing_ok=True)
    if instance.folder.is_dir():
        instance.remember(**args["entry"])
    if not args["purge"]:
        return {"freed": 0}
    for manifest in instance.complete():
        remove_release(instance, manifest["id"])
    freed = collect(agent)
    shutil.rmtree(instance.folder, ignore_errors=True)
    return {"freed": freed}


@op("prepare")
def prepare(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Make the base folder, for services to read and nobody else (system-wide installations)."""
    make_base(agent)
    if supervisor(agent).mode == "system":
        _refuse_base(agent.base)
        _group(args["group"])
        shutil.chown(agent.base, group=args["group"])
        agent.base.chmod(0o750)
    return {}


def _refuse_base(base: Path) -> None:
    """Not a folder that services cannot see, nor one that belongs to something else."""
    hidden = next((top for top in HIDDEN if f"{base}/".startswith(top)), None)
    others = sorted(each.name for each in base.iterdir() if each.name not in OURS)
    if hidden:
        raise Failure(
            f'Services cannot see "{base}": what is under {hidden} is hidden from them.',
            remedy="Give the location another base folder, or --privilege user.",
        )
    if others:
        raise Failure(
            f'"{base}" holds other things ("{others[0]}"), so it cannot be the base folder.',
            remedy="Give the location a folder of its own.",
        )


def _base_ready(agent: Agent, manager: Supervisor) -> bool:
    if manager.mode != "system":
        return agent.base.is_dir()
    return agent.base.is_dir() and agent.base.stat().st_mode & 0o777 == 0o750


def _group(name: str) -> None:
    import grp
    import subprocess

    try:
        grp.getgrnam(name)
    except KeyError:
        done = subprocess.run(
            ["groupadd", "--system", name], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Failure(
                f'The group "{name}" could not be made on this host.',
                cause=done.stderr.strip(),
            ) from None
