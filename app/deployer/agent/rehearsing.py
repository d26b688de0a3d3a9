"""A pipeline tried with all of its stages, none of which is deployed: in a base folder of its own.

A keeper stands for each instance there, as on a machine without systemd, so what is tried is what
would run. They end with the agent.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import fronts, late
from .failure import Failure
from .gate import LINES, end_with_agent
from .layout import Instance, make_folder
from .loop import ClientGone, op
from .releases import assemble
from .supervise import Keeper, own_environment, tail

if TYPE_CHECKING:
    from .loop import Agent, Payload

TRACE = {"X-Pipeline-Trace": "1", "Content-Type": "application/json"}


@op("rehearse")
def rehearse(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Ask a pipeline once, and say what each of its stages gave.

    args: manifests (as for `place`, the stages before those that ask them, the pipeline last; whose
    environments are here), within [s] (the answer), start_timeout [s]. payload: the request.
    Gives {"status", "answer" (JSON, or text that is none), "started" [s]}; Failure with the log
    when one of them does not come up.
    """
    body = payload.whole()
    make_folder(agent.base / "tmp")
    with (
        late.scratch(agent.base / "tmp", "trial-") as folder,
        contextlib.ExitStack() as running,
    ):
        make_folder(Path(folder) / "ask", 0o700)
        began = time.monotonic()
        up = [
            (each, *running.enter_context(_kept(agent, Path(folder), each)))
            for each in args["manifests"]
        ]
        for manifest, instance, keeper in up:
            agent.event(log=f"waiting for {instance.name}")
            _wait_ready(agent, manifest, instance, keeper, args["start_timeout"])
        started = time.monotonic() - began
        private = _private(up[-1][1], up[-1][0])
        try:
            status, said = fronts.ask(private, "POST", "/score", body, args["within"], TRACE)
        except OSError as error:
            raise _failed(up[-1][1], up[-1][0], f"gave no answer: {error}") from error
    return {"status": status, "answer": _value(said), "started": round(started, 3)}


def _value(said: bytes) -> Any:
    try:
        return json.loads(said)
    except ValueError:
        return said.decode("utf-8", "replace")


@contextlib.contextmanager
def _kept(
    agent: Agent, base: Path, manifest: dict[str, Any]
) -> Iterator[tuple[Instance, subprocess.Popen[bytes]]]:
    """The release as production of an instance that a keeper keeps up."""
    instance = Instance(base, manifest["model"])
    release = instance.release(manifest["id"])
    assemble(agent.base, release, manifest)
    instance.make_current(manifest["id"])
    log = instance.log(manifest["id"])
    make_folder(log.parent)
    make_folder(instance.folder / "run", 0o700)
    program = release / "runtime"
    argv = [str(program / "env/bin/python"), "-I", str(program / "program"), "keeper"]
    with (instance.folder / "log" / "keeper.log").open("ab") as output:
        keeper = subprocess.Popen(
            [*argv, "--instance", str(instance.folder), "--port", "0"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=str(instance.folder),
            env=own_environment(),
            start_new_session=True,
            preexec_fn=end_with_agent,
        )
    try:
        yield instance, keeper
    finally:
        keeper.send_signal(signal.SIGTERM)
        try:
            keeper.wait(10)
        except subprocess.TimeoutExpired:
            keeper.kill()  # its fronts end with it
            keeper.wait()


def _private(instance: Instance, manifest: dict[str, Any]) -> Path:
    return instance.folder / "run" / f"{manifest['id']}.sock"


def _wait_ready(
    agent: Agent,
    manifest: dict[str, Any],
    instance: Instance,
    keeper: subprocess.Popen[bytes],
    within: float,
) -> None:
    private, began = _private(instance, manifest), time.monotonic()
    while time.monotonic() - began < within:
        if agent.gone.is_set():
            raise ClientGone
        said = fronts.state(private) or {}
        if said.get("ready"):
            return
        fate = Keeper().fate(instance, manifest["id"])
        if keeper.poll() is not None or fate["over"] or fate["restarts"]:
            raise _failed(instance, manifest, "did not come up")
        time.sleep(0.05)
    raise _failed(instance, manifest, f"was not ready after {within:g} s")


def _failed(instance: Instance, manifest: dict[str, Any], what: str) -> Failure:
    log = tail(instance.log(manifest["id"]), LINES) or tail(
        instance.folder / "log" / "keeper.log", LINES
    )
    return Failure(
        f"{instance.name} v{manifest['version']} {what}.",
        remedy="The lines of its log below show where.",
        detail=log,
        kind="GateFailed",
    )
