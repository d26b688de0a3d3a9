"""Where the window was, how large, and how much it magnified: kept for the next start."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

SMALLEST = (900, 560)
ZOOMS = (0.5, 3.0)
STEP = 1.1
SEEN = 120
"""How much of a window has to be on a screen, in each direction [pixels]."""

Rectangle = tuple[int, int, int, int]
"""x, y, width, height"""


@dataclass(frozen=True)
class Place:
    """x and y are None until the window system's own choice was changed once."""

    x: int | None = None
    y: int | None = None
    width: int = 1280
    height: int = 800
    maximized: bool = False
    zoom: float = 1.0
    on_top: bool = False

    def zoomed(self, steps: int) -> Place:
        """Larger or smaller by so many steps; 0 is back to normal."""
        wanted = self.zoom * STEP**steps if steps else 1.0
        return replace(self, zoom=round(min(ZOOMS[1], max(ZOOMS[0], wanted)), 3))

    def on(self, screens: list[Rectangle], smallest: tuple[int, int] = SMALLEST) -> Place:
        """The same where it can be seen and grasped; a screen may have gone since."""
        width, height = max(self.width, smallest[0]), max(self.height, smallest[1])
        fitting = replace(self, width=width, height=height)
        if self.x is None or self.y is None:
            return fitting
        if any(_shows(fitting, screen) for screen in screens):
            return fitting
        return replace(fitting, x=None, y=None)


def _shows(place: Place, screen: Rectangle) -> bool:
    """Whether enough of the window's upper edge is on that screen."""
    assert place.x is not None
    assert place.y is not None
    left, top, width, height = screen
    beside = min(place.x + place.width, left + width) - max(place.x, left)
    return beside >= SEEN and top <= place.y <= top + height - SEEN


def read(path: Path, first: Place | None = None) -> Place:
    """What was kept; the first place of all when there is none or it cannot be read."""
    first = first or Place()
    try:
        said: dict[str, Any] = json.loads(path.read_bytes())
        place = Place(**said)
        whole = (place.width, place.height, *(n for n in (place.x, place.y) if n is not None))
        if not all(type(n) is int and abs(n) < 100_000 for n in whole):
            return first
        zoom = min(ZOOMS[1], max(ZOOMS[0], float(place.zoom)))
        flags = {"maximized": bool(place.maximized), "on_top": bool(place.on_top)}
        return replace(place, zoom=zoom, **flags)
    except (OSError, ValueError, TypeError):
        return first


def keep(path: Path, place: Place) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(place)))
    partial.replace(path)
