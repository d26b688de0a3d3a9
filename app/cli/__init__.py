"""The command line: reads arguments, calls one service, prints.

Every command takes --json (one JSON value on stdout and nothing else there) and exits with 0 when
done, 1 at a Problem, 2 at wrong usage. Nothing is asked when stdin is no terminal.
"""

from __future__ import annotations

import sys

from app.cli import (
    alerts,
    doctor,
    gate,
    instances,
    lineage,
    locations,
    models,
    monitoring,
    pipelines,
    secrets,
    shadow,
    tokens,
    ui,
    upkeep,
)
from app.cli.base import root


def main() -> None:
    """Where the program begins; without arguments it opens the pages."""
    root(sys.argv[1:] or ["ui"], prog_name="rhythmicml")


PARTS = (
    models,
    pipelines,
    lineage,
    locations,
    instances,
    monitoring,
    alerts,
    gate,
    shadow,
    tokens,
    secrets,
    upkeep,
    doctor,
    ui,
)

for part in PARTS:
    part.register(root)
