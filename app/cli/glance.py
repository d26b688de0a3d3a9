"""The status window's twin in the terminal, and the way to open the window itself."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from app.errors import Problem
from app.words import milliseconds, size

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from app.workspace import Workspace

EVERY = 2.0
"""Seconds between two looks at what is known here."""
ASK_EVERY = 15.0
"""Seconds between two rounds to the hosts."""
SIGNS = {
    "serving": ("●", "green"), "starting": ("◐", "blue"), "degraded": ("▲", "yellow"),
    "failing": ("■", "red"), "unknown job": ("■", "red"), "stopped": ("○", "dim"),
    "unreachable": ("?", "dim"),
}  # fmt: skip
"""State → its sign and colour; beside its word, never instead of it."""


def open_window() -> None:
    from app.cli.ui import serve

    serve("status")


def watch(work: Workspace) -> None:
    """Show all at a glance until Ctrl-C; once where nobody looks at a terminal."""
    from rich.console import Console
    from rich.live import Live

    from app.services import collecting, glance

    console = Console(highlight=False)
    if not console.is_terminal or console.is_dumb_terminal:  # on which Live draws nothing
        with suppress(Problem):
            collecting.collect(work)
        console.print(shown(glance.look(work)))
        return
    threading.Thread(target=_ask, args=(work,), daemon=True).start()
    with (
        suppress(KeyboardInterrupt),
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        while True:
            live.update(fitting(glance.look(work), console), refresh=True)
            time.sleep(EVERY)


def _ask(work: Workspace) -> None:
    """Have the hosts asked again and again, as the pages do while they are open."""
    from app.services import collecting

    while True:
        with suppress(Problem):
            collecting.collect(work)
        time.sleep(ASK_EVERY)


def fitting(said: dict[str, Any], console: Console) -> RenderableType:
    """The same with as many instances as leave room for the rest; at least one."""

    def lines(most: int) -> int:
        return len(console.render_lines(shown(said, most)))

    numbers = range(1, min(len(said["instances"]), console.height) + 1)
    return shown(said, max(1, bisect_right(numbers, console.height, key=lines)))


def shown(said: dict[str, Any], most: int | None = None) -> RenderableType:
    """What `glance.look` gives, drawn. most: instances, those first that are in trouble."""
    from rich.console import Group
    from rich.text import Text

    counts = ", ".join(f"{number} {state}" for state, number in said["counts"].items())
    head = Text.assemble(
        ("RhythmicML", "bold"), f"  {counts or 'nothing is deployed'}  ",
        (f"{datetime.now():%H:%M:%S}", "dim"),
    )  # fmt: skip
    parts: list[RenderableType] = [head, ""]
    parts += [Text(f"▲ {alert['words']}", "yellow") for alert in said["alerts"]]
    rows = said["instances"][:most]
    more = len(said["instances"]) - len(rows)
    parts += [_instances(rows)] if rows else []
    parts += [Text(f"and {more} more", "dim")] if more else []
    parts += [""] if rows else []
    parts += [_jobs(said["jobs"]), ""] if said["jobs"] else []
    here = {**said["machine"], "location": "this machine", "state": "", "error": ""}
    return Group(*parts, _machines([here, *said["locations"]]))


def _table(*heads: str) -> Any:
    from rich.table import Table

    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for head in heads:
        table.add_column(head, justify="right" if head in RIGHT else "left", overflow="fold")
    return table


RIGHT = ("REQUESTS", "P95", "CPU", "MEMORY", "DISK")


def _instances(rows: list[dict[str, Any]]) -> Any:
    from rich.text import Text

    table = _table("MODEL", "LOCATION", "STATE", "VERSION", "REQUESTS", "P95", "")
    for row in rows:
        sign, colour = SIGNS.get(row["state"], ("·", "dim"))
        newer = f" (v{row['latest']} is newer)" if row["outdated"] else ""
        rate = row["requests"]
        table.add_row(
            Text(row["model"]), Text(row["location"]), Text(f"{sign} {row['state']}", colour),
            f"v{row['version']}{newer}" if row["version"] else "-",
            "-" if rate is None else f"{rate:.3g}/s",
            "-" if row["p95"] is None else milliseconds(row["p95"]), Text(row["error"], "dim"),
        )  # fmt: skip
    return table


def _jobs(rows: list[dict[str, Any]]) -> Any:
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    table = _table("JOB", "", "")
    for row in rows:
        running = row["state"] == "running"
        share = ProgressBar(total=1, completed=row["share"] or 0, width=16) if running else "failed"
        now = row["problem"] or " ".join(part for part in (row["step"], row["amount"]) if part)
        table.add_row(Text(row["words"]), share, Text(now))
    return table


def _machines(rows: list[dict[str, Any]]) -> Any:
    from rich.text import Text

    table = _table("MACHINE", "CPU", "MEMORY", "DISK", "")
    for row in rows:
        aside = row["error"] or ("" if row["state"] in ("", "reachable") else row["state"])
        cpu = "-" if row["cpu"] is None else f"{row['cpu']:.0%}"
        shares = [_share(row, name) for name in ("memory", "disk")]
        table.add_row(Text(row["location"]), cpu, *shares, Text(aside, "dim"))
    return table


def _share(row: dict[str, Any], name: str) -> str:
    part, whole = row[name], row[f"{name}_total"]
    return f"{part / whole:.0%} of {size(whole)}" if part is not None and whole else "-"
