"""Draw the icon in every size that systems want, from assets/icons/rhythmicml.svg.

Run it after changing the drawing (needs rsvg-convert): python packaging/icons.py
"""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

ICONS = Path(__file__).parents[1] / "assets" / "icons"
SIZES = (16, 24, 32, 48, 64, 128, 256, 512)
WINDOWS = (16, 24, 32, 48, 64, 256)
MACOS = {b"icp4": 16, b"icp5": 32, b"icp6": 64, b"ic07": 128, b"ic08": 256, b"ic09": 512}
"""Apple's names of the sizes that are kept as PNG."""


def main() -> None:
    drawn = {size: draw(size) for size in SIZES}
    for size, png in drawn.items():
        (ICONS / f"rhythmicml-{size}.png").write_bytes(png)
    (ICONS / "rhythmicml.ico").write_bytes(ico([(size, drawn[size]) for size in WINDOWS]))
    (ICONS / "rhythmicml.icns").write_bytes(icns([(n, drawn[s]) for n, s in MACOS.items()]))


def draw(size: int) -> bytes:
    argv = ["rsvg-convert", f"--width={size}", f"--height={size}", str(ICONS / "rhythmicml.svg")]
    return subprocess.run(argv, capture_output=True, check=True).stdout


def ico(pictures: list[tuple[int, bytes]]) -> bytes:
    """Windows' format: a head, an entry for each picture, the pictures. 256 is written as 0."""
    at = 6 + 16 * len(pictures)
    head = struct.pack("<HHH", 0, 1, len(pictures))
    for size, png in pictures:
        head += struct.pack("<BBBBHHII", size % 256, size % 256, 0, 0, 1, 32, len(png), at)
        at += len(png)
    return head + b"".join(png for _, png in pictures)


def icns(pictures: list[tuple[bytes, bytes]]) -> bytes:
    """macOS' format: parts with a name and a length, which count themselves."""
    parts = [name + struct.pack(">I", 8 + len(png)) + png for name, png in pictures]
    body = b"".join(parts)
    return b"icns" + struct.pack(">I", 8 + len(body)) + body


if __name__ == "__main__":
    main()
