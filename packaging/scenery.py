"""What stands behind the pictures: a store with models in every state, made by the product.

One server is an sshd of this machine's own, on a loopback port. It is ended before the pictures
are taken, so that what they say of it is what one reads of a server that is away. It has no
systemd: the instance on it is only written into the store, and so is a day of requests that nobody
has the time to make.
"""

from __future__ import annotations

import http.client
import json
import math
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "deployer")]

from sshd import Sshd, make_key  # noqa: E402

from app.errors import Problem  # noqa: E402
from app.models import Instance  # noqa: E402
from app.scoring import samples, sketch  # noqa: E402
from app.services import composing, instances, locations, models, versions  # noqa: E402
from app.services.deployments import deploy, rollback, undeploy  # noqa: E402
from app.store.recorded import Sample  # noqa: E402
from app.workspace import Workspace  # noqa: E402

PREDICT = '''"""Who leaves next month, by three weights."""
import json
import time
from pathlib import Path


def load(artifacts):
    {load}
    return json.loads((Path(artifacts) / "weights.json").read_text())


def predict(weights, inputs):
    {predict}
    return [round(sum(weights[key] * value for key, value in row.items()), 3) for row in inputs]
'''
SAMPLE = {"inputs": [{"tenure": 12.0, "calls": 3.0, "contract": 1.0}]}
CONFIGURATION = """\
[model]
name = "{name}"
description = "{about}"
metadata = {{ tags = ["{tag}"], owner = "{owner}", auc = {auc} }}

[predict]
input = "json"

[dependencies]
python = "3.11"
"""
ABOUT = {
    "churn": ("Who leaves next month", "growth", "ana", 0.91),
    "fraud": ("Card fraud, by transaction", "risk", "ben", 0.97),
    "prices": ("What a flat should cost", "growth", "ana", 0.88),
    "demand": ("Parcels of each depot, a week ahead", "supply", "chen", 0.83),
    "ocr": ("Text in a photographed receipt", "risk", "ben", 0.94),
    "broken": ("A script that needs what is not there", "lab", "ben", 0.5),
    "slow": ("Weights that take their time to load", "lab", "chen", 0.5),
}
SECRET = {"demand": '\n[deploy]\nsecrets = ["WEATHER_KEY", "DEPOT_PASSWORD"]\n'}
ENDS = 'import os; os.path.exists("{flag}") or os._exit(1)'
NEEDS = """if not Path("{flag}").exists():
        raise ImportError("libGL.so.1: cannot open shared object file")"""
WAITS = 'while Path("{flag}").exists(): time.sleep(0.1)'
RAISES = 'raise FileNotFoundError("artifacts/vocabulary.json")'
OFFERS = """
[[stage]]
name = "call"
instance = "ocr"
columns = { tenure = "input.tenure", calls = "input.calls", contract = "input.contract" }
when = "churn >= 0.5 and prices < 2"
optional = true

[[stage]]
name = "letter"
instance = "fraud"
version = 1
after = ["input"]
when = "churn < 0.5"

[[stage]]
name = "offer"
combine = "first"
after = ["call", "letter"]
"""
DAY, STEP = 86_400, 60
BUSY = {"churn": 12.0, "fraud": 6.0, "outlook": 2.0}
"""Requests a second, by day."""
DIES_WITH_ITS_JOB = """
import sys; from app.store import Store; from pathlib import Path; from app.models import Event
with Store.open(Path(sys.argv[1])) as store:
    job = store.jobs.add("deploy", "fraud@1", {
        "verb": "deploy", "subject": "fraud@1", "options": {"to": "lab"}})
    for event in Event("step", "Look at lab"), Event("done", "Look at lab", data={"seconds": 0.4}):
        store.jobs.heard(job.id, event)
    store.jobs.heard(job.id, Event("step", "Send 2 files, 5.1 MB of 212 MB"))
"""


class Scenery:
    """Folders of models, the store that knows them, and the server that is away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = Workspace(folder / "home")
        self.empty = Workspace(folder / "empty")
        self.flags = folder / "flags"
        self.flags.mkdir()
        self.key = make_key(folder / "key")
        self.sshd = Sshd(folder / "sshd", f"SetEnv HOME={folder}/sshd PATH=/usr/bin:/bin")
        self.sshd.admit(self.key)

    def write(self, name: str, calls: float = 0.3, load: str = "pass", act: str = "pass") -> Path:
        """The folder of a model, as somebody has it before it is added."""
        about, tag, owner, auc = ABOUT[name]
        folder = self.folder / name
        (folder / "artifacts").mkdir(parents=True, exist_ok=True)
        weights = {"tenure": -0.02, "calls": calls, "contract": -0.1}
        flag = self.flags / name
        files = {
            "artifacts/weights.json": json.dumps(weights, indent=1),
            "predict.py": PREDICT.format(load=load, predict=act).replace("{flag}", str(flag)),
            "requirements.txt": "",
            "sample.json": json.dumps(SAMPLE),
            "rhythmicml.toml": CONFIGURATION.format(
                name=name, about=about, tag=tag, owner=owner, auc=auc
            )
            + SECRET.get(name, ""),
        }
        for path, text in files.items():
            (folder / path).write_text(text)
        return folder

    def made(self, name: str, message: str, **how: object) -> None:
        """A version of a model; the model too when it is new."""
        folder = self.write(name, **how)  # type: ignore[arg-type]
        with self.work.open_store() as store:
            known = {each.name for each in store.models.all()}
        if name not in known:
            models.add(self.work, folder)
        versions.commit(self.work, name, message)


def build(scenery: Scenery) -> None:
    work = scenery.work
    locations.add(work, "lab", scenery.sshd.url, str(scenery.key), scenery.sshd.fingerprint, "user")
    models.add(work, scenery.write("prices"))
    scenery.made("broken", "Move the vocabulary", load=RAISES)
    scenery.made("slow", "Larger weights", load=WAITS)
    for calls, message in ((0.3, "First model"), (0.4, "Retrained on September")):
        scenery.made("fraud", message, calls=calls)
    list(deploy(work, "fraud@1"))
    scenery.made("demand", "Holidays as a column")
    seen = (datetime.now(UTC) - timedelta(minutes=47)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    with work.open_store() as store:
        store.instances.upsert(Instance("demand", "lab", 8101, "v1", 1, "serving", seen))
    fail(scenery)
    churn(scenery)
    outlook(scenery)
    record(scenery)
    subprocess.run([sys.executable, "-c", DIES_WITH_ITS_JOB, str(work.home)], cwd=ROOT, check=True)
    scenery.sshd.stop()


def churn(scenery: Scenery) -> None:
    """Four versions, the third serving, one taken back, a fourth being worked on."""
    work = scenery.work
    messages = ("First model", "Contract length as a column", "Retrained on October")
    for number, message in enumerate(messages, start=1):
        scenery.made("churn", message, calls=0.3 + number / 20)
        list(deploy(work, f"churn@{number}"))
    list(rollback(work, "churn"))
    list(deploy(work, "churn@3"))
    for _ in range(12):
        instances.score(work, "churn", json.dumps(SAMPLE).encode())
    folder = scenery.write("churn", calls=0.5)
    (folder / "notes.md").write_text("Calls count for more since the new tariff.\n")


def outlook(scenery: Scenery) -> None:
    """A pipeline that serves, and one that is being built and asks more than is there."""
    work = scenery.work
    composing.begin(work, scenery.folder / "outlook", "outlook", ["churn,fraud"])
    versions.commit(work, "outlook", "Both, as one figure")
    list(deploy(work, "outlook@1"))
    for _ in range(12):
        instances.score(work, "outlook", json.dumps(SAMPLE).encode())
    composing.begin(work, scenery.folder / "offers", "offers", ["churn", "prices"])
    toml = scenery.folder / "offers" / "rhythmicml.toml"
    toml.write_text(toml.read_text() + OFFERS)
    versions.commit(work, "offers", "Worth a call, or not")


def record(scenery: Scenery) -> None:
    """A day of requests as fronts would have recorded it, up to now."""
    now = int(time.time()) // STEP * STEP
    draw = random.Random(5)
    with scenery.work.open_recorded() as recorded, recorded.write():
        for name, most in BUSY.items():
            old, new = (2, 3) if name == "churn" else (1, 1)
            rows = [
                row(draw, at, most, now - at, old if at < now - DAY / 3 else new)
                for at in range(now - DAY, now, STEP)
            ]
            recorded.put(recorded.source(name, "local"), rows, [])
        recorded.heard("lab", time.time(), None, "It accepts no connection.")


def row(draw: random.Random, at: int, most: float, ago: int, version: int) -> Sample:
    """A minute of the day: the night was calm."""
    tide = max(0.05, 0.55 + 0.45 * math.cos(ago / DAY * 2 * math.pi) + draw.gauss(0, 0.04))
    count = int(most * tide * STEP)
    failed = draw.randrange(1, 5) if draw.random() < 0.02 else 0
    waits = [draw.lognormvariate(math.log(0.0009), 0.4) for _ in range(200)]
    codes = {"200": count - failed, "422": count // 90, **({"503": failed} if failed else {})}
    body = {
        **samples.empty(),
        "seconds": float(STEP),
        "requests": codes,
        "latency": sketch.of(waits),
        "predict": sketch.of([wait * 0.7 for wait in waits]),
        "batches": {"count": max(1, count * 19 // 20), "rows": count},
        "memory": 50e6 + 2e6 * tide,
        "cpu": 0.05 * tide * STEP,
        "host": {
            "cpu": 0.2 + 0.4 * tide, "memory": 9.1e9 + 1e9 * tide, "memory_total": 16e9,
            "disk": 211e9, "disk_total": 480e9, "load": 0.4 + 1.6 * tide,
        },
    }  # fmt: skip
    total = sum(codes.values())
    release, packed = f"v{version}-1f0c9a77be21", samples.pack(body)
    return Sample(STEP, at, release, version, 0.0, float(STEP), total, failed, False, packed)


class Load:
    """Requests to the instances that are busy, from a thread, until `end`."""

    def __init__(self, work: Workspace) -> None:
        with work.open_store() as store:
            self._ports = {each.model: each.port for each in store.instances.all(location="local")}
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=each) for each in BUSY.items()]
        for each in self._threads:
            each.start()

    def _ask(self, name: str, often: float) -> None:
        body, kind = json.dumps(SAMPLE), {"Content-Type": "application/json"}
        while not self._ending.wait(1 / often):
            link = http.client.HTTPConnection("127.0.0.1", self._ports[name])
            with closing(link), suppress(OSError, http.client.HTTPException):
                link.request("POST", "/invocations", body, kind)
                link.getresponse().read()

    def end(self) -> None:
        self._ending.set()
        for each in self._threads:
            each.join()


def fail(scenery: Scenery) -> None:
    """An instance whose worker ends, and cannot be started again for want of a library."""
    flag = scenery.flags / "ocr"
    flag.write_text("")
    scenery.made("ocr", "Smaller network", load=NEEDS, act=ENDS)
    list(deploy(scenery.work, "ocr@1"))
    flag.unlink()
    try:
        instances.score(scenery.work, "ocr", json.dumps(SAMPLE).encode())
    except Problem:
        return  # what was asked of it ended it


@contextmanager
def scenery(folder: Path) -> Iterator[Scenery]:
    """All of it, for as long as the pictures take."""
    made = Scenery(folder)
    with made.sshd:
        try:
            build(made)
            load = Load(made.work)
            try:
                yield made
            finally:
                load.end()
        finally:
            for each in made.flags.iterdir():
                each.unlink()
            with made.work.open_store() as store:
                there = store.instances.all(location="local")
            for each in there:
                list(undeploy(made.work, each.model, to=each.location, purge=True, force=True))
