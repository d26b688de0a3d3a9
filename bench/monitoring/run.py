"""How long it takes to bring here what 400 instances on 20 locations recorded.

    python -m bench.monitoring.run [--rounds N]

The locations are base folders of this machine, each asked by an agent of its own, as a host would
be; so twenty agents share the cores that hosts would have for themselves. Each has 20 instances as
a deployment leaves them, with a file that their fronts would have written in a busy hour. The
fronts do not run: 400 would want 20 GB. What one that answers adds is measured beside, on a
real one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from app.models import Instance, Location
from app.scoring import samples, sketch, summaries
from app.scoring.recording import File, Sample
from app.services import collecting, monitoring
from app.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests")]

from client import Client, write_model  # noqa: E402

LOCATIONS, INSTANCES, COLUMNS = 20, 20, 10
SPAN, NEW, SIZE = 3600, 2, 64 << 20
GOAL = 5.0
FRONTS = 50
DICE = random.Random(7)


def body(columns: bool) -> dict[str, Any]:
    """Ten seconds of 100 requests a second; or what columns were like in a quarter of an hour."""
    if columns:
        found = summaries.of([0.0])
        found.add([DICE.lognormvariate(3, 1) for _ in range(1000)])
        inputs = {f"column-{n}": found.as_json() for n in range(COLUMNS)}
        return {**samples.empty(), "inputs": inputs}
    took = [DICE.lognormvariate(-5, 0.5) for _ in range(1000)]
    counted = {"requests": {"200": 998, "500": 2}, "seconds": 10.0, "cpu": 4.0, "memory": 2e8}
    return {**samples.empty(), **counted, "latency": sketch.of(took), "predict": sketch.of(took)}


def rows(release: str, since: int, until: int, many: list[dict[str, Any]]) -> list[Sample]:
    fine = [Sample(10, at, release, 1, DICE.choice(many)) for at in range(since, until, 10)]
    wide = range(-(-since // 900) * 900, until, 900)
    return [*fine, *(Sample(900, at, release, 1, body(True)) for at in wide)]


def build(home: Path, bases: Path) -> tuple[Workspace, list[Path], str]:
    """The store, the locations, and where their instances record."""
    client = Client(home)
    client("deploy", str(write_model(bases / "model", "model-00")))
    real = home / "local" / "instances" / "model-00"
    release = os.readlink(real / "releases" / "current")
    now = int(time.time()) // 10 * 10
    template = bases / "metrics.sqlite"
    file = File(template, SIZE)
    file.write(rows(release, now - SPAN, now, [body(False) for _ in range(50)]))
    file.close()
    work, files = Workspace(home), []
    for place in range(LOCATIONS):
        base = bases / f"host-{place:02}"
        with work.open_store() as store:
            store.locations.add(Location(f"host-{place:02}", "local", base=str(base)))
        for number in range(INSTANCES):
            name = f"model-{number:02}"
            files.append(made(real, base / "instances" / name, name, release, template))
            known = Instance(name, f"host-{place:02}", 8101 + number, release, 1, "serving")
            with work.open_store() as store:
                store.instances.upsert(known)
    return work, files, release


def made(real: Path, folder: Path, name: str, release: str, template: Path) -> Path:
    """An instance as the real one was left, of another name; its file of recordings."""
    (folder / "releases" / release).mkdir(parents=True)
    (folder / "run").mkdir()
    said = json.loads((real / "releases" / release / "release.json").read_text())
    text = json.dumps({**said, "model": name})
    (folder / "releases" / release / "release.json").write_text(text)
    (folder / "releases" / "current").symlink_to(release)
    for each in ("instance.json", "tokens.json", "history.jsonl"):
        shutil.copy(real / each, folder / each)
    return Path(shutil.copy(template, folder / "run" / "metrics.sqlite"))


def grow(files: list[Path], release: str) -> None:
    """What comes in twenty seconds."""
    now = int(time.time()) // 10 * 10
    for path in files:
        file = File(path, SIZE)
        file.write(rows(release, now, now + NEW * 10, [body(False)]))
        file.close()


def timed(call: Any) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def front_adds(work: Workspace) -> float:
    """Seconds that an agent takes to ask one front how it is."""
    with work.open_store() as store:
        local = store.locations.get("local")
    with work.reach(local) as road:
        road.call("status", name=None, history=0)
        return timed(lambda: [road.call("status", name=None, history=0) for _ in range(FRONTS)])


def measure(rounds: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"refresh": [], "look": [], "command": []}
    with tempfile.TemporaryDirectory() as folder:
        home, bases = Path(folder) / "home", Path(folder) / "bases"
        bases.mkdir()
        client = Client(home)
        try:
            work, files, release = build(home, bases)
            found["front"] = [front_adds(work) / FRONTS]
            found["first"] = [timed(lambda: collecting.collect(work))]
            while behind(work):  # what an hour's rows need in pages
                found["first"].append(timed(lambda: collecting.collect(work)))
            for _ in range(rounds):
                grow(files, release)
                found["refresh"].append(timed(lambda: collecting.collect(work)))
                found["look"].append(timed(lambda: monitoring.overview(work)))
            found["command"].append(timed(lambda: client("monitor")))
        finally:
            client("undeploy", "model-00", "--on", "local", "--purge", "--yes")
    return found


def behind(work: Workspace) -> bool:
    with work.open_recorded() as recorded:
        return any((each["cursor"] or {}).get("gap") for each in recorded.sources())


def table(found: dict[str, list[float]]) -> str:
    refresh = statistics.median(found["refresh"])
    lines = [
        f"| {LOCATIONS} locations of {INSTANCES} instances each, on this machine | seconds | |",
        "|---|---:|---|",
        f"| what is new since 20 s ago, from all of them (median) | {refresh:.2f} "
        f"| goal {GOAL:g} s; slowest {max(found['refresh']):.2f} |",
        f"| a whole hour of all, in {len(found['first'])} steps | {sum(found['first']):.1f} | |",
        f"| the list of all with figures and lines | {statistics.median(found['look']):.2f} | |",
        f"| the command `monitor` | {found['command'][0]:.2f} | |",
        f"| one front that answers adds, on its host | {found['front'][0]:.4f} "
        f"| {INSTANCES} of them {found['front'][0] * INSTANCES:.2f} |",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    print(table(measure(parser.parse_args().rounds)))
