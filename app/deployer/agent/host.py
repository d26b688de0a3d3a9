"""What kind of host this is."""

from __future__ import annotations

import glob
import os
import platform
import queue
import re
import shutil
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from .blobs import existing, free_bytes
from .loop import Agent, Payload, op
from .run import execute

MINORS = range(8, 20)
HIDDEN = ("/home/", "/root/", "/run/user/")
"""What ProtectHome= hides from system services."""


@op("ping")
def ping(agent: Agent, args: dict[str, Any], payload: Payload) -> float:
    """The host's time."""
    return time.time()


@op("hello")
def hello(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """What every deployment wants to know, and what costs nothing to find out."""
    if agent.unusable:
        raise agent.unusable
    names = distribution(read_text("/etc/os-release"))
    return {
        "os": sys.platform,
        "distribution": names[0],
        "distribution_version": names[1],
        "arch": platform.machine(),
        "libc": libc(),
        "hostname": socket.gethostname(),
        "user": user_name(),
        "uid": os.getuid(),
        "mode": agent.mode,
        "base": str(agent.base),
        "python": platform.python_version(),
        "systemd_running": os.path.isdir("/run/systemd/system"),
        "time": time.time(),
    }


@op("facts")
def facts(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """`hello`, and what has to be asked for. `internet`: a [host, port] to try to reach."""
    known: dict[str, Any] = hello(agent, args, payload)
    disk = os.statvfs(existing(agent.base))
    known.update(
        pythons=pythons(agent),
        systemd=systemd_version(agent),
        system_manager=manager_answers(agent, "--system"),
        user_manager=manager_answers(agent, "--user"),
        linger=os.path.exists(f"/var/lib/systemd/linger/{known['user']}"),
        polkit=shutil.which("pkaction") is not None,
        disk_free=free_bytes(agent.base),
        disk_total=disk.f_blocks * disk.f_frsize,
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        uv=shutil.which("uv"),
        internet=reaches(args["internet"]) if args.get("internet") else None,
    )
    return known


def read_text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def distribution(os_release: str) -> tuple[str, str]:
    """The ID and VERSION_ID of an os-release file."""
    found = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', os_release, re.MULTILINE))
    return found.get("ID", ""), found.get("VERSION_ID", "")


def libc() -> str:
    """`glibc 2.36`, `musl`, or empty."""
    try:
        named = os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError):
        named = None
    if named:
        return named
    return "musl" if list(Path("/lib").glob("ld-musl-*")) else ""


def user_name() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def pythons(agent: Agent) -> list[dict[str, str]]:
    """Each Python that runs: {"version", "path"}; the first of each version, oldest last.

    Those that system services cannot see are left out where instances are system services.
    """
    found: dict[str, str] = {}
    ask = "import sys; print(sys.version.split()[0]); print(sys.executable)"
    own = sorted(own_pythons(agent).values())
    for path in [*python_paths(), *own]:
        done = execute(agent, [path, "-I", "-S", "-c", ask], deadline=10)
        version, _, executable = done.out.strip().partition("\n")
        if done.code == 0 and executable and seen_by_services(agent, executable):
            found.setdefault(version, executable)
    ordered = sorted(found.items(), key=lambda item: version_key(item[0]), reverse=True)
    return [{"version": version, "path": path} for version, path in ordered]


def own_pythons(agent: Agent) -> dict[str, str]:
    """Those that were put here for a release: major.minor → path; the newest of each."""
    found = {}
    complete = (agent.base / "pythons").glob("cpython-*/.complete")
    for mark in sorted(complete, key=lambda mark: version_key(mark.parent.name)):
        numbers = version_key(mark.parent.name)[:2]
        version = ".".join(str(number) for number in numbers)
        if (python := mark.parent / "bin" / f"python{version}").exists():
            found[version] = str(python)
    return found


def seen_by_services(agent: Agent, path: str) -> bool:
    return not agent.system_wide or not path.startswith(HIDDEN)


def version_key(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def python_paths() -> list[str]:
    """Where Pythons may be: on PATH, from pyenv, from uv. Shims are skipped, links followed."""
    named = [shutil.which(name) for name in ["python3", *(f"python3.{n}" for n in MINORS)]]
    homes = [
        (os.environ.get("PYENV_ROOT", "~/.pyenv"), "versions/*/bin/python3"),
        (os.environ.get("UV_PYTHON_INSTALL_DIR", "~/.local/share/uv/python"), "*/bin/python3"),
    ]
    paths = [path for path in named if path and "/shims/" not in path]
    for home, pattern in homes:
        # The module, not Path.glob: folders that we may not read have none.
        paths += sorted(glob.glob(str(Path(home).expanduser() / pattern)))
    return list({os.path.realpath(path): path for path in reversed(paths)}.values())[::-1]


def systemd_version(agent: Agent) -> str | None:
    done = execute(agent, ["systemctl", "--version"], deadline=10)
    found = re.match(r"systemd (\S+)", done.out)
    return found.group(1) if found else None


def manager_answers(agent: Agent, which: str) -> bool:
    """Whether systemd (--system or --user) takes orders."""
    runtime = f"/run/user/{os.getuid()}"
    env = {"SYSTEMD_PAGER": ""}
    if which == "--user" and os.path.isdir(runtime):
        env["XDG_RUNTIME_DIR"] = runtime
    argv = ["systemctl", which, "--no-pager", "show", "--property=Version"]
    done = execute(agent, argv, env=env, deadline=5)
    return done.code == 0 and done.out.startswith("Version=")


def reaches(address: list[Any]) -> bool:
    """Whether a TCP connection to [host, port] stands within two seconds, names and all."""
    answer: queue.SimpleQueue[bool] = queue.SimpleQueue()
    threading.Thread(target=lambda: answer.put(connects(address)), daemon=True).start()
    try:
        return answer.get(timeout=2)
    except queue.Empty:
        return False


def connects(address: list[Any]) -> bool:
    try:
        socket.create_connection((address[0], address[1]), 2).close()
    except OSError:
        return False
    return True
