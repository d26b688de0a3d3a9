"""Which instance of this host answered a request: by what it kept of it, and by its access log."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .layout import Instance, instances
from .loop import op
from .managers import supervisor
from .metrics import sampled
from .run import execute
from .supervise import Keeper, Supervisor

if TYPE_CHECKING:
    from .loop import Agent, Payload

LONGEST = 100_000  # bytes of a line that may be ours
FAR = 256 << 20  # bytes of one log that are looked through, its end
WITHIN = 30.0


@op("trace")
def trace(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """What is known here of a request. args: id, name (null: all).

    {"found": [{"name", "sampled": its row or None, "line": of the access log or None}]}
    """
    wanted = [Instance(agent.base, args["name"])] if args["name"] else instances(agent.base)
    manager = supervisor(agent)
    found = []
    for each in wanted:
        kept = _kept(agent, each, args["id"])
        line = _line(agent, manager, each, args["id"])
        if kept or line:
            found.append({"name": each.name, "sampled": kept, "line": line})
    return {"found": found}


def _kept(agent: Agent, instance: Instance, request: str) -> dict[str, Any] | None:
    try:
        return sampled(agent, instance, request)
    except Exception:  # whatever somebody else's file makes of a query
        return None


def _line(
    agent: Agent, manager: Supervisor | Keeper, instance: Instance, request: str
) -> dict[str, Any] | None:
    """The last line of its access log that is about the request."""
    lines: Iterable[str]
    if isinstance(manager, Keeper) or manager.user:
        lines = _of_files(instance.folder / "log", request)
    else:
        lines = _of_journal(agent, manager.journal_of(instance, 1, False), request)
    last = None
    for line in lines:
        last = _about(line, request) or last
    return last


def _of_files(folder: Path, request: str) -> Iterator[str]:
    for path in sorted(folder.glob("*.log"), key=lambda file: file.stat().st_mtime):
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - FAR))
            while line := file.readline(LONGEST):
                if request.encode() in line:
                    yield line.decode("utf-8", "replace")


def _of_journal(agent: Agent, argv: list[str], request: str) -> list[str]:
    """Searched by journalctl, which is quicker."""
    said: list[str] = []
    words = [*argv, "-o", "cat", "--grep", re.escape(request), "--case-sensitive=true"]
    execute(agent, words, deadline=WITHIN, on_line=lambda _, line: said.append(line))
    return said


def _about(line: str, request: str) -> dict[str, Any] | None:
    try:
        said = json.loads(line)
    except ValueError:
        return None
    return said if isinstance(said, dict) and said.get("request") == request else None
