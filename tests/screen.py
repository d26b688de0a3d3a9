"""A desktop to try windows on: Xvfb with openbox, its pixels, and hands that click and type."""

from __future__ import annotations

import os
import struct
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

WIDTH, HEIGHT = 1280, 800
PICTURES = Path(__file__).parents[1] / "build" / "pictures"


class Screen:
    """A display of its own. `name` is what DISPLAY is to say."""

    def __init__(self, name: str, shown: Path) -> None:
        self.name = name
        self._shown = shown

    @property
    def environ(self) -> dict[str, str]:
        held = {k: v for k, v in os.environ.items() if k != "WAYLAND_DISPLAY"}
        return {**held, "DISPLAY": self.name}

    def pixels(self) -> bytes:
        """Blue, green, red and nothing, row by row."""
        return self._shown.read_bytes()[-WIDTH * HEIGHT * 4 :]

    def rows(self, step: int) -> bytes:
        """Every so many rows of them: to look at all every 10 ms took two thirds of a processor."""
        with self._shown.open("rb") as file:
            begins = os.fstat(file.fileno()).st_size - WIDTH * HEIGHT * 4
            places = (begins + row * WIDTH * 4 for row in range(0, HEIGHT, step))
            return b"".join(os.pread(file.fileno(), WIDTH * 4, place) for place in places)

    def colours(self) -> int:
        """How many there are, below the title of a window that fills the screen."""
        pixels = self.pixels()[WIDTH * 40 * 4 : -WIDTH * 40 * 4]
        return len({pixels[at : at + 3] for at in range(0, len(pixels), 4 * 7)})

    def picture(self, path: Path) -> Path:
        """Keep what is shown as a PNG."""
        pixels = bytearray(self.pixels())
        pixels[0::4], pixels[2::4] = pixels[2::4], pixels[0::4]
        pixels[3::4] = b"\xff" * (WIDTH * HEIGHT)
        rows = b"".join(
            b"\0" + pixels[at : at + WIDTH * 4] for at in range(0, len(pixels), WIDTH * 4)
        )
        head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 6, 0, 0, 0)
        parts = [(b"IHDR", head), (b"IDAT", zlib.compress(rows, 6)), (b"IEND", b"")]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in parts))
        return path

    def do(self, *words: str) -> str:
        """What xdotool says; a window that is gone already is no trouble."""
        done = subprocess.run(
            ["xdotool", *words], env=self.environ, capture_output=True, text=True, check=False
        )
        return done.stdout

    def windows(self, title: str = "RhythmicML") -> list[str]:
        return self.do("search", "--onlyvisible", "--name", f"^{title}$").split()

    def active(self, title: str = "RhythmicML") -> bool:
        """Whether that window has the keyboard: a key that is pressed before goes nowhere."""
        return self.do("getactivewindow").strip() in self.windows(title)

    def click(self, x: int, y: int) -> None:
        self.do("mousemove", str(x), str(y), "click", "1")

    def keys(self, *keys: str, title: str = "RhythmicML") -> None:
        """Press keys in that window."""
        (window, *_) = self.windows(title)
        self.do("windowactivate", "--sync", window, "key", "--delay", "60", *keys)

    def place(self, window: str) -> tuple[int, int, int, int]:
        """x, y, width, height of what is inside its frame."""
        said = self.do("getwindowgeometry", "--shell", window)
        found = dict(line.split("=") for line in said.split())
        return (int(found["X"]), int(found["Y"]), int(found["WIDTH"]), int(found["HEIGHT"]))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + _sum(kind + content)


def _sum(content: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(content))


@contextmanager
def screen(folder: Path) -> Iterator[Screen]:
    """Kept when its last client goes, or a client that is just coming would be sent away."""
    told, tells = os.pipe()
    size = f"{WIDTH}x{HEIGHT}x24"
    command = ["Xvfb", "-displayfd", str(tells), "-screen", "0", size, "-nolisten", "tcp"]
    xvfb = subprocess.Popen(
        [*command, "-noreset", "-fbdir", str(folder)], pass_fds=[tells], stderr=subprocess.DEVNULL
    )
    os.close(tells)
    with os.fdopen(told) as said:
        shown = Screen(f":{said.readline().strip()}", folder / "Xvfb_screen0")
    manager = _managed(shown)
    try:
        yield shown
    finally:
        for each in (manager, xvfb):
            each.terminate()
            each.communicate(timeout=10)


def _managed(shown: Screen) -> subprocess.Popen[bytes]:
    """A window manager that is at work."""
    command = ["openbox", "--sm-disable", "--startup", "echo started"]
    manager = subprocess.Popen(
        command, env=shown.environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert manager.stdout is not None
    assert b"started\n" in manager.stdout
    return manager


def until(true: Callable[[], object], seconds: float = 30, every: float = 0.1) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(every)
