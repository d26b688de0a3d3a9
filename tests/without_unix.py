"""A stand-in for Windows: takes away what Python has not there, then runs the client on the rest.

Run as a program with a folder to work in and how a server is added; says as JSON what came of it
(test_portable.py).
"""

from __future__ import annotations

import concurrent.futures.process  # noqa: F401, these and more decide when they are imported what
import contextlib
import ctypes  # noqa: F401, they have: see `Windows` in test_portable.py
import errno
import fcntl
import importlib
import io
import json
import multiprocessing.synchronize  # noqa: F401
import os
import pkgutil
import runpy
import select
import shutil
import signal
import socket
import ssl  # noqa: F401
import subprocess
import sys
import threading
import time
import types
import urllib.request
import uuid  # noqa: F401
import webbrowser  # noqa: F401
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
OTHERS = (
    *("click", "rich.console", "flask", "jinja2", "waitress", "paramiko", "paramiko.agent"),
    *("psutil", "keyring.backends.fail", "sqlite_utils", "platformdirs", "uv", "pathspec"),
    *(
        "msgspec",
        "httptools",
        "simdjson",
        "pyfastcdc",
        "tomlkit",
        "markdown_it",
        "cryptography.x509",
    ),
)
"""What others wrote, and decides for itself what there is on Windows: imported before."""
MODULES = (
    *("fcntl", "termios", "tty", "pty", "pwd", "grp", "resource", "syslog", "posix", "readline"),
    *("crypt", "nis", "spwd", "curses", "_posixshmem", "_posixsubprocess"),
)
OF_OS = (
    *("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "O_DIRECTORY", "O_DIRECT", "O_NOATIME", "O_PATH"),
    *("O_SYNC", "O_DSYNC", "O_TMPFILE", "O_NOCTTY", "O_NDELAY", "O_ASYNC", "O_RSYNC"),
    *("chown", "lchown", "fchown", "fchmod", "fchdir", "chroot", "mkfifo", "mknod", "statvfs"),
    *("fstatvfs", "getuid", "geteuid", "getgid", "getegid", "getgroups", "getpgid", "getpgrp"),
    *("getsid", "setsid", "setpgid", "setuid", "setgid", "setgroups", "initgroups", "killpg"),
    *("fork", "forkpty", "openpty", "wait", "wait3", "wait4", "waitid", "uname", "getloadavg"),
    *("nice", "getpriority", "setpriority", "sched_getaffinity", "sched_setaffinity", "confstr"),
    *("sysconf", "pathconf", "fpathconf", "ctermid", "ttyname", "tcgetpgrp", "sync", "fdatasync"),
    *("lockf", "pread", "preadv", "pwrite", "pwritev", "readv", "writev", "sendfile", "pipe2"),
    *("copy_file_range", "splice", "memfd_create", "eventfd", "getxattr", "setxattr", "listxattr"),
    *("posix_fadvise", "posix_fallocate", "posix_spawn", "posix_spawnp", "fwalk", "major", "minor"),
    *("environb", "getresuid", "getrandom"),
)
OF_SIGNAL = (
    *("SIGKILL", "SIGHUP", "SIGQUIT", "SIGPIPE", "SIGALRM", "SIGCHLD", "SIGUSR1", "SIGUSR2"),
    *("SIGSTOP", "SIGTSTP", "SIGCONT", "SIGTTIN", "SIGTTOU", "SIGWINCH", "alarm", "setitimer"),
    *("pthread_sigmask", "pthread_kill", "sigwait", "pause", "siginterrupt"),
)
OF_SOCKET = ("AF_UNIX", "SO_PEERCRED", "SO_REUSEPORT", "CMSG_SPACE", "SCM_RIGHTS", "send_fds")
OF_SELECT = ("poll", "epoll", "POLLIN", "POLLOUT", "EPOLLIN")


def become_windows() -> None:
    """What was imported until now keeps what it took; what is imported later finds it gone."""
    for name in OTHERS:
        importlib.import_module(name)
    lock = fcntl.flock, fcntl.LOCK_EX | fcntl.LOCK_NB
    shutil.disk_usage = room(os.statvfs)  # type: ignore[assignment]
    for module, names in ((os, OF_OS), (signal, OF_SIGNAL), (socket, OF_SOCKET)):
        for name in names:
            module.__dict__.pop(name, None)
    for name in OF_SELECT:
        select.__dict__.pop(name, None)
    shutil._use_fd_functions = False  # type: ignore[attr-defined]
    subprocess.Popen.kill = subprocess.Popen.terminate  # type: ignore[method-assign]
    os.environ["USERNAME"] = "ana"
    sys.modules.update(dict.fromkeys(MODULES))  # type: ignore[arg-type]
    sys.modules["msvcrt"] = locking(*lock)
    sys.platform = "win32"
    os.rename = os.replace = strictly(os.replace)  # type: ignore[assignment]
    os.unlink = os.remove = strictly(os.unlink)  # type: ignore[assignment]
    os.open = no_folder(os.open)  # type: ignore[assignment]
    os.fsync = only_written(os.fsync)  # type: ignore[assignment]


def room(ask: Any) -> Any:
    """As Python has it on Windows, where it asks the system by itself."""

    def disk_usage(path: Any) -> Any:
        found = ask(path)
        sizes = (found.f_blocks, found.f_blocks - found.f_bfree, found.f_bavail)
        return shutil._ntuple_diskusage(*(found.f_frsize * each for each in sizes))  # type: ignore[attr-defined]

    return disk_usage


def locking(lock: Any, how: int) -> types.ModuleType:
    """A `msvcrt` whose locks are real, on whole files, and as impatient as Windows' own."""
    made = types.ModuleType("msvcrt")

    def locking(fd: int, mode: int, size: int) -> None:
        beyond = os.lseek(fd, 0, os.SEEK_CUR) > os.fstat(fd).st_size
        assert (mode, size, beyond) == (made.LK_NBLCK, 1, True)  # type: ignore[attr-defined]
        try:
            lock(fd, how)
        except BlockingIOError:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None

    made.__dict__.update(locking=locking, LK_UNLCK=0, LK_LOCK=1, LK_NBLCK=2)
    return made


# What Windows refuses: renaming or deleting what is open, opening a folder, syncing what is read


def open_here() -> set[str]:
    """The paths of all files that this process has open."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add(os.readlink(f"/proc/self/fd/{fd}"))
    return found


def strictly(does: Any) -> Any:
    def done(*paths: Any, **more: Any) -> None:
        held = {os.path.realpath(os.fspath(path)) for path in paths} & open_here()
        # SQLite opens its files so that they can be.
        if any(not path.rpartition("/")[2].startswith("store.sqlite-") for path in held):
            raise PermissionError(errno.EACCES, "It is open", *paths)
        does(*paths, **more)

    return done


def no_folder(does: Any) -> Any:
    def done(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return int(does(path, flags, mode, **more))

    return done


def only_written(does: Any) -> Any:
    def done(fd: Any) -> None:
        number = fd if isinstance(fd, int) else fd.fileno()
        flags = int(
            Path(f"/proc/self/fdinfo/{number}").read_text().split("flags:")[1].split()[0], 8
        )
        if not flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        does(fd)

    return done


# What is done on it


def client_modules() -> list[str]:
    """All of ours but what runs on hosts."""
    import app

    there = ("app.scoring", "app.deployer.agent")
    found = (each.name for each in pkgutil.walk_packages(app.__path__, "app."))
    return sorted(name for name in found if not name.startswith(there))


def said(*words: str) -> tuple[int, str]:
    """Exit code and output of a command."""
    sys.argv = ["rhythmicml", *words]
    with contextlib.redirect_stdout(io.StringIO()) as output:
        try:
            runpy.run_path(str(ROOT / "main.py"), run_name="__main__")
        except SystemExit as end:
            return int(end.code or 0), output.getvalue()
    return 0, output.getvalue()


def answered(*words: str) -> tuple[int, Any]:
    code, output = said(*words, "--json")
    return code, json.loads(output) if output else ""


def catalogue(home: Path) -> dict[str, Any]:
    """What a browser gets from the pages while this process serves them."""
    found: dict[str, Any] = {}

    def look() -> None:
        from app.views import door

        try:
            while not (serving := door.running(home)):
                time.sleep(0.05)
            with door.alone(home) as alone:
                found["alone"] = alone
            invited = door.invited(serving, raise_window=False)
            cookies = urllib.request.HTTPCookieProcessor(CookieJar())
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), cookies)
            with opener.open(invited["url"], timeout=20) as answer:  # type: ignore[index]
                found.update(status=answer.status, page=answer.read().decode())
        except BaseException as error:  # the test shows it
            found["error"] = repr(error)
        finally:
            signal.raise_signal(signal.SIGINT)

    threading.Thread(target=look).start()
    found["code"], _ = said("ui", "--no-window", "--json")
    return found


def why_no_window() -> str:
    from app.desktop import webkit

    try:
        webkit.loaded()
    except webkit.NoWindow as error:
        return str(error)
    return ""


def main(folder: Path, server: list[str]) -> dict[str, Any]:
    modules = client_modules()
    for name in modules:
        importlib.import_module(name)
    churn, copy = folder / "churn", str(folder / "copy")
    found: dict[str, Any] = {
        "modules": modules,
        "version": said("--version"),
        "doctor": answered("doctor"),
        "example": answered("add", str(ROOT / "assets" / "examples" / "tumour")),
        "add": answered("add", str(churn)),
        "commit": answered("commit", "churn", "-m", "The first"),
        "unchanged": answered("commit", "churn"),
    }
    (churn / "predict.py").write_text("# lost")
    return found | {
        "restore": answered("restore", "churn@v1", "--discard"),
        "restored": (churn / "predict.py").read_text(),
        "versions": answered("versions", "churn"),
        "backup": answered("backup", copy),
        "again": answered("backup", copy),
        "back": answered("restore-store", copy),
        "verify": answered("verify"),
        "token": answered("ui-token"),
        "local": answered("deploy", "churn", "--to", "local"),
        "server": answered("location", "add", "srv", *server),
        "check": answered("location", "check", "srv"),
        "deploy": answered("deploy", "churn", "--to", "srv"),
        "pages": catalogue(Path(os.environ["RHYTHMICML_HOME"])),
        "window": why_no_window(),
    }


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    become_windows()
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2:])))
