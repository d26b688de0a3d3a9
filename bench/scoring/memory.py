"""What processes hold, as Linux says, in MB (10^6 bytes)."""

from __future__ import annotations

import re
from pathlib import Path

PROC = Path("/proc")


def rss(pid: int) -> float:
    return _field(PROC / str(pid) / "status", "VmRSS")


def pss(pids: list[int]) -> float:
    """What they hold together, shared pages counted once."""
    return sum(_field(PROC / str(pid) / "smaps_rollup", "Pss") for pid in pids)


def children(pid: int) -> list[int]:
    return [int(word) for word in (PROC / f"{pid}/task/{pid}/children").read_text().split()]


def tree(pid: int) -> list[int]:
    """The process and all that descend from it."""
    return [pid, *(below for child in children(pid) for below in tree(child))]


def _field(path: Path, name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB", path.read_text(), re.MULTILINE)
    return int(found[1]) * 1024 / 1e6 if found else 0.0
