"""What room a host has for another release, and what its processor and C library can."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from .blobs import existing
from .host import libc, read_text

CGROUPS = Path("/sys/fs/cgroup")
TOLD = frozenset(("avx", "avx2", "fma", "sse4_2", "popcnt", "avx512f"))
"""The processor flags that some package is known to need."""

GPU = ("/proc/driver/nvidia", "/dev/nvidia0", "/dev/nvhost-gpu", "/dev/dxg")
"""One is there where a driver of NVIDIA is: on servers, in containers, on Jetson, in WSL."""


def facts(base: Path, fronts: list[dict[str, Any]]) -> dict[str, Any]:
    """Bytes and counts; null where it cannot be found out.

    fronts: those of the instance that run; memory_used is the most that they took so far.
    """
    disk = os.statvfs(existing(base))
    pids = [pid for front in fronts for pid in pids_of(front)]
    peaks = [peak(pid) for pid in pids]
    return {
        "disk_total": disk.f_blocks * disk.f_frsize,
        # Some file systems make inodes as they go, and count none.
        "inodes_free": disk.f_favail if disk.f_files else None,
        "memory_free": memory_free(),
        "memory_used": sum(each for each in peaks if each) or None,
        "libc": libc(),
        "flags": flags(read_text("/proc/cpuinfo")),
        "gpu": any(os.path.exists(path) for path in GPU),
    }


def pids_of(front: dict[str, Any]) -> list[int]:
    """A front's process and its workers'."""
    found = [front.get("pid"), *(each.get("pid") for each in front.get("workers", []))]
    return [pid for pid in found if pid]


def held(pid: int) -> int | None:
    """Bytes a process takes, its part of what it shares with others; else all it sees as its own.

    Forked workers share most of their memory: their resident sizes would count it many times.
    """
    shared_out = _kilobytes(f"/proc/{pid}/smaps_rollup", "Pss")
    return _kilobytes(f"/proc/{pid}/status", "VmRSS") if shared_out is None else shared_out


def peak(pid: int) -> int | None:
    """The most it ever took: what it takes, and by how much it once was larger."""
    now = held(pid)
    status = f"/proc/{pid}/status"
    most, resident = _kilobytes(status, "VmHWM"), _kilobytes(status, "VmRSS")
    if now is None or most is None or resident is None:
        return now
    return now + max(0, most - resident)


def memory_free(cgroups: Path = CGROUPS, meminfo: str = "/proc/meminfo") -> int | None:
    """What new processes may take: of the host, of all its services, and of our user's."""
    slice_ = f"user.slice/user-{os.getuid()}.slice"
    groups = [cgroups, *([cgroups / "user.slice", cgroups / slice_] if os.getuid() else [])]
    found = [_kilobytes(meminfo, "MemAvailable"), *(_left(each) for each in groups)]
    known = [each for each in found if each is not None]
    return min(known) if known else None


def _left(group: Path) -> int | None:
    """What a control group (version 2) has left; None without a limit."""
    limit, used = read_text(f"{group}/memory.max"), read_text(f"{group}/memory.current")
    if not limit.strip().isdigit() or not used.strip().isdigit():
        return None
    cached = re.search(r"^inactive_file (\d+)$", read_text(f"{group}/memory.stat"), re.MULTILINE)
    return max(0, int(limit) - int(used) + (int(cached[1]) if cached else 0))


def flags(cpuinfo: str) -> list[str] | None:
    """Those of the processor's flags that matter to us; None where it names none."""
    found = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    return sorted(TOLD.intersection(found[1].split())) if found else None


def _kilobytes(path: str, name: str) -> int | None:
    found = re.search(rf"^{name}:\s+(\d+) kB$", read_text(path), re.MULTILINE)
    return int(found[1]) * 1024 if found else None
