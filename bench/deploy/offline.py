"""Deploying to a real server that cannot fetch anything.

    python -m bench.deploy.offline [--rounds N]

Boots a systemd guest with no way out (Debian, root needed). The wheels are in uv's cache here; the
host is fresh each time, and what was unpacked here is thrown away before. Whole commands are timed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/hosts")]

from client import Client  # noqa: E402
from guests import Guest, why_not  # noqa: E402

EXAMPLE = ROOT / "assets/examples/tumour"
FIRST, AGAIN, NEXT = "first", "first, unpacked before", "next model"
GOALS = {FIRST: "goal 15 s", AGAIN: "", NEXT: "goal 3 s"}
WORDS = {
    FIRST: "offline, to a fresh host, wheels cached here",
    AGAIN: "offline, to another fresh host",
    NEXT: "offline, the next model with the same lock",
}


def measure(rounds: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, Guest.boot("offline", internet=False) as guest:
        models = [named(Path(folder), name) for name in ("one", "two")]
        client = Client(Path(folder) / "home")
        client.add_location(guest, "root")
        for number in range(rounds + 1):
            for case, model in ((FIRST, 0), (AGAIN, 0), (NEXT, 1)):
                if case == FIRST:
                    shutil.rmtree(client.home / "trees", ignore_errors=True)
                if case != NEXT:
                    client.undeploy_all()
                    guest.run(["sh", "-c", "rm -rf /var/lib/rhythmicml/*"])
                seconds = deploy(client, models[model])
                if number:  # the first round fills uv's cache
                    found.setdefault(case, []).append(seconds)
        client.undeploy_all()
    return found


def named(folder: Path, name: str) -> Path:
    model = shutil.copytree(EXAMPLE, folder / name)
    toml = model / "rhythmicml.toml"
    toml.write_text(toml.read_text().replace('"tumour"', f'"{name}"'))
    return model


def deploy(client: Client, model: Path) -> float:
    os.sync()  # what was removed and written before is not of this
    began = time.perf_counter()
    done: dict[str, Any] = client("deploy", str(model), "--to", "srv")
    seconds = time.perf_counter() - began
    print(f"{model.name}: {seconds:.2f} s, {done['sent']}", file=sys.stderr)
    return seconds


def rows(found: dict[str, list[float]]) -> str:
    middle = {case: statistics.median(seconds) for case, seconds in found.items()}
    return "\n".join(f"| {WORDS[each]} | {middle[each]:.2f} | {GOALS[each]} |" for each in GOALS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if reason := why_not():
        sys.exit(f"Not measured: {reason}.")
    print("| deployment of the scikit-learn example | seconds (median) | |\n|---|---:|---|")
    print(rows(measure(options.rounds)))


if __name__ == "__main__":
    main()
