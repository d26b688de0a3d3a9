"""Requests per second of an instance and of a bare FastAPI endpoint, same models, same run.

`python -m bench.scoring.run [--seconds S] [--rounds N] [--json FILE]` from the project's root.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from . import ground, load, servers
from .load import Load

CONNECTIONS = (32, 1)
GOALS = {"logistic": 6.0, "forest": 15.0}
HEADINGS = (
    *("model", "connections", "server", "requests/s", "median ms", "p99 ms"),
    *("failed", "ratio", "goal"),
)
WORDS = {"logistic": "StandardScaler+LogisticRegression", "forest": "RandomForest(100 trees)"}


def measure(seconds: float = 4.0, rounds: int = 3) -> list[dict[str, Any]]:
    """A row per model, server and number of connections: the median round of interleaved ones."""
    started = prepare()
    found: dict[tuple[str, str, int], list[Load]] = {}
    for _ in range(rounds):
        for model, server, command, environment in started:
            port = servers.free_port()
            with servers.running(command(port), port, **environment):
                load.run(port, 8, 1)
                for connections in CONNECTIONS:
                    runs = found.setdefault((model, server, connections), [])
                    runs.append(load.run(port, connections, seconds))
    return [row(*key, runs) for key, runs in found.items()]


def prepare() -> list[tuple[str, str, Any, dict[str, str]]]:
    """Model, server, the command for a port and the variables of each server to run."""
    model_env = ground.environment("model", ground.MODEL)
    fastapi_env = ground.environment("fastapi", ground.FASTAPI)
    runtime_env = ground.environment("runtime", (), "-r", str(ground.SCORING / "runtime.lock"))
    folder = ground.models(model_env / "bin" / "python")
    made: list[tuple[str, str, Any, dict[str, str]]] = []
    for model in GOALS:
        path = folder / f"{model}.pickle"
        instance = ground.release(model, path, model_env, runtime_env)
        made.append(
            (
                model,
                "FastAPI",
                lambda port: servers.fastapi(fastapi_env, port),
                {"BENCH_MODEL": str(path)},
            )
        )
        made.append((model, "RhythmicML", lambda port, i=instance: servers.ours(i, port), {}))
    return made


def row(model: str, server: str, connections: int, runs: list[Load]) -> dict[str, Any]:
    return {
        "model": model,
        "server": server,
        "connections": connections,
        "rate": median(one.rate for one in runs),
        "median_ms": median(one.median for one in runs),
        "p99_ms": median(one.p99 for one in runs),
        "failed": sum(one.failed for one in runs),
    }


def table(rows: Iterable[dict[str, Any]]) -> str:
    """The rows as Markdown, with the ratio to FastAPI and the goal."""
    rows = list(rows)
    bare = {(r["model"], r["connections"]): r["rate"] for r in rows if r["server"] == "FastAPI"}
    lines = [
        f"| {' | '.join(HEADINGS)} |",
        "|---" * len(HEADINGS) + "|",
    ]
    for r in rows:
        ratio = r["rate"] / bare[r["model"], r["connections"]]
        wanted = r["server"] == "RhythmicML" and r["connections"] == CONNECTIONS[0]
        goal = f"≥ {GOALS[r['model']]:g}×" if wanted else ""
        lines.append(
            f"| {WORDS[r['model']]} | {r['connections']} | {r['server']} | {r['rate']:,.0f} "
            f"| {r['median_ms']:.2f} | {r['p99_ms']:.2f} | {r['failed']} | {ratio:.1f}× | {goal} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = measure(arguments.seconds, arguments.rounds)
    print(table(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
