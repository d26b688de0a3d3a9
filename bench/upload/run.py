"""Upload, connect and ask over a loopback sshd, beside scp in the same run.

    python bench/upload/run.py [--size MB] [--rounds N]

Prints a table in Markdown, and one line of JSON on stderr. Ours: each upload is new to the host,
verified by SHA-256 and on the disk (fsync of file and folder) before it appears. scp: no fsync.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/deployer")]

from sshd import Sshd, make_key  # noqa: E402

from app.deployer.road import Road, open_ssh  # noqa: E402
from app.deployer.trust import Trust  # noqa: E402
from app.models import Location  # noqa: E402

MB = 1_000_000
SMALL = 2000


def timed(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


class Bench:
    """A server, a key, and what to send."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self.size = size
        home = folder / "home"
        home.mkdir()
        self.sshd = Sshd(folder / "sshd", f"SetEnv HOME={home} PATH=/usr/bin:/bin")
        self.key = make_key(folder / "key")
        self.sshd.admit(self.key)
        self.trust = Trust(folder / "known_hosts")
        self.trust.accept(self.sshd.fingerprint)
        self.location = Location(
            "bench", url=self.sshd.url, identity=str(self.key), base=str(folder / "base")
        )

    def road(self) -> Road:
        return open_ssh(self.location, trust=self.trust)

    def random_file(self, size: int) -> tuple[str, int, Path]:
        data = os.urandom(size)
        path = self.folder / f"random-{size}-{os.urandom(4).hex()}"
        path.write_bytes(data)
        return hashlib.sha256(data).hexdigest(), size, path

    def scp(self, path: Path) -> float:
        target = f"{self.location.url.split('//')[1].split(':')[0]}:{self.folder}/copy"
        options = ["-o", f"UserKnownHostsFile={self.folder}/known_hosts", "-o", "BatchMode=yes"]
        command = ["scp", "-q", "-P", str(self.sshd.port), "-i", str(self.key), *options]
        seconds = timed(lambda: subprocess.run([*command, str(path), target], check=True))
        (self.folder / "copy").unlink()
        return seconds

    def ours(self, blobs: list[tuple[str, int, Path]]) -> float:
        """Connecting, sending and closing, as scp does it."""

        def work() -> None:
            with self.road() as road:
                road.upload(blobs)

        seconds = timed(work)
        shutil.rmtree(self.folder / "base" / "blobs")
        return seconds

    def connect(self) -> float:
        def work() -> None:
            with self.road():
                pass

        return timed(work)

    def ping(self) -> float:
        with self.road() as road:
            return timed(lambda: [road.call("ping") for _ in range(500)]) / 500


def measure(size: int, rounds: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), size)
        with bench.sshd:
            return run(bench, rounds)


def run(bench: Bench, rounds: int) -> dict[str, float]:
    big = bench.random_file(bench.size)
    small = [bench.random_file(4096) for _ in range(SMALL)]
    bench.ours([bench.random_file(4096)])
    pairs = [(bench.scp(big[2]), bench.ours([big])) for _ in range(rounds)]
    scp, ours = (statistics.median(times) for times in zip(*pairs, strict=True))
    return {
        "scp_mb_s": bench.size / scp / MB,
        "ours_mb_s": bench.size / ours / MB,
        "ratio": statistics.median(scp / ours for scp, ours in pairs),
        "small_files_s": statistics.median(bench.ours(small) for _ in range(rounds)),
        "connect_s": statistics.median(bench.connect() for _ in range(7)),
        "ping_ms": bench.ping() * 1000,
    }


def table(found: dict[str, float], size: int) -> str:
    rows = [
        ("what (loopback sshd)", "scp, no fsync", "RhythmicML, verified and fsynced", "goal"),
        ("---", "---", "---", "---"),
        (
            f"upload {size // 2**20} MiB of random bytes",
            f"{found['scp_mb_s']:.0f} MB/s",
            f"{found['ours_mb_s']:.0f} MB/s ({found['ratio']:.2f} × scp)",
            "≥ 0.65 × scp",
        ),
        (f"upload {SMALL} files of 4 KiB", "", f"{found['small_files_s']:.2f} s", ""),
        ("connect, start the agent, hello, close", "", f"{found['connect_s']:.3f} s", "≤ 0.25 s"),
        ("one call, there and back", "", f"{found['ping_ms']:.2f} ms", "≤ 3 ms"),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


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
