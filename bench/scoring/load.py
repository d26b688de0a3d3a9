"""Load by wrk: one thread, keep-alive connections, one row a request."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from . import ground

SCRIPT = """wrk.method = "POST"
wrk.body = [==[%s]==]
wrk.headers["Content-Type"] = "application/json"
done = function(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format("RESULT %%d %%d %%d %%d %%d\\n", summary.requests, summary.duration,
    failed, latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True)
class Load:
    """One run. rate: requests/s. median, p99: milliseconds. failed: requests not answered 200."""

    rate: float
    median: float
    p99: float
    failed: int


def run(port: int, connections: int, seconds: float) -> Load:
    said = subprocess.run(
        [
            *("wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", "-s", script()),
            f"http://127.0.0.1:{port}/score",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return parse(said)


def parse(said: str) -> Load:
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+)", said)
    assert found, said
    requests, microseconds, failed, median, p99 = map(int, found.groups())
    return Load(requests / microseconds * 1e6, median / 1e3, p99 / 1e3, failed)


def script() -> Path:
    path = ground.CACHE / "score.lua"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(SCRIPT % ground.body().decode())
    return path
