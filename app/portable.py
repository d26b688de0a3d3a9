"""What differs between the systems we run on: files, how they are locked and named; users, signals.

Written for Linux, macOS and Windows, so that no other module has to know. The agent and the scoring
program are not concerned: they run on Linux hosts, and import nothing from here.
Windows: docs/decisions/0055-windows.md.
"""

from __future__ import annotations

import os
import re
import signal
import stat
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

NO_LINK: int = getattr(os, "O_NOFOLLOW", 0)
"""Flag for `opened`: a link is not followed."""
NO_WAIT: int = getattr(os, "O_NONBLOCK", 0)
"""Flag for `opened`: opening what turns out to be a pipe does not wait for its other end."""
IN_USE: tuple[type[OSError], ...] = (PermissionError,) if sys.platform == "win32" else ()
"""What replacing or deleting a file raises because somebody has it open."""
KILL: int = getattr(signal, "SIGKILL", signal.SIGTERM)
"""The signal that ends a process at once. Windows knows no other end."""

BEYOND = (1 << 31) - 2
"""The byte that a lock is on, where locks are on bytes and keep others from reading those: no file
that is locked is so long, but some that only their writer reads."""
PAUSE = 0.05
UNFIT = r"""(?ix) [<>:"|?*\\\x00-\x1f] | [ .](/|$)
    | (^|/) (con|prn|aux|nul|(com|lpt)[1-9\u00b9\u00b2\u00b3]) \s* ([.][^/]*)? (/|$)"""
"""In a path with slashes, what Windows has a meaning for: characters, ends of names, devices."""


# Opening and locking


def opened(path: Path | str, flags: int, mode: int = 0o600) -> int:
    """A descriptor that reads and writes bytes as they are, and which no child inherits."""
    return os.open(path, flags | getattr(os, "O_BINARY", 0), mode)


def locked(file: int | IO[bytes], *, wait: bool = False) -> bool:
    """Whether we hold the lock on an open file now: nobody else then can, until it is closed.

    wait: until whoever has it closes it.
    """
    fd = file if isinstance(file, int) else file.fileno()
    while not _try_lock(fd, wait):
        if not wait:
            return False
        time.sleep(PAUSE)
    return True


if sys.platform == "win32":

    def _try_lock(fd: int, wait: bool) -> bool:
        at = os.lseek(fd, 0, os.SEEK_CUR)
        os.lseek(fd, BEYOND, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        finally:
            os.lseek(fd, at, os.SEEK_SET)
        return True

else:

    def _try_lock(fd: int, wait: bool) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True


# Writing


def let_go(file: IO[bytes]) -> None:
    """Close a file of ours that is to be renamed or deleted, where neither can be while it is open.

    Its lock goes too. Elsewhere it stays open, and locked.
    """
    if sys.platform == "win32":
        file.close()


def set_mode(fd: int, mode: int) -> None:
    """Nothing on Windows: who may read is not said there by a mode, and what is read-only there can
    be neither replaced nor deleted."""
    if sys.platform != "win32":
        os.fchmod(fd, mode)


def sync_folder(folder: Path) -> None:
    """Make what was renamed in a folder last. Windows opens no folders; NTFS keeps a journal."""
    if sys.platform != "win32":
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def sync_file(path: Path) -> None:
    """Make a file last that somebody else has written."""
    with path.open("rb+") as file:  # what is open for reading alone, Windows does not sync
        os.fsync(file.fileno())


def move_folder(source: Path, target: Path) -> None:
    """Give a folder a name that nobody has; FileExistsError when somebody has it."""
    if sys.platform == "win32":
        source.rename(target)
    else:
        target.mkdir(mode=0o700)
        source.replace(target)


def bypass_cache(fd: int, wanted: bool) -> bool:
    """Write past the page cache, or not. Returns whether that changed anything.

    Copying into the page cache only to fsync it from there takes 2 to 5 times as long as writing to
    the disk at once (docs/decisions/0002-commit-speed.md). Not every system or file system can.
    """
    if sys.platform == "win32":
        return False
    else:
        flags = fcntl.fcntl(fd, fcntl.F_GETFL)
        direct = getattr(os, "O_DIRECT", 0)
        changed: int = flags | direct if wanted else flags & ~direct
        try:
            fcntl.fcntl(fd, fcntl.F_SETFL, changed)
        except OSError:
            return False
        return changed != flags


# Reading


def read_at(fd: int, size: int, at: int) -> bytes:
    """A part of an open file, which nobody else reads meanwhile."""
    if sys.platform == "win32":
        os.lseek(fd, at, os.SEEK_SET)
        return os.read(fd, size)
    return os.pread(fd, size, at)


def readable(fd: int, seconds: float) -> bool:
    """Whether a pipe has something to read, or its end, within that time. Not on Windows."""
    if sys.platform == "win32":
        raise NotImplementedError
    import select  # late: hardly any start needs it

    watch = select.poll()
    watch.register(fd, select.POLLIN)
    return bool(watch.poll(seconds * 1000))


def status_of(entry: os.DirEntry[str]) -> os.stat_result:
    """What `os.fstat` says of the same file; links are not followed."""
    if sys.platform == "win32":  # where a folder's own entries know no inode
        return os.lstat(entry.path)
    return entry.stat(follow_symlinks=False)


def target_of(link: Path | str) -> str:
    """Where a link leads, with forward slashes."""
    return os.readlink(link).replace(os.sep, "/")


# Waiting


def wait_for(event: threading.Event) -> None:
    """Until it is set, in the main thread, which hears signals meanwhile."""
    if sys.platform == "win32":  # where a thread that waits for another hears none
        while not event.is_set():
            time.sleep(PAUSE)
    else:
        event.wait()


# Users and names


def user() -> int:
    """The number of this user; -1 where users have none."""
    if sys.platform == "win32":
        return -1
    else:
        return os.getuid()


def ours_alone(status: os.stat_result) -> bool:
    """Whether a file is ours, and nobody else may read or write it. On Windows that is said by the
    folder it is in, which is within the user's own."""
    if sys.platform == "win32":
        return True
    return status.st_uid == os.getuid() and not stat.S_IMODE(status.st_mode) & 0o077


def program(path: Path) -> Path:
    """What a program's file is called in full."""
    return path.with_name(f"{path.name}.exe") if sys.platform == "win32" else path


def program_in(environment: Path, name: str) -> Path:
    """A program of a virtual environment."""
    return program(environment / ("Scripts" if sys.platform == "win32" else "bin") / name)


def unfit_here(paths: Iterable[str]) -> str:
    """The first of these relative paths that no file of its own can have here; "" for none."""
    return unfit_on_windows(paths) if sys.platform == "win32" else ""


def unfit_on_windows(paths: Iterable[str]) -> str:
    """As above: a colon would write into another file, and a name in other letters is the same."""
    known: dict[str, str] = {}
    for path in paths:
        if re.search(UNFIT, path) or known.setdefault(path.casefold(), path) != path:
            return path
    return ""


def speak_utf8() -> None:
    """Text that is written to a pipe or a file is UTF-8 there too."""
    if sys.platform == "win32":
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and hasattr(stream, "reconfigure"):
                stream.reconfigure(encoding="utf-8")
