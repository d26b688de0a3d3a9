"""What processes and the host use, from /proc; None for what a system does not tell.

Some ten small files, read every ten seconds, are 0.3 ms; psutil would say the same, and cost every
front its import. Elsewhere than on Linux only what the standard library knows is there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Optional, TypeVar

PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")

Host = dict[str, Optional[float]]
T = TypeVar("T")


def _or_none(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except (OSError, ValueError, IndexError, KeyError):
        return None


def _read(path: str) -> str:
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read()


class Processes:
    """The front and its workers. shared: whether workers share memory, so that what each would
    have alone says too much."""

    def __init__(self, shared: bool) -> None:
        self.shared = shared
        self._seconds: dict[int, float] = {}  # of processor time, by process, when last looked

    def cpu(self, pids: Iterable[int]) -> float:
        """Seconds of processor time since the last call, of a new process since its start."""
        now = {
            pid: seconds for pid in pids if (seconds := _or_none(partial(_cpu, pid))) is not None
        }
        used = sum(seconds - self._seconds.get(pid, 0.0) for pid, seconds in now.items())
        self._seconds = now
        return round(max(0.0, used), 3)

    def memory(self, pids: Iterable[int]) -> int | None:
        """Bytes: in proportion where it is shared (PSS), which costs more to ask; else resident."""
        ask = _proportional if self.shared else _resident
        sizes = [_or_none(partial(ask, pid)) for pid in pids]
        known = [size for size in sizes if size is not None]
        return sum(known) if known else None

    def files(self, pids: Iterable[int]) -> int | None:
        """Open files, sockets among them."""
        counts = [_or_none(partial(_open_files, pid)) for pid in pids]
        known = [count for count in counts if count is not None]
        return sum(known) if known else None


def _cpu(pid: int) -> float:
    after_name = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / TICKS


def _open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def _resident(pid: int) -> int:
    return int(_read(f"/proc/{pid}/statm").split()[1]) * PAGE


def _proportional(pid: int) -> int:
    try:
        lines = _read(f"/proc/{pid}/smaps_rollup").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return _resident(pid)


class Machine:
    """The host. folder: on the disk that is looked at."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._busy = self._all = 0

    def look(self) -> Host:
        """cpu: the share of all processors that was busy since the last call."""
        memory = _or_none(_memory) or {}
        disk = _or_none(lambda: shutil.disk_usage(self.folder))
        load = _or_none(os.getloadavg)
        total, free = memory.get("MemTotal"), memory.get("MemAvailable")
        return {
            "cpu": self._share(),
            "memory": total - free if total is not None and free is not None else None,
            "memory_total": total,
            "disk": disk.total - disk.free if disk else None,
            "disk_total": disk.total if disk else None,
            "load": round(load[0], 2) if load else None,
        }

    def _share(self) -> float | None:
        times = _or_none(_ticks)
        if times is None:
            return None
        whole = sum(times)
        busy = whole - times[3] - times[4]  # without idle and iowait
        passed, used = whole - self._all, busy - self._busy
        first, self._all, self._busy = not self._all, whole, busy
        return round(min(1.0, max(0.0, used / passed)), 4) if passed > 0 and not first else None


def _ticks() -> list[int]:
    """What all processors did: user, nice, system, idle, iowait, irq, softirq, steal."""
    first = _read("/proc/stat").partition("\n")[0]
    return list(map(int, first.split()[1:9]))


def _memory() -> dict[str, int]:
    lines = (line.split() for line in _read("/proc/meminfo").splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if len(words) > 1}
