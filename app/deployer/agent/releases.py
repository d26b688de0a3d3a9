"""Releases on this host: placed from blobs, started, proved, pruned."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import fronts, late, script
from .access import ensure_tokens
from .blobs import sync_folder
from .collect import collect
from .crash import crash_point
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
from .words import told

if TYPE_CHECKING:
    from .loop import Agent, Payload
    from .supervise import Supervisor


KEPT = "Production is as it was."
NONE_YET = "Nothing is in production here yet."

LIBRARY_GONE = re.compile(r"(\S+\.so[\d.]*): cannot open shared object file")
PACKAGES_OF = {
    "libgomp.so.1": "libgomp1",
    "libGL.so.1": "libgl1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libsndfile.so.1": "libsndfile1",
}
"""Of Debian and Ubuntu: what wheels of LightGBM, OpenCV and soundfile leave to the host."""

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
    new, old = (folder.with_name(f".{folder.name}.{os.urandom(4).hex()}") for _ in range(2))
    try:
        assemble(agent.base, new, manifest)
        if folder.exists():  # half placed, or damaged: what runs from it keeps what it has open
            folder.rename(old)
        new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    sync_folder(instance.releases)
    return {"placed": True}


def assemble(base: Path, folder: Path, manifest: dict[str, Any]) -> None:
    """A release's files from blobs, the ways to its environment and runtime, its release.json."""
    make_folder(folder)
    put_files(base, folder / "files", manifest["files"])
    crash_point("files-placed")
    if manifest["environment"]:  # a pipeline may need none
        (folder / "env").symlink_to(_way(folder, environment(base, manifest["environment"])))
    (folder / "runtime").symlink_to(_way(folder, runtime(base, manifest["runtime"])))
    replace(folder / "release.json", json.dumps(manifest, indent=1).encode() + b"\n")


def _way(folder: Path, target: Path) -> str:
    return os.path.relpath(target, folder)


@op("listen")
def listen(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Write the units, open the public socket. args: name, port, release, units, exposure.

    A port that was closed before is closed again when nothing becomes production; what has none
    then is deployed no more than before.
    """
    instance = Instance(agent.base, args["name"])
    manager = supervisor(agent)
    make_folder(instance.folder / "log")
    _make_ask_folder(agent, instance)
    ensure_tokens(instance)
    if not manager.listening(instance):
        agent.opened = True
        agent.undo.append(lambda: _closed_again(manager, instance))
    if args["units"]:
        manager.write_units(args["units"])
        crash_point("units-written")
    claim(args["port"])
    manager.listen(instance, args["port"], args["release"], args["exposure"])
    crash_point("port-opened")
    facts = {"port": args["port"], "mode": manager.mode}
    replace(instance.facts_file, json.dumps(facts).encode() + b"\n")
    return facts


def _closed_again(manager: Supervisor, instance: Instance) -> None:
    """A first deployment that failed leaves its release, its log and its tokens to the next."""
    manager.close(instance)
    if instance.current() is None:
        manager.remove_units(instance)
        instance.facts_file.unlink(missing_ok=True)


def _make_ask_folder(agent: Agent, instance: Instance) -> None:
    """Where its socket for pipelines lies: for those who have the folder in their sight."""
    folder = instance.asked_at.parent
    make_folder(folder, 0o700)
    if supervisor(agent).mode == "system":
        shutil.chown(folder, group=agent.base.stat().st_gid)
        folder.chmod(0o750)


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
    crash_point("candidate-starting")
    try:
        said = _wait_ready(agent, manager, instance, release, timeout)
    except TimeoutError:
        seconds = time.monotonic() - began
        why = manager.fate(instance, release)["why"]
        detail = manager.log(instance, release, 50)
        if not ran_before:
            manager.stop(instance, release)
        after = _after_failure(instance, release)
        named, its_words = f"{instance.name} {told(release)}", _said(release, detail)
        raise _never_ready(named, seconds, timeout, its_words, why, detail, after) from None
    return {"seconds": round(time.monotonic() - began, 3), **said}


def _after_failure(instance: Instance, release: str) -> str:
    """How production is then."""
    current = instance.current()
    if current == release:
        return f"`rhythmicml start {instance.name}` tries again."
    return KEPT if current else NONE_YET


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


def missing_library(said: str) -> str:
    """What to do when a package wants a library that the host has not; "" when that is not it."""
    found = LIBRARY_GONE.search(said)
    if not found:
        return ""
    package = PACKAGES_OF.get(found[1])
    how = f" (Debian, Ubuntu: apt-get install {package})" if package else ""
    return f"A package of the model needs {found[1]} of the host: have it installed there{how}."


def _where(said: str) -> str:
    """What to look at when a front said why it could not serve."""
    shown = "The lines of its log below show where."
    if said.startswith("The sample was not predicted"):
        return f"{shown} If its sample is no request that it takes, put a real one there."
    return shown


def _never_ready(
    named: str, seconds: float, within: float, said: str, why: str, detail: str, after: str
) -> Failure:
    if seconds >= within:
        return Failure(
            f"{named} was not ready after {within:g} s.",
            remedy="Raise `start_timeout` under [deploy] if the model needs longer to load. "
            + after,
            detail=detail,
            kind="GateFailed",
        )
    return Failure(
        f"{named} failed {seconds:.1f} s after its start.",
        cause=said or f"Its process ended ({why}).",
        remedy=f"{missing_library(said) or _where(said)} {after}",
        detail=detail,
        kind="GateFailed",
    )


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
    late.side_by_side(partial(remove_release, instance), removed)
    return {"removed": removed, "freed": collect(agent, args.get("coming"))}


def remove_release(instance: Instance, release: str) -> None:
    """release.json goes first, so that half a removal is no release."""
    folder = instance.release(release)
    (folder / "release.json").unlink(missing_ok=True)
    crash_point("half-removed")
    shutil.rmtree(folder, ignore_errors=True)
    log = instance.log(release)
    log.unlink(missing_ok=True)
    log.with_name(f"{log.name}.1").unlink(missing_ok=True)
