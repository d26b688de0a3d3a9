"""How soon the program as it is given to people (dist/rhythmicml) shows itself, and what it takes.

    python -m bench.desktop.run

Under Xvfb with openbox, software drawing; the store has 1,000 models. Warm: its files were read
before. Painted: the filled button of the Catalogue, or the icon of the status window, is on the
screen.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from bench.ui.run import fill

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from screen import Screen, screen  # noqa: E402

BINARY = ROOT / "dist" / "rhythmicml"
TIMES, IDLE = 5, 20.0
ACCENT = b"\x85\x72\x0b"
PAGES, STATUS = 625, 25
"""Pixels of our colour that the Catalogue, or the status window, has at least, in the rows that are
looked at."""
ROWS = 4


class Desktop:
    """The program on a screen, with a folder of its own."""

    def __init__(self, folder: Path, shown: Screen) -> None:
        self.shown = shown
        (folder / "tmp").mkdir()
        self.environ = {
            "PATH": "/usr/bin:/bin", "HOME": str(folder), "TMPDIR": str(folder / "tmp"),
            "RHYTHMICML_HOME": str(folder / "home"), "DISPLAY": shown.name,
        }  # fmt: skip

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [BINARY, *words], env=self.environ, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    @contextmanager
    def open(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        program = self.start(*words)
        try:
            yield program
        finally:
            program.send_signal(signal.SIGTERM)
            program.wait(20)

    def painted(self, least: int) -> bool:
        return self.shown.rows(ROWS).count(ACCENT) >= least

    def seconds_to(self, least: int, *words: str) -> float:
        began = time.monotonic()
        with self.open(*words):
            return waited(lambda: self.painted(least), began)


def waited(true: Callable[[], bool], began: float) -> float:
    while not true():
        if time.monotonic() - began > 60:
            raise SystemExit("It was never painted.")
        time.sleep(0.01)
    return time.monotonic() - began


def version(desktop: Desktop) -> float:
    began = time.monotonic()
    desktop.start("--version").wait()
    return time.monotonic() - began


def tree(program: subprocess.Popen[bytes]) -> list[psutil.Process]:
    own = psutil.Process(program.pid)
    return [own, *own.children(recursive=True)]


def pss(program: subprocess.Popen[bytes]) -> float:
    return sum(each.memory_full_info().pss for each in tree(program)) / 1e6


def cpu(program: subprocess.Popen[bytes]) -> float:
    """Share of one processor that it takes while nobody does anything."""

    def spent() -> float:
        return sum(sum(each.cpu_times()[:2]) for each in tree(program))

    before = spent()
    time.sleep(IDLE)
    return (spent() - before) / IDLE


def beside(desktop: Desktop) -> float:
    """Seconds from asking an open program for its status window to its picture."""
    began = time.monotonic()
    asked = desktop.start("status", "--window")
    took = waited(lambda: bool(desktop.shown.windows("RhythmicML status")), began)
    asked.wait(20)
    return took


def measured(desktop: Desktop) -> Iterator[tuple[str, str, str]]:
    version(desktop)  # the first start of a file that was just written is no measure
    fast = statistics.median(version(desktop) for _ in range(TIMES))
    yield "`--version`", f"{fast:.2f} s", "0.4 s"
    desktop.seconds_to(PAGES)
    soon = [desktop.seconds_to(PAGES) for _ in range(TIMES)]
    yield "window with the painted Catalogue", f"{statistics.median(soon):.2f} s", "1.5 s"
    small = [desktop.seconds_to(STATUS, "status", "--window") for _ in range(TIMES)]
    yield "status window, painted, alone", f"{statistics.median(small):.2f} s", "1 s"
    with desktop.open("status", "--window") as program:
        waited(lambda: desktop.painted(STATUS), time.monotonic())
        time.sleep(5)
        yield "status window alone, processor while idle", f"{cpu(program):.1%}", "1 %"
        yield "status window alone, memory (PSS)", f"{pss(program):.0f} MB", ""
    with desktop.open() as program:
        waited(lambda: desktop.painted(PAGES), time.monotonic())
        time.sleep(3)
        yield "memory (PSS) of all its processes", f"{pss(program):.0f} MB", "350 MB"
        yield "processor while idle", f"{cpu(program):.1%}", ""
        yield "status window beside the pages, shown", f"{beside(desktop):.2f} s", "1 s"
        time.sleep(3)
        yield "memory with both windows", f"{pss(program):.0f} MB", ""


def main() -> None:
    with tempfile.TemporaryDirectory() as held:
        folder = Path(held)
        (folder / "screen").mkdir()
        fill(folder / "home")
        with screen(folder / "screen") as shown:
            print("| what | measured | goal |\n| --- | --- | --- |")
            print(f"| size of the file | {BINARY.stat().st_size / 1e6:.1f} MB | 45 MB |")
            for row in measured(Desktop(folder, shown)):
                print(f"| {' | '.join(row)} |", flush=True)
    busy = os.getloadavg()[0]
    print(
        f"\nMedians of {TIMES} warm starts, 1,000 models in the store; load {busy:.1f} at the end."
    )


if __name__ == "__main__":
    main()
