"""Python environments on this host: built once from a lock, shared by releases, whole or absent."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .blobs import disk_full
from .failure import Failure
from .files import replace
from .host import pythons, seen_by_services
from .layout import blob, environment, make_folder, put_files, runtime
from .locks import open_lock
from .loop import op
from .run import execute

if TYPE_CHECKING:
    from .loop import Agent, Payload

COMPLETE = ".complete"
FILES = "files.json"
"""Of a runtime: path under `program/` → digest."""
COMPILE = "./python -I -m compileall -q"
MAIN = b"from scoring.main import main\n\nmain()\n"


def whole(folder: Path) -> bool:
    """Built to its end, and the Python it stands on is still there."""
    return (folder / COMPLETE).is_file() and (_home(folder) / "bin/python").exists()


def _home(folder: Path) -> Path:
    """Where the virtual environment itself is: a runtime keeps its own one level down."""
    return folder / "env" if (folder / "program").is_dir() else folder


@op("tool")
def tool(agent: Agent, args: dict[str, Any], payload: Payload) -> str:
    """Put uv in its place. args: name, digest. Returns its path."""
    path = agent.base / "tools" / args["name"]
    if not path.exists():
        make_folder(path.parent)
        replace(path, blob(agent.base, args["digest"]).read_bytes(), 0o755)
    return str(path)


@op("environment")
def build_environment(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Build an environment.

    args: key, lock (digest), python (path), tool (name), files (of the release, when the lock takes
    packages from among them).
    """
    folder = environment(agent.base, args["key"])
    with _sole(folder):
        if whole(folder):
            return {"built": False}
        with _cleared(folder), _beside(agent.base, args["lock"], args["files"]) as lock:
            _install(agent, folder, args, lock)
        replace(folder / COMPLETE, args["lock"].encode())
    return {"built": True}


@op("runtime")
def build_runtime(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Build the scoring runtime, on our Python. args: digest, files {path: digest}, lock, tool."""
    folder = runtime(agent.base, args["digest"])
    with _sole(folder):
        if whole(folder):
            return {"built": False}
        with _cleared(folder):
            program = folder / "program"
            make_folder(program)
            replace(program / "__main__.py", MAIN)
            for path, digest in args["files"].items():
                make_folder((program / path).parent)
                replace(program / path, blob(agent.base, digest).read_bytes())
            listed = {**args["files"], "__main__.py": hashlib.sha256(MAIN).hexdigest()}
            replace(folder / FILES, json.dumps(listed).encode())
            own = {**args, "python": _base_python(agent)}
            _install(agent, folder / "env", own, blob(agent.base, args["lock"]), compiled=True)
            execute(agent, [*COMPILE.split(), str(program)], cwd=folder / "env/bin")
        replace(folder / COMPLETE, args["lock"].encode())
    return {"built": True}


@contextmanager
def _beside(base: Path, lock: str, files: list[list[Any]]) -> Iterator[Path]:
    """The lock as a file, with the release's files beside it where it names some of them."""
    if not files:
        yield blob(base, lock)
        return
    make_folder(base / "tmp")
    with tempfile.TemporaryDirectory(dir=base / "tmp") as folder:
        put_files(base, Path(folder) / "files", files)
        path = Path(folder) / "files" / f"{lock}.lock"
        path.write_bytes(blob(base, lock).read_bytes())
        yield path


def _install(
    agent: Agent, folder: Path, args: dict[str, Any], lock: Path, compiled: bool = False
) -> None:
    uv = str(agent.base / "tools" / args["tool"])
    environ = {
        "UV_CACHE_DIR": str(agent.base / "cache"),
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_PROGRESS": "1",
        "UV_LINK_MODE": "hardlink",
        # Hosts behind an inspecting proxy trust it through the system's certificates.
        "UV_SYSTEM_CERTS": "1",
    }
    _uv(agent, [uv, "venv", "--quiet", "--python", args["python"], str(folder)], environ)
    if not _pins_nothing(lock):
        compiling = ["--compile-bytecode"] if compiled else []
        python = ["--python", str(folder / "bin/python")]
        wanted = ["--require-hashes", "--requirement", str(lock)]
        _uv(agent, [uv, "pip", "install", *python, *compiling, *wanted], environ)


def _pins_nothing(lock: Path) -> bool:
    lines = (line.strip() for line in lock.read_text("utf-8").splitlines())
    return not any(line and not line.startswith(("#", "--")) for line in lines)


def _uv(agent: Agent, argv: list[str], environ: dict[str, str]) -> None:
    """Run uv, passing on what it says; its last words are the detail when it fails."""
    done = execute(agent, argv, env=environ, cwd="/", on_line=lambda _, line: agent.event(log=line))
    if done.code and "os error 28" in done.err:
        raise disk_full(agent.base)
    if done.code:
        raise Failure(
            "The environment could not be built on this host.",
            remedy="Read what uv says. Production is as it was.",
            detail="\n".join(done.err.strip().splitlines()[-30:]),
        )


def _base_python(agent: Agent) -> str:
    """The interpreter below any virtual environment we run in; one that services can see."""
    ours = getattr(sys, "_base_executable", None) or sys.executable
    if seen_by_services(agent, ours):
        return str(ours)
    seen = pythons(agent)
    if not seen:
        raise Failure(
            "No Python of this host can be seen by services.",
            remedy="Have a Python 3.9 or later installed outside of /home and /root.",
        )
    return seen[0]["path"]


@contextmanager
def _cleared(folder: Path) -> Iterator[None]:
    """An empty place to build in; whatever does not get finished leaves nothing on the disk."""
    shutil.rmtree(folder, ignore_errors=True)
    make_folder(folder.parent)
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def _sole(folder: Path) -> Iterator[None]:
    """One builder at a time; another waits and then finds it built."""
    make_folder(folder.parent)
    lock = open_lock(folder.parent / f".{folder.name}.lock")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
