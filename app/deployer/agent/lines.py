"""Lines of a log: as plain text, cut; and which of them are wanted. Pure.

What runs may say anything, so a terminal or a page must act on none of it.
"""

from __future__ import annotations

import json
import re

LONGEST = 4000  # characters of a line
LEVELS = ("debug", "info", "warning", "error")
_ERROR = re.compile(r"\b(CRITICAL|FATAL|ERROR|[A-Z]\w*(Error|Exception):)|^Traceback ", re.ASCII)
_WARNING = re.compile(r"\bWARN(ING)?\b|[A-Z]\w*Warning:", re.ASCII)
_DEBUG = re.compile(r"\b(DEBUG|TRACE)\b", re.ASCII)
_FAILED = re.compile(r'"status"\s*:\s*(?:[4-9]\d\d|\d{4})')
_STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\S+ \S+?\[\d+\]: ")


def plain(line: str) -> str:
    """Without what acts on a terminal: escaped; and cut where it is long."""
    text = line[:LONGEST]
    if not text.isprintable():
        text = "".join(
            char if char.isprintable() or char == "\t" else _escape(char) for char in text
        )
    left = len(line) - LONGEST
    return text if left <= 0 else f"{text}… ({left:,} more characters)"


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def level_of(line: str) -> str:
    """By its words; of an access log's line by the status. Empty: it goes on with the one above."""
    said = _STAMP.sub("", line, count=1)
    if said.startswith("{"):
        return _of_status(said)
    if _ERROR.search(said):
        return "error"
    if said.startswith((" ", "\t")):
        return ""
    if _WARNING.search(said):
        return "warning"
    return "debug" if _DEBUG.search(said) else "info"


def _of_status(text: str) -> str:
    if not _FAILED.search(text):  # most do not, and reading them as JSON takes ten times as long
        return "info"
    try:
        status = json.loads(text).get("status")
    except (ValueError, AttributeError, RecursionError):
        return "info"
    if not isinstance(status, int) or status < 400:
        return "info"
    return "error" if status >= 500 else "warning"


class Sieve:
    """Lines that hold a text, in whatever case, and are of a level at least; empty: all."""

    def __init__(self, grep: str = "", level: str = "") -> None:
        self._wanted = grep, level
        self._text = grep.casefold()
        self._least = LEVELS.index(level) if level in LEVELS else 0
        self._last = "info"
        self.open = not (self._text or self._least)

    def anew(self) -> Sieve:
        """The same, of lines from elsewhere."""
        return Sieve(*self._wanted)

    def holds(self, block: bytes) -> bool:
        """Whether some line of it may be wanted: sooner told than for each line."""
        return not self._text or self._text in block.decode("utf-8", "replace").casefold()

    def passes(self, line: str) -> bool:
        if self._least:
            self._last = level_of(line[:LONGEST]) or self._last
            if LEVELS.index(self._last) < self._least:
                return False
        return self._text in line.casefold() if self._text else True
