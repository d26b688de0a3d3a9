"""Deploying to a real server, beside the way people write by hand.

    python bench/deploy/run.py [--rounds N]

Boots two systemd guests (Debian, root needed). By hand means: scp the folder, python3 -m venv, pip
install, systemctl restart, wait for the first answer; its server is FastAPI on uvicorn. The package
caches of both are warm. Whole commands are timed, from their start to their end; of ours also what
the model itself needs to be imported and loaded. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/hosts")]

from client import Client  # noqa: E402
from guests import Guest, why_not  # noqa: E402
from slow_link import SlowLink  # noqa: E402

from app.models import instant  # noqa: E402
from bench.deploy import offline  # noqa: E402

EXAMPLE = ROOT / "assets/examples/tumour"
MODEL = "tumour"
PORT = 8555
BIG = 5_000_000
FAR = 0.5
"""Seconds there and back, so long that round trips can be counted by them."""

SERVER = """
from pathlib import Path
import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel
import predict

app, model = FastAPI(), predict.load(Path("artifacts"))

class Rows(BaseModel):
    inputs: list[list[float]]

@app.post("/score")
def score(rows: Rows):
    return {"predictions": predict.predict(model, np.array(rows.inputs)).tolist()}
"""
UNIT = f"""
[Service]
WorkingDirectory=/srv/byhand
ExecStart=/srv/byhand/.venv/bin/uvicorn server:app --port {PORT}
"""
BY_HAND = f"""
set -e
cd /srv/byhand && python3 -m venv .venv && .venv/bin/pip install -q -r requirements.txt
cp byhand.service /etc/systemd/system/ && systemctl daemon-reload && systemctl restart byhand
until python3 - <<'PY'
from urllib.request import Request, urlopen
body = open("/srv/byhand/sample.json", "rb").read()
json = {{"Content-Type": "application/json"}}
urlopen(Request("http://127.0.0.1:{PORT}/score", body, json))
PY
do sleep 0.05; done 2>/dev/null
"""

LOADING = """
import time
began = time.time()
import predict
from pathlib import Path
predict.load(Path("artifacts"))
print(time.time() - began)
"""


def timed(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


class ByHand:
    """What people write themselves, on a server that has python3-venv."""

    def __init__(self, guest: Guest, folder: Path) -> None:
        self.guest = guest
        self.folder = shutil.copytree(EXAMPLE, folder / "byhand")
        requirements = (EXAMPLE / "requirements.txt").read_text() + "fastapi\nuvicorn[standard]\n"
        (self.folder / "requirements.txt").write_text(requirements)
        (self.folder / "server.py").write_text(SERVER)
        (self.folder / "byhand.service").write_text(UNIT)

    def clear(self) -> None:
        clear = "systemctl stop byhand; rm -rf /srv/byhand /etc/systemd/system/byhand.service"
        self.guest.run(["sh", "-c", clear], check=False)

    def deploy(self) -> None:
        options = self.guest.ssh("root")[1:-1]
        target = f"root@{self.guest.address}:/srv/"
        subprocess.run(["scp", "-q", "-r", *options, str(self.folder), target], check=True)
        subprocess.run(self.guest.ssh("root", "sh -s"), input=BY_HAND, text=True, check=True)


class Ours:
    """The program as its users call it."""

    def __init__(self, guest: Guest, folder: Path) -> None:
        self.guest = guest
        self.folder = shutil.copytree(EXAMPLE, folder / "ours")
        self.client = Client(folder / "home")
        self.client.add_location(guest, "root")
        self.changes = 0

    def clear(self) -> None:
        """A fresh server, but for uv's cache of packages."""
        base = "/var/lib/rhythmicml"
        self.guest.run(["sh", "-c", f"mv {base}/cache /var/lib/kept"])
        self.client("undeploy", MODEL, "--purge", "--yes")
        self.guest.run(["sh", "-c", f"rm -rf {base}/* && mv /var/lib/kept {base}/cache"])

    def deploy(self, to: str = "srv") -> dict[str, Any]:
        return dict(self.client("deploy", str(self.folder), "--to", to))

    def change(self) -> None:
        self.changes += 1
        content = self.changes.to_bytes(4, "big") + random.randbytes(BIG - 4)
        (self.folder / "artifacts" / "weights.bin").write_bytes(content)

    def keep_warm(self) -> None:
        toml = self.folder / "rhythmicml.toml"
        text = toml.read_text().replace("[deploy]", '[deploy]\nkeep_warm = "10m"')
        toml.write_text(text)

    def switching(self) -> float:
        """Seconds that the switch took of the last command, by its journal."""
        steps = self.client("history", MODEL)[0]["steps"]
        step = next(each for each in steps if each["do"] == "switch")
        return (instant(step["ended"]) - instant(step["began"])).total_seconds()

    def loading(self) -> float:
        """Seconds that the last release's model needed to be imported and loaded, as it says."""
        base = f"/var/lib/rhythmicml/instances/{MODEL}/releases/current"
        shell = (
            f"cd {base}/files && export PYTHONPYCACHEPREFIX=/var/cache/rhythmicml-{MODEL} && "
            f"PYTHONPATH=. $(readlink -f {base}/env)/bin/python -c '{LOADING}'"
        )
        return min(float(self.guest.run(["sh", "-c", shell]).stdout) for _ in range(3))


def round_trips(ours: Ours, rounds: int) -> list[float]:
    """Of a deployment that changes nothing, from connecting on; its own time is taken off."""
    near = statistics.median(timed(ours.deploy) for _ in range(rounds))
    with SlowLink((ours.guest.address, 22), FAR) as link:
        ours.client.add_location(ours.guest, "root", "far", at=f"127.0.0.1:{link.port}")
        return [(timed(lambda: ours.deploy("far")) - near) / FAR for _ in range(rounds)]


def measure(rounds: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}

    def note(name: str, seconds: float) -> None:
        print(f"{name}: {seconds:.2f} s", file=sys.stderr)
        found.setdefault(name, []).append(seconds)

    with (
        tempfile.TemporaryDirectory() as folder,
        Guest.boot("byhand", variant="venv") as other,
        Guest.boot("ours") as guest,
    ):
        hand, ours = ByHand(other, Path(folder)), Ours(guest, Path(folder))
        hand.deploy()
        ours.deploy()
        for _ in range(rounds):
            hand.clear()
            note("first, by hand", timed(hand.deploy))
            ours.clear()
            note("first, ours", timed(ours.deploy))
        ours.change()
        ours.deploy()
        for _ in range(rounds):
            ours.change()
            note("5 MB changed", timed(ours.deploy))
            note("loading", ours.loading())
            note("nothing changed", timed(ours.deploy))
            note("rollback", timed(lambda: ours.client("rollback", MODEL)))
            ours.deploy()
        found["round trips"] = round_trips(ours, rounds)
        ours.keep_warm()
        ours.deploy()
        ours.change()
        ours.deploy()
        for _ in range(rounds):
            note("warm rollback", timed(lambda: ours.client("rollback", MODEL, "--to", "srv")))
            note("warm switch", ours.switching())
            note("and back", timed(ours.deploy))
    return found


def table(found: dict[str, list[float]]) -> str:
    middle = {name: statistics.median(values) for name, values in found.items()}
    load = middle["loading"]
    ratio = middle["first, by hand"] / middle["first, ours"]
    rows = [
        ("first deployment by hand", middle["first, by hand"], ""),
        ("first deployment, ours", middle["first, ours"], f"{ratio:.1f}× as fast (goal 3×)"),
        ("a 5 MB file changed", middle["5 MB changed"],
         f"{middle['5 MB changed'] - load:.2f} s beside import and load ({load:.2f} s); goal 2 s"),
        ("nothing changed", middle["nothing changed"],
         f"goal 0.7 s; {middle['round trips']:.1f} round trips, goal 12"),
        ("rollback", middle["rollback"],
         f"{middle['rollback'] - load:.2f} s beside import and load; goal 1 s"),
        ("rollback to a release kept warm", middle["warm rollback"],
         f"{middle['warm switch']:.2f} s of it the switch; goal 0.3 s"),
    ]  # fmt: skip
    lines = ["| deployment of the scikit-learn example | seconds (median) | |", "|---|---:|---|"]
    return "\n".join(
        [*lines, *(f"| {name} | {seconds:.2f} | {aside} |" for name, seconds, aside in rows)]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if reason := why_not():
        sys.exit(f"Not measured: {reason}.")
    found = measure(options.rounds)
    if options.json:
        options.json.write_text(json.dumps(found))
    print(table(found))
    print(offline.rows(offline.measure(options.rounds)))
    from bench.deploy import fleet

    print(f"\n{fleet.table(fleet.measure(options.rounds))}")


if __name__ == "__main__":
    main()
