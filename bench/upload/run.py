"""Upload, connect and ask over a loopback sshd, beside scp and rsync in the same run.

    python bench/upload/run.py [--size MB] [--rounds N]

Prints tables in Markdown, and one line of JSON on stderr. Ours: verified by SHA-256 and on the disk
(fsync of file and folder) before it appears; whole, from connecting to closing. scp and rsync: no
fsync. The slow link is a relay in this process (tests/slow_link.py): 100 Mbit/s, 20 ms.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/deployer")]

from slow_link import SlowLink  # noqa: E402
from sshd import USER, Sshd, make_key  # noqa: E402

from app.deployer import uploads  # noqa: E402
from app.deployer.road import Road, open_ssh  # noqa: E402
from app.deployer.trust import Trust  # noqa: E402
from app.models import Location  # noqa: E402

MB = 1_000_000
SMALL, SMALL_BYTES = 8000, 250 * MB
FOREST = 100 * MB
SLOW = {"latency": 0.02, "rate": 100e6 / 8}

Blob = tuple[str, int, Path]


def timed(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


class Bench:
    """A server, a key, a folder, and the three ways to send a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        home = folder / "home"
        home.mkdir()
        self.sshd = Sshd(folder / "sshd", f"SetEnv HOME={home} PATH=/usr/bin:/bin")
        self.key = make_key(folder / "key")
        self.sshd.admit(self.key)
        self.trust = Trust(folder / "known_hosts")
        self.base, self.there = folder / "base", folder / "there"
        self.port = self.sshd.port

    @contextlib.contextmanager
    def slow(self) -> Iterator[None]:
        """Within, the server is reached over a slow link."""
        with SlowLink(("127.0.0.1", self.sshd.port), **SLOW) as link:
            self.port = link.port
            self.connect()
            yield
        self.port = self.sshd.port

    def road(self) -> Road:
        url = f"ssh://{USER}@127.0.0.1:{self.port}"
        location = Location("bench", url=url, identity=str(self.key), base=str(self.base))
        self.trust.accept(self.sshd.fingerprint)
        return open_ssh(location, trust=self.trust, lists=self.folder / "lists")

    def blob(self, name: str, data: bytes) -> Blob:
        path = self.folder / name
        path.write_bytes(data)
        return hashlib.sha256(data).hexdigest(), len(data), path

    def options(self) -> list[str]:
        known = f"UserKnownHostsFile={self.folder}/known_hosts"
        return ["-i", str(self.key), "-o", known, "-o", "BatchMode=yes"]

    def scp(self, path: Path) -> float:
        target = f"{USER}@127.0.0.1:{self.there}"
        command = ["scp", "-qr", "-P", str(self.port), *self.options(), str(path), target]
        return timed(lambda: subprocess.run(command, check=True))

    def rsync(self, path: Path) -> float:
        """Onto what lies there already."""
        shell = " ".join(["ssh", "-p", str(self.port), *self.options()])
        command = ["rsync", "-a", "-e", shell, str(path), f"{USER}@127.0.0.1:{self.there}"]
        return timed(lambda: subprocess.run(command, check=True))

    def ours(self, blobs: list[Blob]) -> tuple[float, int]:
        """Seconds with connecting and closing, and the bytes that were sent."""
        progress = uploads.Progress(sum(size for _, size, _ in blobs))

        def work() -> None:
            with self.road() as road:
                uploads.upload(road, blobs, progress)

        return timed(work), progress.sent

    def clear(self) -> None:
        for path in (self.base, self.folder / "lists", self.there):
            shutil.rmtree(path, ignore_errors=True)
        self.there.unlink(missing_ok=True)

    def connect(self) -> float:
        return timed(lambda: self.road().close())

    def ping(self) -> float:
        with self.road() as road:
            return timed(lambda: [road.call("ping") for _ in range(500)]) / 500


def changed(data: bytes) -> bytes:
    """1 % of it changed in one place, and a little inserted."""
    at, part = len(data) // 3, len(data) // 100
    return data[:at] + os.urandom(part + 1000) + data[at + part :]


def forest(seed: int) -> bytes:
    """Nodes of decision trees: children, feature, threshold, impurity, samples."""
    chance = random.Random(seed)
    one = struct.Struct("<qqqddqd")
    tree = [
        one.pack(
            n, n + 2, chance.randrange(20), chance.gauss(0, 1), chance.random(), n % 97, n % 89
        )
        for n in range(20_000)
    ]
    whole = bytearray()
    while len(whole) < FOREST:
        chance.shuffle(tree)
        whole += b"".join(tree)
    return bytes(whole[:FOREST])


def large(bench: Bench, size: int, rounds: int) -> dict[str, float]:
    """A checkpoint sent for the first time, then with 1 % changed; medians, and of ratios too."""
    data = os.urandom(size)
    old, new = bench.blob("old", data), bench.blob("new", changed(data))
    rows = []
    for _ in range(rounds):
        bench.clear()
        scp, (first, _) = bench.scp(old[2]), bench.ours([old])
        os.utime(bench.there, (0, 0))
        rsync, (delta, sent) = bench.rsync(new[2]), bench.ours([new])
        rows.append(
            {
                "first_scp_s": scp,
                "first_s": first,
                "first_ratio": scp / first,
                "delta_rsync_s": rsync,
                "delta_s": delta,
                "delta_sent": sent / size,
                "delta_over_scp": scp / delta,
                "delta_over_rsync": rsync / delta,
            }
        )
    bench.clear()
    return medians(rows)


def retrained(bench: Bench, rounds: int) -> dict[str, float]:
    """A forest whose old version is there and shares nothing with it."""
    old, new = (bench.blob(f"forest{seed}", forest(seed)) for seed in (1, 2))
    rows = []
    for _ in range(rounds):
        bench.clear()
        bench.ours([old])
        scp, (ours, sent) = bench.scp(new[2]), bench.ours([new])
        rows.append(
            {
                "forest_scp_s": scp,
                "forest_s": ours,
                "forest_ratio": scp / ours,
                "forest_sent": sent / FOREST,
            }
        )
    bench.clear()
    return medians(rows)


def small(bench: Bench, rounds: int) -> dict[str, float]:
    """The files of an environment."""
    (bench.folder / "small").mkdir()
    each = SMALL_BYTES // SMALL
    blobs = [bench.blob(f"small/{n}", os.urandom(each)) for n in range(SMALL)]
    rows = []
    for _ in range(rounds):
        bench.clear()
        scp = bench.scp(bench.folder / "small")
        shutil.rmtree(bench.there)
        bench.there.mkdir()
        rsync, (ours, _) = bench.rsync(bench.folder / "small"), bench.ours(blobs)
        rows.append({"small_scp_s": scp, "small_rsync_s": rsync, "small_s": ours})
    bench.clear()
    return medians(rows)


def medians(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


def measure(size: int, rounds: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        with bench.sshd:
            bench.connect()
            found = large(bench, size, rounds) | retrained(bench, rounds) | small(bench, rounds)
            found["connect_s"] = statistics.median(bench.connect() for _ in range(7))
            found["ping_ms"] = bench.ping() * 1000
            with bench.slow():
                slow = large(bench, size // 4, 1) | retrained(bench, 1)
            return found | {f"slow_{name}": value for name, value in slow.items()}


def table(found: dict[str, float], size: int) -> str:
    def row(what: str, *cells: str) -> tuple[str, ...]:
        return (what, *cells)

    def sizes(way: str, size: int) -> list[tuple[str, ...]]:
        get = {
            name.removeprefix(way): value for name, value in found.items() if name.startswith(way)
        }
        mib = size // 2**20
        goals = ("≥ 0.95 × scp", "≥ 10 × scp") if way else ("≥ 0.65 × scp", "")
        at = ", 100 Mbit/s and 20 ms" if way else ""
        return [
            row(
                f"first upload of {mib} MiB{at}",
                f"{get['first_scp_s']:.2f} s",
                "",
                f"{get['first_s']:.2f} s ({get['first_ratio']:.2f} × scp)",
                goals[0],
            ),
            row(
                f"the same with 1 % changed in one place{at}",
                f"{get['first_scp_s']:.2f} s",
                f"{get['delta_rsync_s']:.2f} s",
                f"{get['delta_s']:.2f} s ({get['delta_over_scp']:.1f} × scp, "
                f"{get['delta_over_rsync']:.1f} × rsync; {get['delta_sent']:.2%} sent)",
                f"{goals[1] and goals[1] + ', '}≥ rsync, ≤ 3 % sent",
            ),
            row(
                f"retrained forest of {FOREST // MB} MB{at}",
                f"{get['forest_scp_s']:.2f} s",
                "",
                f"{get['forest_s']:.2f} s ({get['forest_ratio']:.2f} × scp; "
                f"{get['forest_sent']:.0%} sent)",
                "≥ scp",
            ),
        ]

    head = ("what (loopback sshd)", "scp", "rsync", "RhythmicML, verified and fsynced", "goal")
    rows = [
        head,
        ("---",) * 5,
        *sizes("", size),
        row(
            f"{SMALL} new files, {SMALL_BYTES // MB} MB",
            f"{found['small_scp_s']:.2f} s",
            f"{found['small_rsync_s']:.2f} s",
            f"{found['small_s']:.2f} s",
            "",
        ),
        *sizes("slow_", size // 4),
        row(
            "connect, start the agent, hello, close",
            "",
            "",
            f"{found['connect_s']:.3f} s",
            "≤ 0.25 s",
        ),
        row("one call, there and back", "", "", f"{found['ping_ms']:.2f} ms", "≤ 3 ms"),
    ]
    return "\n".join(f"| {' | '.join(each)} |" for each in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=512, help="MiB")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    size = chosen.size * 2**20
    found = measure(size, chosen.rounds)
    print(table(found, size))
    print(json.dumps({name: round(value, 4) for name, value in found.items()}), file=sys.stderr)


if __name__ == "__main__":
    main()
