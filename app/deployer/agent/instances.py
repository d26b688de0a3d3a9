"""Instances on this host: looked at, stopped, started, taken away."""

from __future__ import annotations

import os
import shutil
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import environments
from .failure import Failure
from .host import manager_answers, pythons, user_name
from .layout import (
    CURRENT,
    Instance,
    blob,
    environment,
    instances,
    make_folder,
    read_json,
    runtime,
)
from .loop import op
from .managers import supervisor
from .releases import remove_release, start_and_wait
from .run import execute
from .supervise import serving

if TYPE_CHECKING:
    from .loop import Agent, Payload
    from .supervise import Supervisor

FIRST_PORT = 8101


@op("look")
def look(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """All that a plan needs to know, in one answer.

    args: name, release (id wanted), environment (key), runtime (digest), tool, blobs (digests),
    units (file names), port (wanted or null).
    """
    instance = Instance(agent.base, args["name"])
    manager = supervisor(agent)
    has_environment = environments.whole(environment(agent.base, args["environment"]))
    return {
        **_manager_facts(agent, manager),
        "mode": manager.mode,
        "base": str(agent.base),
        "missing": [each for each in args["blobs"] if not blob(agent.base, each).exists()],
        "tool": (agent.base / "tools" / args["tool"]).exists(),
        "runtime": environments.whole(runtime(agent.base, args["runtime"])),
        "environment": has_environment,
        "pythons": [] if has_environment else pythons(agent),
        "release": (instance.release(args["release"]) / "release.json").is_file(),
        "units": manager.units(args["units"]),
        "listening": manager.listening(instance),
        "serving": serving(manager, instance),
        "current": instance.current(),
        "history": instance.history(200),
        "releases": [_brief(each) for each in instance.complete()],
        "port": instance.facts().get("port"),
        "port_owner": _taken_by(args["port"]) if args["port"] else None,
        "free_port": _free_port(agent.base),
        "disk_free": _disk_free(agent.base),
        "ready": _base_ready(agent, manager),
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
    }


def _brief(manifest: dict[str, Any]) -> dict[str, Any]:
    wanted = ("id", "version", "created", "environment", "runtime", "python")
    return {key: manifest.get(key) for key in wanted}


@op("status")
def status(agent: Agent, args: dict[str, Any], payload: Payload) -> list[dict[str, Any]]:
    """Every instance here, or the one named: what should serve, what does, since when, how much."""
    manager = supervisor(agent)
    chosen = [each for each in instances(agent.base) if args["name"] in (None, each.name)]
    return [_status(manager, each) for each in chosen if each.facts_file.is_file()]


def _status(manager: Supervisor, instance: Instance) -> dict[str, Any]:
    fronts = serving(manager, instance)
    for front in fronts:
        front.update(_resources(front))
    return {
        "name": instance.name,
        "port": instance.facts().get("port"),
        "current": instance.current(),
        "listening": manager.listening(instance),
        "fronts": fronts,
        "fate": manager.fate(instance, CURRENT),
        "releases": [_brief(each) for each in instance.complete()],
        "history": instance.history(20),
    }


def _resources(front: dict[str, Any]) -> dict[str, Any]:
    """Memory of the front and its workers [bytes], from /proc; null where that is not there."""
    pids = [front.get("pid"), *(each.get("pid") for each in front.get("workers", []))]
    found = [_resident(pid) for pid in pids if pid]
    return {"memory": sum(each for each in found if each) or None}


def _resident(pid: int) -> int | None:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


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
    instance.remember(**args["entry"])
    return {"stopped": running}


@op("restart")
def restart(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Stop what serves and start it again; connections wait. args: name, within, entry."""
    instance = Instance(agent.base, args["name"])
    manager = supervisor(agent)
    for unit in manager.running(instance):
        manager.stop(instance, unit)
    release = instance.current()
    if release is None:
        raise Failure(f"{instance.name} has no production release here.", kind="NotFound")
    said = start_and_wait(agent, instance, release, args["within"])
    instance.remember(**args["entry"])
    return said


@op("logs")
def logs(agent: Agent, args: dict[str, Any], payload: Payload) -> int:
    """The last lines of an instance's log as events {"out": …}. args: name, lines, follow."""
    instance = Instance(agent.base, args["name"])
    argv = supervisor(agent).log_command(instance, args["lines"], args["follow"])
    return execute(agent, argv, on_line=lambda _, line: agent.event(out=line)).code


@op("undeploy")
def undeploy(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Take an instance away; its releases stay for the next time unless args["purge"].

    args: name, purge, entry (history). Returns bytes of blobs freed.
    """
    instance = Instance(agent.base, args["name"])
    manager = supervisor(agent)
    manager.close(instance)
    manager.forget(instance)
    (instance.releases / CURRENT).unlink(missing_ok=True)
    instance.facts_file.unlink(missing_ok=True)
    instance.remember(**args["entry"])
    if not args["purge"]:
        return {"freed": 0}
    for manifest in instance.complete():
        remove_release(instance, manifest["id"])
    shutil.rmtree(instance.folder, ignore_errors=True)
    return {"freed": collect(agent.base)}


@op("collect")
def collect_op(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Remove environments, runtimes and blobs that no release uses."""
    return {"freed": collect(agent.base)}


def collect(base: Path) -> int:
    """Remove what no release mentions; returns the bytes of blobs freed."""
    manifests = [each for instance in instances(base) for each in instance.complete()]
    used = {
        "envs": {each["environment"] for each in manifests},
        "runtime": {each["runtime"] for each in manifests},
    }
    for kind, keep in used.items():
        for folder in (base / kind).glob("[!.]*"):
            if folder.name not in keep:
                shutil.rmtree(folder, ignore_errors=True)
    mentioned = {entry[1] for each in manifests for entry in each["files"]}
    return sum(_drop(path) for path in (base / "blobs").glob("??/*") if path.name not in mentioned)


def _drop(path: Path) -> int:
    """Blobs younger than an hour may belong to a deployment under way."""
    facts = path.stat()
    if time.time() - facts.st_mtime < 3600:
        return 0
    path.unlink(missing_ok=True)
    return facts.st_size


@op("prepare")
def prepare(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Make the base folder readable for services and nobody else (system-wide installations)."""
    make_folder(agent.base)
    if supervisor(agent).mode == "system":
        _group(args["group"])
        shutil.chown(agent.base, group=args["group"])
        agent.base.chmod(0o750)
    return {}


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


def _free_port(base: Path) -> int:
    taken = {each.facts().get("port") for each in instances(base)}
    port = FIRST_PORT
    while port in taken or _taken_by(port):
        port += 1
    return port


def _taken_by(port: int) -> str | None:
    """Who listens on that port of this host: "nginx (pid 12)", "another process", or None."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            return "the system: ports below 1024 need root" if os.getuid() else None
        except OSError:
            return _listener(port) or "another process"
    return None


def _listener(port: int) -> str | None:
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = [line.split() for line in Path(table).read_text().splitlines()[1:]]
        except OSError:
            continue
        inodes |= {row[9] for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")}
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in Path("/proc").glob("[0-9]*"):
        if _holds(process, wanted):
            name = (process / "comm").read_text().strip()
            return f"{name} (pid {process.name})"
    return None


def _holds(process: Path, wanted: set[str]) -> bool:
    try:
        return any(os.readlink(link) in wanted for link in (process / "fd").iterdir())
    except OSError:
        return False


def _disk_free(base: Path) -> int:
    folder = next(each for each in [base, *base.parents] if each.exists())
    return shutil.disk_usage(folder).free
