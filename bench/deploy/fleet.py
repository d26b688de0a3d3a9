"""How long it takes to look at many locations at once.

    python -m bench.deploy.fleet [--rounds N]

Twenty locations on one booted guest, each with a base folder of its own; the whole command
`location check` is timed, also with 20 ms of latency where the kernel has tc netem.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.deploy.run import timed

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/hosts")]

from client import Client  # noqa: E402
from guests import Guest, why_not  # noqa: E402

LOCATIONS = 20
GOAL = 3.0
USERS = ("root", "ds")
WELCOME = "echo MaxStartups 100 >/etc/ssh/sshd_config.d/fleet.conf && systemctl reload ssh"
"""Twenty servers take twenty logins at once; one sshd, as it comes, only ten."""


@contextmanager
def latency(guest: Guest, milliseconds: int) -> Iterator[bool]:
    """The time from here to the guest, none for 0; whether it could be put in."""
    device = ["dev", guest.slot.link, "root"]
    if not milliseconds:
        yield True
        return
    delay = ["netem", "delay", f"{milliseconds}ms"]
    done = subprocess.run(["tc", "qdisc", "add", *device, *delay], check=False)
    try:
        yield done.returncode == 0
    finally:
        subprocess.run(["tc", "qdisc", "del", *device], check=False)


def measure(rounds: int) -> dict[int, list[float]]:
    """Milliseconds of latency → seconds that checking all takes."""
    with tempfile.TemporaryDirectory() as folder, Guest.boot("fleet") as guest:
        guest.run(["sh", "-c", WELCOME])
        client = Client(Path(folder) / "home")
        names = [f"host{number}" for number in range(LOCATIONS)]
        for number, name in enumerate(names):
            user = USERS[number % len(USERS)]
            client.add_location(guest, user, name, "--base", f"/tmp/{user}-{name}")

        def check() -> float:
            return timed(lambda: client("location", "check", *names))

        found = {}
        for wait in (0, 20):
            with latency(guest, wait) as there:
                found[wait] = [check() for _ in range(rounds)] if there else []
            print(f"{wait} ms: {found[wait]}", file=sys.stderr)
        return found


def table(found: dict[int, list[float]]) -> str:
    lines = [f"| {LOCATIONS} locations checked, one guest | seconds (median) | |", "|---|---:|---|"]
    for wait, seconds in found.items():
        words = f"with {wait} ms of latency" if wait else "loopback"
        figure = f"{statistics.median(seconds):.2f}" if seconds else "not measured: no netem"
        lines.append(f"| {words} | {figure} | goal {GOAL:g} s |")
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
