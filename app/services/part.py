"""The unfinished output of a long run: `OUT.part`, a folder from which the run can go on.

`rows` and `bad` grow; `journal.json` says how much of them counts, and up to where in the input.
What a crash left beyond that is cut off.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Any

from app import portable
from app.errors import Busy, Problem

FORMAT = 1
EVERY = 1.0
"""Seconds between two entries of the journal: what a crash costs at most."""
HEAD = 64 * 1024


@dataclass(frozen=True)
class Journal:
    """How far one has come.

    at: the place in the input. rows_size, bad_size: bytes that count. columns: of the output;
    predicted: those of them that hold the prediction.
    """

    wanted: dict[str, Any]
    rows: int = 0
    bad: int = 0
    at: int = 0
    rows_size: int = 0
    bad_size: int = 0
    columns: list[str] = field(default_factory=list)
    predicted: list[str] = field(default_factory=list)
    format: int = FORMAT


class Part:
    """One unfinished output, held by one process at a time."""

    def __init__(self, out: Path) -> None:
        self.folder = out.with_name(f"{out.name}.part")
        self.journal = Journal({})
        self.ended = False
        self._saved = monotonic()
        try:
            self.folder.mkdir(exist_ok=True)
            self._lock = (self.folder / "lock").open("wb")
            alone = portable.locked(self._lock)
        except OSError as error:
            raise unwritable(out, error) from error
        if not alone:
            self._lock.close()
            raise Busy(
                f'Another run is writing "{out}".', remedy="Wait for it, or choose another --out."
            )

    @property
    def rows_path(self) -> Path:
        return self.folder / "rows"

    @property
    def bad_path(self) -> Path:
        return self.folder / "bad"

    def found(self) -> Journal | None:
        """What an earlier run left to go on from."""
        try:
            said = json.loads((self.folder / "journal.json").read_bytes())
            journal = Journal(**said)
            whole = (
                self.rows_path.stat().st_size >= journal.rows_size
                and self.bad_path.stat().st_size >= journal.bad_size
            )
        except (OSError, ValueError, TypeError):
            return None
        return journal if whole and journal.format == FORMAT else None

    def begin(self, journal: Journal) -> None:
        """Go on from this journal; an empty one begins anew."""
        self.journal = journal
        try:
            self._rows = self.rows_path.open("ab")
            self._bad = self.bad_path.open("ab")
            self._rows.truncate(journal.rows_size)
            self._bad.truncate(journal.bad_size)
        except OSError as error:
            raise unwritable(self.folder, error) from error
        self.save()

    def add(self, rows: bytes, bad: bytes, /, **news: Any) -> None:
        """Append finished rows, and `news` to the journal; from time to time they are made to last.

        The journal changes at once, so that an interruption finds it whole.
        """
        try:
            self._rows.write(rows)
            self._bad.write(bad)
        except OSError as error:
            raise unwritable(self.folder, error) from error
        self.journal = replace(
            self.journal,
            rows_size=self.journal.rows_size + len(rows),
            bad_size=self.journal.bad_size + len(bad),
            **news,
        )
        if monotonic() - self._saved > EVERY:
            self.save()

    def save(self) -> None:
        """Make what was added last, then say so in the journal."""
        new = self.folder / "journal.new"
        try:
            for file in (self._rows, self._bad):
                file.flush()
                os.fsync(file.fileno())
            with new.open("w", encoding="utf-8") as written:
                json.dump(asdict(self.journal), written)
                written.flush()
                os.fsync(written.fileno())
            new.replace(self.folder / "journal.json")
        except OSError as error:
            raise unwritable(self.folder, error) from error
        self._saved = monotonic()

    def publish(self, whole: Path, out: Path, bad: Path) -> None:
        """Put the output and the bad rows in their places, each at once; end the part."""
        try:
            self._rows.close()
            self._bad.close()
            if self.journal.bad:
                beside = bad.with_name(f".{bad.name}.new")
                shutil.copyfile(self.bad_path, beside)
                beside.replace(bad)
            else:
                bad.unlink(missing_ok=True)
            whole.replace(out)
            portable.sync_folder(out.parent)
        except OSError as error:
            raise unwritable(out, error) from error
        self.remove()

    def remove(self) -> None:
        self.ended = True
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        for file in (getattr(self, "_rows", None), getattr(self, "_bad", None), self._lock):
            if file:
                with suppress(OSError):
                    file.close()


def unwritable(path: Path, error: OSError) -> Problem:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return Problem(
        f'"{path}" cannot be written.',
        cause=error.strerror or str(error),
        remedy="Make room on the disk, then run the same command again: it continues."
        if full
        else "Choose another place with --out.",
    )


def likeness(path: Path) -> dict[str, Any]:
    """What tells whether a file is still the same: size, time, and a digest of its beginning."""
    try:
        status = path.stat()
        with path.open("rb") as file:
            head = hashlib.sha256(file.read(HEAD)).hexdigest()
    except OSError as error:
        raise Problem(f'"{path}" cannot be read.') from error
    return {
        "path": str(path.absolute()),
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "head": head,
    }
