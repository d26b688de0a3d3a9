"""What an instance says: from the journal, or from its log files where it has no journal."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .layout import Instance
from .loop import op
from .managers import supervisor
from .run import execute
from .supervise import Keeper, tail

if TYPE_CHECKING:
    from .loop import Agent, Payload


@op("logs")
def logs(agent: Agent, args: dict[str, Any], payload: Payload) -> None:
    """The last lines of an instance's log as events {"out": …}, oldest first.

    args: name, lines, follow (go on with what comes, from later releases too).
    """
    instance = Instance(agent.base, args["name"])
    manager = supervisor(agent)
    if isinstance(manager, Keeper) or manager.user:
        _from_files(agent, instance.folder / "log", args["lines"], args["follow"])
    else:
        argv = manager.journal_of(instance, args["lines"], args["follow"])
        execute(agent, argv, on_line=lambda _, line: agent.event(out=line))


def _from_files(agent: Agent, folder: Path, lines: int, follow: bool) -> None:
    files = _oldest_first(folder)
    ends = {file: file.stat().st_size for file in files}
    last = [line for file in files for line in tail(file, lines).splitlines()][-lines:]
    for line in last:
        agent.event(out=line)
    while follow and not agent.gone.wait(0.3):
        for file in _oldest_first(folder):
            ends[file] = _pass_on(agent, file, ends.get(file, 0))


def _oldest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.log"), key=lambda file: file.stat().st_mtime)


def _pass_on(agent: Agent, file: Path, start: int) -> int:
    """The whole lines beyond start as events; where they end. A file cut short begins anew."""
    with file.open("rb") as source:
        if os.fstat(source.fileno()).st_size < start:
            start = 0
        source.seek(start)
        whole = source.read().rpartition(b"\n")[0]
    for line in whole.decode("utf-8", "replace").split("\n") if whole else ():
        agent.event(out=line)
    return start + len(whole) + 1 if whole else start
