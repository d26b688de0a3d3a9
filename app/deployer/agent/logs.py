"""What an instance says: from the journal, or from its log files where it has no journal."""

from __future__ import annotations

import io
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from .layout import Instance
from .lines import Sieve, plain
from .loop import op
from .managers import supervisor
from .run import execute
from .supervise import Keeper, Systemd, tail

if TYPE_CHECKING:
    from .loop import Agent, Payload

FAR = 64 << 20  # bytes of a file, its end, that are looked through for lines that are wanted
BLOCK = 1 << 20  # that are looked through at once
FRESH = re.compile(rb"\n(?![ \t\r\n])(?=.)", re.DOTALL)  # before a line that stands by itself
FAR_LINES = 200_000  # of a journal, where journalctl does not find them
WITHIN = 5.0  # seconds in which it does, or is given up
IN_STAMPS = re.compile(r"[\dT:.+\[\]\s-]*")
WIDEST = 1 << 20  # bytes that are taken for one line at most


@op("logs")
def logs(agent: Agent, args: dict[str, Any], payload: Payload) -> None:
    """The last lines of an instance's log as events {"out": …}, oldest first; as plain text, cut.

    args: name, lines, follow (go on with what comes, from later releases too), grep, level (as
    Sieve has them; absent: all).
    """
    instance, sieve = Instance(agent.base, args["name"]), _sieve(args)
    manager = supervisor(agent)
    if isinstance(manager, Keeper) or manager.user:
        _from_files(agent, instance, args, sieve)
    elif sieve.open:
        argv = manager.journal_of(instance, args["lines"], args["follow"])
        execute(agent, argv, on_line=lambda _, line: _say(agent, line))
    else:
        _sifted(agent, manager, instance, args, sieve)


def _sieve(args: dict[str, Any]) -> Sieve:
    return Sieve(args.get("grep") or "", args.get("level") or "")


def _say(agent: Agent, line: str) -> None:
    agent.event(out=plain(line))


def _sifted(
    agent: Agent, manager: Systemd, instance: Instance, args: dict[str, Any], sieve: Sieve
) -> None:
    """The lines of a journal that are wanted: the last of those that were, then those that come."""

    def pass_on(_: str, line: str) -> None:
        if sieve.passes(line):
            _say(agent, line)

    found = _grepped(agent, manager, instance, args, sieve)
    for line in _looked_through(agent, manager, instance, args, sieve) if found is None else found:
        _say(agent, line)
    if args["follow"]:
        execute(agent, manager.journal_of(instance, 0, True), on_line=pass_on)


def _grepped(
    agent: Agent, manager: Systemd, instance: Instance, args: dict[str, Any], sieve: Sieve
) -> list[str] | None:
    """What journalctl itself finds, from the newest on; None where it cannot, or not in time.

    It looks at what was said, not at the stamps before it, and knows the case of ASCII alone; of a
    level it knows nothing.
    """
    text = str(args.get("grep") or "")
    if args.get("level") or not text.isascii() or IN_STAMPS.fullmatch(text):
        return None
    if "+PCRE2" not in execute(agent, ["journalctl", "--version"], deadline=WITHIN).out:
        return None
    found: list[str] = []
    argv = [*manager.journal_of(instance, args["lines"], False), "--reverse"]
    argv += ["--case-sensitive=no", f"--grep={re.escape(text)}"]

    def keep(_: str, line: str) -> None:
        if sieve.passes(line):
            found.append(line)

    done = execute(agent, argv, deadline=WITHIN, on_line=keep)
    return None if done.late else found[::-1]


def _looked_through(
    agent: Agent, manager: Systemd, instance: Instance, args: dict[str, Any], sieve: Sieve
) -> Iterable[str]:
    last: deque[str] = deque(maxlen=args["lines"])

    def keep(_: str, line: str) -> None:
        if sieve.passes(line):
            last.append(line)

    execute(agent, manager.journal_of(instance, FAR_LINES, False), on_line=keep)
    return last


def _from_files(agent: Agent, instance: Instance, args: dict[str, Any], sieve: Sieve) -> None:
    files = _production_last(instance)
    ends = {file: file.stat().st_size for file in files}
    for line in _last(files, args["lines"], sieve):
        _say(agent, line)
    while args["follow"] and not agent.gone.wait(0.3):
        for file in _production_last(instance):
            ends[file] = _pass_on(agent, file, ends.get(file, 0), sieve)


def _production_last(instance: Instance) -> list[Path]:
    """The oldest first; but a release says its last words when the one after it serves already."""
    current = instance.current()
    files = (instance.folder / "log").glob("*.log")
    return sorted(files, key=lambda file: (file.stem == current, file.stat().st_mtime))


def _last(files: Sequence[Path], lines: int, sieve: Sieve) -> Iterable[str]:
    if sieve.open:
        return [line for file in files for line in tail(file, lines).splitlines()][-lines:]
    return list(_found(files, lines, sieve))[-lines:]


def _found(files: Sequence[Path], lines: int, sieve: Sieve) -> deque[str]:
    """So many lines that are wanted or more, looked for from the end, which the sieve then has
    seen last."""
    found: deque[str] = deque()
    blocks = (block for file in reversed(files) for block in _blocks(file))
    for number, block in enumerate(blocks):
        if number == 0 or sieve.holds(block):
            wanted = [line for line in _lines(block) if sieve.passes(line)]
            found.extendleft(reversed(wanted))
        if len(found) >= lines:
            break
        sieve = sieve.anew()
    return found


def _blocks(path: Path) -> Iterator[bytes]:
    """The end of a file, the last lines first; none begins with one that goes on with another."""
    with path.open("rb") as file:
        at, rest = file.seek(0, os.SEEK_END), b""
        first = max(0, at - FAR)
        while at > first:
            before, at = at, max(first, at - BLOCK)
            file.seek(at)
            held = file.read(before - at) + rest
            fresh = FRESH.search(held) if at > first else None
            start = fresh.end() if fresh else 0 if at == first else len(held)
            rest = held[:start]
            if start < len(held):
                yield held[start:]


def _lines(block: bytes) -> Iterator[str]:
    file = io.BytesIO(block)
    while line := file.readline(WIDEST):
        yield _text(line)


def _text(line: bytes) -> str:
    return line.rstrip(b"\r\n").decode("utf-8", "replace")


def _pass_on(agent: Agent, path: Path, start: int, sieve: Sieve) -> int:
    """The whole lines beyond start as events; where they end. A file cut short begins anew."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size < start:
            start = 0
        file.seek(start)
        for line in _whole(file):
            start += len(line)
            if sieve.passes(said := _text(line)):
                _say(agent, said)
    return start


def _whole(file: IO[bytes]) -> Iterator[bytes]:
    """Lines that have their end; of what has none for long, pieces."""
    while (line := file.readline(WIDEST)).endswith(b"\n") or len(line) == WIDEST:
        yield line
