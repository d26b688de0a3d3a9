"""What the HTTP layer alone can do: ours beside uvicorn's httptools protocol, constant answers.

`python -m bench.scoring.layers` from the project's root. The figures behind
docs/decisions/0001-http-layer.md.
"""

from __future__ import annotations

import sys
from statistics import median
from typing import Any

from . import ground, load, servers
from .peers import PEERS


def commands(port: int) -> dict[str, list[Any]]:
    env = PEERS[0].environment / "bin" / "python"
    uvicorn = [*(env, "-m", "uvicorn", "asgi_app:app", "--app-dir", servers.PEERS)]
    options = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--lifespan", "off"]
    return {
        "uvicorn": [*uvicorn, "--port", str(port), "--log-level", "warning", *options],
        "ours": [sys.executable, servers.PEERS / "constant_site.py", str(port)],
    }


def measure(seconds: float = 3.0, rounds: int = 3) -> dict[str, float]:
    """Requests per second of each, the median of interleaved rounds."""
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name in commands(0):
            port = servers.free_port()
            command = commands(port)[name]
            with servers.running(command, port, {"PYTHONPATH": str(ground.ROOT)}):
                found.setdefault(name, []).append(load.run(port, 32, seconds).rate)
    return {name: median(rates) for name, rates in found.items()}


if __name__ == "__main__":
    for name, rate in measure().items():
        print(f"{name}: {rate:,.0f} requests/s")
