"""Values in people's words; the same on both sides."""

from __future__ import annotations

from collections.abc import Sequence


def size(number: float) -> str:
    """Bytes as people read them: 812 B, 5.1 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            digits = 0 if unit == "B" or number >= 100 else 1
            return f"{number:.{digits}f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def cannot_write(user: str, folders: Sequence[str]) -> dict[str, str]:
    """What, cause and remedy where systemd cannot make a service's own folders."""
    return {
        "what": f"{user} cannot write to {' and '.join(folders)} on the host.",
        "cause": "systemd makes each service's own folders there, and starts none without them.",
        "remedy": f"Have root run there: chmod 1777 {' '.join(folders)}; or, where it is mounted "
        f"read-only: mount -o remount,rw {folders[0]}",
    }


def duration(seconds: float) -> str:
    """Seconds as people read them: 90 s, 10 min, 2 h."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length or seconds == length:
            return f"{seconds / length:g} {unit}"
    return f"{seconds:g} s"


def told(release: str, *others: str) -> str:
    """A release by its version, which is what people know; whole where one of `others` is another
    of that version, of other settings or for another runtime."""
    version = release.partition("-")[0]
    alike = any(each != release and each.startswith(f"{version}-") for each in others)
    return release if alike else version
