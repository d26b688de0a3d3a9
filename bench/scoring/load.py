"""Load by wrk: one thread, keep-alive connections, the same body again and again."""

from __future__ import annotations

import json
import math
import re
import subprocess
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from . import ground

JSON = {"Content-Type": "application/json"}
SCRIPT = """local file = io.open(%s, "rb")
wrk.method = "POST"
wrk.body = file:read("*a")
file:close()
%s
done = function(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format("RESULT %%d %%d %%d %%d %%d\\n", summary.requests, summary.duration,
    failed, latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True)
class Ask:
    """One request: what is sent where."""

    path: str
    body: bytes
    headers: dict[str, str] = field(default_factory=lambda: JSON)

    def script(self) -> Path:
        """wrk's script for it."""
        name = sha256(repr(self).encode()).hexdigest()[:16]
        path = ground.CACHE / "asks" / f"{name}.lua"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".body").write_bytes(self.body)
        headers = [
            f"wrk.headers[{json.dumps(key)}] = {json.dumps(value)}"
            for key, value in self.headers.items()
        ]
        where = json.dumps(str(path.with_suffix(".body")))
        path.write_text(SCRIPT % (where, "\n".join(headers)))
        return path


@dataclass(frozen=True)
class Load:
    """One run. rate: requests/s. median, p99: milliseconds. failed: requests not answered 200."""

    rate: float
    median: float
    p99: float
    failed: int


def run(port: int, connections: int, seconds: float, ask: Ask | None = None) -> Load:
    ask = ask or Ask("/score", ground.body())
    said = subprocess.run(
        [
            *("wrk", "-t1", f"-c{connections}", f"-d{math.ceil(seconds)}s", "--timeout", "10s"),
            *("--latency", "-s", ask.script(), f"http://127.0.0.1:{port}{ask.path}"),
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
    return Load((requests - failed) / microseconds * 1e6, median / 1e3, p99 / 1e3, failed)
