"""What can keep the pages from starting: told where the person can see it, mended where it can be.

Whoever started the program by a double click has no terminal; then a window tells.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import Damaged, Problem

if TYPE_CHECKING:
    from app.workspace import Workspace

WINDOWS = ("window", "status")
"""Ways of showing pages that need a display."""


@contextmanager
def told_in_a_window(work: Workspace, way: str) -> Iterator[None]:
    """What keeps it from starting is shown in a window where there is no terminal to read it in."""
    from app import log
    from app.cli.output import mistake

    try:
        yield
    except Problem as problem:
        _tell(work, way, problem, {})
        raise
    except Exception as error:
        log.keep(work.home, error, "rhythmicml ui")
        _tell(work, way, mistake(error), {})
        raise


@contextmanager
def mended(work: Workspace, way: str) -> Iterator[None]:
    """Have a store that can be read: a damaged one is replaced by what the person chooses.

    Every page of it is read, beside whatever the block does meanwhile.
    """
    from app.services import reviving

    with ThreadPoolExecutor(1) as beside:
        looking = beside.submit(reviving.damage, work)
        yield
    if damage := looking.result():
        _mend(work, way, damage)


def _mend(work: Workspace, way: str, damage: Damaged) -> None:
    from app.services import reviving

    copies = reviving.copies_of(work)
    choices = {str(copy.path): f"Put back {reviving.words(copy)}" for copy in copies[:4]}
    chosen = _tell(work, way, damage, {**choices, "anew": "Begin with an empty store"})
    if chosen == "anew":
        reviving.begin_anew(work)
    elif chosen:
        for _ in reviving.put_back(work, Path(chosen)):
            pass
    else:
        way_back = copies[0].path if copies else "FOLDER, which names a backup"
        remedy = f"Put back a copy: rhythmicml restore-store {way_back}"
        raise Told(damage.what, cause=damage.cause, remedy=remedy)


class Told(Damaged):
    """Shown in a window already."""


def _tell(work: Workspace, way: str, problem: Problem, choices: dict[str, str]) -> str:
    """The choice made in a window; "" for none, or where a terminal tells of it instead."""
    from app import config
    from app.desktop import trouble
    from app.desktop.webkit import NoWindow
    from app.services import doctor

    if way not in WINDOWS or sys.stderr.isatty() or isinstance(problem, Told):
        return ""
    report = doctor.words(doctor.examine(work, problem))
    try:
        return trouble.show(config.asset("templates/trouble.html"), problem, report, choices)
    except NoWindow:
        return ""
