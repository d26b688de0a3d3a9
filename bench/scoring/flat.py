"""Does the front's memory grow with the requests it has answered? A million of them by wrk.

python -m bench.scoring.flat [requests]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import psutil

from . import ground, load, servers

ECHO = "def predict(model, inputs):\n    return [0.5] * len(inputs)\n"
PORT = 8199
SLICE = 5.0  # seconds of load between two looks


def main(requests: int) -> int:
    """Print resident memory after a start and then again and again; 0 when it is flat."""
    runtime = ground.environment("runtime", (), "-r", str(ground.SCORING / "runtime.lock"))
    with tempfile.NamedTemporaryFile() as nothing:
        instance = ground.release("memory", Path(nothing.name), Path(sys.prefix), runtime)
    (instance / "releases" / "current" / "files" / "predict.py").write_text(ECHO)
    return watch(requests, instance)


def watch(requests: int, instance: Path) -> int:
    with servers.running(servers.ours(instance, PORT), PORT):
        front = front_of(PORT)
        load.run(PORT, 64, 2)
        first, done = front.memory_info().rss, 0
        print(f"{'requests':>9}  resident MB\n{0:>9}  {first / 1e6:.1f}")
        while done < requests:
            done += int(load.run(PORT, 64, SLICE).rate * SLICE)
            print(f"{done:>9}  {front.memory_info().rss / 1e6:.1f}", flush=True)
        last = front.memory_info().rss
    print(f"{(last - first) / max(done, 1):.2f} bytes a request")
    return int(last - first > 8 << 20)


def front_of(port: int) -> psutil.Process:
    """The process that listens on this port."""
    for found in psutil.net_connections("tcp"):
        if found.laddr.port == port and found.status == psutil.CONN_LISTEN and found.pid:
            return psutil.Process(found.pid)
    raise RuntimeError("nothing listens there")


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
