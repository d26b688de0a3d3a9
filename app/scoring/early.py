"""Start the workers before anything else, so that they load while the front's own imports go on."""

from __future__ import annotations

import argparse
import resource
from collections.abc import Sequence
from pathlib import Path

from . import release as releases
from . import shadow_file
from .launch import Begun


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments of a front."""
    parser = argparse.ArgumentParser(
        prog="front", description="Answers HTTP and has rows predicted by workers."
    )
    parser.add_argument("--instance", type=Path, required=True, help="the instance's folder")
    parser.add_argument("--release", default="current", help="its id, or current")
    parser.add_argument("--private", type=Path, help="path of the private socket")
    parser.add_argument("--listen", help="host:port, when no socket is handed over")
    return parser.parse_args(argv)


def begin(argv: Sequence[str]) -> list[Begun]:
    """A process for each worker, or the template; none where the front will say what is wrong."""
    arguments = parse(argv)
    allow_many_files()
    begun: list[Begun] = []
    try:
        release = releases.read(arguments.instance, arguments.release)
        if arguments.release == release.id:
            shadow_file.yield_to_production(arguments.instance, release.id)
        if not release.has_script:
            return []
        launch = release.launch()
        count = 1 if launch.preload else max(1, int(release.scoring.get("workers") or 1))
        for _ in range(count):
            begun.append(launch.begin())
    except (OSError, ValueError, KeyError):
        pass
    return begun


def allow_many_files() -> None:
    """Take as many open connections as the system lets us."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):
        pass
