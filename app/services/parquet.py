"""Parquet files, by a program of a few lines that runs where pyarrow is.

pyarrow is larger than all the rest of this program, so it is no part of it: where it is not
installed beside us, an environment of its own is made for it once.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from app import config, frozen, portable, scratch
from app.dependencies import find_uv
from app.errors import Problem
from app.services.tables import Row, Wanted
from app.workspace import Workspace

PYARROW = "26.0.1"
"""Pinned, so that a file gives the same rows everywhere; the newest when this was written."""
OLDEST_PYTHON = (3, 11)
"""Of those that this pyarrow has wheels for."""


def tool(work: Workspace) -> list[str]:
    """The command of the program. Makes its environment when there is none yet."""
    if not frozen.FROZEN and importlib.util.find_spec("pyarrow"):
        python = Path(sys.executable)
    else:
        python = portable.program_in(_environment(work.home / "tools"), "python")
    return [str(python), "-I", "-X", "utf8", str(config.asset("tools/parquet.py"))]


def _environment(tools: Path) -> Path:
    """The environment with pyarrow, complete or absent."""
    ready = tools / f"parquet-{PYARROW}"
    if ready.exists():
        return ready
    tools.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".parquet-", dir=tools))
    try:
        own = not frozen.FROZEN and sys.version_info >= OLDEST_PYTHON
        python = sys.executable if own else f">={'.'.join(map(str, OLDEST_PYTHON))},<3.15"
        _uv("venv", "--clear", "--python", python, str(fresh))
        inside = str(portable.program_in(fresh, "python"))
        _uv("pip", "install", "--python", inside, "--only-binary", ":all:", f"pyarrow=={PYARROW}")
        with contextlib.suppress(OSError):  # another one was quicker
            fresh.rename(ready)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return ready


def _uv(*words: str) -> None:
    done = subprocess.run(
        [str(find_uv()), *words, "--quiet"], capture_output=True, encoding="utf-8", check=False
    )
    if done.returncode:
        raise Problem(
            "What reads Parquet files could not be installed.",
            cause=f"pyarrow {PYARROW} is fetched once, and the package index did not give it.",
            remedy="Run it again with a connection to the index; or use CSV or JSON lines.",
            detail=done.stderr.strip(),
        )


class ParquetTable:
    """Rows of a Parquet file. Places in it are row numbers."""

    def __init__(self, path: Path, wanted: Wanted, program: list[str]) -> None:
        self._path = path
        self._program = program
        self._process: subprocess.Popen[str] | None = None
        self.done = 0
        about = json.loads(next(self._say("about", str(path)), "{}"))
        self.total: int = about["rows"]
        self.names: list[str] = about["columns"]
        self.kept_names = wanted.kept_of(self.names)
        self._sent = wanted.sent_of(self.names)
        self._plan = {"send": self._sent, "lists": wanted.unnamed, "keep": self.kept_names}

    def rows(self, at: int = 0, number: int = 0) -> Iterator[Row]:
        """The rows from a place on, after `number` others."""
        self.done = at
        for line in self._say("read", str(self._path), json.dumps({**self._plan, "skip": at})):
            text, _, kept = line.rstrip("\n").partition("\t")
            self.done += 1
            number += 1
            yield Row(number, text, kept, self.done)

    def _say(self, *words: str) -> Iterator[str]:
        """The lines that the program says. Raises Problem when it fails."""
        self.close()
        with tempfile.TemporaryFile(dir=scratch.folder()) as said:
            self._process = subprocess.Popen(
                [*self._program, *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                encoding="utf-8",
                start_new_session=True,
            )
            assert self._process.stdout
            yield from self._process.stdout
            if self._process.wait():
                raise Problem(
                    f'"{self._path}" cannot be read as Parquet.',
                    cause=_last_line(said),
                    remedy="Check the file, then run it again.",
                )

    def kept(self, row: Row) -> dict[str, Any]:
        """The columns that go to the output."""
        return dict(zip(self.kept_names, json.loads(row.held or "[]"), strict=True))

    def shown(self, row: Row) -> Any:
        """The row for people who look for what is wrong with it."""
        sent = json.loads(row.text)
        named = zip(self._sent, sent, strict=True) if type(sent) is list else sent
        return self.kept(row) | dict(named)

    def close(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            if self._process.stdout:
                self._process.stdout.close()
            self._process = None


def write(program: list[str], lines: Path, columns: Sequence[str], path: Path) -> None:
    """Make a Parquet file of JSON lines."""
    with lines.open("rb") as file, tempfile.TemporaryFile(dir=scratch.folder()) as said:
        argv = [*program, "write", str(path), json.dumps(list(columns))]
        done = subprocess.run(argv, stdin=file, stderr=said, check=False)
        if done.returncode:
            raise Problem(
                f'"{path.name}" cannot be written as Parquet.',
                cause=_last_line(said),
                remedy="Run it again with another kind of file, such as .jsonl, and --restart.",
            )


def _last_line(said: IO[bytes]) -> str:
    said.seek(0)
    lines = said.read()[-4096:].decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else ""
