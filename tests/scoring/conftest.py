"""Real releases, fronts and keepers on this machine, and a plain client to talk to them."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from hashlib import sha256
from http.client import HTTPConnection
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCORING = ROOT / "app" / "scoring"
CACHE = Path.home() / ".cache" / "rhythmicml-tests" / "envs"
MODEL_PACKAGES = ("numpy", "pandas", "scikit-learn")


def environment(packages, python=sys.executable):
    """A cached environment with these packages, built by uv when absent."""
    key = sha256(repr((str(python), packages)).encode()).hexdigest()[:16]
    folder = CACHE / key
    if not (folder / ".complete").exists():
        uv = ROOT / ".venv" / "bin" / "uv"
        fresh = folder.with_name(f"{key}.{os.getpid()}")
        subprocess.run([uv, "venv", "-q", "--python", python, fresh], check=True)
        inside = ["--python", fresh / "bin" / "python"]
        subprocess.run([uv, "pip", "install", "-q", *inside, *packages], check=True)
        (fresh / ".complete").touch()
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    return folder


@pytest.fixture(scope="session")
def science():
    """An environment with numpy, pandas and scikit-learn."""
    return environment(MODEL_PACKAGES)


def pythons(oldest):
    """Other Pythons on this machine, from this version on: (3, 9) for instance."""
    found = (Path.home() / ".pyenv" / "versions").glob("3.*/bin/python3")
    versions = {tuple(map(int, path.parts[-3].split(".")[:2])): path for path in found}
    return [path for version, path in sorted(versions.items()) if version >= oldest]


class Instance:
    """An instance's folder, made by hand as the contract has it."""

    def __init__(self, folder, python=None):
        self.folder = folder
        self.python = python or Path(sys.prefix)
        self.runtime = Path(sys.prefix)
        self.releases = folder / "releases"
        self.releases.mkdir(parents=True)
        self.program = folder.parent / "program"
        if not self.program.exists():
            self.program.mkdir()
            (self.program / "scoring").symlink_to(SCORING)
            (self.program / "__main__.py").write_text("from scoring.main import main\nmain()\n")

    def release(self, source, /, number=1, files=None, current=True, model="churn", **scoring):
        """Write a release whose prediction script is `source`; its id."""
        name = f"v{number}-{sha256(source.encode()).hexdigest()[:12]}"
        folder = self.releases / name
        (folder / "files" / "artifacts").mkdir(parents=True)
        (folder / "files" / "predict.py").write_text(source)
        for path, content in (files or {}).items():
            (folder / "files" / path).parent.mkdir(exist_ok=True)
            (folder / "files" / path).write_bytes(content)
        (folder / "env").symlink_to(self.python)
        (folder / "runtime").mkdir()
        (folder / "runtime" / "program").symlink_to(self.program)
        (folder / "runtime" / "env").symlink_to(self.runtime)
        settings = {
            "script": "predict.py",
            "artifacts": "artifacts",
            "input": None,
            "batch": {"max_rows": 256},
            "sample": None,
            "timeout": 30.0,
            "workers": 1,
            "max_body": 1 << 20,
            "env": {},
            "memory": None,
        } | scoring
        (folder / "release.json").write_text(
            json.dumps(
                {
                    "format": 1,
                    "id": name,
                    "model": model,
                    "version": number,
                    "digest": "d" * 64,
                    "created": "2026-11-23T10:00:00Z",
                    "files": [],
                    "environment": "e-cp311-x86_64",
                    "runtime": "r",
                    "python": "3.11",
                    "scoring": settings,
                }
            )
        )
        if current:
            self.switch(name)
        return name

    def switch(self, name):
        new = self.releases / "current.new"
        new.symlink_to(name)
        new.rename(self.releases / "current")


class Front:
    """A running front. `get`, `post` and `raw` talk to its public socket."""

    def __init__(self, instance, release="current", sock=None, ask=None, **environment):
        """ask: the socket for pipelines, a second one that is handed over."""
        self.own = sock is None
        self.sock = sock or listening()
        self.port = self.sock.getsockname()[1]
        self.private = instance.folder / f"{release}.sock"
        folder = instance.releases / release
        fds = [each.fileno() for each in (self.sock, ask) if each]
        names = ":".join(["rhythmicml-churn.socket", "ask"][: len(fds)])
        handed = {"LISTEN_FDS": str(len(fds)), "LISTEN_FDNAMES": names}
        self.log_path = instance.folder / f"{release}-{time.monotonic_ns()}.log"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [
                    *(folder / "runtime/env/bin/python", "-I", folder / "runtime/program"),
                    *("front", "--instance", instance.folder, "--release", release),
                    *("--private", self.private),
                ],
                env={**os.environ, **handed, **environment},
                stdout=log,
                stderr=log,
                pass_fds=range(3, 3 + len(fds)),
                preexec_fn=lambda: hand_over(fds),
            )

    @property
    def log(self):
        return self.log_path.read_text()

    def wait_ready(self, seconds=30):
        wait_for(lambda: self.process.poll() is not None or "is ready" in self.log, seconds)
        assert self.process.poll() is None, self.log
        return self

    def end(self, seconds=35):
        """SIGTERM and its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.own:
            self.sock.close()

    def client(self, timeout=20):
        return HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def call(self, method, path, body=None, headers=None):
        return call(self.client(), method, path, body, headers)

    def get(self, path, **headers):
        return self.call("GET", path, None, headers)

    def post(self, path, body, **headers):
        return self.call("POST", path, body, headers)

    def score(self, body):
        """Predictions for a native body that must be accepted."""
        answer = self.post("/score", body)
        assert answer.status == 200, answer.body
        return answer.json["predictions"]

    def raw(self, data, seconds=15):
        """Send bytes as they are; all that comes back until the front closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as sock:
            sock.sendall(data)
            return read_all(sock)

    def listens(self):
        """Whether its private socket is there and takes connections."""
        try:
            return self.admin("GET", "/livez").status == 200
        except (FileNotFoundError, ConnectionRefusedError):
            return False

    def admin(self, method, path, body=None):
        client = HTTPConnection("localhost", timeout=10)
        client.sock = socket.socket(socket.AF_UNIX)
        try:
            client.sock.connect(str(self.private))
        except OSError:
            client.close()
            raise
        return call(client, method, path, body)


def hand_over(fds):
    """In the child: these as 3 and on, whichever numbers they have."""
    for number, fd in enumerate(fds):
        os.dup2(fd, 100 + number)
    for number in range(len(fds)):
        os.dup2(100 + number, 3 + number)


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self):
        return json.loads(self.body, parse_constant=lambda name: pytest.fail(f"bare {name}"))


def call(client, method, path, body=None, headers=None):
    if body is not None and not isinstance(body, (bytes, str)):
        body = json.dumps(body)
    try:
        client.request(method, path, body, headers or {})
        return Answer(client.getresponse())
    finally:
        client.close()


def read_all(sock):
    received = b""
    while True:
        try:
            chunk = sock.recv(65536)
        except ConnectionResetError:
            return received
        if not chunk:
            return received
        received += chunk


def listening():
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen(4096)
    return sock


def wait_for(condition, seconds=10):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def instance(tmp_path):
    return Instance(tmp_path / "instances" / "churn")


@pytest.fixture
def serve(instance):
    """Make a release of a script and run its front; all fronts end with the test."""
    fronts = []

    def start(source, /, ready=True, environment=None, **settings):
        name = instance.release(source, number=len(fronts) + 1, **settings)
        fronts.append(Front(instance, name, **(environment or {})))
        return fronts[-1].wait_ready() if ready else fronts[-1]

    yield start
    for front in fronts:
        front.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Fronts that live as long as the module, one per script and settings."""
    fronts = {}

    def start(source, /, python=None, **settings):
        key = repr((source, python, sorted(settings.items())))
        if key not in fronts:
            folder = tmp_path_factory.mktemp("shared") / "churn"
            made = Instance(folder, python)
            fronts[key] = Front(made, made.release(source, **settings)).wait_ready()
        return fronts[key]

    yield start
    for front in fronts.values():
        front.close()
