"""Pipelines of real fronts: a base folder of instances, and servers that answer rubbish."""

import json
import shutil
import threading
from contextlib import suppress

from app.scoring.sockets import listen_unix, unlink_socket

from .conftest import Front, Instance, listening

SAMPLE = [[1.0, 2.0, 3.0]]
DOUBLE = "import numpy as np\n\ndef predict(model, inputs: np.ndarray):\n    return inputs * 2.0\n"
SUM = "import numpy as np\n\ndef predict(model, inputs: np.ndarray):\n    return inputs.sum(axis=1)"
PLUS = SUM + " + 2.0\n"
FRAME = "import pandas as pd\n\ndef predict(model, inputs: pd.DataFrame):\n"


class Base:
    """A folder of instances whose fronts run on this machine, each with both its sockets."""

    def __init__(self, folder, python):
        self.folder = folder
        self.python = python
        self.instances = {}
        self.fronts = {}
        self.sockets = {}

    def model(self, name, source, sample=SAMPLE, ready=True, **settings):
        """A model being served; once more: its next version, in the place of the one before."""
        release = self._release(name, source, sample, settings)
        return self.start(name, release, ready)

    def models(self, **sources):
        """Several, which load at the same time; all take the usual sample."""
        for name, source in sources.items():
            self.model(name, source, ready=False)
        for name in sources:
            self.fronts[name].wait_ready()

    def pipeline(self, stages, name="credit", sample=SAMPLE, ready=True, script="", **settings):
        """A pipeline of these stages, asked through their sockets where nothing else is said."""
        made = [{"reach": {"socket": one.get("instance")}, **one} for one in stages]
        release = self._release(name, script, sample, {"stages": made, **settings})
        return self.start(name, release, ready)

    def _release(self, name, source, sample, settings):
        files = {} if sample is None else {"sample.json": json.dumps(sample).encode()}
        settings = {"files": files, "sample": "sample.json" if files else None, **settings}
        if name not in self.instances:
            self.instances[name] = Instance(self.folder / "instances" / name, self.python)
        made = self.instances[name]
        number = settings.pop("number", None) or 1 + len(list(made.releases.glob("v*")))
        return made.release(source, number=number, model=name, **settings)

    def start(self, name, release="current", ready=True):
        """Its front; one that there was ends when this one is ready, as at a switch."""
        before = self.fronts.get(name)
        if before is None:
            self.sockets[name] = listening(), listen_unix(self.folder / "ask" / f"{name}.sock")
        front = self.fronts[name] = Front(self.instances[name], release, *self.sockets[name])
        if ready:
            front.wait_ready()
        if before is not None:
            before.end()
        return front

    def stop(self, name):
        """As when it is undeployed: nothing listens there any more."""
        self.fronts.pop(name).close()
        for sock in self.sockets.pop(name):
            sock.close()
        unlink_socket(self.folder / "ask" / f"{name}.sock")

    def forget(self, name):
        """As if it had never been there."""
        self.stop(name)
        shutil.rmtree(self.instances.pop(name).folder)

    def close(self):
        for name in list(self.fronts):
            self.stop(name)


def stage(name, **said):
    return {"name": name, **({} if "combine" in said else {"instance": name}), **said}


def ensemble(**blend):
    """Features, then two models at once, then their mean."""
    return [
        stage("features"),
        stage("forest", after=["features"]),
        stage("logit", after=["features"]),
        {**stage("blend", combine="mean", after=["forest", "logit"]), **blend},
    ]


class Rubbish:
    """A server that says what a stage says at /schema, and `answer` to everything else.

    answer: bytes, or a function of the request's bytes and the connection."""

    def __init__(self, answer, version=1, outputs="float64"):
        self.answer = answer
        self.asked = 0
        self.sock = listening()
        self.reach = {"url": f"http://127.0.0.1:{self.sock.getsockname()[1]}"}
        fields = [{"name": "predict", "type": outputs}] if outputs else []
        about = {"model": "x", "version": version, "release": "r", "kind": "ndarray"}
        self.schema = json.dumps({**about, "schema": {"outputs": fields}}).encode()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with suppress(OSError):
            while True:
                sock, _ = self.sock.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with sock, suppress(OSError):
            while True:
                request = b""
                while b"\r\n\r\n" not in request:
                    received = sock.recv(1 << 20)
                    if not received:
                        return
                    request += received
                if request.startswith(b"GET /schema"):
                    sock.sendall(http(self.schema))
                    continue
                self.asked += 1
                if callable(self.answer):
                    self.answer(request, sock)
                else:
                    sock.sendall(self.answer)
                    if b"\r\nConnection: close" in self.answer or b"HTTP/1" not in self.answer:
                        return

    def close(self):
        self.sock.close()


def http(body, status=200, headers=""):
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nX-Release: r\r\n{headers}\r\n"
    return head.encode() + body
