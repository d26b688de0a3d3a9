"""The program as a person runs it, and a model to run it on."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from app.services import deployments
from app.workspace import Workspace

ROOT = Path(__file__).parents[1]


class Failed(Exception):
    """The command exited with 1; `problem` is what it said, if only findings."""

    def __init__(self, problem: dict[str, str]) -> None:
        super().__init__(json.dumps(problem, indent=1))
        self.problem = problem


class Client:
    """One user's RhythmicML, asked through its command line."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environ = {**os.environ, "RHYTHMICML_HOME": str(home)}

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, str(ROOT / "main.py"), *words]

    def __call__(self, *words: str, timeout: float = 120) -> Any:
        """The JSON that a command printed. Raises Failed at a Problem."""
        done = subprocess.run(
            self.argv(*words, "--json"),
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode in (0, 1), f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        said = json.loads(done.stdout)
        if done.returncode == 1:
            raise Failed(said.get("error", said))
        return said

    def start(self, *words: str) -> subprocess.Popen[str]:
        """A command left running, to be disturbed."""
        return subprocess.Popen(
            self.argv(*words, "--json"),
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def add_location(
        self, guest: Any, user: str, name: str = "srv", *more: str, at: str = ""
    ) -> None:
        """guest: a booted server (hosts/guests.py). at: host:port, where not its own."""
        url = f"ssh://{user}@{at or guest.address}"
        words = ("--identity", str(guest.key), "--accept-key", guest.fingerprint, *more)
        self("location", "add", name, url, *words)

    def settled(self) -> Client:
        """The same user, who deployed to this machine before: see `settle`."""
        self.home.mkdir(0o700, parents=True, exist_ok=True)
        settle(self.home / "local")
        return self

    def undeploy_all(self) -> None:
        """Leave nothing of this user's models on any host. In this process, as no test is it."""
        work = Workspace(self.home)
        with work.open_store() as store:
            left = store.instances.all()
        for each in left:
            list(deployments.undeploy(work, each.model, to=each.location, purge=True, force=True))


def settle(base: Path) -> None:
    """Put the runtime and an environment without packages there, as deployments before left them.

    So the first deployment of a test need not build what those of other tests build.
    """
    base.mkdir(0o700)
    for folder in ("runtime", "envs"):
        shutil.copytree(_settled_base() / folder, base / folder, symlinks=True)


@functools.cache
def _settled_base() -> Path:
    """A base folder of this machine to which a model was deployed."""
    folder = Path(tempfile.mkdtemp(prefix="rhythmicml-settled-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    client = Client(folder / "home")
    client("deploy", str(write_model(folder / "model", "settled")))
    client("undeploy", "settled", "--yes")
    return client.home / "local"


PREDICT = """
import json, time
from pathlib import Path

def load(artifacts: Path):
    return json.loads((artifacts / "weights.json").read_text())

def predict(model, inputs: list):
    return [model["factor"] * sum(row) for row in inputs]
"""

SLOW_WHILE = """
import time
from pathlib import Path

def load(artifacts):
    return Path({flag!r})

def predict(model, inputs: list):
    if model.exists():
        time.sleep(1.0)
    return [sum(row) for row in inputs]
"""
"""A script that takes a second longer while a file is there."""


def write_model(
    folder: Path, name: str, factor: float = 2.0, script: str = PREDICT, watch: str = ""
) -> Path:
    """A model without packages, so that tests wait for what they test.

    watch: how long a new release of it is watched in production, if not as long as any.
    """
    (folder / "artifacts").mkdir(parents=True, exist_ok=True)
    (folder / "artifacts" / "weights.json").write_text(json.dumps({"factor": factor}))
    (folder / "predict.py").write_text(script)
    (folder / "requirements.txt").write_text("")
    (folder / "sample.json").write_text('{"inputs": [[1, 2, 3]]}')
    (folder / "rhythmicml.toml").write_text(
        f'[model]\nname = "{name}"\n[dependencies]\npython = "3.11"\n'
        + (f'[gate]\nwatch = "{watch}"\n' if watch else "")
    )
    return folder


briefly_watched = functools.partial(write_model, watch="0.2s")
"""The same model, for tests that make new releases and mean something else than the watch."""


def own_port() -> int:
    """A free port that stays ours while it is closed: nobody looks for one up there."""
    for port in random.sample(range(20_000, 30_000), 100):
        with contextlib.suppress(OSError), socket.create_server(("", port)):
            return port
    raise AssertionError("of a hundred ports none is free")


class Together:
    """Several calls at once, their results or errors in order."""

    def __init__(self, *calls: Any) -> None:
        self.results: list[Any] = [None] * len(calls)
        threads = [
            threading.Thread(target=self._run, args=(number, call))
            for number, call in enumerate(calls)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _run(self, number: int, call: Any) -> None:
        try:
            self.results[number] = call()
        except BaseException as error:
            self.results[number] = error
