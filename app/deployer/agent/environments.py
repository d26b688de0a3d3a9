"""Python environments on this host: built once from a lock, shared by releases, whole or absent."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import late
from .building import cleared, sole, uv
from .failure import Failure
from .files import replace
from .host import own_pythons, pythons, seen_by_services
from .layout import blob, environment, make_folder, put_files, runtime
from .loop import op
from .run import execute
from .trees import put_environment

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

    args: key, lock (digest), version, python (its path; empty: the one of that version that was
    put here), and tool (name) and files (of the release, when the lock takes packages from among
    them), or tree (the listing of what was unpacked on the client's side).
    """
    folder = environment(agent.base, args["key"])
    with sole(folder):
        if whole(folder):
            return {"built": False}
        with cleared(folder):
            python = args["python"] or _own_python(agent, args["version"])
            if args["tree"]:
                put_environment(agent, args["tree"], folder, python, args["version"])
            else:
                with _beside(agent.base, args["lock"], args["files"]) as lock:
                    _install(agent, folder, {**args, "python": python}, lock)
        replace(folder / COMPLETE, args["lock"].encode())
    return {"built": True}


@op("runtime")
def build_runtime(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Build the scoring runtime, on our Python.

    args: digest, files {path: digest}, lock, and tool, or tree as for an environment.
    """
    folder = runtime(agent.base, args["digest"])
    with sole(folder):
        if whole(folder):
            return {"built": False}
        with cleared(folder):
            program = folder / "program"
            make_folder(program)
            replace(program / "__main__.py", MAIN)
            for path, digest in args["files"].items():
                make_folder((program / path).parent)
                replace(program / path, blob(agent.base, digest).read_bytes())
            listed = {**args["files"], "__main__.py": late.sha256(MAIN).hexdigest()}
            replace(folder / FILES, json.dumps(listed).encode())
            _build_own(agent, folder / "env", args)
            execute(agent, [*COMPILE.split(), str(program)], cwd=folder / "env/bin")
        replace(folder / COMPLETE, args["lock"].encode())
    return {"built": True}


def _build_own(agent: Agent, folder: Path, args: dict[str, Any]) -> None:
    """The runtime's own environment."""
    own = base_python(agent)
    if args["tree"]:
        put_environment(agent, args["tree"], folder, own["path"], minor(own["version"]))
        execute(agent, [*COMPILE.split(), str(folder / "lib")], cwd=folder / "bin")
    else:
        lock = blob(agent.base, args["lock"])
        _install(agent, folder, {**args, "python": own["path"]}, lock, compiled=True)


@contextmanager
def _beside(base: Path, lock: str, files: list[list[Any]]) -> Iterator[Path]:
    """The lock as a file, with the release's files beside it where it names some of them."""
    if not files:
        yield blob(base, lock)
        return
    make_folder(base / "tmp")
    with late.scratch(base / "tmp") as folder:
        put_files(base, Path(folder) / "files", files)
        path = Path(folder) / "files" / f"{lock}.lock"
        path.write_bytes(blob(base, lock).read_bytes())
        yield path


def _install(
    agent: Agent, folder: Path, args: dict[str, Any], lock: Path, compiled: bool = False
) -> None:
    tool = str(agent.base / "tools" / args["tool"])
    environ = {
        "UV_CACHE_DIR": str(agent.base / "cache"),
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_LINK_MODE": "hardlink",
    }
    uv(
        agent,
        [tool, "venv", "--quiet", "--relocatable", "--python", args["python"], str(folder)],
        environ,
    )
    if not _pins_nothing(lock):
        compiling = ["--compile-bytecode"] if compiled else []
        python = ["--python", str(folder / "bin/python")]
        wanted = ["--require-hashes", "--requirement", str(lock)]
        uv(agent, [tool, "pip", "install", *python, *compiling, *wanted], environ)


def _pins_nothing(lock: Path) -> bool:
    lines = (line.strip() for line in lock.read_text("utf-8").splitlines())
    return not any(line and not line.startswith(("#", "--")) for line in lines)


def _own_python(agent: Agent, version: str) -> str:
    """The one of that version that was put here."""
    if path := own_pythons(agent).get(version):
        return path
    raise Failure(f"Python {version} was put here and is gone again.", remedy="Deploy again.")


def base_python(agent: Agent) -> dict[str, str]:
    """The interpreter below any virtual environment we run in; one that services can see."""
    ours = getattr(sys, "_base_executable", None) or sys.executable
    if seen_by_services(agent, ours):
        return {"version": platform.python_version(), "path": str(ours)}
    seen = pythons(agent)
    if not seen:
        raise Failure(
            "No Python of this host can be seen by services.",
            remedy="Have a Python 3.9 or later installed outside of /home and /root.",
        )
    return seen[0]


def runtime_python(agent: Agent) -> str:
    """The version of that interpreter, major.minor; empty when there is none."""
    try:
        return minor(base_python(agent)["version"])
    except Failure:
        return ""


def minor(version: str) -> str:
    """major.minor"""
    return ".".join(version.split(".")[:2])
