"""The graph of a pipeline as a drawing: boxes in columns from the request to the answer. Pure.

Measures are those of the SVG, which is shown as large as it is drawn, or down to 72 % where
there is less room. An edge that passes a column gets a place of its own there, so that it runs
beside the boxes and not behind them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

from app.scoring.pipeline.expressions import EVERY
from app.scoring.pipeline.graph import INPUT, Graph, Stage

ANSWER = ""
"""The name of the last box; no stage has it."""
EDGE, PAD = 8.0, 14.0
TITLE_CHARACTER, MONO_CHARACTER, LABEL_CHARACTER = 7.8, 7.25, 6.7
NARROWEST, WIDEST, TALL, PER_EDGE = 180.0, 284.0, 80.0, 28.0
END_WIDE, END_TALL = 84.0, 32.0
PASSING, BETWEEN, GAP = 24.0, 24.0, 72.0
LONGEST_LABEL = 30

Edge = tuple[str, str]
Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """A stage, the request or the answer; `about` is what pipelines.described says of a stage.

    title, asks: as much as there is room for.
    """

    name: str
    x: float
    y: float
    wide: float
    tall: float
    title: str
    asks: str = ""
    about: Mapping[str, Any] | None = None

    @property
    def middle(self) -> float:
        return self.y + self.tall / 2


@dataclass(frozen=True)
class Line:
    """An edge. path: of the SVG, which ends at `end`. label: as much of `words` as there is room
    for. optional: what it comes from may be missing."""

    source: str
    target: str
    path: str
    end: Point
    words: str
    label: str
    optional: bool = False


@dataclass(frozen=True)
class Drawing:
    wide: float
    tall: float
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]


class Slot(NamedTuple):
    """A place in a column: of a box, or of an edge that passes that column."""

    box: str
    passing: Edge | None = None
    column: int = 0


class Place(NamedTuple):
    x: float
    y: float
    wide: float
    tall: float


def draw(graph: Graph, stages: Sequence[Mapping[str, Any]]) -> Drawing:
    """stages: as pipelines.described has them."""
    about = {each["name"]: each for each in stages}
    places = _placed(graph, _slots(graph), about)
    boxes = {
        slot.box: _box(slot.box, place, about.get(slot.box))
        for slot, place in places.items()
        if slot.passing is None
    }
    lines = [line for name in boxes for line in _lines(graph, name, places)]
    wide = max(each.x + each.wide for each in places.values())
    tall = max(each.y + each.tall for each in places.values())
    return Drawing(wide + EDGE, tall + EDGE, tuple(boxes.values()), tuple(lines))


def asks(stage: Mapping[str, Any]) -> str:
    """Whose instance a stage asks in which version, or how it combines."""
    if not stage["instance"]:
        weights = ", ".join(f"{each:g}" for each in stage["weights"] or ())
        return f"{stage['combine']} {weights}".strip()
    version = stage["version"] or stage["pinned"]
    return f"{stage['instance']}@{version}" if version else str(stage["instance"])


def label(graph: Graph, source: str, target: str) -> str:
    """Which columns go from one stage to another; and on what condition, at the first edge that
    it speaks of. Empty: all, always."""
    stage = graph.stages.get(target)
    if stage is None:
        return ""
    columns = ", ".join(_columns(stage, source))
    first = [each.stage for each in stage.when.references[:1]] if stage.when else []
    condition = f"when {stage.when.text}" if stage.when and first == [source] else ""
    return "; ".join(each for each in (columns, condition) if each)


def _columns(stage: Stage, source: str) -> Iterator[str]:
    for new, wanted in stage.columns or ():
        if wanted.stage == source:
            name = wanted.column or wanted.stage
            yield "all" if name == EVERY else f"{name} as {new}" if new not in ("", name) else name


# What stands in which column


def _slots(graph: Graph) -> list[list[Slot]]:
    """The columns, each ordered by where its edges come from, so that few of them cross."""
    columns = [(INPUT,), *graph.levels, (ANSWER,)]
    at = {name: number for number, column in enumerate(columns) for name in column}
    slots = [[Slot(name) for name in column] for column in columns]
    for target in at:
        for source in _sources(graph, target):
            for number in range(at[source] + 1, at[target]):
                slots[number].append(Slot("", (source, target), number))
    for before, column in pairwise(slots):
        column.sort(key=partial(_origin, graph, {slot: n for n, slot in enumerate(before)}))
    return slots


def _sources(graph: Graph, target: str) -> tuple[str, ...]:
    if target == ANSWER:
        return (graph.output,)
    return () if target == INPUT else graph.needs(target)


def _origin(graph: Graph, before: Mapping[Slot, int], slot: Slot) -> float:
    """The mean place, in the column before, of what leads to a slot."""
    edges = [slot.passing] if slot.passing else _edges(graph, slot.box)
    sources = {source for source, _ in edges}
    ways = [at for way, at in before.items() if way.passing in edges or way.box in sources]
    return sum(ways) / max(len(ways), 1)


def _edges(graph: Graph, target: str) -> list[Edge]:
    return [(source, target) for source in _sources(graph, target)]


# Where that is


def _placed(
    graph: Graph, slots: Sequence[Sequence[Slot]], about: Mapping[str, Mapping[str, Any]]
) -> dict[Slot, Place]:
    """The columns beside each other, centred on one line."""
    tall = {slot: _tall(graph, slot) for column in slots for slot in column}
    heights = [sum(tall[s] for s in column) + BETWEEN * (len(column) - 1) for column in slots]
    places: dict[Slot, Place] = {}
    x = EDGE
    for number, (column, height) in enumerate(zip(slots, heights, strict=True)):
        wide = max(_wide(about.get(slot.box)) for slot in column)
        x += _gap(graph, column) if number else 0.0
        y = EDGE + (max(heights) - height) / 2
        for slot in column:
            places[slot] = Place(x, y, wide, tall[slot])
            y += tall[slot] + BETWEEN
        x += wide
    return places


def _tall(graph: Graph, slot: Slot) -> float:
    if slot.passing:
        return PASSING
    if slot.box in (INPUT, ANSWER):
        return END_TALL
    return max(TALL, PER_EDGE * len(graph.needs(slot.box)))


def _wide(stage: Mapping[str, Any] | None) -> float:
    if stage is None:
        return END_WIDE
    texts = len(stage["name"]) * TITLE_CHARACTER, len(asks(stage)) * MONO_CHARACTER
    return min(max(NARROWEST, max(texts) + 2 * PAD), WIDEST)


def _gap(graph: Graph, column: Sequence[Slot]) -> float:
    """The room before a column, in which the labels of the edges into it stand."""
    edges = [edge for slot in column if not slot.passing for edge in _edges(graph, slot.box)]
    longest = max((len(_short(label(graph, *edge), LONGEST_LABEL)) for edge in edges), default=0)
    return GAP + longest * LABEL_CHARACTER


def _short(words: str, most: int) -> str:
    return words if len(words) <= most else f"{words[: most - 1]}…"


# Boxes and edges


def _box(name: str, place: Place, about: Mapping[str, Any] | None) -> Box:
    if about is None:
        return Box(name, *place, title="Request" if name == INPUT else "Answer")
    room = place.wide - 2 * PAD
    title = _short(name, int(room / TITLE_CHARACTER))
    return Box(name, *place, title, _short(asks(about), int(room / MONO_CHARACTER)), about)


def _lines(graph: Graph, target: str, places: Mapping[Slot, Place]) -> Iterator[Line]:
    """The edges into a box, beside each other in the order in which they come."""
    box = places[Slot(target)]
    ways = [(edge, _way(edge, places)) for edge in _edges(graph, target)]
    ways.sort(key=lambda way: way[1][-1][1])
    for number, (edge, points) in enumerate(ways, 1):
        end = box.x, box.y + box.tall * number / (len(ways) + 1)
        words = label(graph, *edge)
        source = graph.stages.get(edge[0])
        yield Line(
            *edge, _path([*points, end]), end, words, _short(words, LONGEST_LABEL),
            bool(source and source.optional),
        )  # fmt: skip


def _way(edge: Edge, places: Mapping[Slot, Place]) -> list[Point]:
    """The points that an edge goes through: out of its box, then along each place it passes."""
    source = places[Slot(edge[0])]
    passed = sorted(place for slot, place in places.items() if slot.passing == edge)
    points = [(source.x + source.wide, source.y + source.tall / 2)]
    for place in passed:
        middle = place.y + place.tall / 2
        points += [(place.x, middle), (place.x + place.wide, middle)]
    return points


def _path(points: Sequence[Point]) -> str:
    """Through the points: curves between columns, straight along them."""
    parts = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for number, ((x, y), (to_x, to_y)) in enumerate(pairwise(points)):
        bend = (x + to_x) / 2
        curve = f"C{bend:.1f} {y:.1f} {bend:.1f} {to_y:.1f} "
        parts.append(f"{'L' if number % 2 else curve}{to_x:.1f} {to_y:.1f}")
    return " ".join(parts)
