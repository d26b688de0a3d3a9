"""What the host does by itself, with no client and no agent: timers of systemd that run us.

`arm`: a switch that is not confirmed in time is taken back. `stop_later`: a release that was kept
warm is stopped. Where the keeper does systemd's part, the agent's own end and the keeper do that.
`wake_later`: production that was ended to make room is started again.
"""

from __future__ import annotations

import fcntl
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from . import late
from .files import replace
from .layout import CURRENT, Instance, make_folder
from .managers import supervisor

if TYPE_CHECKING:
    from .loop import Agent

WITHIN = 90
"""Seconds for a client to confirm a switch, before the host takes it back without an agent."""

MAIN = f"from {__package__}.guard import main\nmain()\n"


def arm(agent: Agent, instance: Instance, number: str) -> None:
    """Have the switch of that attempt taken back, unless `disarm` comes first."""
    manager = supervisor(agent)
    if manager.mode != "process":
        manager.later(
            f"guard-{instance.name}", WITHIN, _command(agent, "restore", instance, number)
        )


def disarm(agent: Agent, instance: Instance) -> None:
    supervisor(agent).no_longer(f"guard-{instance.name}")


def stop_later(agent: Agent, instance: Instance, unit: str, seconds: float) -> None:
    """Have a release stopped that is kept warm; `stay` of the manager prevents it."""
    command = [] if agent.mode == "local" else _command(agent, "cool", instance, unit)
    supervisor(agent).stop_later(instance, unit, seconds, command)


def wake_later(agent: Agent, instance: Instance) -> None:
    """Have production started again once the lock is free, if nothing has taken its place.

    What does that runs at once, and waits for as long as the agent has the lock.
    """
    supervisor(agent).when_free(instance, _command(agent, "wake", instance, ""))


def _command(agent: Agent, do: str, instance: Instance, what: str) -> list[str]:
    program = str(_program(agent.base))
    words = (do, str(agent.base), agent.mode, instance.name, what)
    return [sys.executable, "-I", "-S", "-X", "utf8", program, *words]


def _program(base: Path) -> Path:
    """Our own modules as one file of the host, which its Python can run."""
    sources = {
        name: module.__spec__.loader.get_source(name)  # type: ignore[union-attr]
        for name, module in sorted(sys.modules.items())
        if name.split(".")[0] == __package__ and module.__spec__
    }
    digest = late.sha256(repr(sources).encode()).hexdigest()[:12]
    path = base / "tools" / f"agent-{digest}.pyz"
    if not path.exists():
        make_folder(path.parent)
        replace(path, _zipped(sources), 0o600)
    return path


def _zipped(sources: dict[str, str]) -> bytes:
    import zipfile

    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("__main__.py", MAIN)
        for name, source in sources.items():
            path = name.replace(".", "/") if "." in name else f"{name}/__init__"
            file.writestr(f"{path}.py", source)
    return whole.getvalue()


def main() -> None:
    """What is run: `restore|cool|wake BASE MODE NAME ATTEMPT|UNIT|""`. Waits for who deploys."""
    from .loop import Agent

    do, base, mode, name, what = sys.argv[1:]
    agent = Agent(Path(base), mode, (0, 1), 0.0)
    instance = Instance(agent.base, name)
    lock = os.open(instance.lock_file, os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    {"restore": _restore, "cool": _cool, "wake": _wake}[do](agent, instance, what)


def _restore(agent: Agent, instance: Instance, number: str) -> None:
    from .switching import restore, taken_back, unconfirmed

    noted = unconfirmed(instance)
    if not noted or noted.get("id") != number:
        return
    if any(line.get("id") == number for line in instance.history(20)):
        instance.unconfirmed_file.unlink(missing_ok=True)
        return
    if instance.current() == noted["release"]:
        restore(agent, instance, noted)
        taken_back(agent, instance, noted, "the guard timer")


def _cool(agent: Agent, instance: Instance, unit: str) -> None:
    from .fronts import state

    manager = supervisor(agent)
    said = state(manager.private(instance, unit)) or {}
    if not said.get("accepting"):
        manager.stop(instance, unit)
    instance.warm_file.unlink(missing_ok=True)


def _wake(agent: Agent, instance: Instance, _: str) -> None:
    """The agent is gone. What it began to start instead is ended: there is no room for both."""
    from .supervise import serving
    from .switching import begin_again, guarded, make_room, restore, taken_back, unconfirmed

    manager, noted = supervisor(agent), unconfirmed(instance)
    current, served = instance.current(), serving(manager, instance)
    if any(each.get("accepting") for each in served) or instance.facts().get("stopped"):
        return
    if noted and guarded(noted):
        make_room(manager, instance)
        restore(agent, instance, noted)
        taken_back(agent, instance, noted, "the guard")
    elif current and not {CURRENT, current} & {*manager.running(instance)}:
        make_room(manager, instance)
        begin_again(manager, instance, current)
