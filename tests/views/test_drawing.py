"""The drawing of a pipeline: nothing lies on anything else, edges say what goes along them."""

from itertools import combinations

import pytest

from app.configuration.stages import read_stages
from app.scoring.pipeline import graph as graphs
from app.services.pipelines import described_of
from app.views.drawing import draw, label


def drawn(*written):
    stages, faults = read_stages(list(written))
    assert faults == []
    graph = graphs.parse({"stages": stages}, whole=False)
    return graph, draw(graph, described_of(graph, stages, "local", []))


def asks(name, **more):
    return {"name": name, "instance": name.replace("_", "-"), **more}


CREDIT = (
    asks("features"),
    asks("triage"),
    asks(
        "expert",
        columns={"total": "features.sum", "age": "input.age"},
        when="triage.score >= 0.5 and input.age > 3",
        optional=True,
    ),
    asks("usual", after=["input"], when="triage.score < 0.5"),
    {"name": "answer", "combine": "first", "after": ["expert", "usual"]},
)
WIDE = (*(asks(f"m{n}", after=["input"]) for n in range(12)),)
MANY = (*WIDE, {"name": "mean", "combine": "mean", "after": [f"m{n}" for n in range(12)]})
CHAIN = tuple(asks(f"step_{n}") for n in range(20))


@pytest.mark.parametrize("written", [CREDIT, MANY, CHAIN, WIDE, CREDIT[:1]])
def test_no_box_lies_on_another_and_all_are_within(written):
    _, found = drawn(*written)
    assert {box.name for box in found.boxes} == {"input", "", *(each["name"] for each in written)}
    for one, other in combinations(found.boxes, 2):
        beside = one.x + one.wide < other.x or other.x + other.wide < one.x
        below = one.y + one.tall < other.y or other.y + other.tall < one.y
        assert beside or below, (one.name, other.name)
    for box in found.boxes:
        assert box.x >= 0
        assert box.x + box.wide <= found.wide
        assert box.y >= 0
        assert box.y + box.tall <= found.tall


def test_each_need_is_an_edge_from_left_to_right_into_the_side_of_its_box():
    graph, found = drawn(*CREDIT)
    boxes = {box.name: box for box in found.boxes}
    wanted = {(source, name) for name in graph.stages for source in graph.needs(name)}
    assert {(line.source, line.target) for line in found.lines} == wanted | {("answer", "")}
    for line in found.lines:
        source, target = boxes[line.source], boxes[line.target]
        assert source.x + source.wide < target.x == line.end[0]
        assert target.y < line.end[1] < target.y + target.tall
    ends = [line.end for line in found.lines]
    assert len(set(ends)) == len(ends)


def test_an_edge_that_passes_a_column_runs_beside_its_boxes():
    """From the request to "expert" it passes "features" and "triage"."""
    _, found = drawn(*CREDIT)
    line = next(e for e in found.lines if (e.source, e.target) == ("input", "expert"))
    straight = [part.split() for part in line.path.split("L")[1:]]
    heights = [float(part[1]) for part in straight]
    assert len(heights) == 2
    for box in found.boxes:
        if box.name in ("features", "triage"):
            assert all(not box.y <= height <= box.y + box.tall for height in heights)


def test_edges_say_which_columns_go_along_them_and_when():
    graph, found = drawn(*CREDIT)
    assert label(graph, "features", "expert") == "sum as total"
    assert label(graph, "input", "expert") == "age"
    assert label(graph, "triage", "expert") == "when triage.score >= 0.5 and input.age > 3"
    assert label(graph, "input", "features") == label(graph, "expert", "answer") == ""
    shown = next(e for e in found.lines if (e.source, e.target) == ("triage", "expert"))
    assert shown.label == "when triage.score >= 0.5 and …"
    assert [line.source for line in found.lines if line.optional] == ["expert"]
