"""A pipeline of three stages on one host, beside the same graph by others; prints Markdown.

`python -m bench.pipelines.run [--seconds S] [--rounds N] [--peers NAME,…]` from the project's root.
Needs wrk. A featurizer, then a logistic regression and a forest of 100 trees at once, then their
mean; one row a request. A stage's own time is what its front took from a request's last byte to
its answer, while the pipeline asked it.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from bench.scoring import ground, load, servers
from bench.scoring.load import Ask, Load
from bench.scoring.rows import Row, markdown, table
from bench.scoring.stand import Stand

from . import ours
from .peers import PEERS, Peer

OURS = "RhythmicML"
WARM = 1.0
DURATION = re.compile(
    r'rhythmicml_request_duration_seconds_(sum|count)\{[^}]*endpoint="infer"[^}]*\} ([0-9.e+-]+)'
)

Figures = dict[str, list[float]]


def own_times(ports: Mapping[str, int]) -> dict[str, tuple[float, float]]:
    """Stage → seconds and requests that its front has counted."""
    found = {}
    for name in ours.STAGES:
        said = dict(
            DURATION.findall(servers.answer(ports[name], Ask("/metrics", b""), "GET")[1].decode())
        )
        found[name] = (float(said.get("sum", 0)), float(said.get("count", 0)))
    return found


def spent(
    before: Mapping[str, tuple[float, float]], after: Mapping[str, tuple[float, float]]
) -> float:
    """Milliseconds of the slowest path's stages, a request."""
    mean = {
        name: (after[name][0] - before[name][0]) / (after[name][1] - before[name][1]) * 1e3
        for name in ours.STAGES
    }
    return mean["features"] + max(mean["logistic"], mean["forest"])


def measure_ours(stand: Stand, made: list[Path], seconds: float, into: Figures) -> None:
    with ours.serving(made) as ports:
        is_right(stand, ports["credit"])
        for name in ours.STAGES:
            into.setdefault(f"alone {name}", []).append(loaded(ports[name], 32, seconds).rate)
        warmed(ports["credit"], 1)
        before = own_times(ports)
        one = load.run(ports["credit"], 1, seconds)
        stages = spent(before, own_times(ports))
        into.setdefault("one", []).append(one.median)
        into.setdefault("stages", []).append(stages)
        note(into, OURS, loaded(ports["credit"], 32, seconds))


def measure_peer(stand: Stand, peer: Peer, seconds: float, into: Figures) -> None:
    with peer.serving(ours.models(stand)) as port:
        is_right(stand, port)
        into.setdefault(f"one {peer.name}", []).append(loaded(port, 1, seconds).median)
        note(into, peer.name, loaded(port, 32, seconds))


def warmed(port: int, connections: int) -> None:
    load.run(port, connections, WARM)


def loaded(port: int, connections: int, seconds: float) -> Load:
    warmed(port, connections)
    return load.run(port, connections, seconds)


def note(into: Figures, name: str, ran: Load) -> None:
    for field, value in ran.__dict__.items():
        into.setdefault(f"{name} {field}", []).append(value)


def is_right(stand: Stand, port: int) -> None:
    """Raise Wrong unless a row and ten rows are answered as the models by themselves would."""
    expected = json.loads((ours.models(stand) / "expected.json").read_text())
    for count in (1, 10):
        status, said = servers.answer(port, Ask("/score", ground.body(count)))
        found = json.loads(said) if status == 200 else {}
        found = found["predictions"] if isinstance(found, dict) and found else found
        if status != 200 or not close(found, expected[:count]):
            raise servers.Wrong(f"answered {status}: {said[:200]!r}")


def close(found: list[float], expected: list[float]) -> bool:
    pairs = zip(found, expected, strict=False)
    return len(found) == len(expected) and all(math.isclose(a, b, rel_tol=1e-6) for a, b in pairs)


def page(found: Figures, failures: Mapping[str, str], peers: list[Peer]) -> str:
    figure = {key: median(values) for key, values in found.items()}
    parts = [table(results(figure, peers)), details(figure, found, peers)]
    parts += [f"{name} could not be measured: {why}" for name, why in failures.items()]
    return "\n\n".join(parts)


def results(figure: Mapping[str, float], peers: list[Peer]) -> list[Row]:
    added = figure["one"] - figure["stages"]
    slowest = min(ours.STAGES, key=lambda name: figure[f"alone {name}"])
    rate, alone = figure[f"{OURS} rate"], figure[f"alone {slowest}"]
    rows = [
        Row(
            "a",
            "1 connection: added to the slowest path's own stage times",
            f"{figure['one']:.2f} ms",
            f"stages {figure['stages']:.2f} ms",
            f"+{added:.2f} ms",
            "≤ +2 ms",
            added <= 2,
        ),
        Row(
            "b",
            "32 connections",
            f"{rate:,.0f} requests/s",
            f"{slowest} alone {alone:,.0f} requests/s",
            f"{rate / alone:.2f}×",
            "≥ 0.6×",
            rate / alone >= 0.6,
        ),
    ]
    for peer in (one for one in peers if f"{one.name} rate" in figure):
        theirs = figure[f"{peer.name} rate"]
        beside = f"{peer.name} {theirs:,.0f} requests/s"
        ratio = rate / theirs
        rows.append(
            Row(
                "c",
                "32 connections",
                f"{rate:,.0f} requests/s",
                beside,
                f"{ratio:.1f}×",
                "≥ 5×",
                ratio >= 5,
            )
        )
    return rows


def details(figure: Mapping[str, float], found: Figures, peers: list[Peer]) -> str:
    heads = (
        "server",
        "version",
        "settings",
        "1 connection: median ms",
        "requests/s",
        "p99 ms",
        "failed",
    )
    lines = []
    for name, version, tuned in ((OURS, "", ""), *((p.name, p.version, p.tuned) for p in peers)):
        if f"{name} rate" in figure:
            one = figure["one" if name == OURS else f"one {name}"]
            failed = sum(found[f"{name} failed"])
            lines.append(
                (name, version, tuned, f"{one:.2f}", f"{figure[f'{name} rate']:,.0f}",
                 f"{figure[f'{name} p99']:.1f}", f"{failed:g}")
            )  # fmt: skip
    return markdown(heads, lines)


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of one load")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parallel", type=int, help="batches on their way at once")
    parser.add_argument("--peers", default=",".join(peer.name for peer in PEERS))
    return parser.parse_args(words)


def main() -> None:
    arguments = parse(sys.argv[1:])
    peers = [peer for peer in PEERS if peer.name in arguments.peers.split(",")]
    stand, found, failures = Stand(), Figures(), dict[str, str]()
    made = ours.instances(stand, arguments.parallel)
    for number in range(arguments.rounds):
        print(f"round {number + 1}", file=sys.stderr, flush=True)
        measure_ours(stand, made, arguments.seconds, found)
        for peer in peers:
            try:
                measure_peer(stand, peer, arguments.seconds, found)
            except Exception as error:  # a peer that cannot be run is told of, the others go on
                failures[peer.name] = f"{type(error).__name__}: {error}"
    print(page(found, failures, peers))


if __name__ == "__main__":
    main()
