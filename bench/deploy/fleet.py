"""How long it takes to look at many locations at once.

    python -m bench.deploy.fleet [--rounds N]

Twenty locations on one booted guest, each with a base folder of its own; the whole command
`location check` is timed, also over a relay with 20 ms of latency (tests/slow_link.py).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from bench.deploy.run import timed

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/hosts")]

from client import Client  # noqa: E402
from guests import Guest, why_not  # noqa: E402
from slow_link import SlowLink  # noqa: E402

LOCATIONS = 20
GOAL = 3.0
USERS = ("root", "ds")
WELCOME = "echo MaxStartups 100 >/etc/ssh/sshd_config.d/fleet.conf && systemctl reload ssh"
"""Twenty servers take twenty logins at once; one sshd, as it comes, only ten."""


def measure(rounds: int) -> dict[int, list[float]]:
    """Milliseconds of latency → seconds that checking all takes."""
    with tempfile.TemporaryDirectory() as folder, Guest.boot("fleet") as guest:
        guest.run(["sh", "-c", WELCOME])
        client = Client(Path(folder) / "home")
        found = {}
        for wait in (0, 20):
            with SlowLink((guest.address, 22), wait / 1000) as link:
                at = f"127.0.0.1:{link.port}" if wait else ""
                names = [f"host{number}-{wait}" for number in range(LOCATIONS)]
                for number, name in enumerate(names):
                    user = USERS[number % len(USERS)]
                    base = f"/tmp/{user}-{name}"
                    client.add_location(guest, user, name, "--base", base, at=at)
                found[wait] = [
                    timed(lambda names=names: client("location", "check", *names))
                    for _ in range(rounds)
                ]
            print(f"{wait} ms: {found[wait]}", file=sys.stderr)
        return found


def table(found: dict[int, list[float]]) -> str:
    lines = [f"| {LOCATIONS} locations checked, one guest | seconds (median) | |", "|---|---:|---|"]
    for wait, seconds in found.items():
        words = f"with {wait} ms of latency" if wait else "loopback"
        lines.append(f"| {words} | {statistics.median(seconds):.2f} | goal {GOAL:g} s |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if reason := why_not():
        sys.exit(f"Not measured: {reason}.")
    print(table(measure(options.rounds)))


if __name__ == "__main__":
    main()
