"""Cases a to d: the same requests to us and to every peer, in interleaved rounds.

The first round measures all; the later ones us and, for each shape of load, the two best peers of
before. No server runs while another is measured, and none is measured before its first answers
have been found right.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from statistics import median
from typing import Any, NamedTuple

from . import ground, load, servers
from .load import Ask
from .notebook import Notebook
from .peers import Peer, as_inputs
from .rows import Row, at_least, at_most, markdown
from .stand import MODELS, THOUSAND, Stand

OURS = "RhythmicML"
ROWS = {"row": 1, "thousand": THOUSAND, "binary": THOUSAND}
WORDS = {"row": "1 row", "thousand": "1,000 rows, JSON", "binary": "1,000 rows, binary"}
WARM = 1.0


class Shape(NamedTuple):
    """One load: this model, this kind of request, so many connections."""

    case: str
    model: str
    kind: str
    connections: int

    @property
    def words(self) -> str:
        number = self.connections
        return f"{self.model}, {WORDS[self.kind]}, {number} connection{'s' * (number > 1)}"

    def key(self, server: str) -> str:
        return f"load|{self.model}|{self.kind}|{self.connections}|{server}"


SHAPES = (
    Shape("a", "logistic", "row", 32),
    Shape("b", "forest", "row", 32),
    Shape("b", "forest", "row", 128),
    Shape("c", "logistic", "row", 1),
    Shape("c", "forest", "row", 1),
    Shape("c", "constant", "row", 1),
    Shape("d", "logistic", "thousand", 4),
    Shape("d", "logistic", "thousand", 1),
    Shape("d", "logistic", "binary", 4),
    Shape("d", "logistic", "binary", 1),
    Shape("d", "forest", "binary", 1),
)
AT_LEAST = {
    ("a", "logistic", "row", 32): 8.0,
    ("b", "forest", "row", 32): 3.0,
    ("b", "forest", "row", 128): 5.0,
    ("d", "logistic", "thousand", 4): 2.0,
    ("d", "logistic", "thousand", 1): 2.0,
    ("d", "logistic", "binary", 4): 2.0,
    ("d", "logistic", "binary", 1): 2.0,
}


class Contender(NamedTuple):
    """A server to measure with one model: how it is started, asked and read, by kind."""

    name: str
    model: str
    command: Callable[[int], list[Any]]
    variables: dict[str, str]
    asks: dict[str, Ask]
    reads: Mapping[str, Callable[[Any], list[Any]]]


# Who takes part


def ours(stand: Stand, model: str) -> Contender:
    instance = stand.model_release(model)
    rows = ground.rows(THOUSAND)
    asks = {
        "row": Ask("/score", as_inputs(rows[:1])),
        "thousand": Ask("/score", as_inputs(rows)),
        "binary": binary(f"/v2/models/{model}/infer", rows),
    }
    reads = {"row": _predictions, "thousand": _predictions, "binary": _tensor}
    return Contender(OURS, model, lambda port: servers.ours(instance, port), {}, asks, reads)


def _predictions(said: Any) -> list[Any]:
    found: list[Any] = said["predictions"]
    return found


def _tensor(said: Any) -> list[Any]:
    found: list[Any] = said["outputs"][0]["data"]
    return found


def binary(path: str, rows: list[list[float]]) -> Ask:
    """Binary tensors of the Open Inference Protocol: a JSON header, then the float64s."""
    data = floats(rows)
    tensor = {
        "name": "inputs",
        "datatype": "FP64",
        "shape": [len(rows), len(rows[0])],
        "parameters": {"binary_data_size": len(data)},
    }
    head = json.dumps({"inputs": [tensor]}).encode()
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(head)),
    }
    return Ask(path, head + data, headers)


def floats(rows: list[list[float]]) -> bytes:
    return b"".join(struct.pack(f"<{len(row)}d", *row) for row in rows)


def theirs(stand: Stand, peer: Peer, model: str) -> Contender:
    path, rows = stand.pickle(model), ground.rows(THOUSAND)
    asks = {"row": Ask(peer.path, peer.body(rows[:1])), "thousand": Ask(peer.path, peer.body(rows))}
    reads = {"row": peer.read, "thousand": peer.read}
    if peer.raw:
        kind = {"Content-Type": "application/octet-stream"}
        asks["binary"] = Ask(peer.raw, floats(rows), kind)
        reads["binary"] = peer.read
    return Contender(
        peer.name,
        model,
        lambda port: peer.command(peer.environment, path, port),
        peer.settings(model, path),
        asks,
        reads,
    )


# The rounds


def measure(
    book: Notebook,
    stand: Stand,
    peers: Iterable[Peer],
    cases: Iterable[str],
    seconds: float,
    rounds: int,
) -> None:
    shapes = [shape for shape in SHAPES if shape.case in cases]
    for number in range(rounds):
        for model in (*MODELS, "constant"):
            mine = [shape for shape in shapes if shape.model == model]
            if mine:
                _round(book, stand, list(peers), mine, seconds, number)


def _round(
    book: Notebook,
    stand: Stand,
    peers: list[Peer],
    shapes: list[Shape],
    seconds: float,
    number: int,
) -> None:
    model = shapes[0].model
    if model in MODELS:
        _bare(book, stand, shapes, number)
    else:
        peers = []
    names = leaders(book, shapes, [peer.name for peer in peers]) if number else None
    chosen = [peer for peer in peers if names is None or peer.name in names]
    makers: list[tuple[str, Callable[[], Contender]]] = [
        (OURS, lambda: ours(stand, model)),
        *((peer.name, lambda peer=peer: theirs(stand, peer, model)) for peer in chosen),
    ]
    for name, make in makers if number % 2 == 0 else reversed(makers):
        left = [shape for shape in shapes if len(book.get(shape.key(name))) <= number]
        if left and f"{name}|{model}" not in book.failures:
            say(f"round {number + 1}: {name}, {model}")
            _measure_one(book, stand, name, make, left, seconds)


def _measure_one(
    book: Notebook,
    stand: Stand,
    name: str,
    make: Callable[[], Contender],
    shapes: list[Shape],
    seconds: float,
) -> None:
    model = shapes[0].model
    try:
        one, port = make(), servers.free_port()
        with servers.running(one.command(port), port, one.variables, one.asks["row"]) as running:
            book.add(f"start|{model}|{name}", running.started)
            right = {
                shape.kind
                for shape in shapes
                if shape.kind in one.asks and _is_right(book, stand, one, shape.kind, port)
            }
            for shape in (shape for shape in shapes if shape.kind in right):
                ask = one.asks[shape.kind]
                load.run(port, shape.connections, WARM, ask)
                ran = load.run(port, shape.connections, seconds, ask)
                book.add(shape.key(name), asdict(ran))
    except Exception as error:  # a peer that cannot be run is told of, the others go on
        book.fail(f"{name}|{model}", f"{type(error).__name__}: {error}")
        say(f"{name}, {model}: {error}")


def _is_right(book: Notebook, stand: Stand, one: Contender, kind: str, port: int) -> bool:
    """Whether the answer is what a bare call predicts. A wrong single row ends the contender."""
    status, said = servers.answer(port, one.asks[kind])
    wanted = stand.expected(one.model)[: ROWS[kind]]
    try:
        right = status == 200 and list(map(int, one.reads[kind](json.loads(said)))) == wanted
    except (ValueError, LookupError, TypeError):
        right = False
    if not right:
        why = f"answered {status}" if status != 200 else "answered other predictions"
        if kind == "row":
            raise servers.Wrong(f"{why}: {said[:100]!r}")
        book.fail(f"{one.name}|{one.model}|{kind}", why)
    return right


def _bare(book: Notebook, stand: Stand, shapes: list[Shape], number: int) -> None:
    """Bare calls in the model's environment, beside the rounds."""
    model = shapes[0].model
    for count in {ROWS[shape.kind] for shape in shapes if shape.case in "cd"}:
        key = f"bare|{model}|{count}"
        if len(book.get(key)) <= number:
            said = stand.bare(model, count, 1.0)
            book.add(key, {"median": said["median"] * 1e3, "with_copy": said["with_copy"] * 1e3})


def leaders(book: Notebook, shapes: list[Shape], names: list[str], count: int = 2) -> set[str]:
    """The names that are among the best so far in some shape."""
    found: set[str] = set()
    for shape in shapes:
        known = [name for name in names if book.get(shape.key(name))]
        found.update(sorted(known, key=lambda name: merit(book, shape, name))[-count:])
    return found


def merit(book: Notebook, shape: Shape, name: str) -> float:
    """More is better: what the case looks at."""
    said = figures(book, shape, name)
    return -said["median"] if shape.case == "c" else said["rate"]


def figures(book: Notebook, shape: Shape, name: str) -> dict[str, float]:
    """The medians of its rounds."""
    runs = book.get(shape.key(name))
    return {field: median(run[field] for run in runs) for field in runs[0]}


# What came out


def results(book: Notebook, cases: Iterable[str], names: list[str]) -> list[Row]:
    shapes = [shape for shape in SHAPES if shape.case in cases and shape.model != "constant"]
    return [row for shape in shapes for row in _result(book, shape, names)]


def _result(book: Notebook, shape: Shape, names: list[str]) -> list[Row]:
    if not book.get(shape.key(OURS)):
        why = book.failures.get(f"{OURS}|{shape.model}|{shape.kind}")
        why = why or book.failures.get(f"{OURS}|{shape.model}", "not measured")
        return [Row(shape.case, shape.words, f"not answered ({why})")]
    mine = figures(book, shape, OURS)
    known = [name for name in names if book.get(shape.key(name))]
    best = max(known, key=lambda name: merit(book, shape, name), default=None)
    rows = []
    goal = AT_LEAST.get(shape)
    if goal and best:
        rate = figures(book, shape, best)["rate"]
        count = ROWS[shape.kind]
        unit = "requests/s" if count == 1 else "rows/s"
        pair = mine["rate"] * count, rate * count
        rows.append(at_least(shape.case, shape.words, *pair, best, goal, unit))
    if shape.case == "c" and best:
        theirs = figures(book, shape, best)["median"]
        rows.append(at_most("c", f"{shape.words}: median", mine["median"], theirs, best, 1.0))
    return [*rows, *_beside_bare(book, shape, mine["median"])]


def _beside_bare(book: Notebook, shape: Shape, mine: float) -> list[Row]:
    """Our latency beside the model's own."""
    runs = book.get(f"bare|{shape.model}|{ROWS[shape.kind]}")
    if shape.connections != 1 or not runs:
        return []
    constant = Shape("c", "constant", "row", 1)
    if shape.kind == "row" and book.get(constant.key(OURS)):
        bound = median(run["median"] for run in runs) + figures(book, constant, OURS)["median"]
        name = "bare call + our constant"
        return [at_most("c", f"{shape.words}: median", mine, bound, name, 1.6)]
    if shape.kind == "binary":
        bound = median(run["with_copy"] for run in runs)
        return [at_most("d", f"{shape.words}: median", mine, bound, "bare call + copy", 1.3)]
    return []


def details(book: Notebook, cases: Iterable[str], names: list[str]) -> str:
    """Every server's figures."""
    lines = []
    for shape in (shape for shape in SHAPES if shape.case in cases):
        for name in [OURS, *names]:
            if book.get(shape.key(name)):
                said = figures(book, shape, name)
                failed = sum(run["failed"] for run in book.get(shape.key(name)))
                lines.append(
                    (
                        *(shape.words, name, f"{said['rate']:,.0f}", f"{said['median']:.2f}"),
                        *(f"{said['p99']:.2f}", str(failed)),
                    )
                )
    return markdown(("load", "server", "requests/s", "median ms", "p99 ms", "failed"), lines)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
