"""Steady load on an instance, from inside its host: on its port, or where pipelines ask it."""

from __future__ import annotations

import json
import subprocess

from guests import Guest

LOAD = r"""
import collections, http.client, json, os, socket, sys, threading, time
where, rate, stop = sys.argv[1], float(sys.argv[2]), threading.Event()
THREADS = 10
counts, failures, releases, took = collections.Counter(), [], [], []
lock = threading.Lock()

class Link(http.client.HTTPConnection):
    def connect(self):
        if where.isdigit():
            return super().connect()
        folder = os.open(os.path.dirname(where), os.O_RDONLY)
        try:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(self.timeout)
            self.sock.connect(f"/proc/self/fd/{folder}/{os.path.basename(where)}")
        finally:
            os.close(folder)

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
                connection = Link("127.0.0.1", int(where) if where.isdigit() else 0, timeout=20)
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
    """Constant load on the guest while the block runs; afterwards `ok` and `failed`.

    where: a port, or the path of a socket. p99: milliseconds. It does without SSH, so that the way
    to the guest can be cut meanwhile.
    """

    def __init__(self, guest: Guest, where: int | str, rate: float = 100) -> None:
        self.ok = 0
        self.failed: list[str] = []
        self.releases: list[str] = []
        self.p99 = 0.0
        argv = guest.inside("python3", "-c", LOAD, str(where), str(rate))
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
