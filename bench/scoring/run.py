"""The scoring service beside its peers, same models, same rows, same run; prints Markdown.

`python -m bench.scoring.run [--cases a,b,…] [--peers NAME,…] [--seconds S] [--rounds N]
[--resume] [--json FILE]` from the project's root. Needs wrk. What was measured is kept as the run
goes on; --resume goes on where the last run with the same seconds and rounds was interrupted.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from . import life, overload, recorded, rows, shadowed, traffic
from .notebook import Notebook
from .peers import PEERS, VERSIONS_OF, Peer
from .stand import Stand

CASES = {
    "a": "logistic regression, requests of one row",
    "b": "forest, requests of one row",
    "c": "latency at one connection",
    "d": "requests of 1,000 rows",
    "e": "overload",
    "f": "cold start",
    "g": "memory of the front",
    "h": "preload",
    "i": "recording",
    "j": "a shadow beside production",
}
TRAFFIC = "abcd"


def measure(
    book: Notebook, cases: list[str], peers: list[Peer], seconds: float, rounds: int
) -> None:
    """All chosen cases; one that cannot be measured is noted, and the others go on."""
    stand = Stand()
    single: dict[str, Callable[[], None]] = {
        "e": lambda: overload.measure(book, stand),
        "f": lambda: life.start(book, stand, peers),
        "g": lambda: life.front_memory(book, stand),
        "h": lambda: life.preload(book, stand),
        "i": lambda: recorded.measure(book, stand),
        "j": lambda: shadowed.measure(book, stand),
    }
    traffic.measure(
        book, stand, peers, [case for case in cases if case in TRAFFIC], seconds, rounds
    )
    for case in (case for case in cases if case in single):
        traffic.say(f"case {case}: {CASES[case]}")
        try:
            single[case]()
        except Exception as error:
            book.fail(f"case {case}", f"{type(error).__name__}: {error}")
            traffic.say(f"case {case}: {error}")


def page(book: Notebook, cases: list[str], peers: list[Peer]) -> str:
    names = [peer.name for peer in peers]
    ordinary = [case for case in cases if case in TRAFFIC]
    found = traffic.results(book, ordinary, names)
    found += overload.results(book) if "e" in cases else []
    found += life.start_results(book, names) if "f" in cases else []
    found += life.front_memory_results(book) if "g" in cases else []
    found += life.preload_results(book) if "h" in cases else []
    found += recorded.results(book) if "i" in cases else []
    found += shadowed.results(book) if "j" in cases else []
    parts = [rows.table(found)]
    if ordinary:
        parts.append(traffic.details(book, ordinary, names))
    parts.append(settings(peers))
    if book.failures:
        lines = [f"- {key.replace('|', ', ')}: {why}" for key, why in book.failures.items()]
        parts.append("Could not be measured:\n\n" + "\n".join(lines))
    return "\n\n".join(parts)


def settings(peers: list[Peer]) -> str:
    lines = [(peer.name, peer.version, peer.tuned) for peer in peers]
    intro = f"Peers, at the newest versions that could be installed on {VERSIONS_OF}:\n\n"
    return intro + rows.markdown(("peer", "version", "settings tried, and kept"), lines)


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", default=",".join(CASES), help="letters, comma between")
    parser.add_argument("--peers", default=",".join(peer.name for peer in PEERS))
    parser.add_argument("--seconds", type=float, default=2.0, help="of one load")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--resume", action="store_true", help="go on where the last run ended")
    parser.add_argument("--json", type=Path, help="copy everything measured to this file")
    return parser.parse_args(words)


def main() -> None:
    arguments = parse(sys.argv[1:])
    names = arguments.peers.lower().split(",")
    peers = [peer for peer in PEERS if peer.name.lower() in names]
    cases = [case for case in CASES if case in arguments.cases.split(",")]
    options = {"seconds": arguments.seconds, "rounds": arguments.rounds}
    book = Notebook(options, arguments.resume)
    measure(book, cases, peers, arguments.seconds, arguments.rounds)
    print(page(book, cases, peers))
    if arguments.json:
        shutil.copy(book.path, arguments.json)


if __name__ == "__main__":
    main()
