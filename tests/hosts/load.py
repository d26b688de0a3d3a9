"""Steady load on an instance, from inside its host."""

from __future__ import annotations

import json
import subprocess

from guests import Guest

LOAD = r"""
import collections, http.client, json, sys, threading, time
port, rate, stop = int(sys.argv[1]), float(sys.argv[2]), threading.Event()
THREADS = 10
counts, failures, releases, took = collections.Counter(), [], [], []
lock = threading.Lock()

def ask(connection):
    json_body = {"Content-Type": "application/json"}
    connection.request("POST", "/score", b'{"inputs": [[1, 2, 3]]}', json_body)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise OSError(f"status {answer.status}: {body[:100]}")
    return answer.headers["X-Release"], answer.headers.get("Connection") == "close"

def run(number):
    keep, connection = number % 2 == 0, None
    due = time.monotonic() + number / rate
    while not stop.is_set():
        time.sleep(max(0, due - time.monotonic()))
        due += THREADS / rate
        try:
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            began = time.monotonic()
            release, closing = ask(connection)
            with lock:
                counts["ok"] += 1
                took.append(time.monotonic() - began)
                if not releases or releases[-1] != release:
                    releases.append(release)
            if closing or not keep:
                connection.close()
                connection = None
        except Exception as error:
            with lock:
                failures.append(f"{'kept' if keep else 'new'} connection: {error!r}")
            connection = None

threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
for thread in threads:
    thread.start()
print("loading", flush=True)
sys.stdin.readline()
stop.set()
for thread in threads:
    thread.join()
p99 = 1000 * sorted(took)[int(len(took) * 0.99)] if took else 0
said = {"ok": counts["ok"], "failed": failures, "releases": releases, "p99": p99}
print(json.dumps(said), flush=True)
"""


class Load:
    """Constant load on a port of the guest while the block runs; afterwards `ok` and `failed`.

    It does without SSH, so that the way to the guest can be cut meanwhile. p99: milliseconds.
    """

    def __init__(self, guest: Guest, port: int, rate: float = 100) -> None:
        self.ok = 0
        self.failed: list[str] = []
        self.releases: list[str] = []
        self.p99 = 0.0
        argv = guest.inside("python3", "-c", LOAD, str(port), str(rate))
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Load:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "loading\n"
        return self

    def __exit__(self, *error: object) -> None:
        out, _ = self._process.communicate("stop\n", timeout=60)
        said = json.loads(out)
        self.ok, self.failed, self.releases = said["ok"], said["failed"], said["releases"]
        self.p99 = said["p99"]
