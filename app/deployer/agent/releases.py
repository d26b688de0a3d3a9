"""Releases on this host: placed from blobs, proved, made production, retired, pruned."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import exposure, fronts, script
from .access import ensure_tokens
from .blobs import sync_folder
from .collect import collect
from .failure import Failure
from .files import replace
from .layout import (
    Instance,
    environment,
    make_folder,
    put_files,
    runtime,
    whole_release,
)
from .loop import ClientGone, op
from .managers import supervisor
from .ports import claim
from .retention import pinned

if TYPE_CHECKING:
    from .loop import Agent, Payload
    from .supervise import Supervisor


KEPT = "Production is as it was."

LAST_WORDS = 6
"""Lines of a log; what is further up may be of an earlier start."""


@op("place")
def place(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Put a release together from blobs already here. args: manifest (what release.json will be).

    release.json is written last and durably: without it there is no release. It is put together
    beside its place, so that a damaged one stays until the new one is whole.
    """
    manifest = args["manifest"]
    instance = Instance(agent.base, manifest["model"])
    script.install(agent)
    folder = instance.release(manifest["id"])
    if whole_release(folder):
        return {"placed": False}
    make_folder(instance.releases)
    for left in instance.releases.glob(".v*"):
        if left.is_dir() and not left.is_symlink():  # whoever made it is gone: we have the lock
            shutil.rmtree(left, ignore_errors=True)
    new, old = (folder.with_name(f".{folder.name}.{secrets.token_hex(4)}") for _ in range(2))
    try:
        _fill(agent.base, new, manifest)
        if folder.exists():  # half placed, or damaged: what runs from it keeps what it has open
            folder.rename(old)
        new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    sync_folder(instance.releases)
    return {"placed": True}


def _fill(base: Path, folder: Path, manifest: dict[str, Any]) -> None:
    make_folder(folder)
    put_files(base, folder / "files", manifest["files"])
    (folder / "env").symlink_to(_way(folder, environment(base, manifest["environment"])))
    (folder / "runtime").symlink_to(_way(folder, runtime(base, manifest["runtime"])))
    replace(folder / "release.json", json.dumps(manifest, indent=1).encode() + b"\n")


def _way(folder: Path, target: Path) -> str:
    return os.path.relpath(target, folder)


@op("listen")
def listen(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Write the units, open the public socket. args: name, port, release, units, exposure.

    A port that was closed before is closed again when nothing becomes production.
    """
    instance = Instance(agent.base, args["name"])
    manager = supervisor(agent)
    make_folder(instance.folder / "log")
    ensure_tokens(instance)
    if not manager.listening(instance):
        agent.undo.append(lambda: manager.close(instance))
    if args["units"]:
        manager.write_units(args["units"])
    claim(args["port"])
    manager.listen(instance, args["port"], args["release"], args["exposure"])
    facts = {"port": args["port"], "mode": manager.mode}
    replace(instance.facts_file, json.dumps(facts).encode() + b"\n")
    return facts


@op("start")
def start(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Start one release and wait until it is ready. args: name, release, within [s].

    It is stopped again when it does not become production.
    """
    instance, release = Instance(agent.base, args["name"]), args["release"]
    manager = supervisor(agent)
    if release not in manager.running(instance):
        agent.undo.append(lambda: manager.stop(instance, release))
    return start_and_wait(agent, instance, release, args["within"])


def start_and_wait(
    agent: Agent, instance: Instance, release: str, timeout: float
) -> dict[str, Any]:
    """Ready means: its worker has loaded the model and predicted the sample.

    A release that fails is stopped, unless it ran before; its last words are the Failure's detail.
    """
    manager = supervisor(agent)
    began, ran_before = time.monotonic(), release in manager.running(instance)
    ensure_tokens(instance)
    manager.start(instance, release)
    try:
        said = _wait_ready(agent, manager, instance, release, timeout)
    except TimeoutError:
        seconds = time.monotonic() - began
        why = manager.fate(instance, release)["why"]
        detail = manager.log(instance, release, 50)
        if not ran_before:
            manager.stop(instance, release)
        stays = instance.current() != release
        after = KEPT if stays else f"`rhythmicml start {instance.name}` tries again."
        raise _never_ready(release, seconds, timeout, why, detail, after) from None
    return {"seconds": round(time.monotonic() - began, 3), **said}


def _wait_ready(
    agent: Agent, manager: Supervisor, instance: Instance, release: str, timeout: float
) -> dict[str, Any]:
    deadline, next_look = time.monotonic() + timeout, 0.0
    private = manager.private(instance, release)
    restarts = manager.fate(instance, release)["restarts"]
    while time.monotonic() < deadline:
        if agent.gone.is_set():
            raise ClientGone
        said = fronts.state(private)
        if said and said.get("ready"):
            return said
        if time.monotonic() >= next_look:
            fate = manager.fate(instance, release)
            if fate["over"] or fate["restarts"] > restarts:
                break
            agent.event(progress=round(timeout - (deadline - time.monotonic()), 1))
            next_look = time.monotonic() + 0.25
        time.sleep(0.02)
    raise TimeoutError(release)


def _said(release: str, log: str) -> str:
    """Why a front could not serve, in its own words: they are among the last of its log."""
    mark = f"front: release {release} cannot be served: "
    said = [line for line in log.splitlines()[-LAST_WORDS:] if line.startswith(mark)]
    words, brace, answer = (said[-1][len(mark) :] if said else "").partition("{")
    try:
        error = json.loads(brace + answer)["error"] if brace else {}
        return (words + " ".join(error[key] for key in ("what", "cause") if key in error)).strip()
    except (ValueError, KeyError, TypeError):
        return words + brace + answer


def _never_ready(
    release: str, seconds: float, within: float, why: str, detail: str, after: str
) -> Failure:
    if seconds >= within:
        return Failure(
            f"Release {release} was not ready after {within:g} s.",
            remedy="Raise `start_timeout` under [deploy] if the model needs longer to load. "
            + after,
            detail=detail,
            kind="GateFailed",
        )
    return Failure(
        f"Release {release} failed {seconds:.1f} s after its start.",
        cause=_said(release, detail) or f"Its process ended ({why}).",
        remedy="The lines of its log below show where. " + after,
        detail=detail,
        kind="GateFailed",
    )


@op("gate")
def gate(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Ask the started release its sample through the private socket.

    args: name, release, sample (null: only /readyz is asked), within [s].
    """
    instance, release = Instance(agent.base, args["name"]), args["release"]
    private = supervisor(agent).private(instance, release)
    body = None
    if args["sample"]:
        body = (instance.release(release) / "files" / args["sample"]).read_bytes()
    began = time.monotonic()
    route = ("POST", "/score") if body is not None else ("GET", "/readyz")
    try:
        status, answer = fronts.ask(private, *route, body, timeout=args["within"])
    except OSError as error:
        status, answer = 0, str(error).encode()
    if status != 200:
        _fail_gate(agent, instance, release, status, answer)
    seconds, text = round(time.monotonic() - began, 4), answer.decode("utf-8", "replace")
    schema = (fronts.state(private) or {}).get("schema")
    return {"seconds": seconds, "answer": text[:4000], "schema": schema}


def _fail_gate(agent: Agent, instance: Instance, release: str, status: int, answer: bytes) -> None:
    manager = supervisor(agent)
    log = manager.log(instance, release, 50)
    manager.stop(instance, release)
    raise Failure(
        f"Release {release} answered its sample with {status or 'nothing'}.",
        cause=answer.decode("utf-8", "replace")[:2000],
        remedy="Make predict answer the sample. Production is as it was.",
        detail=log,
        kind="GateFailed",
    )


@op("switch")
def switch(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Make a started release production and let all others finish and stop.

    args: name, release, unit (what it was started as), expected (current), entry (history),
    opening (where to listen from now on, if not where we do; see `_reopen`).
    The rename of `current` is the switch; it is taken back when the release does not open.
    """
    instance, release = Instance(agent.base, args["name"]), args["release"]
    manager = supervisor(agent)
    found = instance.current()
    if found != args["expected"]:
        raise Failure(
            f"Production of {instance.name} is {found or 'nothing'} now, not {args['expected']}.",
            remedy="Someone else switched it meanwhile. Look at it, then try again.",
            kind="Busy",
        )
    unit = args["unit"]
    if args["opening"]:
        take_back, unit = _reopen(agent, instance, release, args["opening"]), release
    else:
        take_back = partial(instance.make_current, found)
        instance.make_current(release)
    if not _opens(manager, instance, unit):
        take_back()
        raise Failure(
            f"Release {release} was ready and then did not accept requests.",
            remedy="The last lines of its log say why. Production is as it was.",
            detail=manager.log(instance, unit, 50),
            kind="GateFailed",
        )
    agent.undo.clear()
    with contextlib.suppress(OSError):  # a disk that is full does not undo a switch
        instance.remember(**args["entry"], release=release, previous=found)
    manager.enable(instance)
    stopped = stop_others(manager, instance, unit)
    return {"previous": found, "stopped": stopped}


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


def stop_others(manager: Supervisor, instance: Instance, keep: str) -> list[str]:
    """Stop every unit but one; what they hold is answered first."""
    stopped = [unit for unit in manager.running(instance) if unit != keep]
    for unit in stopped:
        manager.stop(instance, unit)
    return stopped


@op("prune")
def prune(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Remove old releases, then what none uses.

    args: name, keep (ids that stay), coming (what the release that is about to be placed needs).
    Current, running and pinned releases always stay.
    """
    instance = Instance(agent.base, args["name"])
    running = supervisor(agent).running(instance)
    kept = {instance.current(), *args["keep"], *running, *pinned(instance)}
    here = [path.name for path in instance.releases.glob("v*") if path.is_dir()]
    removed = [name for name in here if name not in kept]
    with ThreadPoolExecutor(8) as pool:  # they wait for the disk, not for each other
        list(pool.map(partial(remove_release, instance), removed))
    return {"removed": removed, "freed": collect(agent, args.get("coming"))}


def remove_release(instance: Instance, release: str) -> None:
    """release.json goes first, so that half a removal is no release."""
    folder = instance.release(release)
    (folder / "release.json").unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    log = instance.log(release)
    log.unlink(missing_ok=True)
    log.with_name(f"{log.name}.1").unlink(missing_ok=True)
